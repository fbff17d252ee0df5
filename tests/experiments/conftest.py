"""Small predictions on which every command can be run for real."""

import numpy as np
import pytest

from stacking.predictions import PredictionSet, save_predictions
from stacking.testing import draw_scores

MODELS = ("cnn/a", "cnn/b", "specialist")
LABELS = ("color:red", "color:blue", "sleeve:long", "neck:v", "rare:thing")


@pytest.fixture
def make_predictions():
    """Scores of three models of different skill for random truth."""

    def _make(n_samples=160, seed=0, **metadata):
        rng = np.random.default_rng(seed)
        y_true = (rng.random((n_samples, len(LABELS))) < (0.5, 0.4, 0.3, 0.2, 0.08)).astype(np.uint8)
        y_true[:5] = np.eye(5, dtype=np.uint8)
        y_scores = draw_scores(y_true, [0.9, 1.3, 1.6], rng, signal=3.0)
        groups = np.repeat(np.arange(n_samples // 2), 2)[:n_samples]
        ids = [f"photo{seed}-{row:04d}" for row in range(n_samples)]
        return PredictionSet(y_scores, ids, MODELS, LABELS, **{"y_true": y_true, "groups": groups, **metadata})

    return _make


@pytest.fixture
def bundle(tmp_path, make_predictions):
    """A bundle of 160 samples, 3 models and 5 labels."""
    return save_predictions(make_predictions(), tmp_path / "predictions.npz")


@pytest.fixture
def held_back(tmp_path, make_predictions):
    """Other samples of the same models and labels."""
    return save_predictions(make_predictions(100, seed=1), tmp_path / "held-back.npz")


@pytest.fixture
def labelstack():
    """Run the command line as a user would; returns exit code, stdout and stderr."""
    from typer.testing import CliRunner

    from experiments.cli import app

    def _run(*arguments):
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    return _run
