"""Paired bootstrap of micro-F1 from counts, and of any metric from its measurement.

Micro-F1 is a ratio of sums over samples, so a resample needs no predictions, only how often each sample was drawn:
one matrix product of the draws with the per-sample counts of all methods gives every method's score in every
resample. All methods see the same draws, hence differences are paired. Samples that belong together (photos of one
shop, tracks of one artist) are drawn together: then groups are the units. What does not count is no unit.

References
----------
B. Efron and R. Tibshirani, An Introduction to the Bootstrap, Chapman & Hall, 1993, chapters 13 (percentile intervals)
and 16. For groups: A. C. Davison and D. V. Hinkley, Bootstrap Methods and their Application, Cambridge, 1997, section
3.8.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers._checks import check_random_state
from stacking._checks import check_at_least
from stacking._typing import DoubleArray
from stacking.metrics.counts import DecisionCounts, f1_score
from stacking.metrics.measurement import Measurement
from stacking.truth import Truth

_DRAWS_IN_MEMORY = 4_000_000  # 32 MB of float64; the draws are the same whatever it is, only memory depends on it


def bootstrap_micro_f1(
    truth: Truth, counts: Sequence[DecisionCounts], *, n_bootstrap: int = 1000, random_state: int = 0
) -> DoubleArray:
    """Resample rows, or groups, and score sets of decisions on each resample.

    Parameters
    ----------
    truth : Truth
        What counts, with groups and weights.
    counts : sequence of DecisionCounts
        Of each set of decisions on these rows.
    n_bootstrap : int, default=1000
        Number of resamples.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    ndarray of float64, shape (len(counts), n_bootstrap)
        Micro-F1, all sets on the same draws.
    """
    columns: list[npt.NDArray[Any]] = [truth.sample_positives]
    for each in counts:
        columns += [each.sample_hits, each.sample_predicted]
    units = truth.sum_units(np.stack(columns, axis=1))
    totals = bootstrap_totals(units, n_bootstrap=n_bootstrap, random_state=random_state)
    return np.stack([f1_score(totals[:, 1 + 2 * k], totals[:, 2 + 2 * k], totals[:, 0]) for k in range(len(counts))])


def resample(measurement: Measurement, *, n_bootstrap: int = 1000, random_state: int = 0) -> DoubleArray:
    """Resample rows, or groups, and measure answers on each resample.

    Parameters
    ----------
    measurement : Measurement
        By any metric. Those of different answers to the same rows, with the same seed, see the same draws.
    n_bootstrap : int, default=1000
        Number of resamples.
    random_state : int, default=0
        Seed of the draws.

    Returns
    -------
    ndarray of float64, shape (n_bootstrap,)
        Values of the metric, moved so that their mean is the value on the rows themselves: a resample leaves some rare
        labels without positives, and an average over labels falls by that, which says nothing about the answers.
    """
    draws = _iter_draws(measurement.n_units, n_bootstrap, random_state)
    values = np.concatenate([measurement.resample(drawn) for drawn in draws])
    return np.asarray(values - values.mean() + measurement.value)


def _iter_draws(n_units: int, n_bootstrap: int, random_state: int) -> Iterator[DoubleArray]:
    """Draw units with replacement, many times, as many resamples at once as memory allows."""
    rng = check_random_state(random_state)
    step = max(1, _DRAWS_IN_MEMORY // n_units)
    for start in range(0, n_bootstrap, step):
        drawn = np.empty((min(step, n_bootstrap - start), n_units))
        for row in drawn:
            row[:] = np.bincount(rng.integers(n_units, size=n_units), minlength=n_units)
        yield drawn


def bootstrap_totals(unit_counts: npt.ArrayLike, *, n_bootstrap: int = 1000, random_state: int = 0) -> DoubleArray:
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
    check_at_least(1, n_bootstrap=n_bootstrap)
    return np.concatenate([drawn @ counts for drawn in _iter_draws(len(counts), n_bootstrap, random_state)])


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
