"""Auto: the mean unless something is proven better, the learner where labels depend on each other, the time limit."""

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble, micro_f1
from stacking.combiners.auto import budget, race
from stacking.combiners.auto.race import RACERS, AutoCombiner
from stacking.combiners.blend import average_scores
from stacking.combiners.meta_learners import LabelwiseLogistic
from stacking.combiners.registry import list_methods
from stacking.folds import deal_folds
from stacking.metrics.paired_difference import PairedGain
from stacking.process import memory
from stacking.testing import make_predictions


@pytest.fixture(scope="module")
def dependent():
    """The second half of the labels copies the first, and no model sees it: only label context finds it."""
    base = make_predictions(n_models=3, n_samples=700, n_labels=5, random_state=1)
    rng = np.random.default_rng(2)
    blind = rng.random((3, 700, 5)).astype(np.float32)
    y_true = np.tile(base.y_true, 2)
    return PredictionSet(np.concatenate([base.to_array(), blind], axis=2), y_true=y_true)


def test_the_racers_are_methods_and_the_mean_comes_first():
    assert RACERS[0] == "mean"
    assert set(RACERS) - {"best-single"} <= set(list_methods())


def test_auto_leaves_the_mean_where_labels_explain_each_other(dependent):
    fit, test = (dependent.subset(samples=rows).in_memory() for rows in (slice_of(0, 500), slice_of(500, 700)))
    ensemble = StackingEnsemble("auto").fit(fit)
    chosen = [entry["name"] for entry in ensemble.combiner_.entries_ if entry["weight"] > 0]
    assert "mean" not in chosen
    plain = StackingEnsemble("mean").fit(fit)
    assert micro_f1(test.y_true, ensemble.predict(test)) > micro_f1(test.y_true, plain.predict(test)) + 0.05


def test_auto_keeps_the_mean_where_nothing_is_proven():
    """Equal models, few groups: whatever looks best by chance must not be believed."""
    kept = []
    for seed in range(4):
        predictions = make_predictions(n_models=4, n_samples=150, n_labels=4, random_state=seed)
        predictions = predictions.with_groups(np.arange(150) % 75)
        auto = AutoCombiner(methods=["mean", "greedy", "convex"]).fit(predictions)
        if [entry["name"] for entry in auto.entries_ if entry["weight"] > 0] == ["mean"]:
            kept.append(seed)
            mean = predictions.to_array().mean(axis=0)
            np.testing.assert_allclose(auto.predict_proba(predictions), mean, atol=1e-5)
    assert len(kept) >= 3


def test_shares_weigh_the_logits_and_survive_the_state():
    predictions = make_predictions(n_models=4, n_samples=150, n_labels=4).with_groups(np.arange(150) % 50)
    auto = AutoCombiner(methods=["geometric"]).fit(predictions)  # too few groups for shares of least log loss
    assert auto.shares_ == [0.9375, 0.0625]
    scores = predictions.to_array().astype(float)
    mean, logits = scores.mean(axis=0), np.log(scores / (1 - scores)).mean(axis=0)
    wanted = 0.9375 * np.log(mean / (1 - mean)) + 0.0625 * logits
    np.testing.assert_allclose(auto.predict_proba(predictions), 1 / (1 + np.exp(-wanted)), atol=1e-4)
    again = AutoCombiner._from_state(*auto._state())
    np.testing.assert_array_equal(again.predict_proba(predictions), auto.predict_proba(predictions))


def flat_members(n_members=20, seed=0):
    """Members that know the truth and err each by itself: their mean is too near to the middle."""
    rng = np.random.default_rng(seed)
    y_true = (rng.random((500, 6)) < 0.25).astype(np.uint8)
    logits = 2.0 * y_true - 1.5 + 4.0 * rng.normal(size=(n_members, 500, 6))
    return PredictionSet((1 / (1 + np.exp(-logits))).astype(np.float32), y_true=y_true)


def log_loss(y_true, y_score):
    return -np.log(np.where(y_true > 0, y_score, 1 - y_score)).mean()


@pytest.mark.parametrize("metric", ["micro-f1", "log-loss"])
def test_twenty_equal_members_answer_with_probabilities(metric):
    predictions, new = flat_members(), flat_members(seed=1)
    auto = AutoCombiner(methods=["mean", "geometric"], metric=metric).fit(predictions)
    assert auto.line_[0] > 1.5
    answer, plain = auto.predict_proba(new), average_scores(list(new.to_array()))
    assert log_loss(new.y_true, answer) < log_loss(new.y_true, plain) - 0.02
    again = AutoCombiner._from_state(*auto._state())
    np.testing.assert_array_equal(again.predict_proba(new), answer)
    values, arrays, texts = auto._state()
    for line in ([0.0, 0.0], [1.0, float("nan")], [float("inf"), 0.0]):
        with pytest.raises(ValueError, match="line of auto must be a positive slope and a finite intercept: got"):
            AutoCombiner._from_state({**values, "line": line}, arrays, texts)
    del values["line"]  # as folders of earlier versions
    again = AutoCombiner._from_state(values, arrays, texts)
    assert again.line_ == (1.0, 0.0)


def test_the_report_says_what_each_step_brought(dependent):
    ensemble = StackingEnsemble("auto").fit(dependent)
    report = ensemble.report_
    steps = {step["cause"]: step["gain"] for step in report["gain_steps"]}
    assert list(steps) == ["label shift", "mixing", "label correlation", "thresholds", "choice"]
    assert steps["label correlation"] > 0.1
    start = next(entry["score"] for entry in ensemble.combiner_.entries_ if entry["name"] == "best-single")
    assert any(line.split()[:2] == ["best-single", f"{start:.3f}".lstrip("0")] for line in report["notes"])
    assert sum(steps.values()) == pytest.approx(report["cross_fitted_micro_f1"] - start, abs=1e-4)
    assert "what each step brought" in str(report)


