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
