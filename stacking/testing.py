"""Conformance suites: what every vote and meta-learner must do, and what may move no answer of anything.

Call :func:`check_combiner` from a test with a function that builds a fresh combiner, and :func:`check_what_counts` with
one that answers from predictions. Each check raises AssertionError with one sentence on the first breach. (Optuna and
scikit-learn ship their estimators' checks for the same reason.)
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from stacking._typing import FloatArray
from stacking.combiners.combiner import Combiner
from stacking.predictions import PredictionSet

__all__ = [
    "check_combiner",
    "check_what_counts",
    "draw_scores",
    "list_combiner_checks",
    "make_gated",
    "make_predictions",
    "make_uncounted",
]

Builder = Callable[[], Combiner]
Answer = Callable[[PredictionSet], npt.ArrayLike]

TOLERANCE = 1e-5
"""Scores that must be equal may differ by this much: sums in float32 that are taken in another order, with room."""


def draw_scores(
    y_true: npt.NDArray[Any],
    noise: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    signal: float = 2.0,
    offset: npt.ArrayLike = -1.2,
    sharpness: npt.ArrayLike = 1.0,
) -> FloatArray:
    """Draw scores of models that see a truth through noise.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    noise : array of shape (n_models,) or (n_models, n_labels)
        Standard deviation of each model's logits around what is so.
    rng : Generator
        Draws the noise.
    signal : float, default 2.0
        What a true label adds to the logit.
    offset : array that broadcasts to (n_models, n_samples, n_labels), default -1.2
        Logit of a label that is not there, such as that of its frequency.
    sharpness : array that broadcasts to (n_models, n_samples, n_labels), default 1.0
        Factor of the logits: above 1 a model is too sure of itself.

    Returns
    -------
    ndarray of float32, shape (n_models, n_samples, n_labels)
        Scores in [0, 1].

    Examples
    --------
    >>> scores = draw_scores(np.eye(3, dtype=int), [0.0], np.random.default_rng(0), signal=4.0, offset=-2.0)
    >>> scores.shape, round(float(scores[0, 0, 0]), 2)
    ((1, 3, 3), 0.88)
    """
    spread = np.asarray(noise, dtype=np.float64)
    drawn = spread.reshape(len(spread), 1, -1) * rng.standard_normal((len(spread), *np.shape(y_true)))
    logits = np.asarray(offset, dtype=np.float64) + signal * y_true + drawn
    scores: FloatArray = (1.0 / (1.0 + np.exp(-np.asarray(sharpness) * logits))).astype(np.float32)
    return scores


def make_predictions(
    n_models: int = 3,
    n_samples: int = 240,
    n_labels: int = 4,
    *,
    random_state: int | np.random.Generator = 0,
    frequency: float | npt.NDArray[np.float64] = 0.4,
    noise: npt.ArrayLike = 1.5,
    covers: Any = None,
    **options: Any,
) -> PredictionSet:
    """Draw truths, and scores of models that see them through noise.

    Parameters
    ----------
    n_models, n_samples, n_labels : int
        Shape.
    random_state : int or Generator, default 0
        Seed, or what draws.
    frequency : float or array of shape (n_labels,), default 0.4
        Share of positives.
    noise : float or array of shape (n_models,) or (n_models, n_labels), default 1.5
        As in `draw_scores`.
    covers : array of bool, shape (n_models, n_labels), optional
        Which labels each model answers.
    **options
        `signal`, `offset` and `sharpness` of `draw_scores`, and other arguments of `PredictionSet`.

    Returns
    -------
    PredictionSet
        With the truth.
    """
    rng = np.random.default_rng(random_state)
    y_true = (rng.random((n_samples, n_labels)) < frequency).astype(np.uint8)
    spread = np.full(n_models, noise) if np.ndim(noise) == 0 else noise
    look = {name: options.pop(name) for name in ("signal", "offset", "sharpness") if name in options}
    y_scores = draw_scores(y_true, spread, rng, **look)
    if covers is not None:
        y_scores[np.broadcast_to(~np.asarray(covers)[:, None, :], y_scores.shape)] = np.nan
    return PredictionSet(y_scores, y_true=y_true, covers=covers, **options)


def make_gated(n_samples: int = 400, n_labels: int = 6, *, random_state: int = 7, **metadata: Any) -> PredictionSet:
    """Draw three models of which the first is right where the second is sure, and random elsewhere.

    Trees find that out; no weighted mean does.

    Parameters
    ----------
    n_samples, n_labels : int
        Shape.
    random_state : int, default 7
        Seed.
    **metadata
        Other arguments of `PredictionSet`.

    Returns
    -------
    PredictionSet
        With the truth; the third model knows a little everywhere.
    """
    rng = np.random.default_rng(random_state)
    y_true = (rng.random((n_samples, n_labels)) < 0.4).astype(np.uint8)
    sure = rng.random((n_samples, n_labels))
    first = 0.1 + 0.8 * np.where(sure > 0.5, y_true, rng.random((n_samples, n_labels)) < 0.5)
    third = 0.35 + 0.1 * y_true + 0.2 * rng.random((n_samples, n_labels))
    return PredictionSet(np.stack([first, sure, third]).astype(np.float32), y_true=y_true, **metadata)


def make_uncounted(
    n_models: int = 3, n_samples: int = 160, n_labels: int = 4, *, random_state: int = 0
) -> PredictionSet:
    """Draw predictions of which much does not count: unknown cells, rows without a known cell, rows of weight 0.

    Parameters
    ----------
    n_models, n_samples, n_labels : int
        Shape.
    random_state : int, default 0
        Seed.

    Returns
    -------
    PredictionSet
        With truth, known cells, weights, and groups of which some are blank.
    """
    predictions = make_predictions(n_models, n_samples, n_labels, random_state=random_state)
    rng = np.random.default_rng(random_state + 1)
    known = rng.random((n_samples, n_labels)) < 0.8
    known[rng.random(n_samples) < 0.05] = False
    groups = np.array([f"group {number // 3}" if number % 7 else "" for number in range(n_samples)])
    return PredictionSet(
        predictions.to_array(),
        y_true=predictions.y_true,
        y_known=known,
        sample_weight=rng.choice([0.0, 0.7, 1.3, 2.0], n_samples, p=[0.15, 0.4, 0.3, 0.15]),
        groups=groups,
    )


def check_what_counts(answer: Answer, *, predictions: PredictionSet | None = None, tolerance: float = 0.0) -> None:
    """Require that unknown cells, rows that do not count and the unit of the weights move nothing of an answer.

    Parameters
    ----------
    answer : callable
        Takes predictions, returns an array that says nothing of rows that do not count.
    predictions : PredictionSet, optional
        Where something does not count; by default `make_uncounted()`.
    tolerance : float, default 0
        Largest difference allowed; 0 wants the same bits.

    Raises
    ------
    AssertionError
        If the answer changes with what must not matter.
    """
    whole = make_uncounted() if predictions is None else predictions
    expected = np.asarray(answer(whole))
    for what, changed in _iter_uncounted(whole):
        found = np.asarray(answer(changed))
        _require(found.shape == expected.shape, f"{what} must not matter: shape {found.shape} is not {expected.shape}")
        _require(_is_same(found, expected, tolerance), f"{what} must not matter: the answer changed")
    alike = whole.subset(samples=whole.truth.counted)
    expected = np.asarray(answer(_with_weight(alike, None)))
    found = np.asarray(answer(_with_weight(alike, np.full(alike.n_samples, 0.37))))
    _require(_is_same(found, expected, tolerance), "weights that are all alike must be no weights: the answer changed")


def _is_same(found: npt.NDArray[Any], expected: npt.NDArray[Any], tolerance: float) -> bool:
    """Compare two answers."""
    if tolerance > 0:
        return bool(np.allclose(found, expected, rtol=0, atol=tolerance, equal_nan=True))
    return np.array_equal(found, expected, equal_nan=found.dtype.kind == "f")


def _iter_uncounted(whole: PredictionSet) -> Iterator[tuple[str, PredictionSet]]:
    """Yield the same predictions with another filling of what does not count."""
    rng = np.random.default_rng(3)
    scores, truth, weight = whole.to_array(), np.asarray(whole.y_true), np.asarray(whole.sample_weight)
    counted, known = np.asarray(whole.truth.counted), np.asarray(whole.y_known)
    noise = rng.random(scores.shape, dtype=np.float32)
    metadata = whole.metadata()
    for what, y_scores, y_true, sample_weight in (
        ("the truth of cells with y_known False", scores, np.where(known, truth, 1 - truth), weight),
        ("the truth of rows with sample_weight 0", scores, np.where((weight == 0)[:, None], 1 - truth, truth), weight),
        ("the scores of rows that do not count", np.where(counted[:, None], scores, noise), truth, weight),
        ("the unit of the weights (times 1e-6)", scores, truth, weight * 1e-6),
        ("the unit of the weights (times 1000)", scores, truth, weight * 1000.0),
        ("the unit of the weights (sum 1)", scores, truth, weight / weight.sum()),
    ):
        changed: dict[str, Any] = {**metadata, "y_true": y_true, "sample_weight": sample_weight}
        yield what, PredictionSet(y_scores, whole.ids, whole.models, whole.labels, **changed)
    yield "the presence of rows that do not count", whole.subset(samples=counted)


def _with_weight(predictions: PredictionSet, weight: Any) -> PredictionSet:
    """Give predictions other weights."""
    metadata: dict[str, Any] = {**predictions.metadata(), "sample_weight": weight}
    return PredictionSet(predictions.to_array(), predictions.ids, predictions.models, predictions.labels, **metadata)


def list_combiner_checks() -> list[str]:
    """List the names of the checks.

    Returns
    -------
    list of str
        In the order they run.
    """
    return list(_CHECKS)


def check_combiner(build: Builder, *, symmetric: bool = True, only: str | None = None) -> None:
    """Run the conformance suite.

    Parameters
    ----------
    build : callable
        Returns a fresh, unfitted combiner with a fixed seed.
    symmetric : bool, default True
        Whether permuted models and labels must give the permuted result to 1e-5; False for searches and folds whose
        draws depend on the order, which then only need to agree to .1 in the mean.
    only : str, optional
        Run this check alone, one of `list_combiner_checks()`.

    Raises
    ------
    AssertionError
        If the combiner breaks the contract.
    """
    for name, check in _CHECKS.items():
        if only in (None, name):
            check(build, TOLERANCE if symmetric else 0.1)


def _require(condition: bool, message: str) -> None:
    """Raise AssertionError unless the condition holds."""
    if not condition:
        raise AssertionError(message)


def _check_scores(y_score: FloatArray, shape: tuple[int, int], what: str) -> None:
    """Require finite float32 scores in [0, 1] of a shape."""
    _require(y_score.shape == shape, f"{what} must have shape {shape}: got {y_score.shape}")
    _require(y_score.dtype == np.float32, f"{what} must be float32: got {y_score.dtype}")
    fine = bool(np.isfinite(y_score).all()) and y_score.min() >= 0 and y_score.max() <= 1
    _require(fine, f"{what} must be finite and in [0, 1]")


def _check_contract(build: Builder, tolerance: float) -> None:
    """Fit and predict change no input, keep parameters, and store the names."""
    predictions = make_predictions()
    scores, truth = predictions.to_array().copy(), np.asarray(predictions.y_true).copy()
    combiner = build()
    before = repr(combiner.get_params(deep=False))
    _require(combiner.fit(predictions) is combiner, "fit must return the combiner itself")
    y_score = combiner.predict_proba(predictions)
    _check_scores(y_score, truth.shape, "scores")
    _require(np.array_equal(scores, predictions.to_array()), "fit and predict_proba must not change the scores")
    _require(np.array_equal(truth, np.asarray(predictions.y_true)), "fit must not change the truth")
    _require(repr(combiner.get_params(deep=False)) == before, "fit must not change constructor parameters")
    _require(combiner.models_ == predictions.models and combiner.labels_ == predictions.labels, "names must be kept")
    _require(combiner.fits_from in ("counts", "rows"), "fits_from must be 'counts' or 'rows'")


def _check_repeatable(build: Builder, tolerance: float) -> None:
    """Require equal scores from an equal seed, a clone and a second fit, and an untouched global generator."""
    predictions = make_predictions()
    before = np.random.get_state()  # noqa: NPY002 - only to see that nobody else touches it
    np.random.seed(20180529)  # noqa: NPY002
    marked = repr(np.random.get_state())  # noqa: NPY002
    combiner = build().fit(predictions)
    first = combiner.predict_proba(predictions)
    _require(np.array_equal(first, build().fit(predictions).predict_proba(predictions)), "the same seed must repeat")
    _require(np.array_equal(first, clone(combiner).fit(predictions).predict_proba(predictions)), "a clone must repeat")
    _require(np.array_equal(first, combiner.fit(predictions).predict_proba(predictions)), "a second fit must repeat")
    untouched = repr(np.random.get_state()) == marked  # noqa: NPY002
    np.random.set_state(before)  # noqa: NPY002
    _require(untouched, "the global random generator must not be touched")


def _check_arrays(build: Builder, tolerance: float) -> None:
    """Plain arrays work like the set made of them."""
    predictions = make_predictions()
    scores = predictions.to_array()
    combiner = build().fit(scores, predictions.y_true)
    _require(
        np.array_equal(combiner.predict_proba(scores), build().fit(predictions).predict_proba(predictions)),
        "an array must give what its prediction set gives",
    )


def _check_small(build: Builder, tolerance: float) -> None:
    """One model, one label, two rows."""
    for n_models, n_samples, n_labels in ((1, 60, 3), (3, 60, 1), (2, 2, 2)):
        predictions = make_predictions(n_models, n_samples, n_labels)
        y_score = build().fit(predictions).predict_proba(predictions)
        _check_scores(y_score, (n_samples, n_labels), f"scores of {n_models} models, {n_labels} labels")


def _check_degenerate(build: Builder, tolerance: float) -> None:
    """Require finite scores for one-class labels, constant scores, ties and scores 0 and 1."""
    predictions = make_predictions()
    truth = np.asarray(predictions.y_true).copy()
    truth[:, 0], truth[:, 1] = 0, 1
    scores = predictions.to_array().copy()
    for name, changed in (
        ("one-class labels", scores),
        ("constant scores", np.full_like(scores, 0.25)),
        ("ties", np.round(scores, 1)),
        ("scores 0 and 1", np.round(scores)),
    ):
        y_score = build().fit(changed, truth).predict_proba(changed)
        _check_scores(y_score, truth.shape, f"scores with {name}")


def _check_permutation(build: Builder, tolerance: float) -> None:
    """Require that names decide and the order of models and labels does not."""
    predictions = make_predictions()
    combiner = build().fit(predictions)
    first = combiner.predict_proba(predictions)
    models, labels = [2, 0, 1], [3, 1, 0, 2]
    turned = predictions.subset(models=models, labels=labels)
    gap = np.abs(combiner.predict_proba(turned) - first).max()
    _require(gap <= TOLERANCE, f"names must decide the order at prediction: scores differ by {gap}")
    rows = np.random.default_rng(1).permutation(predictions.n_samples)
    mixed = predictions.subset(samples=rows)
    _require(np.allclose(combiner.predict_proba(mixed), first[rows], atol=TOLERANCE), "a row's score must be its own")
    again = np.abs(build().fit(mixed).predict_proba(predictions) - first)
    worst = float(again.max() if tolerance <= TOLERANCE else again.mean())
    _require(worst <= tolerance, f"permuting samples must not change the fit: scores differ by {worst}")
    refitted = build().fit(turned).predict_proba(turned)
    gap = np.abs(refitted - first[:, labels])
    worst = float(gap.max() if tolerance <= TOLERANCE else gap.mean())
    _require(worst <= tolerance, f"permuting models and labels must permute the result: scores differ by {worst}")


def _check_names(build: Builder, tolerance: float) -> None:
    """Missing and unknown names are errors; `without` leaves members out."""
    predictions = make_predictions()
    combiner = build().fit(predictions)
    fewer = predictions.subset(models=["model0", "model2"])
    _expect_error(lambda: combiner.predict_proba(fewer), "model1", "a missing member")
    _expect_error(lambda: combiner.predict_proba(predictions, without=["modell1"]), "modell1", "an unknown member")
    short = predictions.subset(labels=["label0"])
    _expect_error(lambda: combiner.predict_proba(short), "label1", "a missing label")
    _expect_error(lambda: combiner.predict_proba(predictions, without=predictions.models), "without", "no member left")
    absent = combiner.predict_proba(fewer, without=["model1"])
    _check_scores(absent, (predictions.n_samples, predictions.n_labels), "scores without a member")
    ignored = combiner.predict_proba(predictions, without=["model1"])
    _require(np.allclose(absent, ignored, atol=TOLERANCE), "a member left out must not matter, present or absent")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        build().fit(fewer).predict_proba(predictions)
    _require(any("model1" in str(w.message) for w in caught), "a member that was not fitted must be warned about")


def _check_coverage(build: Builder, tolerance: float) -> None:
    """Require that a member may answer only some labels."""
    covers = np.array([[True, True, True, True], [True, False, True, False], [False, True, True, True]])
    predictions = make_predictions(covers=covers)
    y_score = build().fit(predictions).predict_proba(predictions)
    _check_scores(y_score, (predictions.n_samples, predictions.n_labels), "scores with partial coverage")
    bare = make_predictions(covers=covers & [True, True, True, False])
    _expect_error(lambda: build().fit(bare), "label3", "a label that no model covers")


def _check_unknown_cells(build: Builder, tolerance: float) -> None:
    """Require that the truth of cells that are not annotated does not matter."""
    predictions = make_predictions()
    truth = np.asarray(predictions.y_true)
    known = np.random.default_rng(1).random(truth.shape) < 0.8
    fitted = [
        build().fit(PredictionSet(predictions.to_array(), y_true=given, y_known=known)).predict_proba(predictions)
        for given in (truth, np.where(known, truth, 1 - truth))
    ]
    _require(np.array_equal(fitted[0], fitted[1]), "the truth of cells with y_known False must not matter")


def _check_weightless_rows(build: Builder, tolerance: float) -> None:
    """Require that rows of weight 0 do not matter, whatever truth and scores they hold."""
    predictions = make_predictions()
    truth, scores = np.asarray(predictions.y_true), predictions.to_array()
    rng = np.random.default_rng(2)
    weight = rng.integers(0, 4, len(truth)).astype(np.float64)
    unweighted = (weight == 0)[:, None]
    fitted = [
        build().fit(PredictionSet(seen, y_true=given, sample_weight=weight)).predict_proba(predictions)
        for seen, given in (
            (scores, truth),
            (scores, np.where(unweighted, 1 - truth, truth)),
            (np.where(unweighted, rng.random(scores.shape, dtype=np.float32), scores), truth),
        )
    ]
    for name, other in zip(("truth", "scores"), fitted[1:], strict=True):
        gap = np.abs(other - fitted[0]).max()
        _require(gap <= TOLERANCE, f"the {name} of rows with sample_weight 0 must not matter: scores differ by {gap}")


def _check_what_counts(build: Builder, tolerance: float) -> None:
    """Require the same fit and the same held-out scores whatever stands where nothing counts."""
    whole, fresh = make_uncounted(n_samples=120), make_predictions(n_samples=40, random_state=7)
    counted = whole.truth.counted

    def answer(predictions: PredictionSet) -> FloatArray:
        """Score new rows, and the rows that count by fits that did not see them."""
        rows = (
            np.arange(whole.n_samples)
            if predictions.n_samples == whole.n_samples
            else np.flatnonzero(np.asarray(counted))
        )
        combiner, held_out = build().fit_out_of_fold(predictions, folds=rows % 3)
        held_out = held_out if predictions.counted is None else held_out[predictions.counted]
        return np.concatenate([combiner.predict_proba(fresh), held_out])

    check_what_counts(answer, predictions=whole, tolerance=TOLERANCE)


def _check_cross_fit(build: Builder, tolerance: float) -> None:
    """Cross-fitted scores of a row do not depend on that row's truth."""
    predictions = make_predictions()
    folds = np.arange(predictions.n_samples) % 3
    y_score = build().predict_out_of_fold(predictions, folds=folds)
    _check_scores(y_score, (predictions.n_samples, predictions.n_labels), "cross-fitted scores")
    lied = np.asarray(predictions.y_true).copy()
    lied[folds == 1] = 1 - lied[folds == 1]
    other = build()
    if other.requires_truth and not other.choice_sees_all_rows:
        given = other.predict_out_of_fold(predictions.with_truth(lied), folds=folds)
        _require(
            np.array_equal(given[folds == 1], y_score[folds == 1]), "held-out scores must not see their rows' truth"
        )
    _expect_error(
        lambda: build().predict_out_of_fold(predictions, folds=np.zeros(3)), "folds", "folds of a wrong length"
    )


