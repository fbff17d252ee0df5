"""LightGBM is only given texts that were checked and written anew; a changed text is refused or harmless."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stacking.combiners.meta_learners.trees.tree_text import compose_trees, load_booster

N_FEATURES = 4


def grow(*, n_rows=400, n_trees=5, **parameters):
    import lightgbm

    rng = np.random.default_rng(0)
    features = rng.normal(size=(n_rows, N_FEATURES))
    features[rng.random(features.shape) < 0.1] = np.nan
    truth = (np.nan_to_num(features[:, 0]) + rng.normal(size=n_rows) > 0).astype(float)
    settings = {"objective": "binary", "num_leaves": 6, "num_threads": 1, "verbose": -1, **parameters}
    return lightgbm.train(settings, lightgbm.Dataset(features, truth, params=settings), n_trees), features


@pytest.fixture(scope="module")
def sound():
    return grow()[0].model_to_string()


@pytest.mark.parametrize(
    "parameters", [{}, {"num_leaves": 2}, {"min_data_in_leaf": 400}, {"zero_as_missing": True}, {"num_leaves": 60}]
)
def test_what_was_written_anew_predicts_the_same(parameters):
    booster, features = grow(**parameters)
    read = load_booster(booster.model_to_string(), n_features=N_FEATURES, who="label 'a'")
    np.testing.assert_array_equal(read.predict(features, raw_score=True), booster.predict(features, raw_score=True))


def test_composing_twice_changes_nothing(sound):
    once = compose_trees(sound, N_FEATURES)
    assert compose_trees(once, N_FEATURES) == once


def test_nothing_but_numbers_reaches_lightgbm(sound):
    composed = compose_trees(sound.replace("[data: ]", "[data: /etc/passwd]"), N_FEATURES)
    assert "passwd" not in composed
    assert "pandas_categorical" not in composed


def resized(text):
    head, *blocks = text.partition("\nend of trees\n")[0].split("\nTree=")
    sizes = " ".join(str(len(f"Tree={block}\n")) for block in blocks)
    return "\nTree=".join([re.sub("tree_sizes=.*", f"tree_sizes={sizes}", head), *blocks]) + "\nend of trees\n"


def change_first(text, key, change):
    """Change the values of one entry of the first tree that has it."""
    match = re.search(rf"^{key}=(.*)$", text, re.MULTILINE)
    return text[: match.start(1)] + change(match.group(1)) + text[match.end(1) :]


def last_becomes(value):
    return lambda row: " ".join([*row.split(" ")[:-1], value])


@pytest.mark.parametrize(
    ("key", "change", "reason"),
    [
        ("left_child", lambda row: " ".join(["0"] * len(row.split(" "))), "must be a later one"),
        ("left_child", last_becomes("-99"), "must be a later one"),
        ("right_child", last_becomes("99"), "must be a later one"),
        ("right_child", last_becomes("-1"), "child of one node"),
        ("split_feature", last_becomes("4"), "split_feature must be from 0 to 3"),
        ("split_feature", last_becomes("-1"), "split_feature must be from 0 to 3"),
        ("split_feature", last_becomes(""), "must hold numbers"),
        ("threshold", last_becomes("nan"), "threshold must hold numbers"),
        ("threshold", last_becomes("-inf"), "threshold must hold numbers"),
        ("threshold", last_becomes("1e+999"), "double precision"),
        ("threshold", lambda row: row + " 0.5", "values of threshold"),
        ("leaf_value", last_becomes("inf"), "leaf_value must hold numbers"),
        ("leaf_value", last_becomes("1e+200"), "leaf values must be within"),
        ("leaf_value", lambda row: "0.5", "values of leaf_value"),
        ("leaf_count", lambda row: row + " 7", "values of leaf_count"),
        ("internal_count", lambda row: "", "values of internal_count"),
        ("decision_type", last_becomes("1"), "decision_type must hold numbers"),
        ("decision_type", last_becomes("12"), "decision_type must hold numbers"),
        ("num_leaves", lambda row: "999999999", "values of leaf_value"),
        ("num_leaves", lambda row: "0", "at least one leaf"),
        ("num_leaves", lambda row: "-3", "at least one leaf"),
        ("num_cat", lambda row: "1", "numeric splits"),
        ("is_linear", lambda row: "1", "numeric splits"),
        ("num_class", lambda row: "3", "num_class must be 1"),
        ("num_tree_per_iteration", lambda row: "2", "num_tree_per_iteration must be 1"),
        ("max_feature_idx", lambda row: "9", "max_feature_idx must be 3"),
        ("objective", lambda row: "multiclass num_class:3", "objective must be binary"),
        ("version", lambda row: "v9", "version must be v3 or v4"),
    ],
)
def test_what_is_no_sound_model_is_refused_with_its_reason(sound, key, change, reason):
    changed = resized(change_first(sound, key, change))
    with pytest.raises(ValueError, match=rf"(?s)label 'a' must be a sound LightGBM text: .*{reason}"):
        load_booster(changed, n_features=N_FEATURES, who="label 'a'")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: text[: len(text) // 2], "whole trees"),
        (lambda text: "", "whole trees"),
        (lambda text: text.replace("tree_sizes=", "tree_sizes=9"), "tree_sizes must be the lengths"),
        (lambda text: text.replace("Tree=1\n", "Tree=2\n", 1), "tree 1 must begin with its number"),
        (lambda text: text.replace("num_class=1\n", "num_class=1\naverage_output\n"), "got 'average_output'"),
        (lambda text: text.replace("num_leaves=6\n", "num_leaves=6\nnum_leaves=6\n", 1), "tree_sizes"),
    ],
)
def test_what_is_not_whole_is_refused(sound, change, reason):
    with pytest.raises(ValueError, match=reason):
        compose_trees(change(sound), N_FEATURES)


def test_mutated_texts_are_refused_or_answer_and_never_crash(sound, tmp_path):
    model = tmp_path / "model.txt"
    model.write_text(sound, encoding="utf-8")
    script = Path(__file__).with_name("tree_mutations.py")
    answer = subprocess.run(
        [sys.executable, str(script), str(model), str(N_FEATURES), "3000", "0"],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=Path(__file__).parents[5],
        env={"PYTHONPATH": str(Path(__file__).parents[5]), "OMP_NUM_THREADS": "1", "PATH": ""},
    )
    assert answer.returncode == 0, answer.stderr[-2000:]
    refused, answered = map(int, answer.stdout.split())
    assert refused + answered == 3000
    assert min(refused, answered) > 100