def test_random_labels_score_chance_out_of_fold(rng):
    predictions = make_predictions(n_samples=300, random_state=5)
    noise = predictions.with_truth((rng.random((300, 4)) < 0.4).astype(np.uint8))
    folds = deal_folds(noise.truth)
    _, held_out = AutoCombiner(methods=["mean", "ridge-context"]).fit_out_of_fold(noise, folds=folds)
    truth = noise.y_true.astype(bool)
    assert abs(held_out[truth].mean() - held_out[~truth].mean()) < 0.03


def test_a_spent_time_limit_leaves_slow_candidates_out_and_says_so(dependent):
    auto = AutoCombiner(time_limit=1e-9).fit(dependent)
    assert [entry["name"] for entry in auto.entries_ if entry["weight"] > 0] == ["mean"]
    left_out = [entry for entry in auto.entries_ if entry["reason"]]
    assert len(left_out) == len(RACERS) - 1
    assert all(entry["score"] is None and "time limit" in entry["reason"] for entry in left_out)


def test_one_model_has_nothing_to_vote_on(dependent):
    auto = AutoCombiner().fit(dependent.subset(models=[0]))
    assert {entry["name"] for entry in auto.entries_} == {
        "mean",
        "ridge-context",
        "label-context",
        "lightgbm",
        "logistic",
    }


@pytest.mark.parametrize(("behind", "screened"), [(3.0, True), (2.0, False)])
def test_a_candidate_that_grows_with_the_labels_is_tried_on_some_of_them_first(
    dependent, monkeypatch, behind, screened
):
    monkeypatch.setattr(race, "SCREENED", frozenset({"logistic"}))
    monkeypatch.setattr(race, "SCREENED_LABELS", 5)
    monkeypatch.setattr(race, "SCREENED_FROM", 500)
    monkeypatch.setattr(race, "SCREENED_SHARE", 5)
    asked = []
    real = LabelwiseLogistic._fit_out_of_fold

    def counted(self, predictions, folds):
        asked.append(predictions.n_labels)
        return real(self, predictions, folds)

    def gap(best, own):
        return PairedGain(0.01 * behind, 0.01, 500.0) if len(asked) == 1 else PairedGain(0.0, 0.01, 500.0)

    monkeypatch.setattr(LabelwiseLogistic, "_fit_out_of_fold", counted)
    monkeypatch.setattr(race, "paired_gain", gap)
    auto = AutoCombiner(methods=["mean", "logistic"]).fit(dependent)
    assert asked[:2] == ([2] if screened else [2, 10])  # every fifth of ten labels here, then all
    reasons = {entry["name"]: entry["reason"] for entry in auto.entries_}
    assert ("on every tenth label it is .030 ± .010 behind mean" in reasons["logistic"]) == screened


def test_what_the_chosen_report_about_themselves_is_in_the_notes(dependent):
    methods = ["mean", "ridge-context"]
    assert not any("kept to" in note for note in AutoCombiner(methods=methods).fit(dependent).notes_)
    truth = np.asarray(dependent.y_true).copy()
    truth[:, 0] = 0
    auto = AutoCombiner(methods=methods).fit(dependent.with_truth(truth))
    assert any(f"ridge-context: 1 of {len(dependent.labels)} labels" in note for note in auto.notes_)


def test_a_race_on_a_sample_fits_the_chosen_on_all_rows(dependent):
    auto = AutoCombiner(methods=["logistic", "ridge-context"], max_rows=400)
    fitted, held_out = auto.fit_out_of_fold(dependent, folds=deal_folds(dependent.truth))
    assert held_out.shape == (700, 10)
    assert {learner.n_rows_fitted_ for learner in fitted.chosen_ if hasattr(learner, "n_rows_fitted_")} == {700}


def test_a_race_of_many_labels_takes_fewer_rows(dependent, monkeypatch):
    monkeypatch.setattr(budget, "PILOT_ROWS", 100)
    monkeypatch.setattr(budget, "MOST_CELLS", 4_000)  # 400 rows of 10 labels
    auto = AutoCombiner(methods=["ridge-context"])
    _, held_out = auto.fit_out_of_fold(dependent, folds=deal_folds(dependent.truth))
    assert auto._n_raced == 400
    assert held_out.shape == (700, 10)
    assert budget.rows_in_memory(1_500, 50_000) == 100  # the pilot's rows at least
    assert budget.plan_budget(dependent, None).predictions.n_samples == 400


def test_a_candidate_that_memory_cannot_hold_is_left_out(dependent, monkeypatch):
    monkeypatch.setattr(memory, "SMALL", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 300_000)
    auto = AutoCombiner(methods=["mean", "label-context"])
    monkeypatch.setattr(auto, "memory_needed", lambda *size: 0.0, raising=False)
    reason = next(entry["reason"] for entry in auto.fit(dependent).entries_ if entry["name"] == "label-context")
    assert reason.startswith("fitting label-context on 700 rows of 10 labels by")
    assert "of memory" in reason


def test_a_candidate_that_cannot_run_is_left_out_with_its_reason(dependent):
    auto = AutoCombiner(methods=["mean", "no-such-method"]).fit(dependent)
    assert "no-such-method" in next(entry["reason"] for entry in auto.entries_ if entry["reason"])


def slice_of(begin, end):
    return np.arange(begin, end)
