"""Thresholds on any number of rows: scores come a block at a time, and only counts and the entries that matter stay.

The rules that maximize micro-F1 exactly read two additive things, histograms and the few entries near the top of each
label, so blocks of rows (or shards) merge without loss: the thresholds equal those of all rows at once.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from stacking._checks import check_y_score
from stacking._typing import BoolArray, DoubleArray, FloatArray
from stacking.decision_rules.cross_validated import tune_cross_validated_in_parts
from stacking.decision_rules.exact_micro_f1 import tune_exact_over_blocks
from stacking.decision_rules.labeled_scores import LabeledScores, silence
from stacking.decision_rules.sorted_parts import SortedParts
from stacking.folds import deal_part
from stacking.predictions import PredictionSet
from stacking.predictions.sources import rows_per_block

ADDITIVE_RULES = ("single", "exact-micro-f1", "cross-validated")
"""Decision rules that are tuned from additive counts."""


class ScoreBlocks:
    """One score per sample and label with the truth, read a block of rows at a time, as often as needed.

    Parameters
    ----------
    read : callable
        Takes rows (a slice, or positions), returns their scores, shape (n_rows, n_labels); rows do not depend on each
        other.
    predictions : PredictionSet
        With the truth; unknown cells, weights and groups are honored.
    kept : ndarray of bool, shape (n_samples,), optional
        The rows to look at; all by default.
    block : int, optional
        Rows per block; by default as many as fill 64 MiB.
    answered : ndarray of bool, shape (n_labels,), optional
        False for a label that nothing is said about: it never fires. All are answered by default.

    Raises
    ------
    ValueError
        If the truth is missing.

    Examples
    --------
    >>> y_score = np.array([[0.9, 0.2], [0.4, 0.1], [0.3, 0.3]], dtype=np.float32)
    >>> predictions = PredictionSet(y_score[None], y_true=[[1, 0], [1, 0], [0, 0]])
    >>> ScoreBlocks(lambda rows: y_score[rows], predictions, block=1).tune("exact-micro-f1").round(2).tolist()
    [0.35, inf]
    """

    def __init__(
        self,
        read: Callable[[Any], FloatArray],
        predictions: PredictionSet,
        kept: BoolArray | None = None,
        *,
        block: int | None = None,
        answered: BoolArray | None = None,
    ) -> None:
        if predictions.y_true is None:
            raise ValueError("predictions must carry y_true: thresholds are tuned on it; use with_truth(y_true).")
        self.read = read
        self.predictions = predictions
        self.answered = answered
        counted = predictions.truth.counted
        self.kept = counted if kept is None else kept if counted is None else kept & counted
        self.block = rows_per_block(predictions.n_labels) if block is None else block

    def __iter__(self) -> Iterator[LabeledScores]:
        """Yield the blocks that hold any row."""
        truth = self.predictions.truth
        for start in range(0, self.predictions.n_samples, self.block):
            rows: Any = slice(start, min(start + self.block, self.predictions.n_samples))
            if self.kept is not None and not self.kept[rows].all():
                rows = start + np.flatnonzero(self.kept[rows])
                if not len(rows):
                    continue
            yield LabeledScores.of(check_y_score(self.read(rows)), truth.rows(rows), self.answered)

    def tune(self, rule: str = "exact-micro-f1") -> DoubleArray:
        """Tune the thresholds of an additive rule.

        Parameters
        ----------
        rule : {"single", "exact-micro-f1", "cross-validated"}, default "exact-micro-f1"
            The decision rule.

        Returns
        -------
        ndarray of float64, shape (n_labels,)
            The thresholds that `tune_thresholds` finds on all rows at once.

        Raises
        ------
        ValueError
            If the rule needs all rows at once.

        Notes
        -----
        Reads every block twice, for ``"cross-validated"`` six times. Memory: a block, and 8 bytes for each of about
        2 · positives / F entries, for ``"cross-validated"`` 21 and 16 for each positive.
        """
        _check_additive(rule)
        if rule == "cross-validated":
            return self.tune_part(rule, np.ones(self.predictions.n_samples, dtype=bool))
        if rule == "exact-micro-f1":
            return tune_exact_over_blocks(lambda: self)
        single = tune_exact_over_blocks(lambda: (pool for part in self for pool in part.iter_pooled()))[0]
        return silence(np.full(self.predictions.n_labels, single), self.answered)

    def tune_part(self, rule: str, part: BoolArray) -> DoubleArray:
        """Tune the thresholds of an additive rule on some of the rows; those of many parts come from one sort.

        Parameters
        ----------
        rule : {"single", "exact-micro-f1", "cross-validated"}
            The decision rule.
        part : ndarray of bool, shape (n_samples,)
            The rows; those that are not kept are left out.

        Returns
        -------
        ndarray of float64, shape (n_labels,)
            The thresholds that `tune_thresholds` finds on these rows.

        Raises
        ------
        ValueError
            If the rule needs all rows at once.
        """
        _check_additive(rule)
        rows = part if self.kept is None else part & self.kept
        if rule == "single":
            tuned = self._sorted.cut_pooled(rows)[0]
        elif rule == "exact-micro-f1":
            tuned = self._sorted.cut_labels(rows)
        else:
            tuned = tune_cross_validated_in_parts(self._sorted, rows, deal_part(self.predictions.truth, rows))
        return silence(tuned, self.answered)

    @cached_property
    def _sorted(self) -> SortedParts:
        """The kept rows, sorted."""
        kept = np.ones(self.predictions.n_samples, dtype=bool) if self.kept is None else self.kept

        def read_blocks(rows: BoolArray) -> ScoreBlocks:
            return ScoreBlocks(self.read, self.predictions, rows, block=self.block, answered=self.answered)

        return SortedParts(read_blocks, kept)

    def micro_f1(self, thresholds: DoubleArray) -> float:
        """Score decisions at given thresholds.

        Parameters
        ----------
        thresholds : ndarray of float64, shape (n_labels,)
            A label fires when its score is at or above its threshold.

        Returns
        -------
        float
            Micro-F1 in [0, 1]; 0 without positives and decisions.
        """
        hits = fired = positives = 0.0
        for part in self:
            part_hits, part_fired = part.counts_at(thresholds)
            hits, fired = hits + part_hits.sum(), fired + part_fired.sum()
            positives += part.truth.label_positives.sum()
        return float(2.0 * hits / (fired + positives)) if fired + positives else 0.0


def _check_additive(rule: str) -> None:
    """Raise where a rule is not tuned from additive counts."""
    if rule not in ADDITIVE_RULES:
        raise ValueError(f"rule must be one of {ADDITIVE_RULES} to be tuned block by block: got {rule!r}.")
