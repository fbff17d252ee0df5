"""Gradient boosting of one label from a given start, with as many trees as held-out folds ask for, often none.

Every fold grows trees on the other folds' rows, starting from logits that did not see the fold. The number of rounds is
the one with the largest mean fall of the held-out log loss, and 0 where that is within one standard error of nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, FloatArray
from stacking.combiners.meta_learners.trees.boosting import best_rounds, log_loss, stack_curves, tree_parameters
from stacking.files.result_cache import cache_key, cached

PATIENCE = 4
"""Rounds without a better held-out loss after which a fold stops growing trees. A choice; no measurement is on
record."""


@dataclass(frozen=True)
class LabelRows:
    """What one label's trees are grown from.

    Attributes
    ----------
    features : ndarray of float32, shape (n_samples, n_features)
        What the trees read.
    y_true : ndarray of float64, shape (n_samples,)
        The truth.
    weight : ndarray of float64, shape (n_samples,), or None
        Row weights, None if all are 1.
    start : ndarray of float64, shape (n_folds, n_samples)
        Logits that each fold's trees correct, by a model that did not see the fold.
    masks : list of ndarray of bool, shape (n_samples,)
        Rows held out in each fold.
    """

    features: FloatArray
    y_true: DoubleArray
    weight: DoubleArray | None
    start: DoubleArray
    masks: list[BoolArray]


@dataclass(frozen=True)
class BoostedLabel:
    """What boosting brought for one label.

    Attributes
    ----------
    models : tuple of str
        LightGBM text of each fold's trees; empty where no tree helped.
    held_out : ndarray of float64, shape (n_samples,)
        Correction of the logit for each row, by trees that saw neither the row nor its fold's losses.
    """

    models: tuple[str, ...]
    held_out: DoubleArray


def boost_label(rows: LabelRows, *, n_trees: int, seed: int) -> BoostedLabel:
    """Grow trees on each fold's complement and keep as many as held-out folds ask for.

    Parameters
    ----------
    rows : LabelRows
        Features, truth, starting logits and folds.
    n_trees : int
        Most rounds, at least 1.
    seed : int
        Seed of the features drawn for each tree.

    Returns
    -------
    BoostedLabel
        The folds' trees and the held-out corrections; the rounds of a fold's correction are chosen on the other folds.
    """
    import lightgbm

    parameters = _parameters(seed)
    data = lightgbm.Dataset(rows.features, label=rows.y_true, weight=rows.weight, params=parameters).construct()
    boosters, curves = [], []
    for held, start in zip(rows.masks, rows.start, strict=True):
        history: dict[str, Any] = {}
        boosters.append(
            lightgbm.train(
                parameters,
                _subset(data, ~held, start),
                n_trees,
                valid_sets=[_subset(data, held, start)],
                callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False), lightgbm.record_evaluation(history)],
            )
        )
        before = log_loss(start[held], rows.y_true[held], None if rows.weight is None else rows.weight[held])
        curves.append(np.array([before, *history["valid_0"]["binary_logloss"]]))
    losses = stack_curves(curves)
    correction = np.zeros(len(rows.y_true))
    for fold, (held, booster) in enumerate(zip(rows.masks, boosters, strict=True)):
        rounds = best_rounds(np.delete(losses, fold, axis=0))
        if rounds:
            raw = booster.predict(rows.features[held], raw_score=True, num_iteration=rounds, num_threads=1)
            correction[held] = np.asarray(raw)
    rounds = best_rounds(losses)
    models = [booster.model_to_string(num_iteration=rounds) for booster in boosters] if rounds else []
    return BoostedLabel(tuple(models), correction)


def boost_label_once(rows: LabelRows, *, n_trees: int, seed: int, folder: Path | None) -> BoostedLabel:
    """Grow a label's trees, or take them from the folder of an earlier run on the same rows.

    Parameters
    ----------
    rows : LabelRows
        Features, truth, starting logits and folds.
    n_trees : int
        Most rounds, at least 1.
    seed : int
        Seed of the features drawn for each tree.
    folder : Path or None
        Where finished labels are kept; None keeps nothing.

    Returns
    -------
    BoostedLabel
        As `boost_label` returns it.
    """
    if folder is None:
        return boost_label(rows, n_trees=n_trees, seed=seed)
    import lightgbm

    def grow() -> dict[str, npt.NDArray[Any]]:
        label = boost_label(rows, n_trees=n_trees, seed=seed)
        texts = {f"model{k}": np.frombuffer(text.encode(), np.uint8) for k, text in enumerate(label.models)}
        return {"held_out": label.held_out, **texts}

    settings = {"trees": n_trees, "patience": PATIENCE, "lightgbm": lightgbm.__version__, **_parameters(seed)}
    arrays = (rows.features, rows.y_true, rows.weight, rows.start, np.array(rows.masks))
    kept = cached(folder, cache_key("boosted label", settings, *arrays), grow)
    models = [kept[f"model{k}"].tobytes().decode() for k in range(len(kept) - 1)]
    return BoostedLabel(tuple(models), kept["held_out"])


def _parameters(seed: int) -> dict[str, Any]:
    """Return LightGBM's parameters for the trees of one label.

    Fewer leaves than the trees over pairs have, since one label has few positives, and a higher learning rate for fewer
    rounds. The values are a choice; no measurement is on record.
    """
    return tree_parameters(learning_rate=0.1, num_leaves=6, min_data_in_leaf=30, seed=seed)


def _subset(data: Any, rows: BoolArray, start: DoubleArray) -> Any:
    """Take rows of a binned data set, without binning again, and start them at their regression's logits."""
    taken = data.subset(np.flatnonzero(rows)).construct()
    taken.set_init_score(start[rows])
    return taken
