"""The compiled loops of sorted cuts, where no public function shows them: histogram bins, pruning floors, caching."""

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from sklearn.metrics import fbeta_score

from stacking.kernels import cuts as _kernels

NO_MASK, NO_WEIGHT = np.empty((0, 0), dtype=bool), np.empty(0)


@pytest.mark.parametrize("shift", [19, 21, 23])
def test_bins_are_monotone_and_hold_the_ends(shift):
    scores = np.sort(np.concatenate([[0.0, -0.0, 1e-30, 2.0**-24, 0.5, 1.0], np.geomspace(1e-9, 1, 500)])).astype(
        np.float32
    )
    n_bins = ((_kernels.ONE_PATTERN - _kernels.LOWEST_PATTERN) >> shift) + 1
    entries = np.zeros((len(scores), n_bins), dtype=np.int64)
    positive = np.zeros(entries.shape)
    truth = np.ones((1, len(scores)), dtype=np.uint8)
    bits = scores[None].view(np.uint32)
    _kernels.score_histograms(bits, truth, NO_MASK, NO_WEIGHT, entries, positive, positive, shift)
    bins = entries.argmax(axis=1)
    assert (entries.sum(axis=1) == 1).all()
    assert (np.diff(bins) >= 0).all()
    assert bins[0] == 0
    assert bins[-1] == n_bins - 1


def test_floors_keep_the_limit_and_one_bin_more():
    entries = np.array([[5, 0, 3, 0, 2, 1]])
    floors, kept = _kernels.lowest_floors(entries, entries.astype(float), np.array([2.0]), 19)
    assert kept.tolist() == [6]  # 1 + 2 reach the limit, the 3 below give the next lower score
    assert floors[0] == (2 << 19) + _kernels.LOWEST_PATTERN
    floors, kept = _kernels.lowest_floors(entries, entries.astype(float), np.array([np.inf]), 19)
    assert kept.tolist() == [11]
    assert floors[0] == 0
    floors, kept = _kernels.lowest_floors(entries, entries.astype(float), np.array([0.0]), 19)
    assert kept.tolist() == [0]
    assert floors[0] == _kernels.NEVER


def test_short_segments_are_sorted_and_long_ones_left(rng):
    start = np.array([0, 0, 1, 40, 40 + _kernels.SHORT + 1, 40 + 2 * _kernels.SHORT + 1])
    packed = rng.integers(0, 50, start[-1]).astype(np.uint64)
    before = packed.copy()
    _kernels.sort_short_segments(packed, start)
    for label, (begin, end) in enumerate(pairwise(start.tolist())):
        expected = before[begin:end] if label == 3 else np.sort(before[begin:end])
        np.testing.assert_array_equal(packed[begin:end], expected)


@pytest.mark.parametrize("beta", [0.5, 1.0, 2.0])
def test_own_cut_of_a_label_has_the_highest_f_beta(beta, rng):
    """Brute force over the cuts by scikit-learn; several labels choose differently by another beta."""
    scores = np.linspace(1, 0, 40)  # a row is a cut: what lies above it or on it fires
    truth = rng.random((40, 12)) < np.linspace(0.7, 0.1, 40)[:, None]
    truth[:, 7] = False
    cut_start = np.arange(13) * 40
    hits, fired = np.cumsum(truth, axis=0).T.ravel().astype(float), np.tile(np.arange(1.0, 41.0), 12)
    chosen, value = _kernels.best_f1_cuts(cut_start, hits, fired, truth.sum(axis=0).astype(float), beta**2)
    for label in range(12):
        reached = [fbeta_score(truth[:, label], scores >= cut, beta=beta, zero_division=0) for cut in scores]
        assert value[label] == pytest.approx(max(reached), abs=1e-12)
        best = int(np.argmax(reached)) + cut_start[label]
        assert chosen[label] == (best if max(reached) > 0 else -1)


def test_kernels_compile_where_nothing_can_be_cached(tmp_path):
    """Neither beside the module nor in the user's cache folder: compiled for this process only."""
    code = (
        "import numba.core.caching as c\n"
        "c.CacheImpl._locator_classes = []\n"
        "import numpy as np\n"
        "import importlib.util as u\n"
        f"spec = u.spec_from_file_location('kernels', {_kernels.__file__!r})\n"
        "_kernels = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(_kernels)\n"
        "print(_kernels.best_cuts(np.array([0, 1]), np.ones(1), np.ones(1), .5)[0])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "0", done.stderr
