"""Paired bootstrap of micro-F1 from counts.

Micro-F1 is a ratio of sums over samples, so a resample needs no predictions, only how often each sample was drawn:
one matrix product of the draws with the per-sample counts of all methods gives every method's score in every
resample. All methods see the same draws, hence differences are paired. Samples that belong together (photos of one
shop, tracks of one artist) are drawn together: then groups are the units.

References
----------
B. Efron and R. Tibshirani, An Introduction to the Bootstrap, Chapman & Hall, 1993, chapters 13 (percentile intervals)
and 16. For groups: A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application, Cambridge, 1997, section
3.8.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["bootstrap_totals", "percentile_interval", "unit_sums"]

Float64Array = npt.NDArray[np.float64]

_DRAWS_IN_MEMORY = 4_000_000


def unit_sums(
    counts: npt.ArrayLike, *, groups: npt.ArrayLike | None = None, sample_weight: npt.ArrayLike | None = None
) -> Float64Array:
    """Add up per-sample counts to the units that are resampled.

    Parameters
    ----------
    counts : array of shape (n_samples, n_columns)
        Per-sample counts.
    groups : array of shape (n_samples,), optional
        Samples of one group form one unit; without it every sample is a unit.
    sample_weight : array of shape (n_samples,), optional
        Weight of each sample.

    Returns
    -------
    ndarray of float64, shape (n_units, n_columns)
        Sums per unit, units in sorted order of their group.

    Raises
    ------
    ValueError
        If lengths differ.

    Examples
    --------
    >>> unit_sums([[1], [2], [4]], groups=["a", "b", "a"]).tolist()
    [[5.0], [2.0]]
    """
    values = np.asarray(counts, dtype=np.float64)
    for name, given in (("groups", groups), ("sample_weight", sample_weight)):
        if given is not None and len(np.asarray(given)) != len(values):
            raise ValueError(f"{name} must hold one value per sample: got {len(np.asarray(given))} for {len(values)}.")
    if sample_weight is not None:
        values = values * np.asarray(sample_weight, dtype=np.float64)[:, None]
    if groups is None:
        return values
    _, unit = np.unique(np.asarray(groups), return_inverse=True)
    n_units = int(unit.max()) + 1
    columns = [np.bincount(unit.ravel(), weights=column, minlength=n_units) for column in values.T]
    return np.stack(columns, axis=1)


def bootstrap_totals(unit_counts: npt.ArrayLike, *, n_bootstrap: int = 1000, random_state: int = 0) -> Float64Array:
    """Draw units with replacement and add up their counts, many times.

    Parameters
    ----------
    unit_counts : array of shape (n_units, n_columns)
        Counts per unit, all methods side by side.
    n_bootstrap : int, default=1000
        Number of resamples.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    ndarray of float64, shape (n_bootstrap, n_columns)
        Column sums of each resample.

    Raises
    ------
    ValueError
        If there is no unit or no resample is asked for.

    Notes
    -----
    O(n_bootstrap · n_units · n_columns) in a matrix product; draws are kept for a few million units at a time.
    """
    counts = np.asarray(unit_counts, dtype=np.float64)
    if counts.ndim != 2 or len(counts) == 0:
        raise ValueError(f"unit_counts must hold at least one unit: got shape {counts.shape}.")
    if n_bootstrap < 1:
        raise ValueError(f"n_bootstrap must be at least 1: got {n_bootstrap}.")
    rng = np.random.default_rng(random_state)
    n_units = len(counts)
    step = max(1, _DRAWS_IN_MEMORY // n_units)
    totals = np.empty((n_bootstrap, counts.shape[1]))
    for start in range(0, n_bootstrap, step):
        stop = min(start + step, n_bootstrap)
        drawn = np.empty((stop - start, n_units))
        for row in drawn:
            row[:] = np.bincount(rng.integers(n_units, size=n_units), minlength=n_units)
        totals[start:stop] = drawn @ counts
    return totals


def percentile_interval(values: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Take the middle share of bootstrap values.

    Parameters
    ----------
    values : array of shape (n_bootstrap,)
        One value per resample.
    level : float, default=0.95
        Share of the values that lies inside.

    Returns
    -------
    tuple of float
        Lower and upper limit.

    Examples
    --------
    >>> percentile_interval(list(range(101)), level=0.5)
    (25.0, 75.0)
    """
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.asarray(values, dtype=np.float64), [tail, 1.0 - tail])
    return float(low), float(high)
