"""Which samples an ensemble was fitted on, as eight bytes each: enough to refuse them later, not enough to read them.

Scores of rows that were fitted on are too high, and an overlap of some rows goes unnoticed where only whole files are
compared. Ids are hashed, so that an ensemble folder can be passed on without the names of the samples it learned from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from stacking.predictions import PredictionSet

HashArray = npt.NDArray[np.uint64]
N_BYTES = 8  # of a hash: how often two ids meet by chance, `hash_ids` says


def hash_ids(ids: Sequence[str] | npt.NDArray[np.str_]) -> HashArray:
    """Hash every id.

    Parameters
    ----------
    ids : sequence of str
        Names of the samples.

    Returns
    -------
    ndarray of uint64, shape (n_samples,)
        Hashes in the order of the ids.

    Notes
    -----
    BLAKE2b of eight bytes: a million ids against a million others meet by chance with a probability of 5e-8.

    Examples
    --------
    >>> hash_ids(["photo1", "photo2", "photo1"]).tolist().count(hash_ids(["photo1"])[0])
    2
    """
    digests = b"".join(hashlib.blake2b(str(name).encode(), digest_size=N_BYTES).digest() for name in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def ids_of_fit(predictions: PredictionSet) -> npt.NDArray[np.str_]:
    """Name all rows that a fit learns from: those with scores, and label rows whose names can be told from theirs.

    Parameters
    ----------
    predictions : PredictionSet
        What is fitted on.

    Returns
    -------
    ndarray of str
        Names.
    """
    more = None if predictions.label_rows is None else predictions.label_rows.ids
    are_counted = len(predictions.ids) and predictions.ids[-1] == f"sample{len(predictions.ids) - 1}"
    return predictions.ids if more is None or are_counted else np.concatenate([predictions.ids, more])


def find_seen(ids: Sequence[str] | npt.NDArray[np.str_], fitted: HashArray) -> npt.NDArray[np.bool_]:
    """Find the samples that are among those an ensemble was fitted on.

    Names that were only counted through on both sides (``sample0``, ``sample1`` …, given to arrays without ids) name
    nobody: then no sample is known to be seen.

    Parameters
    ----------
    ids : sequence of str
        Names of the samples.
    fitted : ndarray of uint64
        Hashes of the ids that were fitted on.

    Returns
    -------
    ndarray of bool, shape (n_samples,)
        True for a sample that was fitted on.
    """
    hashes = hash_ids(ids)
    if np.array_equal(hashes, _counted(len(hashes))) and np.array_equal(
        np.sort(fitted), np.sort(_counted(len(fitted)))
    ):
        return np.zeros(len(hashes), dtype=np.bool_)
    return np.isin(hashes, fitted)


def _counted(n_samples: int) -> HashArray:
    """Hash the names that samples without ids get."""
    return hash_ids([f"sample{place}" for place in range(n_samples)])
