"""The metrics by name: values against scikit-learn's with masks and weights, influences, resamples, names."""

import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from stacking.metrics import find_metric, list_metrics, register_metric, unregister_metric
from stacking.metrics.bootstrap import resample
from stacking.truth import Truth

OF_BINARY: dict[str, Callable[..., float]] = {
    "f1": lambda y, p, w: reference.f1_score(y, p, sample_weight=w, zero_division=0),
    "f2": lambda y, p, w: reference.fbeta_score(y, p, beta=2, sample_weight=w, zero_division=0),
    "f0.5": lambda y, p, w: reference.fbeta_score(y, p, beta=0.5, sample_weight=w, zero_division=0),
    "jaccard": lambda y, p, w: reference.jaccard_score(y, p, sample_weight=w, zero_division=0),
}
OF_RANKINGS: dict[str, Callable[..., float]] = {
    "map": lambda y, s, w: reference.average_precision_score(y, s, sample_weight=w),
    "roc-auc": lambda y, s, w: reference.roc_auc_score(y, s, sample_weight=w),
}
OF_ROWS: dict[str, Callable[..., float]] = {
    "lrap": reference.label_ranking_average_precision_score,
    "coverage-error": reference.coverage_error,
    "ranking-loss": reference.label_ranking_loss,
}
PLAIN = [name for name in list_metrics() if not any(letter.isupper() for letter in name)]
ALL = [*PLAIN, "macro-f2", "micro-f0.5", "samples-f2", "recall-at-2", "precision-at-2", "cost:fp=1,fn=4"]
ALL += ["0.5*micro-f1+2*map", "macro-f1+0.1*log-loss"]


