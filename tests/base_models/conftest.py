"""Fixtures shared by the tests of base_models."""

import pytest

torch = pytest.importorskip("torch")

from base_models.runs.out_of_fold import run_training  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402


@pytest.fixture(scope="session")
def tiny_photos(tmp_path_factory):
    """The tiny data set; tests must not change it."""
    return write_tiny_photos(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="session")
def tiny_run(tiny_photos, tmp_path_factory):
    """The folder of a finished run of the tiny recipe; tests must not change it."""
    return run_training(tiny_recipe(tiny_photos), tmp_path_factory.mktemp("run") / "run", device="cpu")
