"""The best one threshold for any metric, against trying every score of few rows."""

import numpy as np
import pytest

from stacking.decision_rules import tune_thresholds
from stacking.metrics import find_metric


@pytest.mark.parametrize("name", ["hamming-loss", "subset-accuracy", "cost:fp=4,fn=1", "micro-f1"])
def test_no_threshold_of_few_scores_is_better_giving_no_label_included(name):
    metric, rng = find_metric(name), np.random.default_rng(0)
    n_never = 0
    for draw in range(20):
        y_true = (rng.random((30, 3)) < 0.3).astype(np.uint8)
        y_score = np.round(0.3 * (draw % 2) * y_true + 0.7 * rng.random((30, 3)), 1).astype(np.float32)
        facts = {"y_known": rng.random((30, 3)) < 0.9, "sample_weight": rng.integers(1, 4, 30)}
        thresholds = tune_thresholds(y_score, y_true, "best-single", metric=name, **facts)
        n_never += int(np.isinf(thresholds).all())
        found = metric.sign * metric(y_true, y_score >= thresholds, **facts)
        limits = [*np.unique(y_score), np.inf]
        best = max(metric.sign * metric(y_true, y_score >= limit, **facts) for limit in limits)
        assert found == pytest.approx(best, abs=1e-12)
    assert (n_never > 0) == (name != "micro-f1")


def test_a_users_function_is_not_asked_about_no_labels():
    def precision(y_true, y_pred):
        if not y_pred.any():
            raise ZeroDivisionError("nothing is predicted")
        return float(y_true[y_pred > 0].mean())

    y_true = np.eye(8, 4, dtype=np.uint8)
    thresholds = tune_thresholds(y_true * 0.5 + 0.25, y_true, "best-single", metric=find_metric(precision))
    assert (thresholds <= 0.75).all()


def test_all_labels_are_tried_where_positives_are_few():
    rng = np.random.default_rng(0)
    y_true = rng.random((200, 5)) < 0.03
    y_score = rng.random((200, 5)).astype(np.float32)
    y_true[np.arange(5), np.arange(5)] = True
    y_score[y_true] = np.linspace(0.0, 0.3, y_true.sum())
    thresholds = tune_thresholds(y_score, y_true, "best-single", metric="cost:fp=1,fn=5000")
    assert (y_score >= thresholds).all()
