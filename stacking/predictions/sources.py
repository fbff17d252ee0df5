"""Where scores come from: an array, files on disk, a selection or a transformation of another source.

A source answers one question, "the scores of this model for these rows and these labels", and answers it into memory
that the caller brings. Everything that a :class:`~stacking.predictions.PredictionSet` offers is built from it, so a set
of a million rows on disk and a small array behave alike.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import numpy as np

from stacking._typing import FloatArray, IntArray
from stacking.links import sigmoid_in_place

Index = slice | IntArray
ALL = slice(None)
ReadScores = Callable[[Index, Index, FloatArray], None]
BLOCK_BYTES = 64 * 2**20
"""Scores read at a time where nobody says otherwise: a choice, not tuned; only memory, speed and
the rounding of sums over blocks depend on it."""


@runtime_checkable
class ScoreSource(Protocol):
    """Scores of several models for the same rows and labels, read piece by piece."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Give ``(n_models, n_samples, n_labels)``."""

    @property
    def reads_labels_fast(self) -> bool:
        """Whether one label of all rows costs no more than its own bytes; else it means reading every row."""

    def read(self, model: int, rows: Index, labels: Index, out: FloatArray) -> None:
        """
        Read a piece of one model's matrix.

        Parameters
        ----------
        model : int
            The model's position.
        rows, labels : slice with step 1, or ndarray of int
            What to read, in the order wanted.
        out : ndarray of float32, shape (n_rows, n_labels)
            Filled with the scores; any strides.
        """

    def content_hash(self, model: int) -> str | None:
        """
        Give the recorded hash of one model's scores.

        Parameters
        ----------
        model : int
            The model's position.

        Returns
        -------
        str or None
            SHA-256 of the float32 values in row order; None where nothing is recorded.
        """


class ArraySource:
    """
    Scores held in memory.

    Parameters
    ----------
    y_scores : ndarray of float32, shape (n_models, n_samples, n_labels)
        The scores, C-ordered.
    """

    reads_labels_fast = True

    def __init__(self, y_scores: FloatArray) -> None:
        self.y_scores = y_scores

    @property
    def shape(self) -> tuple[int, int, int]:
        """Give ``(n_models, n_samples, n_labels)``."""
        n_models, n_samples, n_labels = self.y_scores.shape
        return n_models, n_samples, n_labels

    def read(self, model: int, rows: Index, labels: Index, out: FloatArray) -> None:
        """Copy a piece from memory; see `ScoreSource.read`."""
        matrix = self.y_scores[model]
        if isinstance(rows, slice) or isinstance(labels, slice):
            out[...] = matrix[rows, labels]
        else:
            out[...] = matrix[rows[:, None], labels]

    def content_hash(self, model: int) -> str | None:
        """Return None: an array records no hash; see `ScoreSource.content_hash`."""
        return None


class ViewSource:
    """
    A selection from another source; reads nothing until asked.

    Parameters
    ----------
    base : ScoreSource
        Where the scores are.
    models, rows, labels : ndarray of int, optional
        Positions in `base`, in the order wanted; None keeps all. A label of −1 is one that `base` does not have: it
        reads as NaN.
    """

    def __init__(
        self,
        base: ScoreSource,
        models: IntArray | None = None,
        rows: IntArray | None = None,
        labels: IntArray | None = None,
    ) -> None:
        self.base: ScoreSource = base
        self.models: IntArray | None = models
        self.rows: IntArray | None = rows
        self.labels: IntArray | None = labels
        if isinstance(base, ViewSource):
            self.base = base.base
            self.models = _compose(base.models, models)
            self.rows = _compose(base.rows, rows)
            self.labels = _compose(base.labels, labels)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Give the size of the selection."""
        n_models, n_samples, n_labels = (
            size if index is None else len(index)
            for size, index in zip(self.base.shape, (self.models, self.rows, self.labels), strict=True)
        )
        return n_models, n_samples, n_labels

    @property
    def reads_labels_fast(self) -> bool:
        """Answer for the base."""
        return self.base.reads_labels_fast

    def read(self, model: int, rows: Index, labels: Index, out: FloatArray) -> None:
        """Read a piece of the selection, NaN where the base lacks the label; see `ScoreSource.read`."""
        model = model if self.models is None else int(self.models[model])
        rows = rows if self.rows is None else as_span(self.rows[rows])
        if self.labels is None:
            self.base.read(model, rows, labels, out)
            return
        wanted = self.labels[labels]
        present = wanted >= 0
        if present.all():
            self.base.read(model, rows, as_span(wanted), out)
            return
        out[...] = np.nan
        if present.any():
            part = np.empty((len(out), int(present.sum())), np.float32)
            self.base.read(model, rows, as_span(wanted[present]), part)
            out[:, present] = part

    def content_hash(self, model: int) -> str | None:
        """Pass on a hash where all rows and labels are kept; see `ScoreSource.content_hash`."""
        if self.rows is not None or self.labels is not None:
            return None
        return self.base.content_hash(model if self.models is None else int(self.models[model]))


class StackedSource:
    """
    Several sources of the same rows and labels, one model after the other.

    Parameters
    ----------
    sources : sequence of ScoreSource
        Sources that agree in rows and labels.
    """

    def __init__(self, sources: Sequence[ScoreSource]) -> None:
        self.sources = tuple(sources)
        self._places = [(source, model) for source in self.sources for model in range(source.shape[0])]
        sizes = {source.shape[1:] for source in self.sources}
        if len(sizes) != 1:
            raise ValueError(f"sources must agree in rows and labels: got {sorted(sizes)}; align them first.")
        self.shape = (len(self._places), *sizes.pop())
        self.reads_labels_fast = all(source.reads_labels_fast for source in self.sources)

    def read(self, model: int, rows: Index, labels: Index, out: FloatArray) -> None:
        """Read from the source that holds the model; see `ScoreSource.read`."""
        source, position = self._places[model]
        source.read(position, rows, labels, out)

    def content_hash(self, model: int) -> str | None:
        """Pass on what the model's own source recorded; see `ScoreSource.content_hash`."""
        source, position = self._places[model]
        return source.content_hash(position)


