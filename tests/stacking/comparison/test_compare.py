"""The comparison: honest, the same splits for all, failures recorded, files readable."""

import json

import numpy as np
import pytest

from stacking.comparison import compare
from stacking.comparison.splits import nested_splits
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.metrics import constant_answer, macro_f1, micro_f1, samples_f1
from stacking.predictions import PredictionSet


def pick(combiners, *names):
    return {name: combiners[name] for name in names}


def test_a_memorizing_method_scores_chance_on_random_labels(make, combiners, rng):
    random_truth = make(rng, n_samples=400, signal=0.0)
    found = compare(random_truth, pick(combiners, "mean", "memorizer"), n_bootstrap=50)
    # With scores that know nothing the best answer is "everything at or below chance", here the constant answer.
    ceiling = found.constant_answer + 0.02
    for row in found.rows:
        assert max(row.score, row.score_single, row.score_per_label) < ceiling, row.method


def test_thresholds_of_a_memorizing_method_are_tuned_on_rows_it_did_not_see(make, combiners, rng):
    predictions = make(rng, n_samples=400)
    found = compare(predictions, pick(combiners, "memorizer"), n_bootstrap=20)
    # It scores like the member whose scores it returns for unseen rows; tuned on seen rows its threshold would be 1.
    assert found.row("memorizer").score == pytest.approx(found.row("net0").score, abs=1e-9)


def test_every_method_sees_the_same_folds_and_never_its_test_rows(make, combiners, rng):
    predictions = make(rng, n_samples=120)
    combiners["again"] = combiners["recorder"]
    log = type(combiners["recorder"]).log
    compare(predictions, pick(combiners, "recorder", "again"), n_bootstrap=10, n_splits=3)
    half = len(log) // 2
    assert log[:half] == log[half:]
    splits = [log[start : start + 5] for start in range(0, half, 5)]
    assert [[what for what, _ in split] for split in splits] == [["folds", "fit", "predict", "fit", "predict"]] * 3
    everyone = []
    for (_, folds), _, (_, cross_fitted), (_, fitted), (_, tested) in splits:
        assert len(folds) == len(fitted)
        assert cross_fitted == fitted
        assert set(fitted).isdisjoint(tested)
        everyone += tested
    assert sorted(everyone) == sorted(predictions.ids)


def test_groups_are_not_split_and_are_resampled_together(make, combiners, rng):
    groups = np.repeat(np.arange(30), 10)
    predictions = make(rng, n_samples=300)
    log = type(combiners["recorder"]).log
    found = compare(predictions, pick(combiners, "recorder"), groups=groups, n_bootstrap=20, n_splits=3)
    place = dict(zip(predictions.ids.tolist(), groups.tolist(), strict=True))
    for start in range(0, len(log), 5):
        fitted, tested = ({place[name] for name in log[start + offset][1]} for offset in (3, 4))
        assert fitted.isdisjoint(tested)
    assert found.manifest["bootstrap"]["units"] == "30 groups"
    assert found.manifest["n_groups"] == 30


def test_scores_equal_the_metrics_of_the_held_out_decisions(make, combiners, rng):
    predictions = make(rng)
    found = compare(predictions, pick(combiners, "mean"), n_bootstrap=20)
    row, held_out = found.row("mean"), found.held_out("mean")
    assert held_out.ids.tolist() == predictions.ids.tolist()
    assert row.score == pytest.approx(micro_f1(predictions.y_true, held_out.y_pred))
    assert row.macro_f1 == pytest.approx(macro_f1(predictions.y_true, held_out.y_pred))
    assert row.samples_f1 == pytest.approx(samples_f1(predictions.y_true, held_out.y_pred))
    assert row.low <= row.score <= row.high
    assert np.allclose(held_out.y_score, predictions.to_array().mean(axis=0), atol=1e-6)
    with pytest.raises(ValueError, match="method must be one whose scores are kept"):
        found.held_out("net2" if found.best_member.method != "net2" else "net1")


