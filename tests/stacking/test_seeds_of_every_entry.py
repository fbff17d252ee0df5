"""What is no seed is refused in one sentence by everything that takes one, before it works."""

import numpy as np
import pytest

import labelstack as ls
from stacking import compare, tune_thresholds
from stacking.combiners.registry import create_method, list_methods
from stacking.diagnosis.suspects import find_suspects
from stacking.folds import holdout_rows, stratified_group_folds
from stacking.metrics.bootstrap import bootstrap_totals
from stacking.testing import make_predictions

P = make_predictions(n_samples=40)
ENTRIES = {
    "fit": lambda seed: ls.fit(P, "mean", random_state=seed),
    "compare": lambda seed: compare(P, ["mean"], random_state=seed, n_splits=2, n_bootstrap=5),
    "split": lambda seed: ls.split(P, 0.5, random_state=seed),
    "suspects": lambda seed: find_suspects(P, random_state=seed),
    "folds": lambda seed: stratified_group_folds(P.y_true, 2, random_state=seed),
    "holdout": lambda seed: holdout_rows(P.y_true, 0.5, random_state=seed),
    "rule": lambda seed: tune_thresholds(P.to_array()[0], P.y_true, "cross-validated", random_state=seed),
    "intervals": lambda seed: bootstrap_totals(P.y_true, n_bootstrap=5, random_state=seed),
    **{
        name: (lambda seed, name=name: create_method(name, random_state=seed).fit(P))
        for name in ("greedy", "logistic", "lightgbm", "pair-blend")
        if name in list_methods()
    },
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_is_no_seed_is_refused(entry):
    for seed in (-1, "0", 1.5, True):
        with pytest.raises(ValueError, match="random_state must be a non-negative integer"):
            ENTRIES[entry](seed)


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_what_an_ensemble_could_not_save_is_refused_before_the_fit(make):
    for method, seed in (("mean", make(0)), (create_method("greedy", random_state=make(0)), 0)):
        with pytest.raises(
            ValueError, match=r"random_state must be a non-negative integer or None, .* got a (Gen|Ran)"
        ):
            ls.fit(P, method, random_state=seed)


def test_numpy_integers_and_large_ones_are_seeds():
    for seed in (np.int64(3), 2**70):
        ENTRIES["split"](seed)


def test_the_command_refuses_a_negative_seed(tmp_path):
    from typer.testing import CliRunner

    from experiments.cli import app

    ls.save_predictions(P, tmp_path / "p.npz")
    done = CliRunner().invoke(app, ["fit", str(tmp_path / "p.npz"), "--seed", "-1", "--out", str(tmp_path / "e")])
    assert done.exit_code == 2 and "'--seed': Input should be greater than or equal to 0" in done.stderr
