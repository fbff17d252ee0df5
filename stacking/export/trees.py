"""The combiners made of LightGBM trees as programs: all trees of an ensemble are asked in one operation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from stacking._typing import DoubleArray, IntArray
from stacking.combiners.meta_learners.trees.pair_lightgbm import FIRST_MEMBER, FREQUENCY, MEAN, PairLightGBM
from stacking.combiners.meta_learners.trees.per_label_lightgbm import PerLabelStacker
from stacking.combiners.meta_learners.trees.tree_text import TreeNodes, read_tree_nodes
from stacking.export.program import DOUBLE, FLOAT, INTEGER, Value, concatenate, logit, sigmoid, where
from stacking.export.stackers import filled_logits, pooled_logits, regression
from stacking.export.translation import Given, translates


@dataclass(frozen=True)
class Grove:
    """Trees that add to one target.

    Attributes
    ----------
    nodes : TreeNodes
        Their nodes; features are columns of the table that all trees read.
    target : int
        The column that they add to.
    share : float
        What their leaves are multiplied by.
    """

    nodes: TreeNodes
    target: int
    share: float


def _ask_trees(table: Value, groves: Sequence[Grove], n_targets: int) -> Value:
    """Add up the leaves that every row of a table reaches."""
    sizes = np.array([len(grove.nodes.value) for grove in groves])
    first = np.cumsum(sizes) - sizes

    def join(name: str, moved: bool = False) -> Any:
        arrays = [getattr(grove.nodes, name) for grove in groves]
        return np.concatenate([array + start * moved for array, start in zip(arrays, first, strict=True)])

    value = np.concatenate([grove.nodes.value * grove.share for grove in groves])
    targets = np.concatenate([np.full(len(grove.nodes.roots), grove.target) for grove in groves])
    left, right = join("left", True), join("right", True)
    arrays = [
        (join("feature"), INTEGER),
        (join("threshold"), DOUBLE),
        (join("gap_left"), "bool"),
        (left, INTEGER),
        (right, INTEGER),
        (value, DOUBLE),
        (join("roots", True), INTEGER),
        (targets, INTEGER),
    ]
    constants = [table.program.constant(array, dtype) for array, dtype in arrays]
    depth = _depth(left, right, join("roots", True))
    return table.program.add("Trees", [table, *constants], DOUBLE, n_targets=n_targets, depth=depth)


def _depth(left: IntArray, right: IntArray, roots: IntArray) -> int:
    """Count the steps to the deepest leaf."""
    depth, level = 0, np.unique(roots)
    while len(level := level[left[level] != level]):  # leaves are their own children
        depth, level = depth + 1, np.unique(np.concatenate([left[level], right[level]]))
    return depth


def _with_features(nodes: TreeNodes, columns: Any) -> TreeNodes:
    """Let nodes read other columns."""
    taken = {one.name: getattr(nodes, one.name) for one in fields(nodes)}
    return TreeNodes(**{**taken, "feature": np.asarray(columns, np.int64)[nodes.feature]})


@translates(PerLabelStacker)
def _per_label(given: Given, combiner: PerLabelStacker) -> Value:
    """Add the mean correction of the folds' trees to the regressions."""
    logits = filled_logits(given, combiner.centers_, combiner.covers_)
    members = logits.cast(DOUBLE)
    answer = regression(members, [], combiner.coefficients_)
    n_models, n_labels = combiner.covers_.shape
    groves = []
    by_label: dict[int, list[str]] = {}
    for name, text in combiner._texts.items():
        by_label.setdefault(int(name.split("/")[0]), []).append(text)
    for label, texts in sorted(by_label.items()):
        own = np.flatnonzero(combiner.covers_[:, label]) * n_labels + label
        context = n_models * n_labels + np.array([label, *combiner.context_[label]])
        columns = np.concatenate([own, context])
        for text in texts:
            nodes = _with_features(read_tree_nodes(text, len(columns)), columns)
            groves.append(Grove(nodes, label, 1.0 / len(texts)))
    if groves:
        pooled = pooled_logits(members, combiner.covers_, combiner.pool_weights_).cast(FLOAT)
        table = concatenate([logits.transpose(1, 0, 2).reshape(0, n_models * n_labels), pooled], axis=1)
        answer = answer + _ask_trees(table, groves, n_labels)
    return sigmoid(answer).cast(FLOAT)


@translates(PairLightGBM)
def _pairs(given: Given, combiner: PairLightGBM) -> Value:
    """Average the folds' calibrated means and trees over (row, label) pairs."""
    n_folds = len(combiner.lines_)
    if not n_folds:
        present = given.present
        return where(present, given.scores, 0.0).sum(0) / given.covers.cast(FLOAT).sum(0)
    columns = _pair_columns(given, combiner)
    slopes, intercepts = combiner.lines_.sum(axis=0)
    total = columns[MEAN].cast(DOUBLE) * slopes + intercepts
    if combiner._texts:
        n_models, n_labels = combiner.covers_.shape
        # Only the frequency differs from fold to fold: it has a column for each.
        frequencies = [_beside(columns[0], row) for row in combiner.frequency_[1:]]
        all_columns = [column.expand(2) for column in (*columns, *frequencies)]
        table = concatenate(all_columns, axis=2).reshape(-1, len(all_columns))
        groves = []
        for fold in range(n_folds):
            places = np.arange(FIRST_MEMBER + n_models)
            places[FREQUENCY] = FREQUENCY if fold == 0 else len(columns) + fold - 1
            nodes = read_tree_nodes(combiner._texts[str(fold)], FIRST_MEMBER + n_models)
            groves.append(Grove(_with_features(nodes, places), 0, 1.0))
        total = total + _ask_trees(table, groves, 1).reshape(-1, n_labels)
    return sigmoid(total / float(n_folds) + combiner.shift_).cast(FLOAT)


def _pair_columns(given: Given, combiner: PairLightGBM) -> list[Value]:
    """Return the features of all pairs, those of the first fold, as `pair_lightgbm._features` does."""
    covers = combiner.covers_
    logits = filled_logits(given, combiner.centers_, covers)
    shares = (covers / np.maximum(covers.sum(axis=0), 1))[:, None, :]
    pooled = (logits.cast(DOUBLE) * shares).sum(0)
    mean = (sigmoid(logits).cast(DOUBLE) * shares).sum(0)
    deviation = logits - pooled.cast(FLOAT)
    spread = ((deviation * deviation).cast(DOUBLE) * shares).sum(0).sqrt()
    level = pooled.cast(FLOAT)
    nothing = np.full(covers.shape[1], np.nan)
    known = combiner.train_frequency_ if len(combiner.train_frequency_) else nothing
    columns = [
        level,
        spread.cast(FLOAT),
        (0.0 - level).average_ranks(),
        _beside(level, combiner.frequency_[0]),
        _beside(level, known),
        logit(mean.cast(FLOAT)),
    ]
    for model, answered in enumerate(covers):
        here = given.program.constant(answered, "bool")
        columns.append(where(here, logits.take(np.array(model), axis=0), np.nan))
    return columns


def _beside(value: Value, row: DoubleArray) -> Value:
    """Repeat a row as often as a value has rows."""
    return value * 0.0 + row
