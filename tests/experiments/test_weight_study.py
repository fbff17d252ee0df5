import csv
import json

import numpy as np
import pytest

import labelstack as ls
from experiments.weight_study import split_optimizer
from stacking.combiners.voting import WeightedVoting
from stacking.decision_rules import tune_thresholds
from stacking.predictions import load_predictions


def test_a_study_is_scored_on_rows_that_chose_nothing(bundle, held_back):
    given, held = load_predictions(bundle), load_predictions(held_back)
    study = ls.study_weights(given, ["greedy", "hill-climbing"], holdout=held, seeds=2, n_bootstrap=50)
    assert [(run.optimizer, run.seed) for run in study.runs] == [
        ("greedy", 0), ("greedy", 1), ("hill-climbing", 0), ("hill-climbing", 1)
    ]  # fmt: skip
    vote = WeightedVoting("hill-climbing", random_state=1).fit(given)
    threshold = tune_thresholds(vote.predict_proba(given), given.y_true, rule="single")
    decided = vote.predict_proba(held) >= threshold
    expected = 2 * (decided & (held.y_true == 1)).sum() / (decided.sum() + held.y_true.sum())
    assert study.runs[3].held_out_score == pytest.approx(expected)
    assert study.runs[3].weights == pytest.approx(vote.shared_weights_)
    row = next(row for row in study.rows if row.optimizer == "hill-climbing")
    assert row.score == pytest.approx(np.mean([run.held_out_score for run in study.runs[2:]]))
    assert row.lowest <= row.score <= row.highest and row.gain_low <= row.gain <= row.gain_high
    assert study.rows[0].score == max(row.score for row in study.rows)


def test_held_out_rows_are_matched_by_name(bundle, held_back):
    given, held = load_predictions(bundle), load_predictions(held_back)
    turned = held.subset(models=list(held.models)[::-1], labels=list(held.labels)[::-1])
    scores = [
        ls.study_weights(given, ["greedy"], holdout=part, n_bootstrap=20).rows[0].score for part in (held, turned)
    ]
    assert scores[0] == pytest.approx(scores[1], abs=1e-9)
    with pytest.raises(ValueError, match=rf"label '{held.labels[0]}' is missing \(1 of 5 labels\)"):
        ls.study_weights(given, ["greedy"], holdout=held.subset(labels=list(held.labels)[1:]))
    with pytest.raises(ValueError, match="holdout must share no sample with predictions"):
        ls.study_weights(given, ["greedy"], holdout=given)


def test_a_label_that_no_member_answers_is_never_predicted(bundle, held_back):
    unheard = []
    for path in (bundle, held_back):
        part = load_predictions(path)
        covers, scores = np.ones((3, 5), dtype=bool), part.to_array().copy()
        covers[:, 2], scores[:, :, 2] = False, np.nan
        facts = {"ids": part.ids, "models": part.models, "labels": part.labels, "y_true": part.y_true}
        unheard.append(ls.PredictionSet(scores, covers=covers, **facts))
    given, held = unheard
    study = ls.study_weights(given, ["greedy"], holdout=held, n_bootstrap=20)
    vote = WeightedVoting("greedy", random_state=0).fit(given.only_answered())
    threshold = tune_thresholds(vote.predict_proba(given.only_answered()), given.only_answered().y_true, rule="single")
    decided = np.zeros(held.y_true.shape, dtype=bool)
    decided[:, [0, 1, 3, 4]] = vote.predict_proba(held.only_answered()) >= threshold
    expected = 2 * (decided & (held.y_true == 1)).sum() / (decided.sum() + held.y_true.sum())
    assert study.runs[0].held_out_score == pytest.approx(expected)


