"""Scores with their truth, checked once: what every decision rule is tuned on.

Not every label need be answered: what a specialist leaves out, or no member covers, must never fire, and still its
positives are missed. Such cells are *unanswered*: no rule can cut among them, and every count of positives holds them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from stacking._checks import check_y_score
from stacking.truth import Truth

BLOCK_CELLS = 16_777_216
"""Cells looked at for each block, 64 MiB of scores: a choice, not tuned; only memory and speed depend on it."""

POOLED_CELLS = 2_097_152
"""The same where cells are pooled, since each then has a weight of its own, 8 bytes."""


@dataclass(frozen=True)
class LabeledScores:
    """Scores of one model or ensemble with the truth.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1].
    truth : Truth
        What counts of the same rows; every row does.
    unanswered : ndarray of bool, shape (n_samples, n_labels), or None
        True where nothing is answered, so that no threshold may fire; None where all cells are answered.
    row_cells : int, default 1
        How many rows here were the cells of one row before they were pooled.
    """

    y_score: npt.NDArray[np.float32]
    truth: Truth
    unanswered: npt.NDArray[np.bool_] | None = None
    row_cells: int = 1

    @classmethod
    def check(
        cls,
        y_score: npt.ArrayLike,
        y_true: npt.ArrayLike,
        y_known: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
    ) -> Self:
        """Check the arrays and bring them to their one form.

        Parameters
        ----------
        y_score : array of shape (n_samples, n_labels)
            Scores in [0, 1].
        y_true : array of shape (n_samples, n_labels)
            The truth, 0 or 1.
        y_known : array of bool, shape (n_samples, n_labels), optional
            False where a cell is not annotated.
        sample_weight : array of shape (n_samples,), optional
            Weights of the samples.
        groups : array of int or str, shape (n_samples,), optional
            Samples that belong together.

        Returns
        -------
        LabeledScores
            The checked arrays, without the rows that do not count.

        Raises
        ------
        ValueError
            If shapes differ, there is no cell, or a value is out of range.
        """
        scores = check_y_score(y_score)
        if not scores.size:
            raise ValueError(f"y_score must hold at least one sample and one label: got shape {scores.shape}.")
        shape = (scores.shape[0], scores.shape[1])
        return cls.of(
            scores, Truth.check(y_true, y_known=y_known, sample_weight=sample_weight, groups=groups, shape=shape)
        )

    @classmethod
    def of(cls, y_score: npt.NDArray[np.float32], truth: Truth, answered: npt.NDArray[np.bool_] | None = None) -> Self:
        """Put scores and their truth together; rows that do not count are left out.

        Parameters
        ----------
        y_score : ndarray of float32, shape (n_samples, n_labels)
            Scores in [0, 1].
        truth : Truth
            Of the same rows.
        answered : ndarray of bool, shape (n_labels,), optional
            False for a label that nothing is said about; all are answered by default.

        Returns
        -------
        LabeledScores
            No copy where all rows count.
        """
        if truth.counted is not None:
            y_score, truth = y_score[truth.counted], truth.only_counted()
        if answered is None or answered.all():
            return cls(y_score, truth)
        return cls(y_score, truth, np.broadcast_to(~answered, y_score.shape))

    @cached_property
    def answered_truth(self) -> Truth:
        """The truth of the answered cells: the others count as not known."""
        if self.unanswered is None:
            return self.truth
        known = ~self.unanswered if self.truth.y_known is None else self.truth.y_known & ~self.unanswered
        return replace(self.truth, y_known=known)

    @property
    def missed(self) -> npt.NDArray[np.float64]:
        """The weight of each label's positives that no threshold can reach, shape (n_labels,)."""
        if self.unanswered is None:
            return np.zeros(self.n_labels)
        return self.truth.sum_rows(self.truth.y_true & self.unanswered)

    @property
    def y_true(self) -> npt.NDArray[np.uint8]:
        """The truth as the kernels read it, 0 where it is not known or not answered."""
        return np.ascontiguousarray(self.answered_truth.y_true).view(np.uint8)

    @property
    def y_known(self) -> npt.NDArray[np.bool_]:
        """The known and answered cells as the kernels read them: the empty array stands for all."""
        known = self.answered_truth.y_known
        return np.empty((0, 0), dtype=bool) if known is None else np.ascontiguousarray(known)

    @property
    def sample_weight(self) -> npt.NDArray[np.float64]:
        """The weights as the kernels read them: the empty array stands for 1 each."""
        return np.empty(0) if self.truth.sample_weight is None else self.truth.sample_weight

    @property
    def n_labels(self) -> int:
        """The number of labels."""
        return self.y_score.shape[1]

    def iter_blocks(self, kept: npt.NDArray[np.bool_], n_rows: int | None = None) -> Iterator[Self]:
        """Go through some rows, a block at a time; no more than a block is copied.

        Parameters
        ----------
        kept : ndarray of bool, shape (n_samples,)
            The rows wanted.
        n_rows : int, optional
            Rows to look at for each block; by default as many as hold `BLOCK_CELLS`.

        Yields
        ------
        LabeledScores
            The wanted ones among them, where there are any.
        """
        n_rows = max(1, BLOCK_CELLS // self.n_labels) if n_rows is None else n_rows
        for start in range(0, len(self.y_score), n_rows):
            block: Any = slice(start, start + n_rows)
            if not kept[block].all():
                block = start + np.flatnonzero(kept[block])
            if not isinstance(block, slice) and not len(block):
                continue
            unanswered = None if self.unanswered is None else self.unanswered[block]
            yield type(self)(self.y_score[block], self.truth.rows(block), unanswered)

    def pooled(self) -> Self:
        """Return all cells as one label, row by row.

        Returns
        -------
        LabeledScores
            A single column of n_samples · n_labels cells.
        """
        known, weight = self.truth.y_known, self.truth.sample_weight
        cells = Truth(
            self.truth.y_true.reshape(-1, 1),
            None if known is None else known.reshape(-1, 1),
            None if weight is None else np.repeat(weight, self.n_labels),
        )
        unanswered = None if self.unanswered is None else self.unanswered.reshape(-1, 1)
        return type(self)(self.y_score.reshape(-1, 1), cells, unanswered, self.n_labels)

    def iter_pooled(self) -> Iterator[Self]:
        """Pool all cells a block of rows at a time: only of a block each cell has a weight of its own.

        Yields
        ------
        LabeledScores
            As `pooled` returns them.
        """
        n_rows = max(1, POOLED_CELLS // self.n_labels)
        for block in self.iter_blocks(np.ones(len(self.y_score), dtype=bool), n_rows):
            yield block.pooled()

    def counts_at(self, thresholds: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return each label's weighted true positives and predicted positives at given thresholds.

        Parameters
        ----------
        thresholds : ndarray of float64, shape (n_labels,)
            A label fires when its score is at or above its threshold.

        Returns
        -------
        tuple of ndarray of float64, shape (n_labels,)
            True positives and predicted positives.
        """
        fired = self.y_score >= thresholds
        if self.answered_truth.y_known is not None:
            fired &= self.answered_truth.y_known
        return self.truth.sum_rows(fired & self.truth.y_true), self.truth.sum_rows(fired)


def silence(thresholds: npt.NDArray[np.float64], answered: npt.NDArray[np.bool_] | None) -> npt.NDArray[np.float64]:
    """Let labels that nothing is said about never fire, whatever a rule tuned for them.

    Parameters
    ----------
    thresholds : ndarray of float64, shape (n_labels,)
        As a decision rule tuned them.
    answered : ndarray of bool, shape (n_labels,), or None
        False for a label that nothing is said about; None where all are answered.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        +inf where nothing is answered.
    """
    return thresholds if answered is None else np.where(answered, thresholds, np.inf)
