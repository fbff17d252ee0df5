"""Metrics against scikit-learn, and what scikit-learn has not: the mask of annotated cells."""

import itertools

import numpy as np
import pytest
import sklearn.metrics as sk

from stacking import metrics
from stacking.metrics import of_scores

DECISION_METRICS = {
    "micro_f1": lambda y, p, w: sk.f1_score(y, p, average="micro", zero_division=0, sample_weight=w),
    "macro_f1": lambda y, p, w: sk.f1_score(y, p, average="macro", zero_division=0, sample_weight=w),
    "samples_f1": lambda y, p, w: sk.f1_score(y, p, average="samples", zero_division=0, sample_weight=w),
    "hamming_loss": lambda y, p, w: sk.hamming_loss(y, p, sample_weight=w),
    "subset_accuracy": lambda y, p, w: sk.accuracy_score(y, p, sample_weight=w),
}
ALL_METRICS = [*DECISION_METRICS, "mean_average_precision", "log_loss"]


@pytest.fixture
def cells(rng):
    y_true = (rng.random((60, 7)) < [0.5, 0.3, 0.1, 0.05, 0.9, 0.2, 0.0]).astype(np.uint8)
    y_score = np.clip(0.5 * y_true + 0.5 * rng.random((60, 7)), 0, 1).round(1).astype(np.float32)
    return y_true, y_score, rng.random(60)


@pytest.mark.parametrize("name", DECISION_METRICS)
@pytest.mark.parametrize("weighted", [False, True])
def test_decision_metrics_equal_sklearn(cells, name, weighted):
    y_true, y_score, weight = cells
    weight = weight if weighted else None
    y_pred = (y_score >= 0.6).astype(np.uint8)
    expected = DECISION_METRICS[name](y_true, y_pred, weight)
    assert getattr(metrics, name)(y_true, y_pred, sample_weight=weight) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("weighted", [False, True])
def test_score_metrics_equal_sklearn(cells, weighted):
    y_true, y_score, weight = cells
    weight = weight if weighted else None
    with_positives = np.flatnonzero(y_true.any(axis=0))
    precision = np.mean(
        [sk.average_precision_score(y_true[:, i], y_score[:, i], sample_weight=weight) for i in with_positives]
    )
    assert metrics.mean_average_precision(y_true, y_score, sample_weight=weight) == pytest.approx(precision, abs=1e-12)
    clipped = np.clip(y_score.astype(np.float64), 1e-7, 1 - 1e-7)
    cost = np.mean(
        [sk.log_loss(y_true[:, i], clipped[:, i], sample_weight=weight, labels=[0, 1]) for i in range(y_true.shape[1])]
    )
    assert metrics.log_loss(y_true, y_score, sample_weight=weight) == pytest.approx(cost, abs=1e-12)


def test_f1_per_label_equals_sklearn(cells):
    y_true, y_score, _ = cells
    expected = sk.f1_score(y_true, y_score >= 0.6, average=None, zero_division=0)
    np.testing.assert_allclose(metrics.f1_per_label(y_true, y_score >= 0.6), expected)


@pytest.mark.parametrize("name", ALL_METRICS)
def test_unknown_cells_count_neither_way(cells, rng, name):
    y_true, y_score, weight = cells
    metric = getattr(metrics, name)
    values = y_score if name in ("mean_average_precision", "log_loss") else (y_score >= 0.6).astype(np.uint8)
    y_known = rng.random(y_true.shape) < 0.7
    y_known[:5] = False
    flipped = np.where(y_known, y_true, 1 - y_true).astype(np.uint8)
    assert metric(flipped, values, y_known=y_known, sample_weight=weight) == pytest.approx(
        metric(y_true, values, y_known=y_known, sample_weight=weight), abs=1e-12
    )
    everything = np.ones(y_true.shape, dtype=bool)
    assert metric(y_true, values, y_known=everything) == pytest.approx(metric(y_true, values), abs=1e-12)
    whole_rows = np.repeat(rng.random((60, 1)) < 0.6, 7, axis=1)
    kept = whole_rows[:, 0]
    assert metric(y_true, values, y_known=whole_rows) == pytest.approx(metric(y_true[kept], values[kept]), abs=1e-12)


@pytest.mark.parametrize("name", ALL_METRICS)
def test_integer_weights_are_repetitions(cells, rng, name):
    y_true, y_score, _ = cells
    values = y_score if name in ("mean_average_precision", "log_loss") else y_score >= 0.6
    times = rng.integers(0, 3, 60)
    metric = getattr(metrics, name)
    repeated = metric(np.repeat(y_true, times, axis=0), np.repeat(values, times, axis=0))
    assert metric(y_true, values, sample_weight=times) == pytest.approx(repeated, abs=1e-12)


def test_counts_add_up_over_shards(cells):
    y_true, y_score, _ = cells
    y_pred = y_score >= 0.6
    whole = metrics.micro_f1_counts(y_true, y_pred)
    shards = [metrics.micro_f1_counts(y_true[rows], y_pred[rows]) for rows in (slice(0, 17), slice(17, 60))]
    assert tuple(np.sum(shards, axis=0)) == whole