def test_the_mean_of_independent_members_beats_each_and_the_interval_says_so(make, combiners, rng):
    found = compare(make(rng, n_samples=600), pick(combiners, "mean"), n_bootstrap=200)
    row = found.row("mean")
    assert found.rows[0].method == "mean"
    assert row.vs_best_member_low > 0
    difference = found.difference("mean", found.best_member.method)
    assert (difference.value, difference.low, difference.high) == pytest.approx(
        (row.vs_best_member, row.vs_best_member_low, row.vs_best_member_high)
    )
    backwards = found.difference(found.best_member.method, "mean")
    assert (backwards.low, backwards.high) == pytest.approx((-difference.high, -difference.low))
    assert found.difference("mean", "mean", "single") == type(difference)(0.0, 0.0, 0.0)
    assert row.vs_mean == 0
    assert "above its best member" in found.verdict()


def test_scores_are_sorted_best_first_and_repeatable(make, combiners, rng):
    predictions = make(rng, n_samples=150)
    runs = [compare(predictions, pick(combiners, "mean"), n_bootstrap=30, n_splits=3) for _ in range(2)]
    tables = [run.table.drop(columns=["cpu_seconds", "wall_seconds", "peak_memory_mb"]) for run in runs]
    assert tables[0].equals(tables[1])
    assert tables[0]["score"].is_monotonic_decreasing


def test_a_failing_method_is_recorded_and_sinks_nothing(make, combiners, rng, caplog):
    found = compare(make(rng, n_samples=120), pick(combiners, "broken", "mean"), n_bootstrap=10, n_splits=3)
    assert [failure.name for failure in found.failures] == ["broken"]
    assert found.failures[0].reason == "ArithmeticError: no such <luck> | today"
    assert "mean" in found.table["method"].tolist()
    assert "broken" in caplog.text
    assert "1 method could not be scored" in found.verdict()
    with pytest.raises(ValueError, match="got 'broken'; it failed"):
        found.row("broken")
    assert found.to_dict()["failures"] == [
        {"name": "broken", "kind": "vote", "reason": "ArithmeticError: no such <luck> | today"}
    ]


def test_a_function_that_fails_on_some_answers_is_named_and_no_method_blamed(make, combiners, rng):
    def precision(y_true, y_pred):
        if len(y_true) < 80:
            raise ZeroDivisionError("division by zero")
        return float((y_true == y_pred).mean())

    message = (
        r"precision must return a number for any answers: on \d+ samples it raised ZeroDivisionError: division by zero"
    )
    with pytest.raises(ValueError, match=message):
        compare(make(rng, n_samples=80), pick(combiners, "mean"), metric=precision, n_splits=3)
    with pytest.raises(ValueError, match=message):
        StackingEnsemble("mean", metric=precision).fit(make(rng, n_samples=80))


def test_time_limit_lists_what_did_not_finish(make, combiners, rng):
    with pytest.raises(RuntimeError, match=r"no method could be scored: net0: the time limit was reached after 0 of 3"):
        compare(make(rng, n_samples=120), pick(combiners, "mean"), time_limit=1e-9, n_splits=3)


def test_holdout_is_scored_by_methods_fitted_on_everything_else(make, combiners, rng):
    everything = make(rng, n_samples=400)
    fitted, holdout = everything.subset(samples=np.arange(250)), everything.subset(samples=np.arange(250, 400))
    shuffled = holdout.subset(models=["net2", "net0", "net1"], labels=list(holdout.labels)[::-1])
    log = type(combiners["recorder"]).log
    found = compare(fitted, pick(combiners, "recorder"), holdout=shuffled, n_bootstrap=20)
    assert set(log[-1][1]) == set(holdout.ids)
    assert log[-2] == ("fit", tuple(fitted.ids))
    assert found.manifest["protocol"] == "holdout"
    assert found.manifest["n_scored"] == 150
    assert found.constant_answer == pytest.approx(constant_answer(fitted.y_true, holdout.y_true))
    assert found.labels == everything.labels
    alone = micro_f1(holdout.y_true, found.held_out("recorder").y_pred)
    assert found.row("recorder").score == pytest.approx(alone)


def test_holdout_tunes_nothing(make, combiners, rng):
    everything = make(rng, n_samples=300)
    fitted, holdout = everything.subset(samples=np.arange(200)), everything.subset(samples=np.arange(200, 300))
    other = holdout.with_truth(1 - holdout.y_true)
    runs = [compare(fitted, pick(combiners, "mean"), holdout=part, n_bootstrap=10) for part in (holdout, other)]
    assert np.array_equal(runs[0].held_out("mean").y_pred, runs[1].held_out("mean").y_pred)


