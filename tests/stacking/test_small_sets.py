"""Few groups, few rows, one of either: every public thing answers, or says in one sentence why it cannot."""

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble, compare
from stacking.testing import draw_scores

RNG = np.random.default_rng(0)
TRUTH = (RNG.random((60, 3)) < 0.4).astype(np.uint8)
SCORES = draw_scores(TRUTH, np.ones(3), RNG, signal=3.0, offset=-1.5)


def grouped(n_groups):
    return PredictionSet(SCORES, y_true=TRUTH, groups=np.arange(60) % n_groups)


@pytest.mark.parametrize("n_groups", [2, 3, 4, 5, 6])
def test_compare_takes_as_many_folds_as_there_are_groups(n_groups):
    table = compare(grouped(n_groups), ["mean", "logistic"], n_bootstrap=10).table.set_index("method")
    assert table.score.between(0.5, 1).all()


@pytest.mark.parametrize("n_rows", [2, 3, 6])
def test_compare_takes_few_rows(n_rows):
    some = PredictionSet(SCORES[:, :n_rows], y_true=TRUTH[:n_rows])
    assert "mean" in compare(some, ["mean"], n_bootstrap=10).table["method"].tolist()


@pytest.mark.parametrize(("predictions", "unit"), [
    (grouped(1), "groups"), (PredictionSet(SCORES[:, :1], y_true=TRUTH[:1]), "samples"),
], ids=["one group", "one row"])  # fmt: skip
def test_one_group_or_row_cannot_be_compared_but_fitted(predictions, unit):
    with pytest.raises(ValueError, match=f"predictions must hold at least 2 {unit} that count to be compared: got 1"):
        compare(predictions, ["mean"], n_bootstrap=10)
    ensemble = StackingEnsemble().fit(predictions)
    np.testing.assert_allclose(ensemble.predict_proba(SCORES), SCORES.mean(axis=0), atol=1e-6)
    assert ensemble.report_["cross_fitted_micro_f1"] is None
    assert "nothing can be held out" in str(ensemble.report_)
    held_out = PredictionSet(SCORES, ids=[f"new{i}" for i in range(60)], y_true=TRUTH)
    assert compare(predictions, ["mean"], holdout=held_out, n_bootstrap=10).table.score.between(0, 1).all()


@pytest.mark.parametrize("n_groups", [2, 3])
def test_auto_takes_few_groups(n_groups):
    assert 0.4 < StackingEnsemble().fit(grouped(n_groups)).report_["cross_fitted_micro_f1"] <= 1
