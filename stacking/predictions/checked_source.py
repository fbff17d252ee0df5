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
        self.base = base
        self.covers = covers
        self.ids = ids
        self.models = tuple(models)
        self.labels = np.array(labels, dtype=object)

    @property
    def shape(self) -> tuple[int, int, int]:
        """
        Give the size of the whole.

        Returns
        -------
        tuple of int
            ``(n_models, n_samples, n_labels)``.
        """
        return self.base.shape

    @property
    def reads_labels_fast(self) -> bool:
        """
        Tell whether one label of all rows costs no more than its own bytes.

        Returns
        -------
        bool
            What the base says.
        """
        return self.base.reads_labels_fast

    def read(self, model: int, rows: Index, labels: Index, out: FloatArray) -> None:
        """
        Read a piece of one model's matrix and check it.

        Parameters
        ----------
        model : int
            The model's position.
        rows, labels : slice with step 1, or ndarray of int
            What to read, in the order wanted.
        out : ndarray of float32, shape (n_rows, n_labels)
            Filled with the scores.

        Raises
        ------
        ValueError
            If a score is no probability, NaN where covered, or there where not covered; names model, row and label.
        """
        self.base.read(model, rows, labels, out)
        covers = self.covers[model, labels]
        if covers.all() and out.view(np.uint32).max(initial=0) <= BITS_OF_ONE:
            return
        check_model_scores(
            out, covers, model=self.models[model], ids=self.ids[rows], labels=self.labels[labels].tolist()
        )

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
            What the base recorded.
        """
        return self.base.content_hash(model)