def test_uncovered_labels_of_a_specialist_are_never_predicted_by_it(make, combiners, rng):
    predictions = make(rng, n_samples=200)
    scores = predictions.to_array().copy()
    scores[1, :, 2:] = np.nan
    partial = PredictionSet(scores, models=["a", "b", "c"], y_true=predictions.y_true)
    found = compare(partial, pick(combiners, "mean"), n_bootstrap=10, n_splits=3)
    assert not found.results["b"].counts["single"].label_predicted[2:].any()
    assert not found.failures


def test_unknown_cells_and_weights_reach_the_score(make, combiners, rng):
    predictions = make(rng, n_samples=200)
    y_known = rng.random(predictions.y_true.shape) < 0.7
    weight = rng.random(200)
    metadata = {"y_true": predictions.y_true, "y_known": y_known, "sample_weight": weight}
    found = compare(PredictionSet(predictions.to_array(), **metadata), pick(combiners, "mean"), n_bootstrap=10)
    expected = micro_f1(predictions.y_true, found.held_out("mean").y_pred, y_known=y_known, sample_weight=weight)
    assert found.row("mean").score == pytest.approx(expected)


def test_array_and_truth_are_accepted_and_a_member_may_bear_a_methods_name(make, combiners, rng):
    predictions = make(rng, n_samples=120)
    named = PredictionSet(predictions.to_array(), models=["mean", "b", "c"])
    found = compare(named, pick(combiners, "mean"), y_true=predictions.y_true, n_bootstrap=10, n_splits=3)
    assert {"mean", "mean (member)", "b", "c"} == set(found.table["method"])
    plain = compare(
        predictions.to_array(), pick(combiners, "mean"), y_true=predictions.y_true, n_bootstrap=10, n_splits=3
    )
    assert {"mean", "model0", "model1", "model2"} == set(plain.table["method"])


