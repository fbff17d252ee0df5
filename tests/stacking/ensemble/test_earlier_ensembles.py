"""Ensembles that earlier versions saved still load and answer as they did then.

A new version adds a folder of its own; nothing here is ever written again.
"""

from pathlib import Path

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble

FOLDER = Path(__file__).parent / "earlier_ensembles"
SAVED = sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def test_there_are_some():
    assert {"0.1.0-auto", "0.1.0-greedy", "0.1.0-label-context", "0.1.0-lightgbm"} <= set(SAVED)


@pytest.mark.parametrize("name", SAVED)
def test_an_earlier_ensemble_answers_as_it_did(name):
    version, _, method = name.partition("-")
    with np.load(FOLDER / f"{version}-scores.npz") as recorded:
        y_scores, expected = recorded["y_scores"], recorded[method.replace("-", "_")]
    new = PredictionSet(y_scores, models=["a", "b", "c"], labels=["w", "x", "y", "z"])
    ensemble = StackingEnsemble.load(FOLDER / name)
    np.testing.assert_allclose(ensemble.predict_proba(new), expected, atol=2e-6)
    assert ensemble.predict(new).any()
