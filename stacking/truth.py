"""The right answers of some rows, and what of them counts.

A cell that nobody annotated counts neither way, a row of weight 0 not at all, weights have no unit, and rows of one
group belong together. Whatever is fitted, tuned, dealt, drawn, chosen or scored asks one object for all four, so none
can be forgotten:

- unknown cells are False from the start, so that no count, fold or sample can be led by them;
- weights are relative to the smallest and rounded to float32, so that any unit gives the same bits (and whole weights
  add up without rounding); equal ones are no weights at all;
- groups are numbers; a row whose group is blank is a group of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import check_groups, check_mask, check_sample_weight, check_y_true
from stacking._typing import BoolArray, DoubleArray, IndexArray

WIDEST_RATIO = 2.0**100
"""Largest and smallest weight lie at most this far apart: float32 reaches to 2^127."""


@dataclass(frozen=True)
class Truth:
    """Right answers of some rows, and which of them count how much.

    Make one with `Truth.check` from what a user gave, or take `PredictionSet.truth`.

    Attributes
    ----------
    y_true : ndarray of bool, shape (n_samples, n_labels)
        The truth, False where not known.
    y_known : ndarray of bool, shape (n_samples, n_labels), or None
        False where a cell is not annotated; None if all are known.
    sample_weight : ndarray of float64, shape (n_samples,), or None
        Weights relative to the smallest that is not 0; None if all rows weigh the same.
    groups : ndarray of int, shape (n_samples,), or None
        Rows with an equal number belong together; None if each row stands alone.
    """

    y_true: BoolArray
    y_known: BoolArray | None = None
    sample_weight: DoubleArray | None = None
    groups: IndexArray | None = None

    def __post_init__(self) -> None:
        if self.y_known is not None:
            object.__setattr__(self, "y_true", self.y_true & self.y_known)

    @classmethod
    def check(
        cls,
        y_true: npt.ArrayLike,
        *,
        y_known: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
        groups: npt.ArrayLike | None = None,
        shape: tuple[int, int] | None = None,
    ) -> Truth:
        """Check the arrays and bring them to their one form.

        Parameters
        ----------
        y_true : array of shape (n_samples, n_labels)
            The truth, 0 or 1.
        y_known : array of bool, shape (n_samples, n_labels), optional
            False where a cell is not annotated.
        sample_weight : array of shape (n_samples,), optional
            Weights in any unit, not negative, not all 0.
        groups : array of int or str, shape (n_samples,), optional
            Rows with an equal value belong together; a blank one (None, NaN, an empty string, or the text that Python
            makes of a missing value: "None", "nan", "NaT", "<NA>") stands alone.
        shape : tuple of int, optional
            What the truth must have.

        Returns
        -------
        Truth
            What counts.

        Raises
        ------
        ValueError
            If shapes differ or a value is out of range.
        """
        n_samples, n_labels = (None, None) if shape is None else shape
        truth = check_y_true(y_true, n_samples=n_samples, n_labels=n_labels).view(np.bool_)
        n_samples, n_labels = truth.shape
        return cls(
            truth,
            None if y_known is None else check_mask(y_known, n_samples=n_samples, n_labels=n_labels),
            None if sample_weight is None else relative_weights(check_sample_weight(sample_weight, n_samples)),
            None if groups is None else number_groups(check_groups(groups, n_samples)),
        )

    @cached_property
    def counted(self) -> BoolArray | None:
        """Return the rows that weigh something and hold a known cell; None if all do (or none holds a known cell)."""
        counted = np.ones(len(self.y_true), dtype=bool)
        if self.sample_weight is not None:
            counted &= self.sample_weight > 0
        if self.y_known is not None:
            counted &= self.y_known.any(axis=1)
        return None if counted.all() or not counted.any() else counted

    def check_counted(self) -> None:
        """Refuse a truth of which no cell counts: whatever learned from it would have learned nothing.

        Raises
        ------
        ValueError
            If no cell of a row that weighs something is known.
        """
        if self.y_known is None:
            return
        rows = self.y_known.any(axis=1)
        weighing = "" if self.sample_weight is None else " of weight"
        if not (rows if self.sample_weight is None else rows & (self.sample_weight > 0)).any():
            raise ValueError(
                f"y_known must be True somewhere: got no known cell among {len(self.y_true)} samples{weighing} and "
                f"{self.y_true.shape[1]} labels; annotate some, or leave y_known out if all cells are known."
            )

    @cached_property
    def dealt(self) -> dict[bytes, npt.NDArray[np.int8]]:
        """Hold the folds of parts of these rows that `stacking.folds.deal_part` remembers."""
        return {}

    @property
    def mean_weight(self) -> float:
        """Mean weight of the rows that count: divide sums of weights by it to get numbers of rows."""
        if self.sample_weight is None:
            return 1.0
        counted = self.sample_weight if self.counted is None else self.sample_weight[self.counted]
        return float(counted.mean()) if counted.any() else 1.0

    @property
    def n_units(self) -> int:
        """Number of groups that count, or of rows where there are no groups: what folds and resamples are made of."""
        kept = slice(None) if self.counted is None else self.counted
        if self.groups is None:
            return len(self.y_true) if self.counted is None else int(np.count_nonzero(self.counted))
        return len(np.unique(self.groups[kept]))

    @cached_property
    def effective_units(self) -> float:
        """Return on how many groups, or rows, the positives effectively lie: (Σ u)² / Σ u², u the positives of each."""
        positives = self.sum_units(self.sample_positives[:, None])
        square = float((positives**2).sum())
        return float(positives.sum()) ** 2 / square if square else 0.0

    def only_counted(self) -> Truth:
        """Leave out the rows that do not count; what is left has the weights it would have had without them.

        Returns
        -------
        Truth
            Itself where all rows count.
        """
        if self.counted is None:
            return self
        left = self.rows(self.counted)
        weight = None if left.sample_weight is None else relative_weights(left.sample_weight)
        return Truth(left.y_true, left.y_known, weight, left.groups)

    def rows(self, index: Any) -> Truth:
        """Take some rows; their weights stay as they are, so that sums over parts add up.

        Parameters
        ----------
        index : slice, mask or positions
            The rows, in the order wanted.

        Returns
        -------
        Truth
            What counts of them.
        """
        parts = (self.y_true, self.y_known, self.sample_weight, self.groups)
        return Truth(*(None if part is None else part[index] for part in parts))  # type: ignore[arg-type]

    def labels(self, index: Any) -> Truth:
        """Take some labels.

        Parameters
        ----------
        index : slice, mask or positions
            The labels, in the order wanted.

        Returns
        -------
        Truth
            What counts of them.
        """
        known = None if self.y_known is None else self.y_known[:, index]
        return Truth(self.y_true[:, index], known, self.sample_weight, self.groups)

    def sum_rows(self, cells: npt.NDArray[Any]) -> DoubleArray:
        """Add up cells over the rows, each row with its weight.

        Parameters
        ----------
        cells : ndarray of bool or float, shape (n_samples, n_labels)
            What is added up; of unknown cells too.

        Returns
        -------
        ndarray of float64, shape (n_labels,)
            Sums of weights.
        """
        if self.sample_weight is not None:
            return np.asarray(self.sample_weight @ cells, dtype=np.float64)
        if cells.dtype == np.bool_:
            return np.count_nonzero(cells, axis=0).astype(np.float64)
        return np.asarray(cells.sum(axis=0), dtype=np.float64)

    @cached_property
    def label_positives(self) -> DoubleArray:
        """Return the sums of weights of each label's positives."""
        return self.sum_rows(self.y_true)

    @cached_property
    def sample_positives(self) -> IndexArray:
        """Return the number of positives of each row."""
        return np.count_nonzero(self.y_true, axis=1)

    def positives(self) -> DoubleArray:
        """Count the positives of each label.

        Returns
        -------
        ndarray of float64, shape (n_labels,)
            In rows: their weights over the mean weight.
        """
        return self.label_positives / self.mean_weight

    def sum_units(self, counts: npt.NDArray[np.generic]) -> DoubleArray:
        """Add up counts of rows to the units that belong together, each row with its weight.

        Parameters
        ----------
        counts : ndarray, shape (n_samples, n_columns)
            Counts of each row.

        Returns
        -------
        ndarray of float64, shape (n_units, n_columns)
            One row per group (in the order of their names), or per row where there are none; what does not count is
            left out.
        """
        values = np.asarray(counts, dtype=np.float64)
        if self.sample_weight is not None:
            values = values * self.sample_weight[:, None]
        groups = self.groups
        if self.counted is not None:
            values, groups = values[self.counted], None if groups is None else groups[self.counted]
        if groups is None:
            return values
        _, unit = np.unique(groups, return_inverse=True)
        n_units = int(unit.max()) + 1
        return np.stack([np.bincount(unit, weights=column, minlength=n_units) for column in values.T], axis=1)

    def count(self, decided: BoolArray) -> DoubleArray:
        """Count decisions unit by unit.

        Parameters
        ----------
        decided : ndarray of bool, shape (n_samples, n_labels)
            Decisions.

        Returns
        -------
        ndarray of float64, shape (n_units, 3)
            True positives, predicted positives and positives of every unit.
        """
        if self.y_known is not None:
            decided = decided & self.y_known
        hits = np.count_nonzero(self.y_true & decided, axis=1)
        counts = (hits, np.count_nonzero(decided, axis=1), self.sample_positives)
        return self.sum_units(np.stack(counts, axis=1))


