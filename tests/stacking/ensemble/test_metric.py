"""An ensemble, a comparison and a classifier that go by the user's metric."""

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB

from stacking import PredictionSet, StackingEnsemble, StackingMultilabelClassifier, compare
from stacking.decision_rules import SampleRule, tune_samples_f1, tune_thresholds
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.metrics import find_metric

SOME = ["macro-f1", "samples-f1", "hamming-loss", "subset-accuracy", "map", "log-loss", "micro-f2", "0.5*micro-f1+map"]


def make(seed=0, n_samples=240, n_labels=6, n_models=3):
    rng = np.random.default_rng(seed)
    share = np.linspace(0.05, 0.5, n_labels)
    y_true = (rng.random((n_samples, n_labels)) < share).astype(np.uint8)
    noise = rng.normal(size=(n_models, n_samples, n_labels)) * np.linspace(1.0, 2.0, n_models)[:, None, None]
    y_scores = 1 / (1 + np.exp(-(2.5 * y_true - 2.5 + noise)))
    return PredictionSet(y_scores.astype(np.float32), y_true=y_true)


@pytest.mark.parametrize("metric", SOME)
def test_an_ensemble_is_fitted_for_its_metric_and_saved_with_it(metric, tmp_path):
    predictions = make()
    ensemble = StackingEnsemble("mean", metric=metric).fit(predictions)
    found = find_metric(metric)
    assert ensemble.report_["metric"] == found.name
    assert found.title in str(ensemble.report_)
    assert ensemble.report_["rule"] in found.rules.choices
    ensemble.save(tmp_path / "ensemble")
    loaded = StackingEnsemble.load(tmp_path / "ensemble")
    assert loaded.metric == found.name
    np.testing.assert_array_equal(loaded.predict(predictions), ensemble.predict(predictions))


def test_the_default_metric_leaves_no_trace(tmp_path):
    ensemble = StackingEnsemble("mean").fit(make())
    assert "metric" not in ensemble.report_
    ensemble.save(tmp_path / "ensemble")
    texts = [path.read_text() for path in (tmp_path / "ensemble").glob("*.json")]
    assert not any('"metric"' in text for text in texts)
    same = StackingEnsemble("mean", metric="micro_F1").fit(make())
    np.testing.assert_array_equal(same.thresholds_, ensemble.thresholds_)
    assert same.report_ == ensemble.report_


def test_rules_follow_the_metric():
    train, test = make_uneven(make(1, 400)), make_uneven(make(2, 4000))
    of = {metric: StackingEnsemble("mean", metric=metric).fit(train) for metric in ("micro-f1", "macro-f1", "micro-f3")}
    worth = {
        metric: {by: find_metric(by)(test.y_true, y_pred=ensemble.predict(test)) for by in of}
        for metric, ensemble in of.items()
    }
    assert worth["macro-f1"]["macro-f1"] > worth["micro-f1"]["macro-f1"]
    assert worth["micro-f3"]["micro-f3"] > worth["micro-f1"]["micro-f3"] + 0.02


def test_samples_f1_takes_the_most_probable_labels_of_each_sample(tmp_path):
    predictions = make(3, 600)
    ensemble = StackingEnsemble("mean", metric="samples-f1", rule="samples-f1").fit(predictions)
    assert isinstance(ensemble.sample_rule_, SampleRule)
    decided = ensemble.predict(predictions)
    assert decided.any(axis=1).all()  # one label at least is always worth it
    y_score = ensemble.predict_proba(predictions)
    odds = ensemble.sample_rule_.slope * np.log(y_score / (1 - y_score)) + ensemble.sample_rule_.intercept
    probability = 1 / (1 + np.exp(-odds))
    for row, chosen in zip(probability[:50], decided[:50], strict=True):
        order, best = np.argsort(-row), (0.0, 0)
        for k in range(1, len(row) + 1):
            best = max(best, (2 * row[order[:k]].sum() / (k + row.sum()), -k))
        np.testing.assert_array_equal(np.sort(order[: -best[1]]), np.flatnonzero(chosen))
    ensemble.save(tmp_path / "ensemble")
    np.testing.assert_array_equal(StackingEnsemble.load(tmp_path / "ensemble").predict(predictions), decided)
    with pytest.raises(ValueError, match="decides sample by sample"):
        ensemble.rematch(y_score)


