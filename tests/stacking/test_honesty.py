"""Nothing is promised that new rows do not keep: chance stays chance, memories gain nothing, intervals cover."""

import csv
import importlib.util

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from stacking import PredictionSet, StackingEnsemble, compare, load_predictions
from stacking.combiners.registry import create_method, list_methods, method_kind
from stacking.decision_rules.choice import nested_decisions
from stacking.folds import deal_folds, holdout_rows
from stacking.metrics import micro_f1
from stacking.testing import draw_scores

pytestmark = pytest.mark.slow

LEARNERS = [name for name in list_methods() if method_kind(name) != "vote"]
N_SPLITS = 20
N_COVERED = 16


def correlated_truth(rng, n_samples, n_labels):
    """Labels that know each other well: what leaks from one to another would show."""
    latent = rng.normal(size=(n_samples, 1))
    return (0.9 * latent + 0.45 * rng.normal(size=(n_samples, n_labels)) > 0.85).astype(np.uint8)


def noisy_scores(rng, y_true, n_models):
    return draw_scores(y_true, np.full(n_models, 1.3), rng, offset=-1.8)


@pytest.mark.parametrize("method", LEARNERS)
def test_random_labels_score_chance_out_of_fold(method, rng):
    """The scores know nothing of the truth; a fit that saw its rows, or their other labels, would do better."""
    y_true = correlated_truth(rng, 400, 5)
    predictions = PredictionSet(noisy_scores(rng, np.zeros_like(y_true), 3), y_true=y_true)
    folds = deal_folds(predictions.truth, 4)
    y_score = create_method(method).predict_out_of_fold(predictions, folds=folds)
    assert roc_auc_score(y_true, y_score, average="macro") < 0.56
    share = y_true.mean()
    decided = nested_decisions(y_score, predictions, folds)
    assert micro_f1(y_true, decided) < 2 * share / (1 + share) + 0.03


class LookupTable:
    """A base model that has learned its training rows by heart, and guesses for all others."""

    def __init__(self, truth, rows, rng):
        self.truth, self.rows, self.rng = truth, set(rows.tolist()), rng

    def predict_proba(self, rows):
        guesses = self.rng.uniform(0.01, 0.99, (len(rows), self.truth.shape[1]))
        known = np.array([row in self.rows for row in rows])
        guesses[known] = np.where(self.truth[rows[known]] == 1, 0.99, 0.01)
        return guesses.astype(np.float32)


@pytest.fixture(scope="module")
def memorized():
    """An honest member and the memory's: out of fold, on new rows, and on the rows it was trained on."""
    rng = np.random.default_rng(5)
    truth = correlated_truth(rng, 1200, 5)
    fitting, new = np.arange(500), np.arange(500, 1200)
    good = noisy_scores(rng, truth, 1)[0]
    folds = fitting % 5
    held_out = np.empty((500, 5), dtype=np.float32)
    for fold in range(5):
        rows = fitting[folds == fold]
        held_out[rows] = LookupTable(truth, fitting[folds != fold], rng).predict_proba(rows)
    table = LookupTable(truth, fitting, rng)

    def two_members(rows, memory):
        return PredictionSet(np.stack([good[rows], memory]), models=["good", "memory"], y_true=truth[rows])

    return {
        "out of fold": two_members(fitting, held_out),
        "in sample": two_members(fitting, table.predict_proba(fitting)),
        "new": two_members(new, table.predict_proba(new)),
    }


@pytest.mark.parametrize("method", ["greedy", "convex", *LEARNERS])
def test_a_memorizing_member_gains_nothing(memorized, method):
    fitting, new = memorized["out of fold"], memorized["new"]
    alone = StackingEnsemble(method, n_splits=3).fit(fitting.subset(models=["good"]))
    both = StackingEnsemble(method, n_splits=3).fit(fitting)
    promised = both.report_["cross_fitted_micro_f1"] - alone.report_["cross_fitted_micro_f1"]
    kept = micro_f1(new.y_true, both.predict(new)) - micro_f1(new.y_true, alone.predict(new.subset(models=["good"])))
    assert promised < 0.02
    assert kept < 0.03
    lowest = -0.03
    if method.startswith("pair"):  # those correct the plain mean, which a useless member spoils: they mend part of it
        mean = [StackingEnsemble("mean", n_splits=3).fit(rows) for rows in (fitting.subset(models=["good"]), fitting)]
        scores = [
            micro_f1(new.y_true, mean[0].predict(new.subset(models=["good"]))),
            micro_f1(new.y_true, mean[1].predict(new)),
        ]
        lowest = (scores[1] - scores[0]) / 2
    assert kept > lowest