def _check_state(build: Builder, tolerance: float) -> None:
    """Require that the plain-data state rebuilds a combiner that predicts the same."""
    import json

    predictions = make_predictions()
    combiner = build().fit(predictions)
    values, arrays, texts = combiner._state()
    plain = json.loads(json.dumps(values))
    again = type(combiner)._from_state(plain, {name: array.copy() for name, array in arrays.items()}, dict(texts))
    _require(
        np.array_equal(again.predict_proba(predictions), combiner.predict_proba(predictions)),
        "a rebuilt combiner must predict the same",
    )
    _require(again.models_ == combiner.models_ and again.labels_ == combiner.labels_, "names must survive the state")


def _check_pickling(build: Builder, tolerance: float) -> None:
    """Require that a combiner survives pickling, as processes and clusters need it, fitted or not."""
    predictions = make_predictions()
    fresh = pickle.loads(pickle.dumps(build()))  # nosec B301
    combiner = build().fit(predictions)
    expected = combiner.predict_proba(predictions)
    for name, other in (
        ("a fitted", pickle.loads(pickle.dumps(combiner))),  # nosec B301
        ("an unfitted", fresh.fit(predictions)),
    ):  # nosec B301
        _require(np.array_equal(other.predict_proba(predictions), expected), f"{name} combiner must survive pickling")


