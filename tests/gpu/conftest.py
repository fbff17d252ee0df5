"""Where the tests of this folder compute: on a CUDA device under the marker ``gpu``, on the CPU in the ordinary suite.

Both run the same lines; the CPU takes the smaller cases, so that the code is proven where no card is.
"""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.photos.tensors import PhotoTensors  # noqa: E402
from base_models.recipe.member import MemberConfig  # noqa: E402
from base_models.recipe.training import TrainingConfig  # noqa: E402
from base_models.testing import write_tiny_photos  # noqa: E402
from base_models.training.task import MemberTask  # noqa: E402

# a loader forks its workers, as torch's does everywhere; CUDA's threads are not touched in them
FORK = "ignore:.*use of fork.. may lead to deadlocks:DeprecationWarning"


def pytest_collection_modifyitems(items):
    for item in items:
        if "tests/gpu/" in item.nodeid:
            item.add_marker(pytest.mark.filterwarnings(FORK))


def pytest_generate_tests(metafunc):
    if "device" in metafunc.fixturenames and "device" not in str(
        [mark.args[:1] for mark in metafunc.definition.iter_markers("parametrize")]
    ):
        metafunc.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)], indirect=True)


@pytest.fixture
def device(request):
    """``cpu`` or ``cuda``; without a card the latter is skipped."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")
    return request.param


@pytest.fixture(autouse=True)
def one_thread():
    """As everywhere in the suite: processes that wait for each other's threads are slower than one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, 2) if torch.cuda.is_available() else 1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def whole_memory():
    """A cap on a card's memory ends with its test."""
    yield
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    """Photos of 32 pixels and their table; tests must not change them."""
    folder = tmp_path_factory.mktemp("photos")
    return folder, load_manifest(write_tiny_photos(folder, 64, 0), folder)


@pytest.fixture
def make_task(tiny_folder):
    """Prepare a network's training on the tiny photos."""

    def make(network="test_resnet", *, size=32, head="linear", n_rows=48, y_known=None, **settings):
        settings = {"epochs": 1, "batch_size": 16, "learning_rate": 2e-3, **settings}
        member = MemberConfig("m", network, size=size, head=head, hidden=(32, 16), training=TrainingConfig(**settings))
        manifest = tiny_folder[1]
        photos = PhotoTensors(manifest, np.arange(64), size)
        return MemberTask(member, photos, manifest.y_true, np.arange(n_rows), np.arange(48, 64), 3, y_known)

    return make


def relative_error(found, expected):
    """Return the norm of the difference over that of what is expected."""
    found, expected = (np.asarray(values, np.float64).ravel() for values in (found, expected))
    return float(np.linalg.norm(found - expected) / max(np.linalg.norm(expected), 1e-30))


@pytest.fixture
def error_of(record_property):
    """Compute a relative error and put it into the report."""

    def compute(name, found, expected):
        value = relative_error(found, expected)
        record_property(name, value)
        return value

    return compute
