"""A label that a member does not cover is never predicted by it; one that nobody covers, by nothing."""

import itertools
import warnings

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble, compare
from stacking.combiners.registry import find_method, list_methods
from stacking.decision_rules import ImageRules, list_decision_rules
from stacking.decision_rules.choice import RuleTuner, choose_thresholds, tune_rule
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.score_blocks import ADDITIVE_RULES, ScoreBlocks
from stacking.metrics import list_metrics, micro_f1
from stacking.truth import Truth

RULES = list_decision_rules()
LABELS = ("frequent", "half", "rare", "nobody's", "also nobody's")
COVERS = np.array(
    [[True, True, False, False, False], [False, True, True, False, False], [False, False, True, False, False]]
)


def make_predictions(seed: int = 0, n_samples: int = 120, known_share: float = 1.0) -> PredictionSet:
    """Nobody's labels are the most frequent, so that whoever fires blindly gains by it."""
    rng = np.random.default_rng(seed)
    y_true = rng.random((n_samples, len(LABELS))) < [0.7, 0.5, 0.1, 0.9, 0.8]
    scores = np.clip(0.5 + 0.3 * (y_true - 0.5) + 0.15 * rng.normal(size=(3, *y_true.shape)), 0, 1)
    known = None if known_share == 1.0 else rng.random(y_true.shape) < known_share
    scores = np.where(COVERS[:, None], scores, np.nan).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PredictionSet(
            scores,
            y_true=y_true.astype(np.uint8),
            y_known=known,
            models=["frequent member", "middle member", "rare member"],
            labels=LABELS,
            covers=COVERS,
            folds=np.arange(n_samples) % 3,
        )


@pytest.fixture(scope="module")
def predictions() -> PredictionSet:
    return make_predictions()


@pytest.mark.parametrize("known_share", [1.0, 0.8])
@pytest.mark.parametrize("rule", RULES)
def test_no_rule_fires_where_nothing_is_answered(rule: str, known_share: float) -> None:
    given = make_predictions(1, known_share=known_share)
    answered = np.array([True, True, False, False, False])
    y_score = np.nan_to_num(given.model_scores(0)).astype(np.float32)
    y_score[:, 1] = np.nan_to_num(given.model_scores(1))[:, 1]
    whole = tune_rule(y_score, given.truth, rule, answered=answered)
    nested = RuleTuner(y_score, given, answered).decide_held_out(np.arange(given.n_samples) % 3, rule)
    assert not whole.decide(y_score)[:, ~answered].any() and not nested[:, ~answered].any()
    assert whole.decide(y_score)[:, answered].any(), "what is answered is still predicted"
    chosen = choose_thresholds(y_score, given, np.arange(given.n_samples) % 3, rule=rule, answered=answered)
    assert np.isinf(chosen.thresholds[~answered]).all()


@pytest.mark.parametrize("seed", range(20))
def test_thresholds_are_the_best_that_keep_silent_labels_silent(seed: int) -> None:
    """Their positives are missed all the same: the price of a wrong label falls, so that others fire more."""
    rng = np.random.default_rng(seed)
    y_true = rng.random((9, 3)) < rng.uniform(0.2, 0.9, 3)
    y_true[0, 0] = True
    y_score = np.round(rng.random((9, 3)), 1).astype(np.float32)
    y_score[:, 2] = 0.0
    weight = rng.integers(1, 4, 9).astype(float) if seed % 2 else None
    answered, truth = np.array([True, True, False]), Truth(y_true, sample_weight=weight)
    cuts = [[np.inf, *np.unique(y_score[:, label])] for label in range(2)]
    best = max(micro_f1(y_true, y_score >= [*cut, np.inf], sample_weight=weight) for cut in itertools.product(*cuts))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        given = PredictionSet(y_score[None], y_true=y_true.astype(np.uint8), sample_weight=weight)
    exact = [
        tune_rule(y_score, truth, "exact-micro-f1", answered=answered).thresholds,
        RuleTuner(y_score, given, answered).tune("exact-micro-f1").thresholds,
        ScoreBlocks(lambda rows: y_score[rows], given, block=4, answered=answered).tune("exact-micro-f1"),
    ]
    for thresholds in exact:
        assert micro_f1(y_true, y_score >= thresholds, sample_weight=weight) == pytest.approx(best)
    single = max(
        micro_f1(y_true, y_score >= [cut, cut, np.inf], sample_weight=weight) for cut in np.unique(y_score[:, :2])
    )
    for found in (
        tune_rule(y_score, truth, "single", answered=answered).thresholds,
        RuleTuner(y_score, given, answered).tune("single").thresholds,
        ScoreBlocks(lambda rows: y_score[rows], given, block=4, answered=answered).tune("single"),
    ):
        assert micro_f1(y_true, y_score >= found, sample_weight=weight) == pytest.approx(single)