def test_samples_f1_beats_one_threshold_where_labels_are_calibrated_apart():
    train, test = make(4, 500), make(5, 3000)
    moved = [make_uneven(part) for part in (train, test)]
    scores = {}
    for rule in ("samples-f1", "best-single"):
        ensemble = StackingEnsemble("mean", metric="samples-f1", rule=rule).fit(moved[0])
        scores[rule] = find_metric("samples-f1")(moved[1].y_true, y_pred=ensemble.predict(moved[1]))
    assert scores["samples-f1"] > scores["best-single"] + 0.02


def make_uneven(predictions):
    """Shift each label's logits by a number of its own."""
    scores = predictions.to_array().astype(float)
    odds = np.log(scores / (1 - scores)) + np.linspace(-2, 2, predictions.n_labels)
    return PredictionSet((1 / (1 + np.exp(-odds))).astype(np.float32), y_true=predictions.y_true)


@pytest.mark.parametrize("seed", range(3))
def test_the_promised_recall_is_kept_on_new_rows(seed):
    recall = 0.9
    kept = []
    for draw in range(60):
        rows = make(1000 * seed + draw, 130)
        y_score, y_true = rows.to_array()[0], rows.y_true.astype(bool)
        limit = tune_thresholds(y_score[:80], y_true[:80], f"recall-at-least:recall={recall}")
        fired, true = y_score[80:] >= limit, y_true[80:]
        n_true = true.sum(axis=1)
        kept.append(np.where(n_true > 0, (fired & true).sum(axis=1) / np.maximum(n_true, 1), 1.0).mean())
    assert np.mean(kept) > recall - 2.5 * np.std(kept) / np.sqrt(len(kept))
    assert np.mean(kept) < recall + 0.04  # and no more is predicted than that needs


def test_too_few_rows_to_promise_anything_fire_everything():
    assert tune_thresholds([[0.3, 0.2]] * 5, [[1, 0]] * 5, "recall-at-least:recall=0.9").tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("fp", "fn"), [(1.0, 1.0), (1.0, 5.0), (4.0, 1.0)])
def test_costs_are_lowest_at_the_thresholds_that_are_tuned_for_them(fp, fn):
    rows = make(7, 300)
    y_score, y_true = rows.to_array()[0], rows.y_true
    metric = find_metric(f"cost:fp={fp},fn={fn}")
    chosen = metric(y_true, y_pred=y_score >= tune_thresholds(y_score, y_true, "cost", fp=fp, fn=fn))
    others = [metric(y_true, y_pred=y_score >= limit) for limit in np.append(np.unique(y_score)[::3], 2.0)]
    assert chosen <= min(others) + 1e-12
    per_label = metric(y_true, y_pred=y_score >= tune_thresholds(y_score, y_true, "cost-per-label", fp=fp, fn=fn))
    assert per_label <= chosen


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_f_beta_thresholds_are_the_best_there_are(beta):
    rows = make(8, 60, n_labels=2)
    y_score, y_true = rows.to_array()[0], rows.y_true
    cuts = [np.append(np.unique(column), 2.0) for column in y_score.T]
    for average, rule in (("micro", "exact-micro-f1"), ("macro", "macro-f1")):
        metric = find_metric(f"{average}-f{beta}")
        best = max(metric(y_true, y_pred=y_score >= [a, b]) for a in cuts[0] for b in cuts[1])
        found = metric(y_true, y_pred=y_score >= tune_thresholds(y_score, y_true, rule, beta=beta))
        assert found == pytest.approx(best)


def test_probabilities_of_the_sample_rule_are_calibrated_label_by_label():
    rows = make_uneven(make(9, 2000))
    y_score, y_true = rows.to_array()[0], rows.y_true
    rule = tune_samples_f1(LabeledScores.check(y_score, y_true))
    odds = rule.slope * np.log(y_score / (1 - y_score)) + rule.intercept
    mean = (1 / (1 + np.exp(-odds))).mean(axis=0)
    np.testing.assert_allclose(mean, y_true.mean(axis=0), atol=0.01)


