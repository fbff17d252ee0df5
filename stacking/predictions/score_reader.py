"""The ways into the scores of a prediction set: by rows, by labels, by model, all at once."""

from collections.abc import Iterator

import numpy as np

from stacking._checks import check_at_least
from stacking._typing import FloatArray, StringArray
from stacking.predictions.selection import select_positions
from stacking.predictions.sources import ALL, BLOCK_BYTES, ArraySource, ScoreSource, rows_per_block

SLOW_LABEL_BYTES = 8 * BLOCK_BYTES
"""Scores of a panel of labels where every panel costs a pass over the whole files: a wide panel means few passes. A
choice, not tuned; only memory and speed depend on it."""


class ScoreReader:
    """Something whose scores are read in blocks, so that the same code runs in memory and on a store."""

    ids: StringArray
    models: tuple[str, ...]
    labels: tuple[str, ...]
    _source: ScoreSource

    def iter_rows(self, block: int | None = None) -> Iterator[tuple[slice, FloatArray]]:
        """
        Go through the samples in order, a block of rows at a time.

        Parameters
        ----------
        block : int, optional
            Rows per block; by default as many as fill 64 MiB.

        Yields
        ------
        rows : slice
            Which samples.
        scores : ndarray of float32, shape (n_models, n_rows, n_labels)
            Their scores, C-ordered, NaN exactly where not covered; read-only by agreement.

        Notes
        -----
        Costs one sequential read of the scores. An array in memory that fits one block is handed out without a copy.
        """
        block = self._block(block, rows_per_block(len(self.models) * len(self.labels)))
        if block >= len(self.ids) and isinstance(self._source, ArraySource):
            yield slice(0, len(self.ids)), self._source.y_scores
            return
        for start in range(0, len(self.ids), block):
            rows = slice(start, min(start + block, len(self.ids)))
            yield rows, self._read(rows, ALL)

    def iter_labels(self, block: int = 1) -> Iterator[tuple[slice, FloatArray]]:
        """
        Go through the labels in order, a few at a time, with all samples of each.

        Parameters
        ----------
        block : int, default=1
            Labels per block.

        Yields
        ------
        labels : slice
            Which labels.
        scores : ndarray of float32, shape (n_models, n_samples, n_block)
            Their scores, C-ordered; read-only by agreement.

        Notes
        -----
        Memory is bounded by two panels of labels, each of one block or, where more fits, 64 MiB (512 MiB for files
        without a by-label copy). Such files are read once per panel: with 6 models and 228 labels of a million rows
        (5.5 GB) that is 11 times. A store with a by-label copy (``labelstack pack --by-label``) is read once.
        """
        block = self._block(block, 1)
        budget = BLOCK_BYTES if self._source.reads_labels_fast else SLOW_LABEL_BYTES
        fits = rows_per_block(len(self.models) * len(self.ids), budget)
        step = max(block, fits // block * block)
        for start in range(0, len(self.labels), step):
            stop = min(start + step, len(self.labels))
            panel = self._read_panel(slice(start, stop))
            for first in range(start, stop, block):
                part = panel[first - start : min(first + block, stop) - start]
                yield slice(first, first + len(part)), np.ascontiguousarray(part.transpose(1, 2, 0))

    def model_scores(self, model: int | str) -> FloatArray:
        """
        Read one model's whole matrix.

        Parameters
        ----------
        model : int or str
            The model's position or name.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            Its scores, NaN where not covered; read-only by agreement.
        """
        position = int(select_positions([model], self.models, "models")[0])
        if isinstance(self._source, ArraySource):
            return self._source.y_scores[position]
        scores = np.empty((len(self.ids), len(self.labels)), np.float32)
        self._source.read(position, slice(0, len(self.ids)), ALL, scores)
        return scores

    def to_array(self) -> FloatArray:
        """
        Read all scores.

        Returns
        -------
        ndarray of float32, shape (n_models, n_samples, n_labels)
            The scores, C-ordered; the set's own array where it is in memory already: read-only by agreement.
        """
        if isinstance(self._source, ArraySource):
            return self._source.y_scores
        return self._read(slice(0, len(self.ids)), ALL)

    def _block(self, block: int | None, default: int) -> int:
        """Check a block size."""
        if block is None:
            return default
        check_at_least(1, block=block)
        return int(block)

    def _read(self, rows: slice, labels: slice) -> FloatArray:
        """Read the scores of all models for some rows and labels into new memory."""
        n_labels = len(range(*labels.indices(len(self.labels))))
        scores = np.empty((len(self.models), rows.stop - rows.start, n_labels), np.float32)
        for model in range(len(self.models)):
            self._source.read(model, rows, labels, scores[model])
        return scores

    def _read_panel(self, labels: slice) -> FloatArray:
        """Read some labels of all samples, label first, so that one label lies together."""
        panel = np.empty((labels.stop - labels.start, len(self.models), len(self.ids)), np.float32)
        for model in range(len(self.models)):
            self._source.read(model, slice(0, len(self.ids)), labels, panel[:, model].T)
        return panel
