"""Scores of a store, checked whenever they are read: hashes say nothing about values, and a store may be a stranger's.

Large stores are not hashed when they are opened, and whoever makes a store hashes whatever he puts in. A score that is
no probability would pass through every mean and every threshold without a word.
"""

from collections.abc import Sequence

import numpy as np

from stacking._checks import check_model_scores
from stacking._typing import BoolArray, FloatArray, StringArray
from stacking.predictions.sources import Index, ScoreSource

BITS_OF_ONE = 0x3F800000
"""float32 1.0: read as unsigned integers, probabilities are those up to it; −0, negatives, inf and NaN lie above."""


class CheckedSource:
    """
    A source whose every piece is checked to hold probabilities, NaN exactly where a model does not cover a label.

    Parameters
    ----------
    base : ScoreSource
        Where the scores are.
    covers : ndarray of bool, shape (n_models, n_labels)
        Which labels each model answers.
    ids : ndarray of str, shape (n_samples,)
        Names for the error.
    models, labels : sequence of str
        Names for the error.

    Notes
    -----
    One more pass over what was read: a thirtieth of the time that reading takes from memory.
    """

    def __init__(
        self, base: ScoreSource, covers: BoolArray, ids: StringArray, models: Sequence[str], labels: Sequence[str]
    ) -> None:
        self.base, self.shape, self.reads_labels_fast = base, base.shape, base.reads_labels_fast
        self.covers = covers
        self.ids = ids
        self.models = tuple(models)
        self.labels = np.array(labels, dtype=object)

    def read(self, model: int, rows: Index, labels: Index, out: FloatArray) -> None:
        """Read a piece and raise a ValueError that names a wrong score; see `ScoreSource.read`."""
        self.base.read(model, rows, labels, out)
        covers = self.covers[model, labels]
        if covers.all() and out.view(np.uint32).max(initial=0) <= BITS_OF_ONE:
            return
        check_model_scores(
            out, covers, model=self.models[model], ids=self.ids[rows], labels=self.labels[labels].tolist()
        )

    def content_hash(self, model: int) -> str | None:
        """Pass on what the base recorded; see `ScoreSource.content_hash`."""
        return self.base.content_hash(model)