class Case:
    """Random rows with few distinct scores, unknown cells, zero weights, and labels of one value."""

    def __init__(self, seed: int, *, masked: bool = True, weighted: bool = True, n_labels: int = 5) -> None:
        rng = np.random.default_rng(seed)
        n_samples = int(rng.integers(6, 30))
        shape = (n_samples, n_labels)
        self.y_true = rng.random(shape) < rng.choice([0.0, 0.2, 0.5, 1.0], n_labels)
        self.y_score = np.round(rng.random(shape), int(rng.integers(1, 3)))
        self.y_pred = rng.random(shape) < 0.5
        self.y_known = rng.random(shape) < 0.8 if masked else np.ones(shape, dtype=bool)
        self.y_known[0] = True
        weight = rng.integers(0, 4, n_samples).astype(float)
        weight[0] = 1.0
        self.weight = weight if weighted else np.ones(n_samples)

    def __call__(self, name: str) -> float:
        """Measure by name."""
        facts = {"y_known": self.y_known, "sample_weight": self.weight}
        return find_metric(name)(self.y_true, y_pred=self.y_pred, y_score=self.y_score, **facts)

    def truth(self, groups: Any = None) -> Truth:
        """Return what counts."""
        return Truth.check(self.y_true, y_known=self.y_known, sample_weight=self.weight, groups=groups)

    def label(self, label: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of a label that count, and their weights."""
        rows = self.y_known[:, label] & (self.weight > 0)
        return rows, self.weight[rows]

    def cells(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the cells that count, and their weights."""
        cells = self.y_known & (self.weight > 0)[:, None]
        return cells, np.broadcast_to(self.weight[:, None], cells.shape)[cells]

    def rows(self) -> np.ndarray:
        """Return the rows that count."""
        return np.flatnonzero((self.weight > 0) & self.y_known.any(axis=1))


SEEDS = st.integers(0, 10_000)


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
@pytest.mark.parametrize("family", OF_BINARY)
def test_counts_equal_scikit_learn_on_the_cells_that_count(family: str, seed: int) -> None:
    case = Case(seed)
    score = OF_BINARY[family]
    cells, weight = case.cells()
    assert_allclose(case(f"micro-{family}"), score(case.y_true[cells], case.y_pred[cells], weight), atol=1e-9)
    of_labels = []
    for label in range(case.y_true.shape[1]):
        rows, weight = case.label(label)
        own = [0.0] if not len(weight) else [score(case.y_true[rows, label], case.y_pred[rows, label], weight)]
        of_labels += own
    assert_allclose(case(f"macro-{family}"), np.mean(of_labels), atol=1e-9)
    own = [score(case.y_true[row, known], case.y_pred[row, known], None) for row, known in _known_rows(case)]
    assert_allclose(case(f"samples-{family}"), np.average(own, weights=case.weight[case.rows()]), atol=1e-9)


def _known_rows(case: Case) -> list[tuple[int, np.ndarray]]:
    """Pair each row that counts with its known labels."""
    return [(row, case.y_known[row]) for row in case.rows()]


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
def test_errors_and_costs_equal_scikit_learn_on_the_cells_that_count(seed: int) -> None:
    case = Case(seed)
    cells, weight = case.cells()
    true, fired, score = case.y_true[cells], case.y_pred[cells], case.y_score[cells]
    assert_allclose(case("hamming-loss"), reference.zero_one_loss(true, fired, sample_weight=weight), atol=1e-9)
    costs = np.where(true & ~fired, 4.0, 0.0) + np.where(fired & ~true, 1.0, 0.0)
    assert_allclose(case("cost:fp=1,fn=4"), np.average(costs, weights=weight), atol=1e-9)
    assert_allclose(case("brier"), np.average((score - true) ** 2, weights=weight), atol=1e-9)
    clipped = np.clip(score, 1e-7, 1 - 1e-7)
    assert_allclose(case("log-loss"), reference.log_loss(true, clipped, sample_weight=weight, labels=[0, 1]), rtol=1e-7)
    right = [float((case.y_true[row, known] == case.y_pred[row, known]).all()) for row, known in _known_rows(case)]
    assert_allclose(case("subset-accuracy"), np.average(right, weights=case.weight[case.rows()]), atol=1e-9)


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", OF_RANKINGS)
def test_rankings_equal_scikit_learn_on_the_labels_that_can_be_ranked(name: str, seed: int) -> None:
    case = Case(seed)
    of_labels = []
    for label in range(case.y_true.shape[1]):
        rows, weight = case.label(label)
        true = case.y_true[rows, label]
        if true.any() and (name == "map" or not true.all()):
            of_labels.append(OF_RANKINGS[name](true, case.y_score[rows, label], weight))
    unranked = 0.0 if name == "map" else 0.5
    assert_allclose(case(name), np.mean(of_labels) if of_labels else unranked, atol=1e-9)
    cells, weight = case.cells()
    true = case.y_true[cells]
    if true.any() and not true.all():
        assert_allclose(case(f"micro-{name}"), OF_RANKINGS[name](true, case.y_score[cells], weight), atol=1e-9)


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
@pytest.mark.parametrize("name", OF_ROWS)
def test_rankings_of_labels_equal_scikit_learn_row_by_row(name: str, seed: int) -> None:
    case = Case(seed)
    values = []
    for row, known in _known_rows(case):
        true = case.y_true[row, known]
        if name == "lrap" and known.sum() == 1:
            values.append(1.0)  # one label: all or none is true, where scikit-learn asks for two columns
        elif name != "lrap" and known.sum() == 1:
            values.append(float(true[0]) if name == "coverage-error" else 0.0)
        else:
            values.append(OF_ROWS[name](true[None], case.y_score[row, known][None]))
    assert_allclose(case(name), np.average(values, weights=case.weight[case.rows()]), atol=1e-9)


@settings(max_examples=8, deadline=None)
@given(seed=SEEDS, k=st.integers(1, 5))
def test_at_k_counts_the_highest_scored_known_labels(seed: int, k: int) -> None:
    case = Case(seed)
    found = looked = true = 0.0
    for row, known in _known_rows(case):
        top = np.argsort(-case.y_score[row, known], kind="stable")[:k]
        weight = case.weight[row]
        found += weight * case.y_true[row, known][top].sum()
        looked, true = looked + weight * len(top), true + weight * case.y_true[row, known].sum()
    assert_allclose(case(f"precision-at-{k}"), found / looked, atol=1e-9)
    assert_allclose(case(f"recall-at-{k}"), found / true if true else 0.0, atol=1e-9)


@pytest.mark.parametrize("name", ["macro-f1", "samples-jaccard", "hamming-loss", "zero_one_loss", "coverage_error"])
def test_unmasked_values_are_those_of_scikit_learn_itself(name: str) -> None:
    case = Case(3, masked=False)
    whole = {
        "macro-f1": lambda: reference.f1_score(case.y_true, case.y_pred, average="macro", sample_weight=case.weight),
        "samples-jaccard": lambda: reference.jaccard_score(
            case.y_true, case.y_pred, average="samples", sample_weight=case.weight
        ),
        "hamming-loss": lambda: reference.hamming_loss(case.y_true, case.y_pred, sample_weight=case.weight),
        "zero_one_loss": lambda: reference.zero_one_loss(case.y_true, case.y_pred, sample_weight=case.weight),
        "coverage_error": lambda: reference.coverage_error(case.y_true, case.y_score, sample_weight=case.weight),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_allclose(case(name), whole[name](), rtol=1e-6)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("grouped", [False, True])
def test_influence_is_the_derivative_by_a_units_weight(name: str, grouped: bool) -> None:
    case = Case(11)
    groups = np.arange(len(case.y_true)) // 3 if grouped else None
    metric, truth = find_metric(name), case.truth(groups)
    measured = metric.measure(truth, case.y_pred, case.y_score)
    assert_allclose(measured.influence.sum(), 0.0, atol=1e-9)
    draws = np.ones((2 * measured.n_units, measured.n_units))
    step = 1e-5
    draws[: measured.n_units] += step * np.eye(measured.n_units)
    draws[measured.n_units :] -= step * np.eye(measured.n_units)
    values = measured.resample(draws)
    slope = (values[: measured.n_units] - values[measured.n_units :]) / (2 * step)
    assert_allclose(measured.influence, measured.sign * slope, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_a_resample_is_the_metric_with_rows_as_often_as_they_were_drawn(name: str) -> None:
    for seed in range(4):
        case = Case(seed)
        metric, rng = find_metric(name), np.random.default_rng(seed)
        measured = metric.measure(case.truth(), case.y_pred, case.y_score)
        rows = case.rows()
        assert measured.n_units == len(rows)
        draws = rng.multinomial(len(rows), np.full(len(rows), 1 / len(rows)), size=3).astype(float)
        for drawn, value in zip(draws, measured.resample(draws), strict=True):
            weight = np.zeros(len(case.y_true))
            weight[rows] = drawn * case.weight[rows]
            facts = {"y_known": case.y_known, "sample_weight": weight}
            again = metric(case.y_true, y_pred=case.y_pred, y_score=case.y_score, **facts)
            assert_allclose(value, again, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_unknown_cells_weights_of_zero_and_their_unit_move_nothing(name: str) -> None:
    case = Case(5)
    before = case(name)
    case.y_true = np.where(case.y_known, case.y_true, ~case.y_true)
    case.y_pred = np.where(case.y_known, case.y_pred, ~case.y_pred)
    case.y_score = np.where(case.y_known, case.y_score, 1 - case.y_score)
    still = case.weight == 0
    case.y_true[still], case.y_pred[still], case.y_score[still] = True, False, 0.0
    case.weight = case.weight * 7.0
    assert_allclose(case(name), before, rtol=1e-12)


@pytest.mark.parametrize("name", PLAIN)
def test_the_perfect_answer_is_not_beaten(name: str) -> None:
    case = Case(8, masked=False)
    case.y_true[:, 0], case.y_true[0] = True, True
    metric, rng = find_metric(name), np.random.default_rng(0)
    best = metric(case.y_true, y_pred=case.y_true, y_score=case.y_true.astype(float))
    for _ in range(5):
        noise = rng.random(case.y_true.shape)
        other = metric(case.y_true, y_pred=noise < 0.5, y_score=noise)
        assert metric.sign * best >= metric.sign * other
    assert metric.title and metric.description


def test_a_function_is_a_metric_whose_standard_error_is_near_that_of_the_same_metric_by_counts() -> None:
    rng = np.random.default_rng(0)
    truth = Truth.check(rng.random((600, 8)) < 0.3)
    decided = truth.y_true ^ (rng.random((600, 8)) < 0.2)

    def macro(y_true: Any, y_pred: Any) -> float:
        return float(reference.f1_score(y_true, y_pred, average="macro"))

    by_function, by_counts = (find_metric(one).measure(truth, decided, None) for one in (macro, "macro-f1"))
    assert_allclose(by_function.value, by_counts.value)
    errors = [float(np.sqrt((measured.influence**2).sum())) for measured in (by_function, by_counts)]
    assert_allclose(errors[0], errors[1], rtol=0.35)
    draws = rng.multinomial(50, np.full(50, 0.02), size=400).astype(float)
    assert_allclose(by_function.resample(draws).std(), errors[1], rtol=0.35)


def test_names_are_found_in_any_spelling() -> None:
    assert find_metric("macro_F1") is find_metric("macro-f1") is find_metric("f1_macro")
    assert find_metric("mean-average-precision").name == "map"
    assert find_metric("micro-f1.0").name == "micro-f1"
    assert find_metric("sklearn.metrics:zero_one_loss").greater_is_better is False
    assert find_metric("neg_brier_score") is find_metric("brier")
    assert find_metric("neg_log_loss") is find_metric(
        "log_loss"
    )  # scikit-learn's is of classes that exclude each other
    assert find_metric("accuracy") is find_metric("subset-accuracy")
    assert find_metric(reference.make_scorer(reference.fbeta_score, beta=2, average="macro")).needs == "decisions"
    parts = find_metric("0.5*micro-f1 + map").parts  # type: ignore[attr-defined]
    assert [part.name for part in parts] == ["micro-f1", "map"]


def test_a_scorers_options_and_direction_count() -> None:
    case = Case(2, masked=False, weighted=False)
    scorer = reference.make_scorer(reference.fbeta_score, beta=2, average="micro")
    assert_allclose(find_metric(scorer)(case.y_true, y_pred=case.y_pred), case("micro-f2"))
    loss = find_metric(reference.make_scorer(reference.zero_one_loss, greater_is_better=False))
    assert not loss.greater_is_better
    assert_allclose(loss(case.y_true, y_pred=case.y_pred), 1 - case("subset-accuracy"))


class ShareOfLabels:
    """A metric that is an object."""

    def __call__(self, y_true: np.ndarray, y_pred: np.ndarray) -> float:
        """Count the cells that are right."""
        return float((y_true == y_pred).mean())


def test_partials_and_objects_are_metrics_as_functions_are() -> None:
    y_true, y_pred = np.eye(6, 3), np.roll(np.eye(6, 3), 1, axis=0)
    macro = partial(reference.f1_score, average="macro")
    for metric in (find_metric(macro), find_metric(reference.make_scorer(macro))):
        assert metric.name == "sklearn.metrics._classification:f1_score"
        assert metric(y_true, y_pred) == macro(y_true, y_pred)
    for metric in (find_metric(ShareOfLabels()), find_metric(reference.make_scorer(ShareOfLabels()))):
        assert metric.name.endswith(":ShareOfLabels")
        assert metric(y_true, y_pred) == (y_true == y_pred).mean()
    scorer = find_metric(reference.make_scorer(partial(reference.fbeta_score, beta=2), average="macro"))
    assert scorer(y_true, y_pred) == reference.fbeta_score(y_true, y_pred, beta=2, average="macro")


def test_one_function_is_entered_by_a_decorator_and_a_taken_name_is_refused() -> None:
    @register_metric("exact-share", needs="decisions", greater_is_better=True)
    def exact_share(y_true: Any, y_pred: Any, sample_weight: Any = None) -> float:
        return float(np.average((y_true == y_pred).all(axis=1), weights=sample_weight))

    try:
        case = Case(4, masked=False)
        assert_allclose(case("exact-share"), case("subset-accuracy"))
        assert "exact-share" in list_metrics()
        with pytest.raises(ValueError, match="'exact-share' is taken"):
            register_metric("exact-share", needs="scores", greater_is_better=True)(exact_share)
    finally:
        unregister_metric("exact-share")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("makro-f1", "Did you mean 'macro-f1'"),
        ("f1_score", "metric must be one of"),
        ("micro-f0", "beta must be positive"),
        ("recall-at-0", "k must be at least 1"),
        ("cost:fp=1,fx=2", "must read like cost:fp=1,fn=5"),
        ("cost:fp=0,fn=0", "not both 0"),
        ("cost:fp=1,fp=2", "must read like cost:fp=1,fn=5"),
        ("x*micro-f1", "must read like 0.5"),
        ("-1*micro-f1", "must be positive and finite"),
        ("micro-f1:beta=2", "without options of its own after a colon"),
        ("no_such_module_here:f", "must name a function that Python finds"),
        ("./mine.py:f", "must name a function that Python finds"),
    ],
)
def test_a_wrong_name_says_what_to_write(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_metric(name)


def test_code_is_not_imported_for_a_strangers_file() -> None:
    with pytest.raises(ValueError, match="is code"):
        find_metric("antigravity:fly", import_code=False)
    with pytest.raises(ValueError, match="is code"):
        find_metric("0.5*micro-f1+0.5*antigravity:fly", import_code=False)


def test_what_is_missing_is_named() -> None:
    truth, score = np.eye(3, dtype=int), np.eye(3) * 0.5 + 0.25
    macro, by_order = find_metric("macro-f1"), find_metric("map")  # the second argument is what the metric needs
    assert macro(truth, score > 0.5) == macro(truth, y_pred=score > 0.5) == 1.0
    assert by_order(truth, score) == by_order(truth, y_score=score) == 1.0
    with pytest.raises(ValueError, match="answers must be given once: got them twice to measure macro-F1"):
        macro(truth, score > 0.5, y_pred=score > 0.5)
    with pytest.raises(ValueError, match="y_pred must be given to measure macro-F1"):
        find_metric("macro-f1")([[1, 0]], y_score=[[0.5, 0.5]])
    with pytest.raises(ValueError, match="y_score must be given to measure mAP"):
        find_metric("map")([[1, 0]], y_pred=[[1, 0]])
    with pytest.raises(ValueError, match="more than the 2"):
        find_metric("recall-at-3")([[1, 0]], y_score=[[0.5, 0.5]])
    with pytest.raises(ValueError, match="must take y_known"):
        find_metric("zero_one_loss")([[1, 0]], y_pred=[[1, 0]], y_known=[[True, False]])
    with pytest.raises(TypeError, match="metric must be a name"):
        find_metric(3)  # type: ignore[arg-type]


def test_resampled_averages_over_rare_labels_are_centered_at_the_value() -> None:
    rng = np.random.default_rng(0)
    truth = Truth.check(rng.random((300, 60)) < np.geomspace(0.004, 0.3, 60))
    decided = truth.y_true ^ (rng.random((300, 60)) < 0.05)
    measured = find_metric("macro-f1").measure(truth, decided, None)
    bare = measured.resample(rng.multinomial(300, np.full(300, 1 / 300), size=300).astype(float))
    assert bare.mean() < measured.value - 0.003  # labels that a resample leaves without positives count as 0
    values = resample(measured, n_bootstrap=300)
    assert_allclose(values.mean(), measured.value)
    assert_allclose(values.std(), bare.std(), rtol=0.2)


@pytest.mark.parametrize("changed", ["y_true", "answer", "sample_weight", "y_known"])
def test_a_function_cannot_change_what_others_look_at(changed: str) -> None:
    def vandal(y_true, y_pred, sample_weight=None, y_known=None):
        given = {"y_true": y_true, "answer": y_pred, "sample_weight": sample_weight, "y_known": y_known}
        given[changed][:] = 1
        return 0.5

    truth = Truth.check(np.eye(6), y_known=np.arange(36).reshape(6, 6) > 0, sample_weight=np.arange(1, 7))
    with pytest.raises(ValueError, match=r"vandal must leave its arguments as they are: .* let it copy them first"):
        _ = find_metric(vandal).measure(truth, np.eye(6, dtype=bool), None).value
    assert truth.y_true.sum() == 5


@pytest.mark.parametrize(
    "name", ["micro-f1.23456789", "samples-f999999999999", "cost:fp=0.123456789,fn=1e7", "1000000*micro-f1+1e-9*map"]
)
def test_a_metrics_name_keeps_all_digits_and_is_read_back(name: str) -> None:
    metric = find_metric(name)
    assert find_metric(metric.name) == metric
    case = Case(1)
    assert case(metric.name) == case(name)


def test_a_sum_with_a_function_is_measured_by_blocks_of_rows() -> None:
    rng = np.random.default_rng(0)
    truth = Truth.check(rng.random((600, 8)) < 0.3)
    decided = truth.y_true ^ (rng.random((600, 8)) < 0.2)
    both = [find_metric(f"0.5*micro-f1+0.5*{part}+map") for part in ("sklearn.metrics:hamming_loss", "hamming-loss")]
    by_function, by_counts = (one.measure(truth, decided, decided.astype(float)) for one in both)
    assert_allclose(by_function.value, by_counts.value)
    errors = [float(np.sqrt((measured.influence**2).sum())) for measured in (by_function, by_counts)]
    assert_allclose(errors[0], errors[1], rtol=0.35)
    draws = rng.multinomial(by_function.n_units, np.full(by_function.n_units, 1 / by_function.n_units), size=400)
    assert_allclose(by_function.resample(draws.astype(float)).std(), errors[1], rtol=0.35)
    assert resample(by_function, n_bootstrap=20).shape == (20,)


@pytest.mark.parametrize(
    ("name", "facts", "message"),
    [
        ("recall-at-4", {}, "looks at 4 labels, more than the 3"),
        ("micro-f1+precision-at-4", {}, "looks at 4 labels, more than the 3"),
        ("zero_one_loss", {"y_known": ~np.eye(6, 3, dtype=bool)}, "must take y_known"),
        ("map+f1_weighted", {"y_known": ~np.eye(6, 3, dtype=bool)}, "must take y_known"),
        ("matthews_corrcoef", {}, r"matthews_corrcoef must take truth and answers of shape \(6, 3\)"),
    ],
)
def test_a_truth_that_a_metric_cannot_measure_is_refused(name: str, facts: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_metric(name).check_truth(Truth.check(np.eye(6, 3), **facts))
    find_metric("zero_one_loss").check_truth(Truth.check(np.eye(6, 3)))


@pytest.mark.parametrize("name", [*ALL, "f1_weighted", "0.5*recall-at-2+1*roc_auc_ovr"])
def test_a_metric_looked_up_twice_or_pickled_is_the_same(name: str) -> None:
    metric = find_metric(name)
    assert find_metric(name) == metric
    assert pickle.loads(pickle.dumps(metric)) == metric
