"""Fixtures shared by every test folder."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng():
    return np.random.default_rng(20261121)


@pytest.fixture(scope="session")
def shared_data():
    """The folder of measuring data beside the checkout; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("LABELSTACK_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no measuring data at {folder}; set LABELSTACK_SHARED_DATA to its folder")
    return folder
