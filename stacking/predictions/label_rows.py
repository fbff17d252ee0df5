"""Annotated rows without scores: what labels go together, from photos that no member has scored.

People have far more annotated rows than out-of-fold scores. Such rows teach what labels say about each other, nothing
about members. None of them may be a row that is scored: its truth would teach the fold that is to be judged by it.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import check_groups, check_mask, check_names, check_y_true
from stacking._typing import BoolArray, LabelArray, StringArray
from stacking.predictions.selection import take


@dataclass(frozen=True, eq=False)
class LabelRows:
    """Truth of rows that have no scores.

    Attributes
    ----------
    y_true : ndarray of uint8, shape (n_rows, n_labels)
        The truth, 0 or 1.
    y_known : ndarray of bool, shape (n_rows, n_labels), or None
        False where a label was not annotated.
    ids : ndarray of str, shape (n_rows,), or None
        Names of the rows; None where they have none.
    groups : ndarray of int or str, shape (n_rows,), or None
        As the groups of the scored rows.
    """

    y_true: LabelArray
    y_known: BoolArray | None = None
    ids: StringArray | None = None
    groups: npt.NDArray[Any] | None = None

    @classmethod
    def check(
        cls, y_true: Any, *, n_labels: int, y_known: Any = None, ids: Any = None, groups: Any = None
    ) -> LabelRows:
        """Check the arrays.

        Parameters
        ----------
        y_true : array of shape (n_rows, n_labels)
            The truth, 0 or 1; a row without a known label is left out.
        n_labels : int
            Number of labels.
        y_known : array of bool, shape (n_rows, n_labels), optional
            False where a label was not annotated.
        ids : array of str, shape (n_rows,), optional
            Names of the rows.
        groups : array of shape (n_rows,), optional
            Groups of the rows.

        Returns
        -------
        LabelRows
            The rows.

        Raises
        ------
        ValueError
            If shapes differ, a value is neither 0 nor 1, or a name appears twice.
        """
        truth = check_y_true(y_true, n_labels=n_labels, name="label_rows")
        known = None if y_known is None else check_mask(y_known, n_samples=len(truth), n_labels=n_labels)
        rows = cls(
            truth,
            known,
            None if ids is None else check_names(ids, len(truth), name="ids of label_rows"),
            None if groups is None else check_groups(groups, len(truth)),
        )
        return rows if known is None or known.any(axis=1).all() else rows.rows(known.any(axis=1))

    @cached_property
    def fingerprint(self) -> str:
        """Hash of all that the rows hold but their names."""
        digest = hashlib.sha256(f"label rows {self.y_true.shape}".encode())
        digest.update(np.ascontiguousarray(self.y_true).tobytes())
        if self.y_known is not None:
            digest.update(np.ascontiguousarray(self.y_known).tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        """Count the rows."""
        return len(self.y_true)

    def rows(self, index: Any) -> LabelRows:
        """Take some rows.

        Parameters
        ----------
        index : mask or positions
            Which.

        Returns
        -------
        LabelRows
            Copies.
        """
        parts = (self.y_true, self.y_known, self.ids, self.groups)
        return LabelRows(*(None if part is None else part[index] for part in parts))  # type: ignore[arg-type]

    def labels(self, columns: npt.NDArray[np.intp] | None) -> LabelRows:
        """Take some labels.

        Parameters
        ----------
        columns : ndarray of int or None
            Positions; None takes all.

        Returns
        -------
        LabelRows
            With these labels.
        """
        return LabelRows(take(self.y_true, columns, 1), take(self.y_known, columns, 1), self.ids, self.groups)

    def sample(self, max_rows: int | None, rng: np.random.Generator) -> LabelRows:
        """Draw rows.

        Parameters
        ----------
        max_rows : int or None
            Upper limit; None takes all.
        rng : Generator
            Which rows.

        Returns
        -------
        LabelRows
            In their order.
        """
        if max_rows is None or len(self) <= max_rows:
            return self
        return self.rows(np.sort(rng.choice(len(self), max_rows, replace=False)))

    def without(self, ids: StringArray, groups: npt.NDArray[Any] | None, y_true: LabelArray | None) -> LabelRows:
        """Leave out the rows that are scored rows, or of a group of theirs.

        Parameters
        ----------
        ids : ndarray of str, shape (n_samples,)
            Names of the scored rows.
        groups : ndarray of shape (n_samples,), or None
            Their groups.
        y_true : ndarray of shape (n_samples, n_labels), or None
            Their truth.

        Returns
        -------
        LabelRows
            Itself where all are others.

        Raises
        ------
        ValueError
            If rows without names begin with the very truth of the scored rows.

        Warns
        -----
        UserWarning
            If rows are left out, or only the scored rows have groups.
        """
        own = np.zeros((0, 0)) if y_true is None or self.ids is not None else y_true
        if len(own) > 1 and own.any() and np.array_equal(self.y_true[: len(own)], own):
            raise ValueError(
                "label_rows must be other rows than the scored ones: got rows without ids that begin with the truth of "
                f"all {len(own)} scored rows; give the others only, or a table with ids."
            )
        seen = np.zeros(len(self), dtype=np.bool_) if self.ids is None else np.isin(self.ids, ids)
        if groups is not None and self.groups is not None:
            names = self.groups.astype(np.str_)
            seen |= np.isin(names, groups.astype(np.str_)) & (names != "")
        elif groups is not None:
            warnings.warn(
                "label_rows have no groups, but the scored rows do: rows of one group may teach the fold that scores "
                "the others; give the table a column 'group'.",
                UserWarning,
                stacklevel=3,
            )
        if seen.any():
            warnings.warn(
                f"label_rows: {int(seen.sum()):,} of {len(self):,} are scored rows, or of their groups; left out.",
                UserWarning,
                stacklevel=3,
            )
        return self if not seen.any() else self.rows(~seen)
