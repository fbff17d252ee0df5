"""The cells of a prediction set label by label: what candidate weights are worth where each label has its own cut.

With a threshold per label, micro-F1, macro-F1 and average precision depend on a label through its own cuts only. So a
label's cells are kept together, its positives are sorted under every candidate, and its negatives counted between them
(`stacking._label_kernels`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

__all__ = ["Criterion", "LabelCells"]

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

Criterion = Literal["gain", "own-f1", "average-precision"]

_CUTS_AT_ONCE = 4_000_000
_ROUNDING = 1e-4


@dataclass(frozen=True)
class LabelCells:
    """Known cells by label, negatives before positives.

    Parameters
    ----------
    values : ndarray of float32, shape (n_models, n_cells)
        Scores, or logits where `is_logit`; anything finite where a model does not cover the label.
    start : ndarray of int64, shape (2 · n_labels + 1,)
        Where the negatives and the positives of each label begin.
    weight : ndarray of float64, shape (n_cells,) or (0,)
        Sample weights; the empty array stands for 1 each.
    positives : ndarray of float64, shape (n_labels,)
        Weight of each label's positives, those left out by `prune` included.
    is_logit : bool
        Whether the mean is that of logits.
    """

    values: FloatArray
    start: IntArray
    weight: Float64Array
    positives: Float64Array
    is_logit: bool

    @classmethod
    def join(cls, parts: Sequence[tuple[FloatArray, IntArray, Float64Array]], *, is_logit: bool) -> "LabelCells":
        """Join blocks of rows.

        Parameters
        ----------
        parts : sequence of (values, start, weight)
            Cells of each block, as the attributes of the same names.
        is_logit : bool
            Whether the mean is that of logits.

        Returns
        -------
        LabelCells
            All cells.
        """
        values, start, weight = parts[0] if len(parts) == 1 else _join(parts)
        segments = np.diff(start)
        positives = segments[1::2].astype(np.float64)
        if len(weight):
            total = np.concatenate([[0.0], np.cumsum(weight)])
            positives = np.where(positives > 0, total[start[2::2]] - total[start[1:-1:2]], 0.0)
        return cls(values, start, weight, positives, is_logit)

    @property
    def n_labels(self) -> int:
        """The number of labels."""
        return len(self.start) // 2

    def worths(self, candidates: FloatArray, criterion: Criterion, price: float = 0.0) -> Float64Array:
        """Return what each label is worth under each candidate, at its best cut.

        Parameters
        ----------
        candidates : ndarray of float32, shape (k, n_models, n_labels)
            Weights, columns on the simplex, 0 where not covered.
        criterion : {"gain", "own-f1", "average-precision"}
            2 TP − price · PP, the label's F1, or its average precision.
        price : float, default 0
            Only for ``"gain"``.

        Returns
        -------
        ndarray of float64, shape (k, n_labels)
            Worths; 0 for a label without positives.
        """
        from stacking import _label_kernels

        codes: dict[str, int] = {
            "gain": _label_kernels.GAIN,
            "own-f1": _label_kernels.OWN_F1,
            "average-precision": _label_kernels.AVERAGE_PRECISION,
        }
        result = np.zeros((len(candidates), self.n_labels))
        cells = (self.values, self.start, self.weight)
        _label_kernels.label_worths(
            *cells, candidates, self.is_logit, codes[criterion], float(price), self.positives, result
        )
        return result

    def micro_f1(self, candidates: FloatArray) -> Float64Array:
        """Return each candidate's micro-F1 at its best thresholds, one per label.

        Parameters
        ----------
        candidates : ndarray of float32, shape (k, n_models, n_labels)
            Weights, columns on the simplex, 0 where not covered.

        Returns
        -------
        ndarray of float64, shape (k,)
            Values in [0, 1].

        Notes
        -----
        Keeps up to one cut per positive and candidate; candidates are worked on few enough at a time for 64 MB.
        """
        from stacking import _label_kernels

        cut_start = np.concatenate([[0], np.cumsum(np.diff(self.start)[1::2])])
        reached = np.zeros(len(candidates))
        step = int(max(_CUTS_AT_ONCE // max(int(cut_start[-1]), 1), 1))
        for first in range(0, len(candidates), step):
            some = candidates[first : first + step]
            n_cuts = np.zeros((len(some), self.n_labels), dtype=np.int64)
            hits, fired = np.empty((2, len(some), cut_start[-1]))
            cells = (self.values, self.start, self.weight)
            _label_kernels.label_cuts(*cells, some, self.is_logit, cut_start, n_cuts, hits, fired)
            total = float(self.positives.sum())
            _label_kernels.best_micro_f1(cut_start, n_cuts, hits, fired, total, reached[first : first + step])
        return reached

    def select(self, labels: IntArray) -> "LabelCells":
        """Return the cells of some labels.

        Parameters
        ----------
        labels : ndarray of int
            Positions, in the order wanted.

        Returns
        -------
        LabelCells
            A copy.
        """
        places = [slice(self.start[2 * label], self.start[2 * label + 2]) for label in labels]
        values = np.concatenate([self.values[:, place] for place in places], axis=1)
        weight = np.concatenate([self.weight[place] for place in places]) if len(self.weight) else self.weight
        segments = np.diff(self.start).reshape(-1, 2)[labels].ravel()
        start = np.concatenate([[0], np.cumsum(segments)])
        return LabelCells(values, start, weight, self.positives[labels], self.is_logit)

    def prune(self, price: float, covers: BoolArray) -> "LabelCells":
        """Leave out cells that fire in no cut with a gain, at this price or a higher one, whatever the weights.

        Parameters
        ----------
        price : float
            A micro-F1 above 0.
        covers : ndarray of bool, shape (n_models, n_labels)
            Which model answers which label.

        Returns
        -------
        LabelCells
            The other cells; gains at this price and above are the same.

        Notes
        -----
        A label with p positives gains nothing from a cut that fires 2 p / price or more. A mean lies between the lowest
        and the highest score, so a cut at or below the (2 p / price)-th highest of the cells' lowest scores fires that
        many: cells whose highest score lies below it never matter.
        """
        kept = np.zeros(self.values.shape[1], dtype=bool)
        for label in range(self.n_labels):
            place = slice(self.start[2 * label], self.start[2 * label + 2])
            limit = 2.0 * self.positives[label] / price
            if limit > 0.0:
                own = self.values[covers[:, label], place]
                floor = _floor(own.min(axis=0), self.weight[place] if len(self.weight) else None, limit)
                kept[place] = own.max(axis=0) >= floor - _ROUNDING * max(abs(floor), float(self.is_logit))
        counts = np.concatenate([[0], np.cumsum(kept)])[self.start]
        weight = self.weight[kept] if len(self.weight) else self.weight
        return replace(self, values=np.ascontiguousarray(self.values[:, kept]), start=counts, weight=weight)


def _floor(lowest: FloatArray, weight: Float64Array | None, limit: float) -> float:
    """Return the value that cells of weight `limit` reach, −inf if all together weigh less."""
    if weight is None:
        rank = int(np.ceil(limit))
        return float(np.partition(lowest, -rank)[-rank]) if rank <= len(lowest) else -np.inf
    order = np.argsort(-lowest, kind="stable")
    reached = np.searchsorted(np.cumsum(weight[order]), limit)
    return float(lowest[order[reached]]) if reached < len(order) else -np.inf


def _join(parts: Sequence[tuple[FloatArray, IntArray, Float64Array]]) -> tuple[FloatArray, IntArray, Float64Array]:
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
