import numpy as np
import pytest

from experiments.row_split import hold_back
from stacking.predictions import PredictionSet


@pytest.mark.parametrize("share", [0.2, 0.5, 0.65, 0.8])
def test_share_labels_and_groups_are_kept(make_predictions, share):
    predictions = make_predictions(400)
    first, rest = hold_back(predictions, share, random_state=1)
    assert abs(first.n_samples / 400 - share) < 0.01
    assert sorted([*first.ids, *rest.ids]) == sorted(predictions.ids)
    assert set(first.groups).isdisjoint(rest.groups)
    np.testing.assert_allclose(first.y_true.mean(axis=0), rest.y_true.mean(axis=0), atol=0.1)


def test_same_seed_same_split(make_predictions):
    predictions = make_predictions(100)
    assert hold_back(predictions, 0.5)[0].ids.tolist() == hold_back(predictions, 0.5)[0].ids.tolist()
    assert hold_back(predictions, 0.5)[0].ids.tolist() != hold_back(predictions, 0.5, random_state=1)[0].ids.tolist()


@pytest.mark.parametrize("share", [0, 1, -0.1, 7])
def test_share_out_of_range(make_predictions, share):
    with pytest.raises(ValueError, match="must lie between 0 and 1"):
        hold_back(make_predictions(20), share)


def test_truth_is_needed():
    with pytest.raises(ValueError, match="must carry the truth"):
        hold_back(PredictionSet(np.full((1, 10, 2), 0.5)), 0.5)
