"""Thresholds of parts of rows that are sorted once equal those of each part alone."""

import numpy as np
import pytest

from stacking.decision_rules import labeled_scores, sorted_cuts, sorted_parts
from stacking.decision_rules.costs import tune_cost
from stacking.decision_rules.exact_micro_f1 import tune_exact_micro_f1
from stacking.decision_rules.labeled_scores import LabeledScores
from stacking.decision_rules.single import tune_single
from stacking.decision_rules.sorted_parts import SortedParts
from stacking.folds import deal_folds, deal_part
from stacking.kernels import cuts


@pytest.fixture(params=["plain", "ties", "unknown cells", "weights", "no positives", "rare"])
def scores(request, rng):
    y_true = (rng.random((300, 12)) < np.linspace(0.01, 0.5, 12)).astype(np.uint8)
    y_score = 1 / (1 + np.exp(-(2 * y_true - 2 + rng.normal(size=y_true.shape))))
    known = weight = None
    if request.param == "ties":
        y_score = y_score.round(1)
    elif request.param == "unknown cells":
        known = rng.random(y_true.shape) < 0.7
    elif request.param == "weights":
        weight = rng.integers(1, 5, 300) / 4
    elif request.param == "no positives":
        y_true[:, :6] = 0
        y_score[:, 0] = 0.0
    elif request.param == "rare":
        y_true[:] = 0
        y_true[[5, 170, 171], [3, 3, 7]] = 1
    return LabeledScores.check(y_score, y_true, known, weight)


def parts_of(n_rows, rng):
    yield np.ones(n_rows, dtype=bool)
    yield np.zeros(n_rows, dtype=bool)
    for share in (0.02, 0.3, 0.5, 0.8):
        yield rng.random(n_rows) < share


@pytest.mark.parametrize("spare", [1.3, 0.01])
def test_a_part_has_the_thresholds_that_it_has_alone(scores, rng, spare, monkeypatch):
    """Also where too little was sorted, so that the part is sorted by itself."""
    monkeypatch.setattr(sorted_parts, "SPARE", spare)
    monkeypatch.setattr(sorted_parts, "SPARE_ROOT", 0.0)
    rows = SortedParts(scores.iter_blocks, np.ones(300, dtype=bool))
    for part in parts_of(300, rng):
        if not part.any():
            assert np.isinf(rows.cut_labels(part)).all()
            continue
        alone = LabeledScores(scores.y_score[part], scores.truth.rows(part))
        np.testing.assert_array_equal(rows.cut_labels(part), tune_exact_micro_f1(alone))
        np.testing.assert_array_equal(rows.cut_pooled(part)[0], tune_single(alone))
        other = ~part
        left = LabeledScores(scores.y_score[other], scores.truth.rows(other))
        for thresholds in (rows.cut_labels(part), rows.cut_pooled(part)[0], np.linspace(0, 1.2, 12)):
            np.testing.assert_allclose(rows.count(other, thresholds), left.counts_at(thresholds), rtol=1e-12)


@pytest.mark.parametrize("more", [1.0, 1.5])
@pytest.mark.parametrize("weighted", [False, True])
def test_whole_bins_are_cut_down_to_what_can_matter(rng, more, weighted, monkeypatch):
    """Where labels are many a bin is an octave, which brings many of a rare label's entries along."""
    y_true = rng.random((2000, 8)) < 0.01
    y_score = (1 / (1 + np.exp(3 - 5 * y_true - rng.normal(size=y_true.shape)))).round(3)
    scores = LabeledScores.check(y_score, y_true, None, rng.integers(1, 5, 2000) / 4 if weighted else None)
    monkeypatch.setattr(sorted_cuts, "FINE_LABELS", 0.1)
    kept = []
    for most in (np.inf, more):
        monkeypatch.setattr(sorted_parts, "MORE", most)
        rows = SortedParts(scores.iter_blocks, np.ones(2000, dtype=bool))
        parts = [rng.permutation(np.arange(2000) < 400 * n) for n in range(1, 6)] if not kept else kept[0][1]
        found = [np.stack([rows.cut_labels(part), rows.cut_pooled(part)[0]]) for part in parts]
        kept.append((len(rows._labels.entries.packed) + len(rows._pool.entries.packed), parts, found))
    np.testing.assert_array_equal(kept[0][2], kept[1][2])
    assert kept[1][0] < 0.5 * kept[0][0]


def test_cells_are_pooled_a_few_rows_at_a_time(scores, monkeypatch):
    """So that only of those each cell has a weight of its own."""
    whole = tune_single(scores), tune_cost(scores, 1.0, 3.0), SortedParts(scores.iter_blocks, np.ones(300, dtype=bool))
    monkeypatch.setattr(labeled_scores, "POOLED_CELLS", 3 * scores.n_labels + 1)
    assert max(len(block.y_score) for block in scores.iter_pooled()) == 3 * scores.n_labels
    np.testing.assert_array_equal(tune_single(scores), whole[0])
    np.testing.assert_array_equal(tune_cost(scores, 1.0, 3.0), whole[1])
    part = np.arange(300) % 3 > 0
    rows = SortedParts(scores.iter_blocks, np.ones(300, dtype=bool))
    np.testing.assert_array_equal(rows.cut_pooled(part)[0], whole[2].cut_pooled(part)[0])
    assert len(rows._pool.entries.weight) in (0, 300)


def test_more_rows_than_an_entry_can_name_are_refused(scores, monkeypatch):
    monkeypatch.setattr(cuts, "PLACE_BITS", 11)
    assert len(SortedParts(scores.iter_blocks, np.ones(300, dtype=bool)).cut_labels(np.ones(300, dtype=bool)))
    with pytest.raises(ValueError, match="y_score must hold at most 128 rows"):
        SortedParts(scores.iter_blocks, np.ones(300, dtype=bool)).cut_pooled(np.ones(300, dtype=bool))


def test_dealt_parts_are_remembered_and_never_mistaken(scores, rng):
    truth = scores.truth
    for _ in range(2):
        for part in [rng.random(300) < 0.6 for _ in range(20)]:
            expected = deal_folds(truth.rows(part))
            for _ in range(2):
                folds = deal_part(truth, part)
                np.testing.assert_array_equal(folds[part], expected)
                assert (folds[~part] == -1).all()
                folds[:] = 7  # what a caller does to its copy is nobody else's business
