"""Fitted ensembles of every method, small enough to fit in a second or two, and scores that they have not seen."""

import warnings

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble
from stacking.combiners.registry import create_method, find_method, list_methods

MODELS = ("cnn/a", "cnn/b", "specialist", "d")
LABELS = ("color:red", "color:blue", "sleeve:long", "sleeve:short", "rare")
SMALLER = {"pair-lightgbm": {"n_trees": 12}, "convolutional": {"n_hidden": 16, "n_epochs": 6, "learning_rate": 0.01}}


def draw(n_samples, seed):
    rng = np.random.default_rng(seed)
    y_true = (rng.random((n_samples, len(LABELS))) < (0.5, 0.4, 0.4, 0.3, 0.12)).astype(np.uint8)
    y_true[:, 3] |= y_true[:, 0] & y_true[:, 2]
    noise = rng.normal(size=(4, n_samples, len(LABELS))) * np.array([0.9, 1.3, 1.6, 1.2])[:, None, None]
    y_scores = (1 / (1 + np.exp(1.2 - 3.0 * y_true - noise))).astype(np.float32)
    y_scores[2, :, :2] = np.nan  # the specialist answers three labels
    y_scores[0, :3, 2], y_scores[1, 3:6, 2] = 0.0, 1.0  # the ends of the scale
    ids = [f"photo{seed}-{row}" for row in range(n_samples)]
    return PredictionSet(y_scores, ids, MODELS, LABELS, y_true=y_true)


@pytest.fixture(scope="session")
def fitting():
    return draw(260, 0)


@pytest.fixture(scope="session")
def unseen():
    return draw(150, 1)


@pytest.fixture(scope="session")
def ensembles(fitting, tmp_path_factory):
    """One ensemble of every method that can be saved, as it is read back."""
    made = {}

    def get(method):
        if method not in made:
            if find_method(method).requires == "torch":
                pytest.importorskip("torch")
            folder = tmp_path_factory.mktemp("saved") / "ensemble"
            combiner = create_method(method, **SMALLER.get(method, {}))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                StackingEnsemble(combiner if method in SMALLER else method, n_splits=2).fit(fitting).save(folder)
            made[method] = StackingEnsemble.load(folder)
        return made[method]

    return get


def pytest_generate_tests(metafunc):
    if "method" in metafunc.fixturenames:
        metafunc.parametrize("method", list_methods())
