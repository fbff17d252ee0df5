"""The cells of a prediction set label by label: what candidate weights are worth where each label has its own cut.

With a threshold per label, micro-F1, macro-F1 and average precision depend on a label through its own cuts only. So a
label's cells are kept together, its positives are sorted under every candidate, and its negatives counted between them,
the highest first, until no lower cut can be worth more (`stacking.kernels.labels`). That pruning loses nothing, and it
asks nothing of the scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray, FloatArray, IntArray

PatternArray = npt.NDArray[np.uint32]

Criterion = Literal["gain", "own-f1", "average-precision", "roc-auc"]

_CUTS_AT_ONCE = 4_000_000
"""Cuts held at a time, 16 bytes each. Only memory and speed depend on it."""


@dataclass(frozen=True)
class LabelCells:
    """Known cells by label, negatives before positives, each label's negatives by their highest score, descending.

    Parameters
    ----------
    values : ndarray of float32, shape (n_models, n_cells)
        Scores, or logits where `is_logit`; anything finite where a model does not cover the label.
    start : ndarray of int64, shape (2 · n_labels + 1,)
        Where the negatives and the positives of each label begin.
    weight : ndarray of float64, shape (n_cells,) or (0,)
        Sample weights; the empty array stands for 1 each.
    positives : ndarray of float64, shape (n_labels,)
        Weight of each label's positives.
    is_logit : bool
        Whether the mean is that of logits.
    block_start : ndarray of int64, shape (n_labels + 1,)
        Where each label's blocks of negatives begin.
    ceiling : ndarray of uint32, shape (n_blocks,)
        Bit pattern of a score that no mean of the block's cells, or of later ones, exceeds.
    """

    values: FloatArray
    start: IntArray
    weight: DoubleArray
    positives: DoubleArray
    is_logit: bool
    block_start: IntArray
    ceiling: PatternArray

    @classmethod
    def join(cls, parts: Sequence[tuple[FloatArray, IntArray, DoubleArray]], *, is_logit: bool) -> "LabelCells":
        """Join blocks of rows.

        Parameters
        ----------
        parts : sequence of (values, start, weight)
            Cells of each block, as the attributes of the same names, negatives in any order; 0 in the mixing space of
            scores where a model does not cover the label. A single block is put in order where it is.
        is_logit : bool
            Whether the mean is that of logits.

        Returns
        -------
        LabelCells
            All cells.
        """
        from stacking.kernels import labels as _label_kernels

        values, start, weight = parts[0] if len(parts) == 1 else _join(parts)
        segments = np.diff(start)
        positives = segments[1::2].astype(np.float64)
        if len(weight):
            total = np.concatenate([[0.0], np.cumsum(weight)])
            positives = np.where(positives > 0, total[start[2::2]] - total[start[1:-1:2]], 0.0)
        block_start = _label_kernels.count_blocks(start)
        ceiling = np.empty(block_start[-1], dtype=np.uint32)
        _label_kernels.order_negatives(values, start, weight, is_logit, block_start, ceiling)
        return cls(values, start, weight, positives, is_logit, block_start, ceiling)

    @property
    def n_labels(self) -> int:
        """The number of labels."""
        return len(self.start) // 2

    def evaluate(self, candidates: FloatArray, criterion: Criterion, price: float | None = None) -> DoubleArray:
        """Return what each label is worth under each candidate, at its best cut.

        Parameters
        ----------
        candidates : ndarray of float32, shape (k, n_models, n_labels)
            Weights, columns on the simplex, 0 where not covered.
        criterion : {"gain", "own-f1", "average-precision", "roc-auc"}
            2 TP − price · PP, the label's F-beta, its average precision or its ROC AUC.
        price : float, optional
            For ``"gain"``, 0 by default, and as beta² for ``"own-f1"``, 1 by default.

        Returns
        -------
        ndarray of float64, shape (k, n_labels)
            Worths; 0 for a label without positives, and for ROC AUC without negatives.
        """
        from stacking.kernels import labels as _label_kernels

        codes: dict[str, int] = {
            "gain": _label_kernels.GAIN,
            "own-f1": _label_kernels.OWN_F1,
            "average-precision": _label_kernels.AVERAGE_PRECISION,
            "roc-auc": _label_kernels.ROC_AUC,
        }
        result = np.zeros((len(candidates), self.n_labels))
        if price is None:
            price = 1.0 if criterion == "own-f1" else 0.0
        _label_kernels.label_values(
            self._cells, candidates, self.is_logit, codes[criterion], price, self.positives, result
        )
        return result

    def micro_f1(self, candidates: FloatArray, guess: float = 0.0) -> DoubleArray:
        """Return each candidate's micro-F1 at its best thresholds, one per label.

        Parameters
        ----------
        candidates : ndarray of float32, shape (k, n_models, n_labels)
            Weights, columns on the simplex, 0 where not covered.
        guess : float, default 0
            A micro-F1 in [0, 1] that most candidates may reach. The higher, the fewer cells are looked at; those that
            do not reach it are looked at again, so the answer is the same.

        Returns
        -------
        ndarray of float64, shape (k,)
            Values in [0, 1].

        Notes
        -----
        Keeps up to one cut per positive and candidate; candidates are worked on few enough at a time for 64 MB.
        """
        reached = self._micro_f1_from(candidates, guess)
        missed = reached < guess
        if missed.any():  # what they reached some cuts do reach, so it is a price that their optimum cannot lie below
            reached[missed] = self._micro_f1_from(candidates[missed], float(reached[missed].min()))
        return reached

    def _micro_f1_from(self, candidates: FloatArray, price: float) -> DoubleArray:
        """Return each candidate's micro-F1 where it is at least `price`, and a value between 0 and it elsewhere."""
        from stacking.kernels import labels as _label_kernels

        cut_start = np.concatenate([[0], np.cumsum(np.diff(self.start)[1::2])])
        reached = np.zeros(len(candidates))
        step = int(max(_CUTS_AT_ONCE // max(int(cut_start[-1]), 1), 1))
        for first in range(0, len(candidates), step):
            some = candidates[first : first + step]
            n_cuts = np.zeros((len(some), self.n_labels), dtype=np.int64)
            hits, fired = np.empty((2, len(some), cut_start[-1]))
            _label_kernels.label_cuts(
                self._cells, some, self.is_logit, price, self.positives, cut_start, n_cuts, hits, fired
            )
            total = float(self.positives.sum())
            _label_kernels.best_micro_f1(cut_start, n_cuts, hits, fired, total, price, reached[first : first + step])
        return reached

    @property
    def _cells(self) -> tuple[FloatArray, IntArray, DoubleArray, IntArray, PatternArray]:
        """Return what the kernels read."""
        return self.values, self.start, self.weight, self.block_start, self.ceiling

    def select(self, labels: IntArray) -> "LabelCells":
        """Return the cells of some labels.

        Parameters
        ----------
        labels : ndarray of int
            Positions, in the order wanted.

        Returns
        -------
        LabelCells
            A copy; these cells themselves where all labels are wanted as they are.
        """
        if np.array_equal(labels, np.arange(self.n_labels)):
            return self
        places = [slice(self.start[2 * label], self.start[2 * label + 2]) for label in labels]
        values = np.concatenate([self.values[:, place] for place in places], axis=1)
        weight = np.concatenate([self.weight[place] for place in places]) if len(self.weight) else self.weight
        segments = np.diff(self.start).reshape(-1, 2)[labels].ravel()
        start = np.concatenate([[0], np.cumsum(segments)])
        blocks = [slice(self.block_start[label], self.block_start[label + 1]) for label in labels]
        block_start = np.concatenate([[0], np.cumsum(np.diff(self.block_start)[labels])])
        ceiling = np.concatenate([self.ceiling[block] for block in blocks])
        return LabelCells(values, start, weight, self.positives[labels], self.is_logit, block_start, ceiling)


def _join(parts: Sequence[tuple[FloatArray, IntArray, DoubleArray]]) -> tuple[FloatArray, IntArray, DoubleArray]:
    """Copy the segments of all blocks behind each other."""
    segments = sum(np.diff(start) for _, start, _ in parts)
    joined = np.concatenate([[0], np.cumsum(segments)]).astype(np.int64)
    values = np.empty((len(parts[0][0]), joined[-1]), dtype=np.float32)
    weight = np.empty(joined[-1] if len(parts[0][2]) else 0)
    fill = joined[:-1].copy()
    for part, start, part_weight in parts:
        for segment in range(len(fill)):
            own = slice(start[segment], start[segment + 1])
            place = slice(fill[segment], fill[segment] + own.stop - own.start)
            values[:, place] = part[:, own]
            if len(weight):
                weight[place] = part_weight[own]
            fill[segment] = place.stop
    return values, joined, weight