class SigmoidSource:
    """
    The probabilities of a source that holds logits.

    Parameters
    ----------
    base : ScoreSource
        Where the logits are.

    Notes
    -----
    ``p = 1 / (1 + exp(−z))`` in float32: NaN stays NaN, ±inf give 1 and 0.
    """

    def __init__(self, base: ScoreSource) -> None:
        self.base, self.shape, self.reads_labels_fast = base, base.shape, base.reads_labels_fast

    def read(self, model: int, rows: Index, labels: Index, out: FloatArray) -> None:
        """Read a piece as probabilities; see `ScoreSource.read`."""
        self.base.read(model, rows, labels, out)
        sigmoid_in_place(out)

    def content_hash(self, model: int) -> str | None:
        """Return None: transformed scores have no recorded hash; see `ScoreSource.content_hash`."""
        return None


class PendingSource:
    """
    Stand-in for scores that are still to come: it has a shape and refuses to be read.

    Parameters
    ----------
    shape : tuple of int
        ``(n_models, n_samples, n_labels)``.
    """

    reads_labels_fast = False

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape

    def read(self, model: int, rows: Index, labels: Index, out: FloatArray) -> None:
        """Refuse with a ValueError, always; see `ScoreSource.read`."""
        raise ValueError("scores must be written before they are read: this set only describes what is to come.")

    def content_hash(self, model: int) -> str | None:
        """Return None: nothing is recorded yet; see `ScoreSource.content_hash`."""
        return None


def as_span(index: IntArray) -> Index:
    """
    Write consecutive ascending positions as a slice, which every source reads without copying.

    Parameters
    ----------
    index : ndarray of int
        Positions.

    Returns
    -------
    slice or ndarray of int
        A slice where the positions are consecutive, otherwise the positions themselves.
    """
    if len(index) and index[-1] - index[0] == len(index) - 1 and bool((np.diff(index) == 1).all()):
        return slice(int(index[0]), int(index[-1]) + 1)
    return index


def rows_per_block(n_columns: int, n_bytes: int = BLOCK_BYTES) -> int:
    """
    Choose how many rows of float32 fit a block.

    Parameters
    ----------
    n_columns : int
        Values per row, all models together.
    n_bytes : int, default=64 MiB
        The size wanted for a block, in bytes.

    Returns
    -------
    int
        At least 1.
    """
    return max(1, n_bytes // max(1, 4 * n_columns))


def hash_scores(source: ScoreSource, model: int) -> str:
    """
    Hash one model's scores independently of where and how they are stored.

    Parameters
    ----------
    source : ScoreSource
        Where the scores are.
    model : int
        The model's position.

    Returns
    -------
    str
        SHA-256 of the little-endian float32 values in row order, every NaN written alike.
    """
    recorded = source.content_hash(model)
    return hash_rows(partial(source.read, model), source.shape[1:]) if recorded is None else recorded


def hash_rows(read: ReadScores, shape: tuple[int, int]) -> str:
    """
    Hash one model's scores.

    Parameters
    ----------
    read : callable
        Takes rows, labels and the array to fill.
    shape : (int, int)
        Rows and labels.

    Returns
    -------
    str
        As of `hash_scores`.
    """
    digest = hashlib.sha256()
    for _, scores in iter_blocks(read, shape, BLOCK_BYTES // 4):
        digest.update(_canonical_bytes(scores))
    return digest.hexdigest()


def iter_blocks(
    read: ReadScores, shape: tuple[int, int], n_bytes: int = BLOCK_BYTES
) -> Iterator[tuple[slice, FloatArray]]:
    """
    Go through one model's scores from the first row to the last, whatever the memory.

    Parameters
    ----------
    read : callable
        Takes rows, labels and the array to fill: a matrix file's ``read``, or a source's for one model.
    shape : (int, int)
        Rows and labels.
    n_bytes : int, default=64 MiB
        Size of a block.

    Yields
    ------
    rows : slice
        Where the block stands.
    scores : ndarray of float32, shape (n_rows, n_labels)
        The block, the caller's own.
    """
    n_rows, n_columns = shape
    block = rows_per_block(n_columns, n_bytes)
    for start in range(0, n_rows, block):
        rows = slice(start, min(start + block, n_rows))
        scores = np.empty((rows.stop - start, n_columns), np.float32)
        read(rows, ALL, scores)
        yield rows, scores


def _canonical_bytes(scores: FloatArray) -> memoryview:
    """Give the little-endian bytes that hashes are taken of; NaN are overwritten by the one standard NaN."""
    gaps = np.isnan(scores)
    if gaps.any():
        scores[gaps] = np.nan
    return np.ascontiguousarray(scores, dtype="<f4").data.cast("B")


def _compose(inner: IntArray | None, outer: IntArray | None) -> IntArray | None:
    """Select `outer` from what `inner` already selected; −1 stays −1."""
    if inner is None or outer is None:
        return inner if outer is None else outer
    return np.where(outer < 0, -1, inner[outer]).astype(np.int64)
