"""Every loop with a twin in numpy: both give the same bits, so that it does not matter which of them ran."""

import copy
import inspect
import itertools
import subprocess
import sys

import numpy as np
import pytest

from stacking.kernels import compiling, cuts, labels, weights
from stacking.kernels.in_numpy import cuts as cuts_in_numpy
from stacking.kernels.in_numpy import labels as labels_in_numpy
from stacking.kernels.in_numpy import weights as weights_in_numpy

MODULES = [(cuts, cuts_in_numpy), (labels, labels_in_numpy), (weights, weights_in_numpy)]
SEEDS = range(6)


def twins():
    """Yield the loop and its twin of every public function there."""
    for module, in_numpy in MODULES:
        for name, twin in vars(in_numpy).items():
            if inspect.isfunction(twin) and twin.__module__ == in_numpy.__name__ and not name.startswith("_"):
                yield getattr(module, name), twin


def both(kernel, *given):
    """Call the loop and its twin with copies, hold all that they return or change together, return the loop's."""
    first, second = copy.deepcopy(given), copy.deepcopy(given)
    answer, twin_answer = kernel.dispatcher(*first), kernel.twin(*second)
    same_bits((answer, first), (twin_answer, second))
    return answer, first


def same_bits(one, other):
    if isinstance(one, tuple):
        assert len(one) == len(other)
        for part, other_part in zip(one, other, strict=True):
            same_bits(part, other_part)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == np.ascontiguousarray(other).tobytes(), (one, other)
    else:
        assert one == other, (one, other)


def random_case(seed):
    """Scores with ties, zeros, ones and gaps; truth, known cells and weights of some rows; odd seeds have all of it."""
    rng = np.random.default_rng(seed)
    n_models, n_rows, n_labels = 3, 40 + 700 * (seed == 4), 5
    block = rng.random((n_models, n_rows, n_labels)).astype(np.float32) ** 2
    block[:, rng.random((n_rows, n_labels)) < 0.2] = 0.25
    block[0, :3], block[1, :2], block[2, 4] = 0.0, 1.0, -0.0
    truth = (rng.random((n_rows, n_labels)) < block.mean(axis=0)).astype(np.uint8)
    truth[:, 4] = 0
    odd = seed % 2 == 1
    if odd:
        block[1, :, 2] = np.nan
    known = rng.random((n_rows, n_labels)) < 0.8 if odd else np.empty((0, 0), dtype=bool)
    weight = rng.random(n_rows) * (rng.random(n_rows) < 0.8) if odd else np.empty(0)
    return rng, block, truth, known, weight


def gathered(seed, lows=(0.3, 0.1), high=2.0):
    """Return gathered cells, and candidates of which one leaves a model out."""
    rng, block, truth, known, weight = random_case(seed)
    n_models, _, n_labels = block.shape
    own = seed % 2 == 1
    group = np.arange(n_labels) if own else np.zeros(n_labels, np.int64)
    counts = np.zeros((len(lows), 2 * (group[-1] + 1)), np.int64)
    bounds = (np.array(lows, np.float32), np.float32(high), np.float32(2.0))
    tier_of = np.empty(truth.shape, np.int8)
    given = (block, truth, known, weight, *bounds, group, counts, rng.random(2), tier_of)
    *_, counts, _, tier_of = both(weights.count_undecided, *given)[1]
    start = np.concatenate([[0], np.cumsum(counts)])
    (values, cell_weight), _ = both(weights.gather_undecided, block, truth, weight, tier_of, group, start)
    candidates = rng.dirichlet(np.ones(n_models), (4, group[-1] + 1)).transpose(0, 2, 1).astype(np.float32)
    candidates[0, 1] = 0.0
    n = counts.shape[1]
    return rng, values, start[: n + 1], cell_weight, np.ascontiguousarray(candidates)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bounds", [((-2.0,), 2.0), ((0.3, 0.1), 2.0), ((0.49,), 0.51), ((-2.0,), 0.5)])
