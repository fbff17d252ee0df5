"""
Geometry of the simplex: where candidate weights live, and how a free point becomes one.

The simplex is the set of weights that are not negative and sum to one. Methods that were published for unbounded space
(swarms, evolution strategies, Nelder-Mead) search there and have every point projected before it is evaluated. The
Euclidean projection maps a point to the nearest weights, leaves weights as they are, and reaches the faces of the
simplex (members with weight exactly zero), which a softmax never does.

References
----------
J. Duchi, S. Shalev-Shwartz, Y. Singer, T. Chandra, "Efficient projections onto the l1-ball for learning in high
dimensions", ICML 2008, figure 1.
"""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


def project_to_simplex(points: npt.ArrayLike) -> FloatArray:
    """
    Project points onto the simplex: the nearest weights in Euclidean distance.

    Parameters
    ----------
    points : array-like of shape (..., n_dimensions)
        Any finite numbers, dimensionless.

    Returns
    -------
    ndarray of shape (..., n_dimensions), float64
        Weights in [0, 1] whose last axis sums to one.

    Notes
    -----
    O(n log n) per point. Adding a constant to all coordinates of a point does not change its projection.

    References
    ----------
    Duchi et al., ICML 2008, figure 1.

    Examples
    --------
    >>> project_to_simplex([0.75, 0.75, -1.0]).tolist()
    [0.5, 0.5, 0.0]
    """
    values = np.asarray(points, dtype=np.float64)
    values = values - values.max(axis=-1, keepdims=True)  # the projection does not see a shift; precision does
    descending = -np.sort(-values, axis=-1)
    excess = np.cumsum(descending, axis=-1) - 1.0
    rank = np.arange(1, values.shape[-1] + 1)
    support = np.count_nonzero(descending - excess / rank > 0.0, axis=-1)[..., None]  # rho in figure 1
    shift = np.take_along_axis(excess, support - 1, axis=-1) / support  # theta in figure 1
    weights = np.maximum(values - shift, 0.0)
    return weights / weights.sum(axis=-1, keepdims=True)


def default_starts(n_dimensions: int) -> FloatArray:
    """List the candidates every search starts from: uniform weights first, then each single member."""
    return np.concatenate([np.full((1, n_dimensions), 1.0 / n_dimensions), np.eye(n_dimensions)])


def plane_basis(n_dimensions: int) -> FloatArray:
    """
    Give an orthonormal basis, shape (n_dimensions - 1, n_dimensions), of the plane in which the simplex lies.

    These are Helmert's contrasts. Searching in their n - 1 coordinates removes the direction (1, …, 1), along which the
    projection is flat.
    """
    contrasts = np.tri(n_dimensions - 1, n_dimensions)
    rows = np.arange(1, n_dimensions)
    contrasts[rows - 1, rows] = -rows
    return contrasts / np.sqrt(rows * (rows + 1))[:, None]