def test_weights_are_searched_for_the_metric_unless_an_objective_is_named(labelstack, bundle, held_back, tmp_path):
    given, held = load_predictions(bundle), load_predictions(held_back)
    by_metric = ls.study_weights(given, ["greedy"], holdout=held, metric="macro-f1", n_bootstrap=20)
    assert [row.objective for row in by_metric.rows] == ["macro-f1"]
    both = ("--metric", "macro-f1", "--objective", "log-loss")
    done = labelstack("optimize", bundle, *both, "--out", tmp_path / "both")
    assert done.exit_code == 0, done.output
    study = json.loads((tmp_path / "both" / "study.json").read_text())
    assert study["metric"] == "macro-f1" and [row["objective"] for row in study["rows"]] == ["log-loss"]


def test_the_command_writes_one_report_and_finds_it_again(labelstack, bundle, tmp_path):
    arguments = ["optimize", bundle, "--optimizer", "greedy", "--optimizer", "pso:n_iterations=5", "--seeds", "2"]
    arguments += [
        "--objective",
        "micro-f1-best",
        "--objective",
        "log-loss",
        "--optimizer",
        "slsqp",
        "--out",
        tmp_path / "s",
    ]
    done = labelstack(*arguments)
    assert done.exit_code == 0, done.output
    assert "not searched: slsqp for micro-f1-best" in done.stderr
    study = json.loads((tmp_path / "s" / "study.json").read_text())
    assert len(study["rows"]) == 5 and len(study["runs"]) == 10 and study["n_fitted"] + study["n_held_out"] == 160
    with (tmp_path / "s" / "runs.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 10
    page = (tmp_path / "s" / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") >= 3 and "Not searched" in page
    again = labelstack(*arguments)
    assert again.exit_code == 0 and "is there already" in again.stdout


def test_options_of_an_optimizer_reach_it(labelstack, bundle, tmp_path):
    done = labelstack("optimize", bundle, "--optimizer", "pso:n_iterations=2000,n_particles=3", "--out", tmp_path / "w")
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "w" / "weights.json").read_text())["n_evaluations"] >= 6000


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--optimizer", "pso:iterations=9"), "did you mean 'n_iterations'?"),
        (("--optimizer", "pso:n_iterations=many"), "must be a number: got 'many'"),
        (("--optimizer", "pso:n_iterations=2,n_iterations=3"), "each option once: got 'n_iterations' twice"),
        (("--optimizer", "psso"), "'pso'"),
        (("--optimizer", "pso", "--optimizer", "pso"), "must name each once"),
    ],
)
def test_wrong_options_are_named_before_the_work(labelstack, bundle, tmp_path, arguments, words):
    done = labelstack("optimize", bundle, *arguments, "--out", tmp_path / "w")
    assert done.exit_code == 2 and words in done.stderr, done.stderr
    assert not (tmp_path / "w" / "study.json").exists()


def test_values_are_read_as_their_defaults_are():
    assert split_optimizer("pso:inertia=1,n_particles=20") == ("pso", {"inertia": 1.0, "n_particles": 20})
    assert isinstance(split_optimizer("pso:inertia=1")[1]["inertia"], float)


def test_a_split_keeps_groups_whole(make_predictions):
    first, rest = ls.split(make_predictions(160), 0.6)
    assert not set(first.groups.tolist()) & set(rest.groups.tolist())
    assert first.n_samples + rest.n_samples == 160


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"optimizers": "greedy"}, "--optimizer must be a list of names: got 'greedy'"),
        ({"optimizers": []}, r"--optimizer must be a list of names: got \[\]"),
        ({"optimizers": ["greedy"], "objectives": "log-loss"}, "--objective must be a list of names: got 'log-loss'"),
        ({"optimizers": ["greedy"], "seeds": 0}, "--seeds must be at least 1"),
    ],
)
def test_a_study_of_nothing_or_of_letters_is_refused(make_predictions, arguments, message):
    with pytest.raises(ValueError, match=message):
        ls.study_weights(make_predictions(60), **arguments)


def test_seeds_may_be_counted_by_numpy(make_predictions):
    study = ls.study_weights(make_predictions(60), ["greedy"], seeds=np.int64(2), n_bootstrap=5)
    assert [run.seed for run in study.runs] == [0, 1]