def test_cells_that_weights_decide(seed, bounds):
    gathered(seed, *bounds)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_candidates_make_of_the_cells(seed):
    rng, values, start, weight, candidates = gathered(seed, (-2.0,))
    before = rng.random((4, 2)) if len(weight) else rng.integers(0, 9, (4, 2)).astype(float)
    for common in (np.zeros_like(candidates[0]), candidates[1] / 2):
        both(weights.fired_at, values, start, weight, common, candidates, np.float32(0.3), before)
        both(weights.log_likelihoods, values, start, weight, common, candidates, False, rng.random(4))
    both(weights.log_likelihood_gradient, values, start, weight, candidates[0], False, rng.random(candidates[0].shape))
    active = np.array([0, 2, 3])
    kind = np.float64 if len(weight) else np.int32
    for is_logit in (False, True):
        counts = rng.integers(0, 3, (4, 2, 2 * weights.GRID_HALF + 1)).astype(kind)
        mixed = np.log(values + np.float32(1e-4)) if is_logit else values
        given = (mixed, start, weight, candidates[2] / 3, candidates, active, is_logit, counts)
        counts = both(weights.grid_histograms, *given)[1][-1]
        for floor in (0, weights.GRID_HALF, 2 * weights.GRID_HALF):
            both(weights.best_on_grid, counts, active, floor, 31.5, rng.random(4), rng.random(4))
    both(weights.best_on_grid, np.zeros_like(counts), active, 0, 0.0, rng.random(4), rng.random(4))


@pytest.mark.parametrize("name", ["log_likelihoods", "log_likelihood_gradient", "order_negatives", "label_values"])
def test_twins_refuse_what_they_cannot_answer_with_the_same_bits(name):
    kernel = getattr(weights, name, None) or getattr(labels, name)
    given = [True if parameter == "is_logit" else None for parameter in inspect.signature(kernel.twin).parameters]
    with pytest.raises(compiling.NeedsCompiled):
        kernel.twin(*given)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("shift", [cuts.FINEST_SHIFT, cuts.FINEST_SHIFT + 3])
@pytest.mark.parametrize("reach", [0.0, 3.0, np.inf])
def test_sorted_cuts(seed, shift, reach):
    rng, block, truth, known, weight = random_case(seed)
    bits, n_labels = block[0].view(np.uint32), truth.shape[1]
    shape = (n_labels, ((cuts.ONE_PATTERN - cuts.LOWEST_PATTERN) >> shift) + 1)
    entries, positive = np.zeros(shape, np.int64), rng.random(shape)
    mass = rng.random(shape) if len(weight) else np.zeros((0, 0))
    given = (bits, truth, known, weight, entries, mass, positive, shift)
    *_, entries, mass, positive, _ = both(cuts.score_histograms, *given)[1]
    mass = mass if len(weight) else entries.astype(float)
    limit = np.full(n_labels, reach)
    limit[1] = 0.0
    (floors, kept), _ = both(cuts.lowest_floors, entries, mass, limit, shift)
    start = np.concatenate([[0], np.cumsum(kept)])
    given = (bits, truth, known, weight, floors, 7, 1, 0, np.zeros(start[-1], np.uint64), start[:-1].copy())
    packed = both(cuts.gather_entries, *given)[1][8]
    packed = both(cuts.sort_short_segments, packed, start)[1][0]
    for label in range(n_labels):
        packed[start[label] : start[label + 1]].sort()
    all_weight = np.concatenate([rng.random(7), weight]) if len(weight) else weight
    (cut_start, _, _, hits, fired), _ = both(cuts.cumulate_cuts, packed, start, all_weight, 0)
    for price in (0.0, 0.4, 1.9):
        both(cuts.best_cuts, cut_start, hits, fired, price)
    for most in (1.0, 2.5, np.inf):
        kept_start, (trimmed, *_) = both(cuts.keep_within, packed, start, all_weight, 0, np.full(n_labels, most))
        assert np.all(np.diff(kept_start) <= np.diff(start))
        for label in range(n_labels):
            own = packed[start[label] : start[label + 1]]
            assert (
                trimmed[kept_start[label] : kept_start[label + 1]].tolist()
                == own[len(own) - (kept_start[label + 1] - kept_start[label]) :].tolist()
            )
    part = (rng.random(len(truth) + 7) < 0.6).view(np.uint8)
    cut, cut_start, edge, edge_start = stops_of(packed, start, shift)
    both(cuts.sums_at_stops, packed, start, cut, cut_start, edge, edge_start, all_weight, part, 0)
    chosen = np.full(n_labels, -1)
    chosen[np.diff(cut_start) > 0] = cut[cut_start[:-1][np.diff(cut_start) > 0]]
    both(cuts.scores_around, chosen, packed, start, part, 0)
    pattern = rng.random(n_labels).astype(np.float32).view(np.uint32)
    both(cuts.count_part, packed, start, all_weight, part, pattern, 0)


