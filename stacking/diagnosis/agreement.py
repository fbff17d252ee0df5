"""How far two tables of scores agree row by row, beside what rows in random order would give.

The agreement of centered A and B, both (n_samples, n_labels), is ⟨A, B⟩ / n. Over random orders of the rows of B its
mean is 0 and its variance ⟨AᵀA, BᵀB⟩ / (n² (n − 1)), whatever the labels have to do with each other.

References
----------
J. Josse, J. Pagès and F. Husson, Testing the significance of the RV coefficient, Computational Statistics & Data
Analysis 53, 2008, section 3: the moments over permutations of which this is the second.
"""

from __future__ import annotations

import numpy as np

from stacking._typing import FloatArray


def gram(values: FloatArray) -> FloatArray:
    """Multiply a table with itself, label by label.

    Parameters
    ----------
    values : ndarray of float32, shape (n_samples, n_labels)
        Centered.

    Returns
    -------
    ndarray of float32, shape (n_labels, n_labels)
        The products.
    """
    return values.T @ values


def agreement(first: FloatArray, second: FloatArray) -> float:
    """Return how far two centered tables agree.

    Parameters
    ----------
    first, second : ndarray of float32, shape (n_samples, n_labels)
        Centered columns.

    Returns
    -------
    float
        Sum over the labels of their covariances.
    """
    return float(np.vdot(first, second)) / max(len(first), 1)


def chance_deviation(first: FloatArray, second: FloatArray, n_samples: int) -> float:
    """Return the standard deviation of an agreement over random orders of the rows.

    Parameters
    ----------
    first, second : ndarray of float32, shape (n_labels, n_labels)
        The tables' `gram`.
    n_samples : int
        Number of rows, at least 2.

    Returns
    -------
    float
        0 where one is constant.
    """
    return float(np.sqrt(max(float(np.vdot(first, second)), 0.0) / (n_samples - 1)) / n_samples)


def certainty(first: FloatArray, second: FloatArray) -> float:
    """Return an agreement in units of its standard deviation over random orders of the rows.

    Parameters
    ----------
    first, second : ndarray of float32, shape (n_samples, n_labels)
        Centered columns.

    Returns
    -------
    float
        About normally distributed around 0 where the rows of one are in random order; 0 where nothing varies.
    """
    if len(first) < 2:
        return 0.0
    deviation = chance_deviation(gram(first), gram(second), len(first))
    return agreement(first, second) / deviation if deviation > 0 else 0.0