@pytest.mark.parametrize("name", ALL_METRICS)
def test_nothing_positive_and_nothing_known_is_zero_not_nan(name):
    empty = np.zeros((3, 2), dtype=np.uint8)
    assert getattr(metrics, name)(empty, empty, y_known=np.zeros((3, 2), dtype=bool)) == 0.0


def test_recall_at_k_finds_what_sorting_each_row_finds(cells, rng):
    y_true, y_score, weight = cells
    y_known = rng.random(y_true.shape) < 0.7
    found = wanted = 0.0
    for truth, score, known, own in zip(y_true, y_score, y_known, weight, strict=True):
        best = sorted(np.flatnonzero(known), key=lambda label: (-score[label], label))[:3]
        found, wanted = found + own * truth[best].sum(), wanted + own * truth[known].sum()
    recall = metrics.recall_at_k(y_true, y_score, 3, y_known=y_known, sample_weight=weight)
    assert recall == pytest.approx(found / wanted, abs=1e-12)
    assert metrics.recall_at_k(y_true, y_score, y_true.shape[1]) == 1.0
    for k in (0, y_true.shape[1] + 1):
        with pytest.raises(ValueError, match=f"k must lie between 1 and the number of labels, 7: got {k}"):
            metrics.recall_at_k(y_true, y_score, k)


def test_unsigned_truth_does_not_wrap(cells):
    y_true, y_score, _ = cells
    assert metrics.mean_average_precision(y_true, y_score) == metrics.mean_average_precision(
        y_true.astype(int), y_score
    )
    assert metrics.constant_answer(y_true, y_true) == metrics.constant_answer(y_true.astype(int), y_true.astype(int))


def test_log_loss_does_not_depend_on_the_block(cells, monkeypatch):
    y_true, y_score, weight = cells
    whole = metrics.log_loss(y_true, y_score, sample_weight=weight)
    monkeypatch.setattr(of_scores, "_BLOCK_CELLS", 30)
    assert metrics.log_loss(y_true, y_score, sample_weight=weight) == pytest.approx(whole, abs=1e-13)


def test_a_sure_mistake_costs_a_finite_price():
    assert metrics.log_loss([[1, 0]], [[0.0, 1.0]]) == pytest.approx(-np.log(1e-7))


def test_constant_answer_is_the_best_of_all_label_sets(rng):
    for _ in range(50):
        y_true = rng.random((9, 4)) < rng.random(4)
        best = max(
            metrics.micro_f1(y_true, np.broadcast_to(chosen, y_true.shape))
            for chosen in itertools.product([False, True], repeat=4)
        )
        assert metrics.constant_answer(y_true, y_true) == pytest.approx(best, abs=1e-12)


def test_constant_answer_is_chosen_on_train_only():
    assert metrics.constant_answer([[1, 0]] * 4, [[0, 1]] * 4) == 0.0


def test_constant_answer_of_the_product_photos(shared_data):
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(shared_data / "fashion44k" / "annotations.csv")
    labels = (
        table["labelIds"]
        .astype(str)
        .str.get_dummies("|" if table["labelIds"].astype(str).str.contains("|", regex=False).any() else " ")
    )
    is_train = (table["split"] == "train").to_numpy()
    truth = labels.to_numpy(dtype=np.uint8)
    assert metrics.constant_answer(truth[is_train], truth[~is_train]) == pytest.approx(0.472, abs=0.002)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"y_true": [[0, 2]]}, "y_true must hold only 0 and 1: got 2"),
        ({"y_true": [0, 1]}, "y_true must have two dimensions"),
        ({"y_pred": [[0, 1, 1]]}, "y_pred must have 2 columns"),
        ({"y_pred": [[0.5, 1]]}, "y_pred must hold only 0 and 1"),
        ({"y_known": [[True]]}, "y_known must have 2 columns"),
        ({"sample_weight": [1.0, 2.0]}, "sample_weight must hold one value per sample"),
        ({"sample_weight": [-1.0]}, "sample_weight must be finite and not negative"),
        ({"sample_weight": [np.nan]}, "sample_weight must be finite and not negative"),
    ],
)
def test_wrong_input_is_named(arguments, message):
    given = {"y_true": [[0, 1]], "y_pred": [[0, 1]], **arguments}
    with pytest.raises(ValueError, match=message):
        metrics.micro_f1(**given)


@pytest.mark.parametrize("bad", [-0.1, 1.5, np.nan])
def test_scores_outside_the_unit_interval_are_refused(bad):
    with pytest.raises(ValueError, match=r"y_score must hold probabilities in \[0, 1\]"):
        metrics.log_loss([[0, 1]], [[0.5, bad]])


def test_constant_answer_needs_the_same_labels():
    with pytest.raises(ValueError, match="y_true_test must have 2 columns"):
        metrics.constant_answer([[0, 1]], [[0, 1, 1]])