def test_progress_names_each_method(make, combiners, rng):
    events = []
    compare(
        make(rng, n_samples=90),
        pick(combiners, "mean"),
        n_bootstrap=10,
        n_splits=3,
        progress=lambda *event: events.append(event),
    )
    names = ["net0", "net1", "net2", "mean"]
    assert events == [*((step, 12, names[step // 3]) for step in range(12)), (12, 12, "bootstrap")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_splits": 1}, "n_splits must be at least 2: got 1"),
        ({"n_bootstrap": 0}, "n_bootstrap must be at least 1: got 0"),
        ({"time_limit": 0}, "time_limit must be a positive number"),
    ],
)
def test_wrong_options_are_refused_before_any_work(make, combiners, rng, options, message):
    with pytest.raises(ValueError, match=message):
        compare(make(rng, n_samples=60), combiners, **options)
    assert type(combiners["recorder"]).log == []


def test_wrong_input_is_refused(make, combiners, rng):
    predictions = make(rng, n_samples=60)
    with pytest.raises(ValueError, match=r"truth= \(--truth\) must be given"):
        compare(predictions.to_array(), combiners)
    with pytest.raises(TypeError, match="methods must map names to combiners or ensembles: got str for 'a'"):
        compare(predictions, {"a": "mean"})
    named = PredictionSet(predictions.to_array(), ids=[f"p{i}" for i in range(60)], y_true=predictions.y_true)
    with pytest.raises(ValueError, match="holdout must share no sample with predictions: got 10 shared ids"):
        compare(named, combiners, holdout=named.subset(samples=np.arange(10)))
    bare = PredictionSet(predictions.to_array(), models=predictions.models, ids=[f"q{i}" for i in range(60)])
    with pytest.raises(ValueError, match="holdout must carry y_true"):
        compare(named, combiners, holdout=bare)


def test_leaderboard_json_has_the_agreed_form(make, combiners, rng, tmp_path):
    found = compare(make(rng, n_samples=120), pick(combiners, "mean", "broken"), n_bootstrap=10, n_splits=3)
    found.to_json(tmp_path / "leaderboard.json")
    content = json.loads((tmp_path / "leaderboard.json").read_text(), parse_constant=pytest.fail)
    assert set(content) == {"metric", "constant_answer", "rows", "failures", "ladder", "manifest"}
    assert content["metric"] == "micro_f1"
    scores = [row["score"] for row in content["rows"]]
    assert scores == sorted(scores, reverse=True)
    for row in content["rows"]:
        assert row["kind"] in {"member", "vote", "meta", "auto"}
        assert 0 <= row["low"] <= row["score"] <= row["high"] <= 1
        for key in ("method", "macro_f1", "samples_f1", "score_single", "score_per_label", "cpu_seconds"):
            assert key in row
    manifest = content["manifest"]
    assert manifest["protocol"] == "nested"
    assert len(manifest["fingerprint"]) == 64
    assert {"python", "numpy", "labelstack"} <= set(manifest["versions"])
    assert manifest["random_state"] == 0
    assert manifest["labels"] == [f"label{i}" for i in range(6)]


def test_reports_survive_hostile_names(make, combiners, rng, tmp_path):
    predictions = make(rng, n_samples=120)
    name = '<img src=x onerror="alert(1)">|=1+1\n'
    hostile = PredictionSet(
        predictions.to_array(),
        models=[name, "$x_1$", "=c"],
        labels=[f"{name}{i}" for i in range(6)],
        y_true=predictions.y_true,
    )
    found = compare(hostile, {name + "!": combiners["mean"], "broken": combiners["broken"]}, n_bootstrap=10, n_splits=3)
    found.to_html(tmp_path / "report.html", title=name)
    found.to_markdown(tmp_path / "report.md", title=name)
    page = (tmp_path / "report.html").read_text()
    assert "<img" not in page
    assert "&lt;img" in page
    text = (tmp_path / "report.md").read_text()
    assert "\\<img" in text
    assert not [line for line in text.splitlines() if line.startswith("<img")]
    titles = [section.title for section in found.sections()]
    assert titles == [
        "Leaderboard", "Where the gain comes from", "Labels", "Thresholds and reliability", "How this was measured",
    ]  # fmt: skip


def test_registered_methods_are_scored_by_name_in_the_registrys_order(make, rng):
    events = []
    found = compare(
        make(rng, n_samples=150),
        ["greedy", "logistic", "mean"],
        n_bootstrap=20,
        n_splits=3,
        progress=lambda done, total, name: events.append(name),
    )
    assert list(dict.fromkeys(events)) == ["net0", "net1", "net2", "mean", "greedy", "logistic", "bootstrap"]
    assert {row.method: row.kind for row in found.rows if row.kind != "member"} == {
        "mean": "vote",
        "greedy": "vote",
        "logistic": "meta",
    }
    assert not found.failures
    assert found.manifest["options"]["greedy"]["random_state"] == 0
    assert [step.cause for step in found.ladder.steps if step.gain is None] == ["label correlation"]


def test_unknown_and_repeated_methods_are_refused(make, rng):
    predictions = make(rng, n_samples=60)
    with pytest.raises(ValueError, match="greedy"):
        compare(predictions, ["gredy"])
    with pytest.raises(ValueError, match="methods must name each method once: got 'mean' 2 times"):
        compare(predictions, ["mean", "mean"])


def test_the_constant_answer_is_pooled_over_folds_like_every_method(make, combiners, rng):
    """A large group of one kind makes folds so unlike that the mean of their scores is another number."""
    groups = np.repeat(np.arange(9), [80, *[20] * 8])
    predictions = make(rng, n_samples=240, groups=groups)
    y_true = predictions.y_true.copy()
    y_true[:80] = rng.random((80, 6)) < 0.05
    predictions = predictions.with_truth(y_true)
    found = compare(predictions, pick(combiners, "mean"), n_bootstrap=20, n_splits=3)
    y_pred, scores = np.zeros(y_true.shape, dtype=bool), []
    for split in nested_splits(predictions, 3, 0):
        rest = np.delete(y_true, split.rows, axis=0)
        order = np.argsort(-rest.mean(axis=0), kind="stable")
        sets = [np.isin(np.arange(6), order[:size]) for size in range(1, 7)]
        y_pred[split.rows] = max(sets, key=lambda chosen: micro_f1(rest, np.tile(chosen, (len(rest), 1))))
        scores.append(micro_f1(y_true[split.rows], y_pred[split.rows]))
    assert found.constant_answer == pytest.approx(micro_f1(y_true, y_pred))
    assert abs(found.constant_answer - np.mean(scores)) > 0.01
