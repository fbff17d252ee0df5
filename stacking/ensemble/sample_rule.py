"""A rule that decides sample by sample, as an ensemble's folder holds it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking.decision_rules import SampleRule


def read_sample_rule(
    description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], n_labels: int
) -> SampleRule | None:
    """Return the rule of a folder.

    Parameters
    ----------
    description : mapping
        The folder's manifest; ``sample_rule`` holds slope and beta, if there is a rule.
    arrays : mapping of str to ndarray
        ``sample_intercept``, shape (n_labels,).
    n_labels : int
        Number of labels.

    Returns
    -------
    SampleRule or None
        None if the folder holds none.

    Raises
    ------
    ValueError
        If a number is missing or not finite.
    """
    stored = description.get("sample_rule")
    if stored is None:
        return None
    slope, beta, intercept = float(stored["slope"]), float(stored["beta"]), arrays["sample_intercept"]
    if intercept.shape != (n_labels,) or not np.isfinite([slope, beta, *intercept]).all() or beta <= 0:
        raise ValueError(f"sample_intercept must hold a finite number for each of {n_labels} labels")
    return SampleRule(slope, intercept.astype(np.float64), beta)