@pytest.mark.parametrize("rule", ADDITIVE_RULES)
def test_parts_are_tuned_like_rows_alone(rule: str) -> None:
    given = make_predictions(2)
    answered = np.array([False, True, True, False, False])
    y_score = np.nan_to_num(given.model_scores(1)).astype(np.float32)
    part = np.arange(given.n_samples) % 4 != 0
    alone = ScoreBlocks(lambda rows: y_score[part][rows], given.subset(samples=part), answered=answered).tune(rule)
    np.testing.assert_allclose(RuleTuner(y_score, given, answered).tune(rule, part).thresholds, alone)


def test_silent_positives_are_counted_as_missed() -> None:
    truth = Truth(np.array([[True, True], [False, True]]))
    scores = LabeledScores.of(np.zeros((2, 2), np.float32), truth, np.array([True, False]))
    assert scores.missed.tolist() == [0, 2] and scores.pooled().missed.tolist() == [2]
    assert [part.missed.tolist() for part in scores.iter_blocks(np.array([True, True]), 1)] == [[0, 1], [0, 1]]


@pytest.mark.parametrize("method", [name for name in list_methods() if find_method(name).requires != "torch"])
def test_every_method_answers_never_for_labels_that_nobody_covers_and_names_them(method, predictions, tmp_path) -> None:
    ensemble = StackingEnsemble(method, n_splits=2).fit(predictions)
    assert ensemble.labels_ == LABELS and ensemble.answered_labels.tolist() == [True, True, True, False, False]
    y_score = ensemble.predict_proba(predictions)
    assert y_score.shape == predictions.y_true.shape and (y_score[:, 3:] == 0).all() and y_score[:, :3].any()
    y_pred = ensemble.predict(predictions)
    assert y_pred.any() and not y_pred[:, 3:].any()
    assert any("nobody's" in note and "never predicted" in note for note in ensemble.report_["notes"])
    array = np.where(COVERS[:, None], predictions.to_array(), np.nan)
    np.testing.assert_array_equal(ensemble.predict_proba(array), y_score)
    ensemble.save(tmp_path / "saved")
    again = StackingEnsemble.load(tmp_path / "saved")
    np.testing.assert_allclose(again.predict_proba(predictions), y_score, atol=1e-6)
    assert not again.predict(predictions)[:, 3:].any()
    shuffled = predictions.subset(labels=[4, 2, 0, 3, 1], models=[2, 0, 1])
    np.testing.assert_allclose(again.predict_proba(shuffled), y_score, atol=1e-6)


def test_a_comparison_scores_members_on_all_labels_and_lets_none_fire_outside_its_own(predictions) -> None:
    for given in (None, make_predictions(7)):
        holdout = (
            None
            if given is None
            else PredictionSet(
                given.to_array(),
                y_true=given.y_true,
                covers=COVERS,
                models=given.models,
                labels=LABELS,
                ids=[f"new {row}" for row in range(given.n_samples)],
            )
        )
        found = compare(predictions, ["mean", "logistic", "auto"], n_splits=2, n_bootstrap=20, holdout=holdout)
        assert not found.failures
        for row in found.rows:
            counts = found.results[row.method].counts
            kind = found.results[row.method].kind
            covered = COVERS[predictions.models.index(row.method)] if kind == "member" else COVERS.any(axis=0)
            for decision, counted in counts.items():
                assert not counted.label_predicted[~covered].any(), (row.method, decision)
            assert any("never predicted" in note for note in found.results[row.method].notes), row.method


@pytest.mark.parametrize(
    "metric", [name for name in list_metrics() if name == name.lower()] + ["cost:fp=1,fn=2", "recall-at-2"]
)
def test_every_metric_scores_members_that_answer_some_labels(metric: str, predictions) -> None:
    found = compare(predictions, ["mean"], n_splits=2, n_bootstrap=5, metric=metric)
    assert not found.failures and all(np.isfinite(row.score) for row in found.rows)


def test_rules_of_images_do_not_make_silent_labels_fire(predictions) -> None:
    groups = ImageRules(min_labels=4)
    y_pred = StackingEnsemble("mean", image_rules=groups, n_splits=2).fit(predictions).predict(predictions)
    assert (y_pred[:, :3]).all() and not y_pred[:, 3:].any()


def test_predictions_that_answer_nothing_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        empty = PredictionSet(np.full((2, 5, 3), np.nan), y_true=np.ones((5, 3), int), covers=np.zeros((2, 3), bool))
    with pytest.raises(ValueError, match="must answer some label"):
        StackingEnsemble("mean").fit(empty)