def _check_unfitted(build: Builder, tolerance: float) -> None:
    """Predicting before fitting and fitting without truth are errors."""
    predictions = make_predictions()
    _expect_error(lambda: build().predict_proba(predictions), "fitted", "an unfitted combiner")
    if build().requires_truth:
        _expect_error(lambda: build().fit(predictions.to_array()), "y_true", "no truth")


def _expect_error(call: Callable[[], Any], mention: str, what: str) -> None:
    """Require a ValueError (or a subclass) that mentions a word."""
    try:
        call()
    except ValueError as error:
        _require(mention in str(error), f"the error for {what} must mention {mention!r}: got {error}")
        return
    raise AssertionError(f"{what} must be an error")


_CHECKS: dict[str, Callable[[Builder, float], None]] = {
    "contract": _check_contract,
    "repeatable": _check_repeatable,
    "arrays": _check_arrays,
    "small": _check_small,
    "degenerate": _check_degenerate,
    "permutation": _check_permutation,
    "names": _check_names,
    "coverage": _check_coverage,
    "unknown cells": _check_unknown_cells,
    "weightless rows": _check_weightless_rows,
    "what counts": _check_what_counts,
    "cross-fit": _check_cross_fit,
    "state": _check_state,
    "pickling": _check_pickling,
    "unfitted": _check_unfitted,
}
