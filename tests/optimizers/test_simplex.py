"""The projection against its definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers import project_to_simplex
from optimizers._simplex import default_starts, plane_basis

points = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8).map(np.array)


@settings(max_examples=200, deadline=None)
@given(points)
def test_projection_is_on_the_simplex_and_optimal(point):
    weights = project_to_simplex(point)
    assert (weights >= 0).all()
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    # Optimality: point - weights is the same for weights above zero, and no larger elsewhere.
    residual = point - weights
    level = residual[weights > 0]
    scale = 1e-9 * max(1.0, np.abs(point).max())
    assert np.ptp(level) <= scale
    assert (residual <= level.max() + scale).all()


def test_projection_leaves_weights_alone(rng):
    weights = rng.dirichlet(np.ones(7), size=50)
    np.testing.assert_allclose(project_to_simplex(weights), weights, atol=1e-15)
    np.testing.assert_array_equal(project_to_simplex(np.eye(5)), np.eye(5))


def test_projection_does_not_see_a_shift(rng):
    cloud = rng.normal(size=(20, 4))
    np.testing.assert_allclose(project_to_simplex(cloud + 1e3), project_to_simplex(cloud), atol=1e-9)


def test_projection_is_no_farther_than_any_weights(rng):
    cloud, rivals = rng.normal(size=(10, 3)), rng.dirichlet(np.ones(3), size=5000)
    nearest = np.linalg.norm(cloud - project_to_simplex(cloud), axis=1)
    assert (nearest[:, None] <= np.linalg.norm(cloud[:, None] - rivals, axis=2) + 1e-12).all()


@pytest.mark.parametrize("n_dimensions", [2, 3, 9])
def test_plane_basis_is_orthonormal_and_sums_to_zero(n_dimensions):
    basis = plane_basis(n_dimensions)
    np.testing.assert_allclose(basis @ basis.T, np.eye(n_dimensions - 1), atol=1e-14)
    np.testing.assert_allclose(basis.sum(axis=1), 0.0, atol=1e-14)


def test_default_starts_are_uniform_and_the_singles():
    np.testing.assert_array_equal(default_starts(2), [[0.5, 0.5], [1.0, 0.0], [0.0, 1.0]])