def stops_of(packed, start, shift):
    """Find cuts and edges by both ways, and check them against a plain search."""
    counts = both(cuts.count_stops, packed, start, shift)[0]
    cut_start, edge_start = (np.concatenate([[0], np.cumsum(of)]) for of in counts)
    (cut, edge), _ = both(cuts.find_stops, packed, start, shift, cut_start, edge_start)
    pattern = (packed >> np.uint64(cuts.ROW_SHIFT)).astype(np.int64)
    bins = np.maximum((pattern >> shift) - (cuts.LOWEST_PATTERN >> shift), 0)
    for values, found in ((pattern, cut), (bins, edge)):
        expected = []
        for begin, end in itertools.pairwise(start):
            held = sorted({values[place] for place in range(begin, end) if packed[place] & np.uint64(1)}, reverse=True)
            expected += [begin + int(np.flatnonzero(values[begin:end] == value)[0]) for value in held]
        assert found.tolist() == expected
    return cut, cut_start, edge, edge_start


@pytest.mark.parametrize("seed", SEEDS)
def test_one_pool_of_all_cells(seed):
    rng, block, truth, known, weight = random_case(seed)
    n_rows, n_labels = truth.shape
    cell_bits = (n_labels - 1).bit_length()
    flat = [one.reshape(-1, 1) if one.size else one for one in (np.nan_to_num(block[0]).view(np.uint32), truth, known)]
    cell_weight = np.repeat(weight, n_labels)
    n_kept = int(
        np.count_nonzero((known if known.size else np.ones(truth.shape)) * (weight[:, None] if len(weight) else 1))
    )
    given = (
        *flat,
        cell_weight,
        np.zeros(1, np.uint32),
        3,
        n_labels,
        cell_bits,
        np.zeros(n_kept, np.uint64),
        np.zeros(1, int),
    )
    packed = np.sort(both(cuts.gather_entries, *given)[1][8])
    place = (packed >> np.uint64(1)) & np.uint64(2**cuts.PLACE_BITS - 1)
    row, label = (place >> np.uint64(cell_bits)).astype(int), (place & np.uint64(2**cell_bits - 1)).astype(int)
    assert row.min() >= 3 and len({*zip(row, label, strict=True)}) == len(packed)
    assert np.array_equal(truth[row - 3, label], packed & np.uint64(1))
    start, row_weight = np.array([0, len(packed)]), np.concatenate([np.ones(3), weight]) if len(weight) else weight
    part = (rng.random(n_rows + 3) < 0.5).view(np.uint8)
    both(cuts.cumulate_cuts, packed, start, row_weight, cell_bits)
    both(cuts.keep_within, packed, start, row_weight, cell_bits, np.full(1, len(packed) / 3))
    both(cuts.sums_at_stops, packed, start, *stops_of(packed, start, 22), row_weight, part, cell_bits)
    both(cuts.scores_around, start[1:] - 1, packed, start, part, cell_bits)
    floors = rng.random(n_labels).astype(np.float32).view(np.uint32)
    both(cuts.count_part, packed, start, row_weight, part, floors, cell_bits)


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_with_cuts_of_their_own(seed):
    _, values, start, weight, candidates = gathered(seed if seed % 2 else seed + 101, (-2.0,))
    block_start = both(labels.count_blocks, start)[0]
    ceiling = np.empty(block_start[-1], np.uint32)
    given = (values, start, weight, False, block_start, ceiling)
    values, _, weight, _, _, ceiling = both(labels.order_negatives, *given)[1]
    cells = (values, start, weight, block_start, ceiling)
    w = weight if len(weight) else np.ones(values.shape[1])
    positives = np.array([w[start[2 * k + 1] : start[2 * k + 2]].sum() for k in range(len(start) // 2)])
    for criterion in (labels.GAIN, labels.OWN_F1, labels.AVERAGE_PRECISION, labels.ROC_AUC):
        for price in (0.3, 1.0):
            both(labels.label_values, cells, candidates, False, criterion, price, positives, np.zeros((4, 5)))
    # The loop leaves cuts out, the twin none: what they are worth together is the same.
    cut_start = np.concatenate([[0], np.cumsum(np.diff(start)[1::2])])
    reached = []
    for way in ("dispatcher", "twin"):
        n_cuts, (hits, fired) = np.zeros((4, 5), np.int64), np.zeros((2, 4, cut_start[-1]))
        getattr(labels.label_cuts, way)(cells, candidates, False, 0.2, positives, cut_start, n_cuts, hits, fired)
        given = (cut_start, n_cuts, hits, fired, positives.sum(), 0.2, np.zeros(4))
        reached.append(both(labels.best_micro_f1, *given)[1][-1])
    same_bits(*reached)
    assert reached[0].min() > 0.2


def test_every_twin_takes_what_its_loop_takes():
    names = [(kernel.__name__, inspect.signature(kernel), inspect.signature(twin)) for kernel, twin in twins()]
    assert len(names) > 15
    for name, of_loop, of_twin in names:
        assert of_loop == of_twin, name


def test_a_loop_is_compiled_once_its_twin_has_taken_long(monkeypatch):
    kernel = compiling.Kernel(cuts.best_cuts._loop, patience=0.5)
    given = (np.array([0, 1]), np.ones(1), np.ones(1), 0.5)
    monkeypatch.setattr(compiling, "_has_code", lambda *_: False)
    monkeypatch.setattr(compiling.Kernel, "seconds_of_all", 10.0)
    assert kernel(*given)[0] == 0
    assert kernel._compiled is None
    kernel._seconds = 0.6
    assert kernel(*given)[0] == 0
    assert kernel._compiled is not None


def test_large_arrays_are_never_copied_by_a_twin(monkeypatch):
    kernel = compiling.Kernel(cuts.best_cuts._loop)
    monkeypatch.setattr(compiling, "MOST_NUMBERS", 2)
    assert kernel(np.array([0, 1, 2]), np.ones(2), np.ones(2), 0.5).tolist() == [0, 1]
    assert kernel._compiled is not None


def test_code_that_an_earlier_process_compiled_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    code = (
        "import numpy as np\nfrom stacking.kernels import compiling, cuts\n"
        "given = (np.array([0, 1]), np.ones(1), np.ones(1), 0.5)\n"
        "print(compiling._has_code(cuts.best_cuts.dispatcher, given))\ncuts.best_cuts.dispatcher(*given)"
    )
    for expected in ("False", "True"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == expected, done.stderr


def test_small_fits_load_no_numba():
    code = (
        "import numpy as np, sys\nfrom stacking import StackingEnsemble\n"
        "rng = np.random.default_rng(0)\ny = (rng.random((120, 4)) < .3).astype(int)\n"
        "scores = np.clip(y * .4 + rng.random((2, 120, 4)) * .6, 0, 1)\n"
        "StackingEnsemble('greedy', random_state=0).fit(scores, y)\nprint('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
