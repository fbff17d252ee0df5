"""Planted annotation errors are found, at least as well as by cleanlab's ranking, and counted about right."""

import numpy as np
import pytest

from stacking import PredictionSet
from stacking.combiners.registry import create_method
from stacking.diagnosis import suspects
from stacking.diagnosis.suspects import annotation_doubt, find_suspects
from stacking.folds import deal_folds

N_SAMPLES, N_LABELS = 900, 10


def draw(seed):
    rng = np.random.default_rng(seed)
    frequency = np.geomspace(0.5, 0.04, N_LABELS)
    level = np.log(frequency / (1 - frequency))
    shared = rng.normal(size=(N_SAMPLES, 3)) @ rng.normal(size=(3, N_LABELS)) * 0.7
    y_true = shared + rng.logistic(size=(N_SAMPLES, N_LABELS)) + level > 0
    noise = rng.normal(size=(3, N_SAMPLES, N_LABELS)) * np.array([1.2, 1.5, 1.8])[:, None, None]
    return (1 / (1 + np.exp(2 - 4 * y_true - 0.5 * level - noise))).astype(np.float32), y_true


def plant(y_true, design, rng):
    if design == "uniform":  # any annotation may be wrong
        return rng.random(y_true.shape) < 0.01
    if design == "missing":  # annotators leave labels out, as in the contest
        return y_true & (rng.random(y_true.shape) < 0.1)
    planted = np.zeros(y_true.shape, bool)  # as many added as left out, a share of each label's positives
    for label, column in enumerate(y_true.T):
        for side in (np.flatnonzero(column), np.flatnonzero(~column)):
            planted[rng.choice(side, max(2, int(0.06 * column.sum())), replace=False), label] = True
    return planted


def precision_at_planted(doubt, planted):
    """Precision at the number planted, which is the recall there too."""
    return planted.ravel()[np.argsort(-doubt.ravel(), kind="stable")[: planted.sum()]].mean()


def out_of_fold(y_scores, given):
    predictions = PredictionSet(y_scores, y_true=given.astype(np.uint8))
    folds = deal_folds(predictions.truth, 5, random_state=0)
    return predictions, create_method("logistic").predict_out_of_fold(predictions, folds=folds)


@pytest.mark.parametrize("design", ["uniform", "missing", "share"])
def test_planted_errors_are_found_and_counted(design):
    reached, simple, counted = [], [], []
    for seed in range(3):
        y_scores, y_true = draw(seed)
        planted = plant(y_true, design, np.random.default_rng(seed))
        given = y_true ^ planted
        predictions, score = out_of_fold(y_scores, given)
        reached.append(precision_at_planted(annotation_doubt(score, predictions.truth), planted))
        simple.append(precision_at_planted(np.where(given, 1 - score, score), planted))  # self-confidence
        counted.append(find_suspects(predictions).n_errors / planted.sum())
    assert np.mean(reached) >= np.mean(simple) - 0.005
    assert np.mean(reached) >= 0.9
    assert 0.45 <= np.mean(counted) <= 1.2, "the number of errors, by estimate, beside the number planted"


@pytest.mark.parametrize("design", ["uniform", "missing", "share"])
def test_at_least_as_good_as_cleanlab(design):
    scorer = pytest.importorskip("cleanlab.internal.multilabel_scorer", reason="cleanlab is not installed")
    y_scores, y_true = draw(0)
    planted = plant(y_true, design, np.random.default_rng(0))
    given = y_true ^ planted
    predictions, score = out_of_fold(y_scores, given)
    quality = scorer.MultilabelScorer(base_scorer=scorer.ClassLabelScorer.SELF_CONFIDENCE)
    theirs = quality.get_class_label_quality_scores(given.astype(int), score.astype(np.float64))
    ours = annotation_doubt(score, predictions.truth)
    assert precision_at_planted(ours, planted) >= precision_at_planted(-np.asarray(theirs), planted)


def test_what_is_not_known_or_does_not_count_is_never_suspect():
    y_scores, y_true = draw(0)
    known, weight = np.ones(y_true.shape, bool), np.ones(N_SAMPLES)
    given = y_true.copy()
    given[:40] ^= True  # all wrong, and none of it counts
    known[:20], weight[20:40] = False, 0.0
    predictions = PredictionSet(y_scores, y_true=given.astype(np.uint8), y_known=known, sample_weight=weight)
    found = find_suspects(predictions, top=200)
    assert len(found) == 200 and not {f"sample{row}" for row in range(40)} & set(found.ids[found.rows].tolist())
    assert (np.diff(found.doubt) <= 0).all()


def test_mending_planted_errors_raises_the_score():
    y_scores, y_true = draw(1)
    planted = plant(y_true, "uniform", np.random.default_rng(1))
    predictions, _ = out_of_fold(y_scores, y_true ^ planted)
    found = find_suspects(predictions, top=int(planted.sum()))
    counts, values = zip(*found.mending, strict=True)
    assert counts[0] == 0 and counts[-1] == planted.sum() and list(values) == sorted(values)
    assert values[-1] - values[0] > 0.01


def test_input_that_cannot_be_judged_is_refused():
    y_scores, y_true = draw(0)
    with pytest.raises(ValueError, match="must carry the truth that is looked over"):
        find_suspects(PredictionSet(y_scores))
    with pytest.raises(ValueError, match="top must be at least 1: got 0"):
        find_suspects(PredictionSet(y_scores, y_true=y_true), top=0)
    with pytest.raises(ValueError, match="nothing can be held out"):
        find_suspects(PredictionSet(y_scores, y_true=y_true, groups=np.zeros(N_SAMPLES, int)))


@pytest.mark.parametrize(("skill", "is_weak"), [(0.3, True), (3.0, False)])
def test_a_weak_ensemble_is_not_believed(skill, is_weak):
    """Nothing is wrong: the weak one names hundreds of errors all the same, and says that it is weak."""
    rng = np.random.default_rng(0)
    y_true = rng.random((300, 12)) < np.geomspace(0.5, 0.1, 12)
    y_scores = 1 / (1 + np.exp(2 - skill * y_true - rng.normal(size=(3, 300, 12))))
    found = find_suspects(PredictionSet(y_scores.astype(np.float32), y_true=y_true))
    assert found.is_weak == is_weak
    assert (found.n_errors > 0.1 * y_true.sum()) == is_weak
    assert found.micro_f1 == found.mending[0][1]


def test_doubts_are_the_same_in_blocks_and_take_little_memory(monkeypatch):
    import tracemalloc

    rng = np.random.default_rng(4)
    y_true = rng.random((20_000, 40)) < 0.1
    y_score = rng.random(y_true.shape, dtype=np.float32)
    predictions = PredictionSet(y_score[None], y_true=y_true, y_known=rng.random(y_true.shape) < 0.9)
    tracemalloc.start()
    whole = annotation_doubt(y_score, predictions.truth)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 * y_true.size  # 8 of them are the answer; without blocks it was 50
    monkeypatch.setattr(suspects, "_BLOCK_ROWS", 333)
    np.testing.assert_array_equal(annotation_doubt(y_score, predictions.truth), whole)


@pytest.mark.parametrize("wanted", [1, 7, 60])
def test_the_most_doubted_are_those_of_a_whole_sort(wanted):
    rng = np.random.default_rng(5)
    doubt, known = rng.integers(0, 4, (20, 5)) / 4.0, rng.random((20, 5)) < 0.7
    expected = np.flatnonzero(known)[np.argsort(-doubt.ravel()[known.ravel()], kind="stable")[:wanted]]
    np.testing.assert_array_equal(suspects._most_doubted(doubt, known, wanted), expected)
