"""Fixtures shared by every test folder."""

import os
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

chromium = runpy.run_path(str(Path(__file__).with_name("browser.py")))["chromium"]


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


def _torch_threads():
    """Say with how many threads torch computes, where a test has loaded it."""
    torch = sys.modules.get("torch")
    return torch and torch.get_num_threads()


@pytest.fixture(autouse=True)
def _leaves_torchs_threads_alone():
    """A test that left another number of threads would change the last bits of those after it, or their plans."""
    before = _torch_threads()
    yield
    after = _torch_threads()
    if before and before != after:
        sys.modules["torch"].set_num_threads(before)
        pytest.fail(f"the test found torch with {before} threads and left it with {after}")


ALLOWED_SKIPS = (
    r"no measuring data at",  # it lies beside the checkout and is not part of it
    r"root may write everywhere|only root may mount|needs Linux's mount|needs a folder that not even root",
    r"needs folder permissions|needs /proc|reads the kernel's list|through /proc|no named pipes|KiB on Linux only",
    r"needs openssl|needs a CUDA device|no GPU|torch finds no CUDA device",
    r"the CPU is compared with itself",
    r"needs Chromium",
    # extras and peers that a developer's environment may leave out
    r"(ray|huggingface_hub|tensorboard|mlflow|wandb|cleanlab|onnx|onnxruntime|onnxscript|starlette) is not installed",
    r"SCIPY_ARRAY_API is not set|does not have a decision_function method",  # scikit-learn's own checks
    # cases of a matrix that do not apply
    r"weighs labels itself|the last bytes of this format hold no picture|a seeded walk is another walk",
    r"its folds are stratified on the truth as given|seeded folds depend on the order",
)
"""Why a test may be skipped in CI. Any other skip, such as a package that failed to import, hides what is untested."""
_unexpected: list[str] = []


def _look_at(report):
    """Remember a skip whose reason is not listed."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("LABELSTACK_SKIPS") == "listed":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not any(re.search(allowed, reason) for allowed in ALLOWED_SKIPS):
            _unexpected.append(f"{report.nodeid}: {reason}")


def pytest_runtest_logreport(report):
    _look_at(report)


def pytest_collectreport(report):
    _look_at(report)


def pytest_sessionfinish(session):
    if (
        _unexpected
        and session.exitstatus in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
        and not hasattr(session.config, "workerinput")
    ):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter):
    for line in sorted(set(_unexpected)):
        terminalreporter.write_line(f"UNEXPECTED SKIP {line}", red=True)
