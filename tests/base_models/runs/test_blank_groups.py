"""Photos whose group is blank stand alone: they are drawn one by one, and tie no split to another."""

import numpy as np
import pytest

from base_models.manifest.loading import _draw_groups
from base_models.recipe.folds import FoldConfig
from base_models.runs.splits import _hold_out


def test_photos_without_a_group_are_drawn_one_by_one():
    groups = np.array(["a", "a", "a", *[""] * 30])
    drawn = _draw_groups(np.arange(33), groups, 10, seed=0)
    assert len(drawn) == 10
    assert np.isin([0, 1, 2], drawn).sum() in (0, 3)


def test_blank_groups_lie_in_several_folds_and_tie_no_splits_together(rng):
    y_true = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    groups = np.array(["a", "a", *[""] * 38])
    split = np.array(["train"] * 30 + ["validation"] * 10)
    fold = _hold_out(FoldConfig(scheme="out-of-fold", n_folds=3), split, y_true, groups)
    assert fold[0] == fold[1]
    assert (np.bincount(fold[:30]) >= 8).all()
    held = _hold_out(FoldConfig(scheme="validation-split"), split, y_true, groups)
    assert (held[30:] == 0).all() and (held[:30] == -1).all()
    groups[35] = "a"
    with pytest.raises(ValueError, match="must share no group"):
        _hold_out(FoldConfig(scheme="validation-split"), split, y_true, groups)
