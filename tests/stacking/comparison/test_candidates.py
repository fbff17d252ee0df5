"""Which methods a comparison scores."""

import numpy as np

from stacking.combiners.registry import list_methods
from stacking.comparison.candidates import find_candidates
from stacking.predictions import PredictionSet


def names(methods):
    predictions = PredictionSet(
        y_scores=np.full((1, 4, 2), 0.5, np.float32),
        ids=list("abcd"),
        models=["member"],
        labels=["x", "y"],
        y_true=np.eye(2, dtype=np.uint8)[[0, 1, 0, 1]],
    )
    return [candidate.name for candidate in find_candidates(predictions, methods, {})]


def test_all_leaves_out_the_slow_methods():
    assert names("all") == ["member", *list_methods(include_slow=False)]
    assert "convolutional" in list_methods() and "convolutional" not in names("all")


def test_a_slow_method_is_scored_where_it_is_named():
    assert names(["convolutional", "mean"]) == ["member", "mean", "convolutional"]
