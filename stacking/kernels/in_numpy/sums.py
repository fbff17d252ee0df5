"""Sums and logarithms with the bits of a compiled loop."""

import math

import numpy as np

from stacking._typing import DoubleArray


def add_up(first: float, values: DoubleArray) -> float:
    """Add numbers to a first one, in their order."""
    if not len(values):
        return first
    return float(np.cumsum(np.concatenate([[first], values]))[-1])


def logarithms(values: DoubleArray) -> DoubleArray:
    """Return the natural logarithm of each value, as the C library has it."""
    return np.array(list(map(math.log, values.ravel().tolist())), dtype=np.float64)
