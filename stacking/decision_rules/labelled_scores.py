"""Scores with their truth, checked once: what every decision rule is tuned on."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from stacking._checks import check_mask, check_sample_weight, check_y_score, check_y_true

__all__ = ["LabelledScores"]

BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class LabelledScores:
    """Scores of one model or ensemble beside the truth.

    Parameters
    ----------
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1].
    y_true : ndarray of uint8, shape (n_samples, n_labels)
        The truth, 0 or 1.
    y_known : ndarray of bool, shape (n_samples, n_labels), or (0, 0)
        False where a cell is not annotated; the empty array stands for "all known".
    sample_weight : ndarray of float64, shape (n_samples,), or (0,)
        Weights of the samples; the empty array stands for 1 each.
    """

    y_score: npt.NDArray[np.float32]
    y_true: npt.NDArray[np.uint8]
    y_known: npt.NDArray[np.bool_]
    sample_weight: npt.NDArray[np.float64]

    @classmethod
    def check(
        cls,
        y_score: npt.ArrayLike,
        y_true: npt.ArrayLike,
        y_known: npt.ArrayLike | None,
        sample_weight: npt.ArrayLike | None,
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

        Returns
        -------
        LabelledScores
            The checked arrays.

        Raises
        ------
        ValueError
            If shapes differ, there is no cell, or a value is out of range.
        """
        scores = check_y_score(y_score)
        n_samples, n_labels = scores.shape
        if not scores.size:
            raise ValueError(f"y_score must hold at least one sample and one label: got shape {scores.shape}.")
        truth = check_y_true(y_true, n_samples=n_samples, n_labels=n_labels)
        known = np.empty((0, 0), dtype=bool)
        if y_known is not None:
            known = check_mask(y_known, n_samples=n_samples, n_labels=n_labels)
        weight = np.empty(0)
        if sample_weight is not None:
            weight = check_sample_weight(sample_weight, n_samples)
        return cls(scores, truth, known, weight)

    @property
    def n_labels(self) -> int:
        """The number of labels."""
        return self.y_score.shape[1]

    def iter_blocks(self, kept: npt.NDArray[np.bool_], n_rows: int = BLOCK_ROWS) -> Iterator[Self]:
        """Go through some rows, a block at a time; no more than a block is copied.

        Parameters
        ----------
        kept : ndarray of bool, shape (n_samples,)
            The rows wanted.
        n_rows : int, default 65,536
            Rows to look at for each block.

        Yields
        ------
        LabelledScores
            The wanted ones among them, where there are any.
        """
        for start in range(0, len(self.y_score), n_rows):
            block: Any = slice(start, start + n_rows)
            if not kept[block].all():
                block = start + np.flatnonzero(kept[block])
            if not isinstance(block, slice) and not len(block):
                continue
            known = self.y_known[block] if len(self.y_known) else self.y_known
            weight = self.sample_weight[block] if len(self.sample_weight) else self.sample_weight
            yield type(self)(self.y_score[block], self.y_true[block], known, weight)

    def pooled(self) -> Self:
        """Return all cells as one label, row by row.

        Returns
        -------
        LabelledScores
            A single column of n_samples · n_labels cells.
        """
        weight = np.repeat(self.sample_weight, self.n_labels)
        known = self.y_known.reshape(-1, 1) if len(self.y_known) else self.y_known
        return type(self)(self.y_score.reshape(-1, 1), self.y_true.reshape(-1, 1), known, weight)

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
        if len(self.y_known):
            fired &= self.y_known
        hits = fired & self.y_true.view(np.bool_)
        if len(self.sample_weight):
            return self.sample_weight @ hits, self.sample_weight @ fired
        return hits.sum(axis=0, dtype=np.float64), fired.sum(axis=0, dtype=np.float64)
