"""LightGBM per label, boosted from a logistic regression on the label's own logits.

Default gradient boosting on a few hundred labels overfits the many rare ones and loses to a straight line. Here the
line comes first: every label starts from its logistic regression (`LabelwiseLogistic`), trees may only correct it, and
their number is what held-out folds ask for, often none. The trees also see what the members say about the labels whose
scores move with this one (Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017).
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from stacking._earlier_names import Renamed
from stacking._typing import BoolArray, DoubleArray, FloatArray
from stacking.combiners.meta_learners.batched_logistic import apply_logistic
from stacking.combiners.meta_learners.pooled_logits import pool_logits, read_pool_weights
from stacking.combiners.meta_learners.training_rows import describe_fallback, fill_gaps, prepare_rows
from stacking.combiners.meta_learners.trees.boosted_label import LabelRows, boost_label_once
from stacking.combiners.meta_learners.trees.label_inputs import (
    BASE_ROWS,
    LabelInputs,
    inputs_from_memory,
    inputs_from_predictions,
)
from stacking.combiners.meta_learners.trees.tree_combiner import TreeCombiner
from stacking.combiners.meta_learners.trees.tree_text import load_booster
from stacking.combiners.registry import register_method
from stacking.files.result_cache import cache_folder
from stacking.links import sigmoid
from stacking.predictions import PredictionSet
from stacking.process.child_processes import run_parallel
from stacking.process.deadline import check_deadline
from stacking.process.progress import advance, steps

_CORRELATED_ROWS = 50_000
"""Rows whose products are added at a time. Only memory depends on it."""
_CORRELATED_LABELS = 1_000
"""Labels whose nearest ones are sought at a time, for the same reason."""
_TREES_COST = 4.5
"""CPU time of a label's trees beside that of its regressions: 4.3 to 4.9 on photos, music and tabular data; for the
time left only."""


@register_method("lightgbm", "LightGBM per label on own scores and label context", kind="meta", cost=10.0)
@register_method(
    "lightgbm-all-rows",
    "the same on all rows of a store, label by label, best with its by-label copy",
    kind="meta",
    cost=24.0,
    is_slow=True,
    max_rows=None,
)
class PerLabelStacker(TreeCombiner):
    """Stack per label with LightGBM on own scores and on the labels that move with it.

    A label keeps to its logistic regression where it has fewer than `min_positives` positives (or negatives), or where
    no number of trees lowers the held-out log loss by more than its standard error over the folds. Each fold grows its
    own trees; new rows get the mean of their corrections, so no tree is refitted without a check.

    Parameters
    ----------
    n_trees : int, default=60
        Most boosting rounds per fold, at least 1.
    n_context : int, default=12
        Other labels whose pooled logit a label's trees may read, those whose logits correlate most with its own.
    min_positives : int, default=20
        Labels with fewer positives or negatives grow no trees.
    n_folds : int, default=5
        Stratified grouped folds, at least 2.
    max_rows : int or None, default=100_000
        Fit on a random sample where there are more rows. None takes all: beyond 100,000 of them only the regressions
        are fitted on a sample, and the trees read the rows label by label; a store is then best packed with its
        by-label copy (``labelstack pack --by-label``).
    random_state : int, Generator or None, default=0
        Draws the sample and the folds, seeds the trees.
    n_jobs : int or None, default=None
        Labels fitted at the same time, through `joblib.Parallel` with no backend named.

    Attributes
    ----------
    coefficients_ : ndarray of float64, shape (n_labels, n_models + 1)
        The logistic regressions, intercept last.
    context_ : ndarray of int, shape (n_labels, n_context)
        Labels that each label's trees read.
    boosted_ : ndarray of bool, shape (n_labels,)
        Labels whose trees are used; the others fell back to their logistic regression.
    fallback_report_ : dict
        Shares of labels and of positives that fell back, in [0, 1].

    Notes
    -----
    O(n_folds · n_trees · n_samples · (n_models + n_context)) per boosted label. Trees are the same whatever `n_jobs`:
    one thread each, deterministic. A constant label gets its smoothed frequency. Within
    ``stacking.files.result_cache.caching(folder)`` the fit of a killed run, started again, repeats at most one
    label a job.

    References
    ----------
    G. Ke et al., "LightGBM: a highly efficient gradient boosting decision tree", NeurIPS 2017.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y_true = rng.integers(0, 2, (200, 2))
    >>> y_scores = np.clip(0.5 + 0.3 * (y_true - 0.5) + rng.normal(0, 0.1, (3, 200, 2)), 0, 1)
    >>> sorted(PerLabelStacker().fit(y_scores, y_true).fallback_report_)
    ['labels', 'positives']
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "rows"
    choice_sees_all_rows: ClassVar[bool] = True
    fusing_ = Renamed("pool_weights_")

    def __init__(
        self,
        n_trees: int = 60,
        *,
        n_context: int = 12,
        min_positives: int = 20,
        n_folds: int = 5,
        max_rows: int | None = 100_000,
        random_state: int | np.random.Generator | None = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.n_trees = n_trees
        self.n_context = n_context
        self.min_positives = min_positives
        self.n_folds = n_folds
        self.max_rows = max_rows
        self.random_state = random_state
        self.n_jobs = n_jobs

    def _samples(self, predictions: PredictionSet) -> bool:
        """Say whether fitting would draw a sample of the rows."""
        return self.max_rows is not None and predictions.n_samples > self.max_rows

    def _feed(self, predictions: PredictionSet, folds: npt.NDArray[np.intp] | None) -> LabelInputs:
        """Read the rows, with the given folds or folds of its own."""
        if self.max_rows is None and predictions.n_samples > BASE_ROWS:
            return inputs_from_predictions(predictions, folds, n_folds=self.n_folds, random_state=self.random_state)
        n_folds = self.n_folds if folds is None else 1
        rows = prepare_rows(predictions, max_rows=self.max_rows, n_folds=n_folds, random_state=self.random_state)
        return inputs_from_memory(rows if folds is None else dataclasses.replace(rows, folds=folds))

    def _fit(self, predictions: PredictionSet) -> None:
        """Fit the regressions on all rows and grow the trees fold by fold."""
        self._grow_trees(predictions, None)

    def _fit_out_of_fold(self, predictions: PredictionSet, folds: npt.NDArray[np.intp]) -> FloatArray:
        """Fit, and score every row by trees and regressions of the other folds; a sampled fit by clones."""
        if self._samples(predictions):
            y_score = self._score_by_clones(predictions, folds)
            self._fit(predictions)
            return y_score
        return self._grow_trees(predictions, folds)

    def _grow_trees(self, predictions: PredictionSet, folds: npt.NDArray[np.intp] | None) -> FloatArray:
        """Fit the regressions and the trees; return held-out scores where folds are given, else nothing."""
        positives = predictions.truth.positives()
        n_grown = np.count_nonzero(np.minimum(positives, predictions.n_samples - positives) >= self.min_positives)
        with steps({"regressions": float(len(positives)), "trees": _TREES_COST * n_grown}) as begin:
            begin("regressions")
            inputs = self._feed(predictions, folds)
            self.centers_, self.pool_weights_ = inputs.centers, inputs.pool_weights
            self.coefficients_ = inputs.coefficients
            self.context_ = _nearest_labels(inputs.pooled, self.n_context)
            begin("trees")
            models, held_out = self._boost(inputs, self.context_, wants_scores=folds is not None)
        self.boosted_ = np.array([bool(texts) for texts in models])
        self._texts = {f"{j}/{k}": text for j, texts in enumerate(models) for k, text in enumerate(texts)}
        self.fallback_report_, self.notes_ = describe_fallback(
            "lightgbm", ~self.boosted_, inputs.positives, "logistic regression"
        )
        self._load_boosters()
        return held_out

    def _boost(
        self, inputs: LabelInputs, context: npt.NDArray[np.intp], *, wants_scores: bool
    ) -> tuple[list[tuple[str, ...]], FloatArray]:
        """Grow trees for all labels; return each one's models and, where wanted, the held-out scores."""
        from joblib import delayed

        seed = self.random_state if isinstance(self.random_state, int) else 0
        fewest = np.minimum(inputs.positives, inputs.total - inputs.positives)
        is_grown = (fewest >= self.min_positives) & bool(inputs.masks)
        settings = {"n_trees": self.n_trees, "seed": seed, "folder": cache_folder(), "wants_scores": wants_scores}

        def job(label: int, logits: FloatArray) -> Any:
            check_deadline()
            advance(float(np.searchsorted(grown, label)), len(grown))
            features = _features(logits, inputs.pooled, label, inputs.usable[label], context[label])
            rows = LabelRows(features, *inputs.weigh(label), inputs.starts(label, logits), inputs.masks)
            return delayed(_grow_label)(rows, **settings)

        grown = np.flatnonzero(is_grown)
        models: list[tuple[str, ...]] = [()] * len(fewest)
        held_out = np.empty(inputs.pooled.shape if wants_scores else (0, 0), np.float32)
        answers = run_parallel((job(label, logits) for label, logits in inputs.read_logits(grown)), self.n_jobs)
        for label, (texts, scores) in zip(grown.tolist(), answers, strict=True):
            models[label] = texts
            if wants_scores:
                held_out[:, label] = scores
        if wants_scores:
            for kept, logits in inputs.read_logits(np.flatnonzero(~is_grown)):
                starts = inputs.starts(kept, logits)
                held_out[:, kept] = _held_out_scores(starts, inputs.masks, np.zeros(len(held_out)))
        return models, held_out

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild the stacker; earlier versions weighed all members alike."""
        return super()._from_state(values, read_pool_weights(arrays), texts)

    def _combine_block(self, scores: FloatArray, covers: BoolArray) -> FloatArray:
        """Add the mean correction of the folds' trees to the regressions."""
        logits = fill_gaps(scores, covers, self.centers_, self.covers_)
        answer = apply_logistic(list(logits), self.coefficients_)
        pooled = pool_logits(logits, self.covers_.T, self.pool_weights_).astype(np.float32)
        for label, boosters in self._boosters.items():
            own = logits[:, :, label]
            features = _features(own, pooled, label, self.covers_[:, label], self.context_[label])
            raw = [booster.predict(features, raw_score=True, num_threads=1) for booster in boosters]
            answer[:, label] += np.mean(raw, axis=0)
        return sigmoid(answer).astype(np.float32)

    def _load_boosters(self) -> None:
        """Read the trees of each label and fold, after checking their texts."""
        self._boosters: dict[int, list[Any]] = {}
        for name, text in self._texts.items():
            if not re.fullmatch(r"[0-9]{1,9}/[0-9]{1,9}", name) or int(name.split("/")[0]) >= len(self.labels_):
                raise ValueError(f"the trees must be those of a label and a fold: got the name {name[:40]!r}.")
            label = int(name.split("/")[0])
            n_features = int(self.covers_[:, label].sum()) + 1 + self.context_.shape[1]
            booster = load_booster(text, n_features=n_features, who=f"label {self.labels_[label]!r}")
            self._boosters.setdefault(label, []).append(booster)


def _grow_label(
    rows: LabelRows, *, n_trees: int, seed: int, folder: Path | None, wants_scores: bool
) -> tuple[tuple[str, ...], FloatArray]:
    """Boost one label; return its models and, where wanted, its held-out scores."""
    boosted = boost_label_once(rows, n_trees=n_trees, seed=seed, folder=folder)
    scores = _held_out_scores(rows.start, rows.masks, boosted.held_out) if wants_scores else np.empty(0, np.float32)
    return boosted.models, scores


def _held_out_scores(starts: DoubleArray, masks: list[BoolArray], correction: DoubleArray) -> FloatArray:
    """Add a label's held-out corrections to its held-out regressions."""
    answer = correction.copy()
    for held, start in zip(masks, starts, strict=True):
        answer[held] += start[held]
    return sigmoid(answer).astype(np.float32)


def _nearest_labels(pooled: FloatArray, n_context: int) -> npt.NDArray[np.intp]:
    """Return for each label the others whose pooled logits correlate most with its own; the truth is not looked at."""
    mean = pooled.mean(axis=0, dtype=np.float64)
    products = np.zeros((pooled.shape[1], pooled.shape[1]))
    for begin in range(0, len(pooled), _CORRELATED_ROWS):
        centered = pooled[begin : begin + _CORRELATED_ROWS] - mean
        products += centered.T @ centered
    spread = np.sqrt(np.diag(products))
    nearest = np.empty((len(products), max(0, min(n_context, len(products) - 1))), np.intp)
    for begin in range(0, len(products), _CORRELATED_LABELS):
        some = slice(begin, begin + _CORRELATED_LABELS)
        correlation = np.abs(products[some]) / np.maximum(np.outer(spread[some], spread), 1e-12)
        correlation[np.arange(len(correlation)), begin + np.arange(len(correlation))] = -1.0
        nearest[some] = np.argsort(-correlation, axis=1, kind="stable")[:, : nearest.shape[1]]
    return nearest


def _features(
    logits: FloatArray, pooled: FloatArray, label: int, usable: BoolArray, context: npt.NDArray[np.intp]
) -> FloatArray:
    """Return one label's features: members' logits, their mean, and the means of other labels."""
    return np.column_stack([*logits[usable], pooled[:, label], pooled[:, context]])
