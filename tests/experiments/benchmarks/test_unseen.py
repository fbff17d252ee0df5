"""Generated prediction sets hold what their recipe says, and auto is compared with the better plain answer."""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest

from experiments.benchmarks import unseen
from experiments.benchmarks.attainable import attainable_micro_f1, exact_probabilities
from experiments.benchmarks.datasets import load_split
from experiments.benchmarks.processes import Plan
from experiments.benchmarks.references import best_single_threshold, micro_f1
from experiments.benchmarks.rows import Goal
from experiments.benchmarks.unseen import (
    RECIPES,
    Recipe,
    generate,
    generate_with_law,
    plain_scores,
    prepare_unseen,
    unseen_job,
)
from stacking.metrics import mean_average_precision


def test_a_set_has_its_shape_and_its_frequencies_and_its_seed():
    recipe = Recipe(n_models=4, n_rows=3_000, n_labels=6, frequency=(0.05, 0.4))
    data, again, other = generate(recipe, 0), generate(recipe, 0), generate(recipe, 1)
    assert data.y_scores.shape == (4, 3_000, 6)
    np.testing.assert_allclose(data.y_true.mean(axis=0), np.geomspace(0.05, 0.4, 6), rtol=0.5, atol=0.02)
    np.testing.assert_array_equal(data.y_scores, again.y_scores)
    assert not np.array_equal(data.y_true, other.y_true)


def test_useless_members_know_nothing_and_copies_repeat_the_first():
    data = generate(Recipe(n_models=4, useless=1, n_labels=5), 0)
    share = data.y_true.mean()
    assert mean_average_precision(data.y_true, data.y_scores[0]) > 2 * share
    assert mean_average_precision(data.y_true, data.y_scores[3]) < 1.3 * share
    copied = generate(Recipe(n_models=4, copies=2, n_labels=5), 0).y_scores
    assert np.abs(copied[3] - copied[0]).mean() < 0.03 < np.abs(copied[1] - copied[0]).mean()


def test_holes_are_nan_for_whole_labels_and_never_in_the_first_member():
    scores = generate(RECIPES["holes"], 0).y_scores
    missing = np.isnan(scores)
    assert not missing[0].any()
    assert missing.any()
    np.testing.assert_array_equal(missing.any(axis=1), missing.all(axis=1))


def test_plain_scores_are_those_of_one_threshold_tuned_on_the_other_rows():
    data = generate(Recipe(n_models=2, n_rows=300, n_labels=3), 0)
    mean, single = plain_scores(data)
    cut = best_single_threshold(data.y_scores.mean(axis=0), data.y_true)
    assert mean == micro_f1(data.y_true_test, data.y_scores_test.mean(axis=0) >= cut)
    assert single < mean


@pytest.mark.parametrize("name", ["5 labels"])
def test_auto_is_measured_on_a_set(tmp_path, name, monkeypatch):
    small = dataclasses.replace(RECIPES[name], n_rows=150)
    monkeypatch.setitem(RECIPES, name, small)
    path = prepare_unseen(Plan(tmp_path, None), name)
    assert load_split(path).y_scores.shape[1] == 150
    job = unseen_job(str(path))
    values = job.describe(job.run())
    assert values["lead"] == pytest.approx(values["test_micro_f1"] - max(values["mean"], values["best_single"]))
    assert "auto" in values["report"]


def test_a_goal_names_a_known_quantity():
    with pytest.raises(ValueError, match=r"quantity must be one of .*: got 'gains'"):
        Goal("gains", 0.0)


def test_every_set_gets_a_row_and_the_summary_its_goals(tmp_path, monkeypatch):
    def measured(plan, row, job, arguments):
        return replace(row, values={"lead": 0.01, "test_micro_f1": 0.5})

    monkeypatch.setattr(unseen, "measure_row", measured)
    monkeypatch.setattr(unseen, "prepare_unseen", lambda plan, name: tmp_path / name)
    rows = unseen.measure_unseen(Plan(tmp_path, None))
    assert len(rows) == len(RECIPES) + 1 and rows[-1].values["worst_lead"] == 0.01
    assert all(row.as_dict()["goals"][0]["verdict"] == "reached" for row in rows)


def test_exact_probabilities_are_those_of_the_law_and_nothing_beats_them():
    drawn = generate_with_law(Recipe(n_models=3, n_rows=300, n_labels=6, correlation=0.9, frequency=(0.2, 0.5)), 0)
    chances = exact_probabilities(drawn)
    assert chances.shape == (4_300, 6) and (chances > 0).all() and (chances < 1).all()
    truth = np.concatenate([drawn.split.y_true, drawn.split.y_true_test])
    for low in (0.0, 0.25, 0.5, 0.75):  # of what is given a quarter, a quarter is there
        here = (chances >= low) & (chances < low + 0.25)
        assert chances[here].mean() == pytest.approx(truth[here].mean(), abs=0.03)
    reached = attainable_micro_f1(drawn)
    assert reached > max(plain_scores(drawn.split)) + 0.01


def test_a_label_that_one_member_answers_is_known_less_exactly():
    recipe = Recipe(n_models=6, n_rows=300, n_labels=8, correlation=0.0, covered=0.5)
    exact = {
        covered: exact_probabilities(generate_with_law(replace(recipe, covered=covered), 0)) for covered in (0.5, 1)
    }
    spread = {covered: chances.std(axis=0) for covered, chances in exact.items()}
    assert (spread[0.5] <= spread[1]).all()
    assert (spread[0.5] < spread[1]).sum() >= 4
