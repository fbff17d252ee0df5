"""When two numbers count as equal: what only rounding tells apart is decided by a rule, not by rounding.

The same counts added up in another order, or weights in another unit, change a sum in its last bits. A choice that
hangs on them would change with the order of rows and with the processor. So whoever chooses asks `exceeds`, and takes
the simpler or the earlier candidate where the answer is no.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

TIED = 1e-10
"""Relative difference below which two sums are equal: a million terms round to about 1e-13 of their sum, and one
decision among 10⁹ cells changes a score by more than this."""


def exceeds(value: npt.ArrayLike, bound: npt.ArrayLike, scale: npt.ArrayLike = 0.0) -> npt.NDArray[np.bool_]:
    """Tell whether a value lies above a bound by more than rounding.

    Parameters
    ----------
    value, bound : array
        What is compared, element by element.
    scale : array, default 0
        Size of the terms that `value` and `bound` are differences of, where those may cancel.

    Returns
    -------
    ndarray of bool
        True where the value is above.

    Examples
    --------
    >>> exceeds(0.1 + 0.2, 0.3).item(), exceeds(0.31, 0.3).item()
    (False, True)
    """
    value, bound = np.asarray(value, dtype=np.float64), np.asarray(bound, dtype=np.float64)
    size = np.maximum(np.maximum(np.abs(value), np.abs(bound)), np.abs(np.asarray(scale, dtype=np.float64)))
    with np.errstate(invalid="ignore"):  # of two infinities neither is above
        return np.asarray((value > bound) & (np.isinf(size) | (value - bound > TIED * size)))


def first_best(values: npt.ArrayLike) -> int:
    """Find the highest value, the first of those that are equal but for rounding.

    Parameters
    ----------
    values : array of shape (n,)
        At least one, the preferred first.

    Returns
    -------
    int
        Its position.

    Examples
    --------
    >>> first_best([0.3, 0.1 + 0.2, 0.2])
    0
    """
    array = np.asarray(values, dtype=np.float64)
    return int(np.argmax(~exceeds(array.max(), array)))
