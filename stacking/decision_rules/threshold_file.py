"""Thresholds as a file that a person can read and change: one number per label, by name.

The file is JSON: ``{"format": "labelstack thresholds", "thresholds": {"hat": 0.31, "shoe": null}}``; null is never.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optimizers.registry import did_you_mean
from stacking.files.untrusted import read_json

FORMAT = "labelstack thresholds"


def read_thresholds(path: str | os.PathLike[str], labels: Sequence[str]) -> npt.NDArray[np.float64]:
    """Read thresholds for the labels of an ensemble.

    Parameters
    ----------
    path : path-like
        A file as the page of thresholds gives it.
    labels : sequence of str
        The labels that it must name, in the order that is wanted; it may name them in any.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Thresholds in [0, 1], +inf for never.

    Raises
    ------
    ValueError
        If it is no such file, lacks a label, names another one, or holds anything but numbers in [0, 1] and null.
    """
    stored = read_json(path, f"the thresholds file {os.fspath(path)}")
    by_name = stored.get("thresholds")
    if stored.get("format") != FORMAT or not isinstance(by_name, dict):
        raise ValueError(
            f"thresholds must be a JSON file with the format {FORMAT!r} and one threshold by label: "
            f"{os.fspath(path)} is not; copy one from the page of thresholds that `labelstack evaluate` writes."
        )
    for name in by_name:
        if name not in labels:
            hint = did_you_mean(name, labels)
            raise ValueError(f"thresholds must be for the labels of the ensemble: {name!r} is none of them.{hint}")
    missing = [name for name in labels if name not in by_name]
    if missing:
        raise ValueError(
            f"thresholds must name every label of the ensemble: {len(missing)} are missing, the first is "
            f"{missing[0]!r}; write null for a label that is never to be predicted."
        )
    for name, limit in by_name.items():
        is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
        if limit is not None and not (is_number and 0 <= limit <= 1):
            raise ValueError(f"thresholds must lie in [0, 1], or be null for never: got {limit!r} for label {name!r}.")
    return np.array([np.inf if by_name[name] is None else by_name[name] for name in labels], dtype=np.float64)
