"""Judgments: a journal that goes on where it was stopped, and a summary with goals."""

import json

import numpy as np
import pytest

from experiments.benchmarks import judgments
from experiments.benchmarks.datasets import load_split, prepare_members
from experiments.benchmarks.judgment_summary import sum_up, write_summary
from experiments.benchmarks.unseen import Recipe


@pytest.fixture
def few_recipes(monkeypatch):
    monkeypatch.setattr(judgments, "RECIPES", {"tiny": Recipe(n_rows=60, n_labels=4, n_models=2, frequency=(0.2, 0.5))})


def test_a_journal_goes_on_where_it_was_stopped(few_recipes, tmp_path):
    words = ["--only", "generated,artists", "--journal", str(tmp_path / "j.jsonl"), "--out", str(tmp_path)]
    judgments.main([*words, "--draws", "3"])
    first = (tmp_path / "j.jsonl").read_text()
    judgments.main([*words, "--draws", "3-4"])
    assert (tmp_path / "j.jsonl").read_text().startswith(first)
    lines = judgments.read_journal(tmp_path / "j.jsonl")
    assert [(one["part"], one["number"]) for one in lines] == [
        ("generated", 3),
        ("generated", 4),
    ]  # no music without data
    assert "tiny: auto − max(mean, best single) | 2" in (tmp_path / "judgments.md").read_text()
    assert "Ten sets helped to set" in (tmp_path / "judgments.md").read_text()
    assert "attainable − max(mean, best single) | 2" in (tmp_path / "judgments.md").read_text()
    with (tmp_path / "j.jsonl").open("a") as file:
        file.write('{"part": "gen')  # a kill
    assert len(judgments.read_journal(tmp_path / "j.jsonl")) == 2


def test_a_summary_says_what_was_missed(tmp_path):
    lines = [
        {"part": "artists", "name": "65/35 by artist", "number": place, "micro_f1": 0.25 + gain, "mean": 0.25}
        for place, gain in enumerate((0.01, -0.003, 0.0))
    ]
    gain, below = sum_up(lines)
    assert gain.mean == pytest.approx(7 / 3000)
    assert (gain.verdict, below.verdict) == ("reached", f"missed by {1 / 3 - 0.15:.4f}")
    write_summary(lines, tmp_path)
    assert len(json.loads((tmp_path / "judgments.json").read_text())["draws"]) == 3


def test_networks_are_judged_as_differences_to_what_they_correct(tmp_path):
    keys = ("micro_f1", "mean_average_precision", "macro_f1", "log_loss", "cpu_seconds")
    alone, corrected = (0.825, 0.61, 0.49, 0.0336, 10.6), (0.828, 0.6, 0.49, 0.0328, 100.6)
    line = {"part": "networks", "name": "photos", "number": 0}
    for name, values in (("label-context", alone), ("label-network", corrected)):
        line |= {f"{name} {key}": value for key, value in zip(keys, values, strict=True)}
    write_summary([line], tmp_path)
    written = (tmp_path / "judgments.md").read_text()
    assert "| photos: label-network, micro-F1 | 1 | .8280 | .8280 | ≥ .8270 | reached |" in written
    assert "| photos: gain of micro-F1 | 1 | .0030 |" in written
    assert "| photos: gain of mAP | 1 | −.0100 |" in written
    assert "| photos: gain of 100 · log loss, below 0 is better | 1 | −.0800 |" in written
    assert "| photos: CPU s of label-context | 1 | 10.6 |" in written


def test_the_sets_of_the_benchmark_are_those_of_its_seed(few_recipes, tmp_path):
    words = ["--only", "unseen", "--journal", str(tmp_path / "j.jsonl"), "--data", str(tmp_path)]
    judgments.main([*words, "--draws", "1-2"])
    assert not (tmp_path / "j.jsonl").exists()
    judgments.main([*words, "--draws", "0-2"])
    (line,) = judgments.read_journal(tmp_path / "j.jsonl")  # no real set without data
    assert (line["part"], line["name"], line["number"]) == ("unseen", "tiny", 0)
    assert line["attainable_lead"] - line["lead"] == pytest.approx(line["attainable"] - line["micro_f1"])


def test_rows_in_groups_do_not_count_where_sets_without_are_asked_for():
    lines = [
        {"part": "unseen", "name": "a", "number": 0, "lead": -0.01, "grouped": True, "estimate": None},
        {"part": "unseen", "name": "b", "number": 0, "lead": 0.01, "grouped": False, "estimate": None},
    ]
    lead, below, *_ = sum_up(lines)
    assert lead.mean == 0.0
    assert below.values == [0.0]


def test_macro_f1_has_its_goal_where_labels_occur():
    keys = ("micro_f1", "macro_f1", "macro_f1_where_positive", "mean_average_precision")
    line = {f"label-context {key}": 0.53 for key in keys}
    goals = {one.what: one.goal for one in sum_up([{"part": "members", "name": "macro-f1", "number": 0, **line}])}
    assert goals["label-context, by macro-F1: of labels with positives"] == 0.54
    assert goals["label-context, by macro-F1: of all labels"] is None


def test_splits_of_photos_keep_groups_whole(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "fashion44k_members"
    folder.mkdir()
    for name, n_rows in (("fit", 5200), ("test", 100)):
        groups = {"groups": np.repeat(np.arange(n_rows // 4), 4)} if name == "fit" else {}
        truth = rng.integers(0, 2, (n_rows, 1)).astype(np.uint8)
        np.savez(folder / f"{name}.npz", y_scores=rng.random((1, n_rows, 1)).astype(np.float32), y_true=truth, **groups)
    plan = judgments.Plan(tmp_path, tmp_path)
    own, drawn = (load_split(prepare_members(plan, number)) for number in (0, 1))
    assert own.y_true.shape == (5200, 1)
    assert 5000 <= len(drawn.y_true) < 5004
    assert len(drawn.y_true) + len(drawn.y_true_test) == 5300
    assert (
        np.bincount(drawn.groups)[np.unique(drawn.groups)] % 4 != 0
    ).sum() <= 100  # only rows of the test file are alone


def test_wrong_words_are_refused(capsys):
    for words in (["--only", "everything"], ["--draws", "many"]):
        with pytest.raises(SystemExit):
            judgments.main(["--journal", "j", *words])
    assert "must be numbers" in capsys.readouterr().err