def test_scores_for_rows_a_member_was_trained_on_would_promise_the_moon(memorized):
    """The control: the same member gives itself away only where its scores are out of fold."""
    dishonest = StackingEnsemble("greedy", n_splits=3).fit(memorized["in sample"])
    assert dishonest.report_["cross_fitted_micro_f1"] > 0.99
    assert micro_f1(memorized["new"].y_true, dishonest.predict(memorized["new"])) < 0.6


@pytest.mark.parametrize(
    ("methods", "unmeasured"),
    [
        (["mean", "logistic", "ridge-context", "label-context"], []),
        (["mean", "logistic"], ["label correlation"]),
        (["mean", "label-context"], ["label shift", "mixing"]),
        (["mean"], ["label shift", "mixing", "label correlation", "thresholds"]),
    ],
)
def test_the_gain_ladder_adds_up_and_says_what_it_could_not_measure(methods, unmeasured, rng):
    y_true = correlated_truth(rng, 300, 5)
    predictions = PredictionSet(noisy_scores(rng, y_true, 3), y_true=y_true)
    found = compare(predictions, methods, n_splits=3, n_bootstrap=50)
    ladder = found.ladder
    assert ladder.start == found.best_member.score_single
    assert ladder.final == found.row(ladder.final_name).score
    measured = [step for step in ladder.steps if step.gain is not None]
    assert sum(step.gain for step in measured) == pytest.approx(ladder.final - ladder.start)
    unmeasured_steps = [step for step in ladder.steps if step.gain is None]
    assert [step.cause for step in unmeasured_steps] == unmeasured
    assert all("did not run" in step.explanation or "ran" in step.explanation for step in unmeasured_steps)


def is_covered(fitting, new, method, rule="auto"):
    """Say whether the nested estimate's interval holds the score of the same method on rows that nothing saw."""
    options = {"n_splits": 3, "n_bootstrap": 300, "rule": rule}
    nested = compare(fitting, [method], **options).row(method)
    truly = compare(fitting, [method], holdout=new, **options).row(method).score
    return nested.low <= truly <= nested.high


@pytest.mark.parametrize("method", ["greedy", "ridge-context"])
def test_the_nested_interval_covers_the_held_out_score(method, rng):
    y_true = correlated_truth(rng, 4000, 5)
    population = PredictionSet(noisy_scores(rng, y_true, 3), y_true=y_true)
    covered = 0
    for split in range(N_SPLITS):
        order = np.random.default_rng(split).permutation(4000)
        fitting, new = (population.subset(samples=rows) for rows in (order[:400], order[400:]))
        covered += is_covered(fitting, new, method)
    assert covered >= N_COVERED


def test_the_nested_interval_covers_on_tags_of_other_artists(shared_data):
    """Few artists carry the score, and the held-out side is as noisy: seven tenths of the rows, artists kept whole."""
    path = shared_data / "jamendo_moodtheme" / "predictions.npz"
    if not path.is_file():
        pytest.skip(f"no measuring data at {path}")
    everything = load_predictions(path)
    population = everything.subset(models=list(everything.models[::8])).in_memory()
    covered = 0
    for split in range(N_SPLITS):
        held = holdout_rows(population.y_true, 0.7, population.groups, random_state=split)
        covered += is_covered(population.subset(samples=~held), population.subset(samples=held), "mean")
    assert covered >= N_COVERED


@pytest.mark.parametrize(("method", "rule"), [("greedy", "single"), ("mean", "single"), ("greedy", "auto")])
def test_the_nested_interval_covers_on_simulated_networks(shared_data, method, rule):
    """Scores of three simulated CNNs on real label rows, a third of the labels."""
    folder = shared_data / "imaterialist2018"
    if not folder.is_dir():
        pytest.skip(f"no measuring data at {folder}")
    spec = importlib.util.spec_from_file_location("simulate_predictions", folder / "simulate_predictions.py")
    simulator = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(simulator)
    with (folder / "label_counts.csv").open(encoding="utf-8") as file:
        labels = list(csv.DictReader(file))[::3]
    y_true = np.ascontiguousarray(np.load(folder / "validation_label_rows.npz")["y_true"][:, ::3])
    counts = np.array([int(row["train_count"]) for row in labels])
    y_scores = simulator.simulate(y_true, counts, np.array([row["taskName"] for row in labels]), n_models=3)
    population = PredictionSet(y_scores, y_true=y_true)
    covered = 0
    for split in range(N_SPLITS):
        order = np.random.default_rng(split).permutation(population.n_samples)
        fitting, new = (population.subset(samples=rows) for rows in (order[:1000], order[1000:]))
        covered += is_covered(fitting, new, method, rule)
    assert covered >= N_COVERED