def relative_weights(sample_weight: DoubleArray) -> DoubleArray | None:
    """Take the unit away from weights.

    Parameters
    ----------
    sample_weight : ndarray of float64, shape (n_samples,)
        Not negative, finite.

    Returns
    -------
    ndarray of float64, shape (n_samples,), or None
        Relative to the smallest that is not 0, rounded to float32, which hides the rounding of any change of unit; None
        if all rows weigh the same.

    Examples
    --------
    >>> relative_weights(np.array([0.1, 0.2, 0.3, 0.0])).tolist(), relative_weights(np.full(3, 0.1))
    ([1.0, 2.0, 3.0, 0.0], None)
    """
    weighing = sample_weight > 0
    if not weighing.any():
        return np.zeros(len(sample_weight))
    least = unit_of_weights(sample_weight)
    relative = np.where(weighing, np.maximum(sample_weight / least, 1.0), 0.0).astype(np.float32)
    return None if (relative == 1.0).all() else relative.astype(np.float64)


def unit_of_weights(sample_weight: DoubleArray) -> float:
    """Return what relative weights are relative to.

    Parameters
    ----------
    sample_weight : ndarray of float64, shape (n_samples,)
        Not negative, finite.

    Returns
    -------
    float
        The smallest weight that is not 0, or what the largest is `WIDEST_RATIO` times; 1 where all are 0.
    """
    weighing = sample_weight[sample_weight > 0]
    return max(float(weighing.min()), float(weighing.max()) / WIDEST_RATIO) if len(weighing) else 1.0


def number_groups(groups: npt.NDArray[Any]) -> IndexArray | None:
    """Give each group a number, and each blank one a number of its own.

    Parameters
    ----------
    groups : ndarray of int or str, shape (n_samples,)
        As `check_groups` returns them.

    Returns
    -------
    ndarray of int, shape (n_samples,), or None
        Numbers in the order of the names, then of the blanks; None if all are blank.

    Examples
    --------
    >>> number_groups(np.array(["b", "", "a", "b", ""])).tolist()
    [1, 2, 0, 1, 3]
    """
    blank = groups == "" if groups.dtype.kind == "U" else np.zeros(len(groups), dtype=bool)
    if blank.all() and len(groups):
        return None
    names, number = np.unique(groups, return_inverse=True)
    number = number.astype(np.intp)
    if blank.any():  # the empty string sorts first, so that it is name 0
        number -= 1
        number[blank] = len(names) - 1 + np.arange(np.count_nonzero(blank))
    return number