@pytest.mark.parametrize("metric", ["macro-f1", "log-loss"])
def test_a_comparison_goes_by_the_metric(metric, tmp_path):
    found = find_metric(metric)
    comparison = compare(make(), ["mean", "greedy", "logistic"], metric=metric, n_splits=3, n_bootstrap=50)
    rows = comparison.rows
    scores = [found.sign * row.score for row in rows]
    assert scores == sorted(scores, reverse=True)
    held = comparison.held_out(comparison.ensemble.method)
    assert comparison.ensemble.score == pytest.approx(
        found(held.y_true, y_pred=held.y_pred, y_score=held.y_score), rel=1e-6
    )
    for row in rows:
        assert row.low <= row.score <= row.high
    comparison.to_json(tmp_path / "leaderboard.json")
    content = json.loads((tmp_path / "leaderboard.json").read_text())
    assert content["metric"] == metric.replace("-", "_")
    assert content["greater_is_better"] is found.greater_is_better
    assert content["manifest"]["ensemble"]["metric"] == metric
    comparison.to_markdown(tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert found.title in comparison.verdict() and f"Held-out {found.title}" in text
    steps = {step.cause: step for step in comparison.ladder.steps}
    assert (steps["thresholds"].gain is None) is not found.needs_decisions
    gains = [step.gain for step in comparison.ladder.steps if step.gain is not None]
    assert comparison.ladder.start + sum(gains) == pytest.approx(comparison.ladder.final)


def test_auto_chooses_by_the_metric():
    predictions = make(10, 300)
    ensemble = StackingEnsemble("auto", metric="map").fit(predictions)
    entries = [entry for entry in ensemble.combiner_.entries_ if entry["score"] is not None]
    own = next(entry["score"] for entry in entries if entry["name"] == "mean")
    mean = predictions.to_array().mean(axis=0)
    assert own == pytest.approx(find_metric("map")(predictions.y_true, y_score=mean), abs=1e-6)
    assert ensemble.combiner_.metric == "map"


def test_weights_are_searched_for_the_metric():
    predictions = make(11, 300)
    ensemble = StackingEnsemble("greedy", metric="lrap").fit(predictions)
    assert ensemble.combiner_.objective == "lrap"
    y_score = ensemble.predict_proba(predictions)
    assert 1 - ensemble.combiner_.loss_ == pytest.approx(
        find_metric("lrap")(predictions.y_true, y_score=y_score), abs=1e-5
    )


def test_a_function_is_a_metric_like_any_other(tmp_path):
    def right_share(y_true, y_pred):
        return float((y_true == y_pred).mean())

    ensemble = StackingEnsemble("greedy", metric=right_share).fit(make())
    assert ensemble.report_["cross_fitted_score"] > 0.7
    ensemble.save(tmp_path / "ensemble")
    loaded = StackingEnsemble.load(tmp_path / "ensemble")  # its name is text, nothing is imported
    assert "right_share" in loaded.metric
    np.testing.assert_array_equal(loaded.predict(make()), ensemble.predict(make()))


def test_a_classifier_goes_by_the_metric():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = (X[:, :3] + rng.normal(size=(200, 3)) > [0.5, 1.0, 1.8]).astype(int)
    bases = [("logistic", LogisticRegression()), ("bayes", GaussianNB())]
    for final in ("mean", LogisticRegression()):
        shares = {}
        for metric in ("micro-f0.3", "micro-f3"):
            shares[metric] = StackingMultilabelClassifier(bases, final, metric=metric).fit(X, y).predict(X).mean()
        assert shares["micro-f3"] > shares["micro-f0.3"] + 0.05
    by_sample = StackingMultilabelClassifier(bases, LogisticRegression(), metric="samples-f1").fit(X, y)
    assert by_sample.predict(X).shape == y.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "makro-f1"}, "Did you mean 'macro-f1'"),
        ({"rule": "singel"}, "rule must be one of.*Did you mean 'single'"),
        ({"rule": "own-f1:fbt=1"}, "got 'fbt'"),
    ],
)
def test_wrong_names_are_refused_before_anything_is_fitted(options, message):
    with pytest.raises(ValueError, match=message):
        StackingEnsemble(**options).check_parameters()
    with pytest.raises(ValueError, match=message):
        compare(make(n_samples=20), ["mean"], **options)


@pytest.mark.parametrize("metric", ["recall-at-7", "matthews_corrcoef", "micro-f1+zero_one_loss"])
def test_a_metric_that_the_truth_does_not_suit_is_refused_before_anything_is_fitted(metric, monkeypatch):
    predictions = make()
    if "zero_one" in metric:
        predictions = predictions.with_truth(predictions.y_true, np.random.default_rng(0).random((240, 6)) < 0.9)
    monkeypatch.setattr("stacking.combiners.voting.soft_voting.SoftVoting.fit", None)  # whatever fits would fail
    message = metric.removeprefix("micro-f1+")
    with pytest.raises(ValueError, match=message):
        StackingEnsemble("mean", metric=metric).fit(predictions)
    with pytest.raises(ValueError, match=message):
        compare(predictions, ["mean"], metric=metric)
    if "zero_one" not in metric:
        stack = StackingMultilabelClassifier([("bayes", GaussianNB())], "mean", metric=metric)
        with pytest.raises(ValueError, match=metric):
            stack.fit(np.zeros((240, 2)), predictions.y_true)
