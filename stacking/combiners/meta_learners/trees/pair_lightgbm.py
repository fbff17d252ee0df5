"""One LightGBM over (row, label) pairs: the same trees for all labels, with each label's frequency as a feature.

Trees per label have too few rows where labels are many: a label with twenty positives cannot say how to weigh forty
members. Asked for pairs instead, all labels teach the same trees how far a member's score, the members' disagreement
and the label's rank in its row can be trusted; the winners of iMet Collection 2019 stacked their networks so. Most
pairs are negatives that teach little, so only some of them are drawn. Drawing the share q of the negatives adds −log q
to every log odds, which prediction takes off again (King & Zeng 2001, section 4.2).

A line comes first: the trees correct the members' calibrated mean, and only where held-out folds prove that they help.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from optimizers._checks import check_random_state
from stacking._checks import check_at_least
from stacking._typing import BoolArray, DoubleArray, FloatArray, IndexArray
from stacking.combiners.meta_learners.batched_logistic import fit_logistic
from stacking.combiners.meta_learners.training_rows import (
    TrainingRows,
    describe_fallback,
    fill_gaps,
    mean_logits,
    prepare_rows,
)
from stacking.combiners.meta_learners.trees.boosting import best_rounds, log_loss, stack_curves, tree_parameters
from stacking.combiners.meta_learners.trees.tree_combiner import TreeCombiner
from stacking.combiners.meta_learners.trees.tree_text import load_booster
from stacking.combiners.registry import register_method
from stacking.folds import sample_rows
from stacking.links import logit, sigmoid
from stacking.predictions import PredictionSet

PATIENCE = 10
"""Rounds without a better held-out loss after which a fold stops growing trees: more than for the trees of one label,
since the learning rate is half theirs. A choice; no measurement is on record."""

FREQUENCY = 3
"""Column of the label's frequency, the one feature that differs from fold to fold."""

MEAN = 5
"""Column of the logit of the members' mean probability, which the trees correct."""

FIRST_MEMBER = 6
"""Columns before the members' logits: mean logit, spread, rank, frequency, training frequency, mean's logit."""

BLOCK_CELLS = 4_000_000
"""Feature values built at a time while the drawn pairs are gathered. Only memory and speed depend on it."""


@register_method("pair-lightgbm", "one LightGBM over (row, label) pairs", kind="meta", cost=25.0, is_slow=True)
class PairLightGBM(TreeCombiner):
    """Stack with one LightGBM whose samples are (row, label) pairs.

    A pair's features are the members' logits for that row and label (missing where a member does not cover the label),
    their mean and spread, the rank of the label within the row, the label's frequency in the fitting rows and, where
    it is known, in the members' training data. Assumes that a member's logit means much the same for every label of
    like frequency. Each fold grows its own trees from the calibrated mean of the members' probabilities; new rows get
    the mean of their logits. Where no number of trees lowers the held-out loss by more than its standard error over the
    folds, the calibrated mean answers; where the positives are fewer than `min_positives` or nothing can be held out,
    the plain mean.

    Parameters
    ----------
    n_trees : int, default=200
        Most boosting rounds per fold, at least 1; held-out folds say how many are kept.
    negatives_per_positive : float, default=10.0
        Negatives drawn for each positive pair, above 0.
    min_positives : int, default=20
        Fewest positive pairs to grow trees from.
    n_folds : int, default=5
        Stratified grouped folds, at least 2.
    max_rows : int or None, default=20_000
        Fit on a random sample where there are more rows.
    random_state : int, Generator or None, default=0
        Draws rows, folds and negatives, seeds the trees.

    Attributes
    ----------
    frequency_ : ndarray of float64, shape (n_folds, n_labels)
        Logits of the labels' smoothed frequencies in the rows that each fold's trees were grown from.
    lines_ : ndarray of float64, shape (n_folds, 2)
        Slope and intercept of each fold's calibrated mean, on the logit; empty where the plain mean answers.
    train_frequency_ : ndarray of float64, shape (n_labels,)
        Logits of the members' training frequencies; empty if they are not known.
    shift_ : float
        log q, what drawing negatives adds to the log odds, sign turned: added at prediction.
    n_rounds_ : int
        Boosting rounds kept; 0 where the mean answers.
    n_rows_fitted_ : int
        Rows used.
    fallback_report_ : dict
        Shares of labels and of positives that fell back to the mean, in [0, 1]: all or nothing.

    Notes
    -----
    O(n_folds · n_rounds · positives · negatives_per_positive · n_models); the trees are deterministic, on one thread.

    References
    ----------
    G. King, L. Zeng, "Logistic regression in rare events data", Political Analysis 9, 2001, section 4.2.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y_true = rng.integers(0, 2, (200, 2))
    >>> y_scores = np.clip(0.5 + 0.3 * (y_true - 0.5) + rng.normal(0, 0.1, (3, 200, 2)), 0, 1)
    >>> PairLightGBM(n_trees=5).fit(y_scores, y_true).predict_proba(y_scores).shape
    (200, 2)
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "rows"
    choice_sees_all_rows: ClassVar[bool] = True

    frequency_: DoubleArray
    lines_: DoubleArray
    train_frequency_: DoubleArray
    centers_: DoubleArray
    shift_: float
    n_rounds_: int
    n_rows_fitted_: int
    fallback_report_: dict[str, float]
    notes_: list[str]

    def __init__(
        self,
        n_trees: int = 200,
        *,
        negatives_per_positive: float = 10.0,
        min_positives: int = 20,
        n_folds: int = 5,
        max_rows: int | None = 20_000,
        random_state: int | np.random.Generator | None = 0,
    ) -> None:
        self.n_trees = n_trees
        self.negatives_per_positive = negatives_per_positive
        self.min_positives = min_positives
        self.n_folds = n_folds
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit(self, predictions: PredictionSet) -> None:
        """Grow each fold's trees on the other folds' pairs."""
        self._grow_trees(predictions, None)

    def _fit_out_of_fold(self, predictions: PredictionSet, folds: IndexArray) -> FloatArray:
        """Fit, and score every row by the trees of its fold, the rounds that are kept chosen on the other folds."""
        by_fold, curves = self._grow_trees(predictions, folds)
        return self._score_held_out(predictions, folds, by_fold, curves)

    def _grow_trees(
        self, predictions: PredictionSet, given: IndexArray | None
    ) -> tuple[dict[int, tuple[int, Any]], DoubleArray]:
        """Grow each fold's trees; return them by fold with their number, and their held-out losses."""
        _check_parameters(self.n_trees, self.negatives_per_positive)
        rng = check_random_state(self.random_state)
        rows = self._read(predictions, given, rng)
        masks = rows.fold_masks
        self.n_rows_fitted_ = len(rows.y_true)
        self.centers_ = rows.logits.mean(axis=1, dtype=np.float64)
        known = predictions.train_frequency
        self.train_frequency_ = np.empty(0) if known is None else logit(known).astype(np.float64)
        self.frequency_ = np.array([_frequency_logits(rows, ~held) for held in masks])
        pairs, self.shift_ = _draw_pairs(rows, self.negatives_per_positive, rng)
        held_pairs = [int(held[pairs.row].sum()) for held in masks]
        enough = pairs.y_true.sum() >= self.min_positives and min(held_pairs, default=0) > 0
        self.lines_ = np.empty((0, 2))
        grown = self._grow(rows, pairs, int(rng.integers(2**31))) if enough else []
        curves = stack_curves([curve for _, curve in grown])
        self.n_rounds_ = best_rounds(curves)
        self._texts = {
            str(k): booster.model_to_string(num_iteration=self.n_rounds_)
            for k, (booster, _) in enumerate(grown if self.n_rounds_ else [])
        }
        self._report(rows)
        self._load_boosters()
        boosters = enumerate(booster for booster, _ in grown)
        return dict(zip(np.unique(rows.folds).tolist(), boosters, strict=False)), curves

    def _read(self, predictions: PredictionSet, given: IndexArray | None, rng: np.random.Generator) -> TrainingRows:
        """Read (a sample of) the rows, with the given folds or folds of its own."""
        if given is None:
            return prepare_rows(predictions, max_rows=self.max_rows, n_folds=self.n_folds, random_state=rng)
        chosen = sample_rows(predictions.truth, self.max_rows, random_state=rng)
        if chosen is not None:
            predictions, given = predictions.subset(samples=chosen), given[chosen]
        rows = prepare_rows(predictions, max_rows=None, n_folds=1, random_state=rng)
        return dataclasses.replace(rows, folds=given)

    def _grow(self, rows: TrainingRows, pairs: _Pairs, seed: int) -> list[tuple[Any, DoubleArray]]:
        """Grow the folds' trees; return each booster with its held-out loss after 0, 1, … rounds."""
        import lightgbm

        table = self._pair_features(rows, pairs)
        # More leaves than the trees of one label have, since pairs of all labels are many, and a lower learning rate
        # for more rounds. The values are a choice; no measurement is on record.
        parameters = tree_parameters(learning_rate=0.05, num_leaves=15, min_data_in_leaf=50, seed=seed)
        grown, lines = [], []
        for held, frequency in zip(rows.fold_masks, self.frequency_, strict=True):
            table[:, FREQUENCY] = frequency[pairs.label]
            out = held[pairs.row]
            lines.append(_fit_line(table[~out, MEAN], **pairs.targets(~out)))
            start = table[:, MEAN] * lines[-1][0] + lines[-1][1]
            fitting = lightgbm.Dataset(table[~out], **pairs.targets(~out), init_score=start[~out], params=parameters)
            watched = lightgbm.Dataset(table[out], **pairs.targets(out), init_score=start[out], reference=fitting)
            history: dict[str, Any] = {}
            stop = lightgbm.early_stopping(PATIENCE, verbose=False)
            booster = lightgbm.train(
                parameters,
                fitting,
                self.n_trees,
                valid_sets=[watched],
                callbacks=[stop, lightgbm.record_evaluation(history)],
            )
            before = log_loss(start[out], *pairs.targets(out).values())
            grown.append((booster, np.array([before, *history["valid_0"]["binary_logloss"]])))
        self.lines_ = np.array(lines)
        return grown

    def _pair_features(self, rows: TrainingRows, pairs: _Pairs) -> FloatArray:
        """Gather the features of the drawn pairs, a block of rows at a time."""
        n_models, n_rows, n_labels = rows.logits.shape
        table = np.empty((len(pairs.row), FIRST_MEMBER + n_models), dtype=np.float32)
        step = max(1, BLOCK_CELLS // (n_labels * table.shape[1]))
        for start in range(0, n_rows, step):
            begin, end = np.searchsorted(pairs.row, [start, start + step])
            block = rows.logits[:, start : start + step]
            features = _features(block, rows.usable, self.frequency_[0], self.train_frequency_)
            table[begin:end] = features[pairs.row[begin:end] - start, pairs.label[begin:end]]
        return table

    def _report(self, rows: TrainingRows) -> None:
        """Say whether the mean answers instead."""
        fell_back = np.full(len(self.labels_), self.n_rounds_ == 0)
        simpler = "the calibrated mean" if len(self.lines_) else "the plain mean"
        self.fallback_report_, self.notes_ = describe_fallback("pair-lightgbm", fell_back, rows.positives, simpler)

    def _score_held_out(
        self, predictions: PredictionSet, folds: IndexArray, by_fold: dict[int, tuple[int, Any]], curves: DoubleArray
    ) -> FloatArray:
        """Score each row by its fold's trees, their number chosen on the other folds."""
        y_score = np.empty((predictions.n_samples, len(self.labels_)), dtype=np.float32)
        for fold in np.unique(folds).tolist():
            held = np.flatnonzero(folds == fold)
            part = predictions.subset(samples=held)
            if fold not in by_fold:  # the sample drew none of its rows, so no tree has seen them
                y_score[held] = self._predict(part, self.covers_)
                continue
            number, booster = by_fold[fold]
            rounds = best_rounds(np.delete(curves, number, axis=0))
            for rows, scores in self._iter_aligned(part, self.covers_):
                features = self._block_features(scores, self.covers_, self.frequency_[number])
                logits = self._start(features, number) + (_raw(booster, features, rounds) if rounds else 0.0)
                y_score[held[rows]] = sigmoid(logits + self.shift_)
        return y_score

    def _block_features(self, scores: FloatArray, covers: BoolArray, frequency: DoubleArray) -> FloatArray:
        """Return the features of all pairs of a block, absent members guessed from the others."""
        logits = fill_gaps(scores, covers, self.centers_, self.covers_)
        return _features(logits, self.covers_.T, frequency, self.train_frequency_)

    def _start(self, features: FloatArray, fold: int) -> DoubleArray:
        """Return a fold's calibrated mean as log odds."""
        slope, intercept = self.lines_[fold]
        return np.asarray(features[:, :, MEAN] * slope + intercept, dtype=np.float64)

    def _combine_block(self, scores: FloatArray, covers: BoolArray) -> FloatArray:
        """Average the folds' logits; the plain mean where there are none."""
        if not len(self.lines_):
            return np.nansum(scores, axis=0) / covers.sum(axis=0).astype(np.float32)
        features = self._block_features(scores, covers, self.frequency_[0])
        total = np.zeros(features.shape[:2])
        for fold, frequency in enumerate(self.frequency_):
            total += self._start(features, fold)
            if self._boosters:
                features[:, :, FREQUENCY] = frequency
                total += _raw(self._boosters[fold], features, -1)
        return sigmoid(total / len(self.lines_) + self.shift_).astype(np.float32)

    def _load_boosters(self) -> None:
        """Read the trees of each fold, after checking their texts."""
        n_features, n_folds = FIRST_MEMBER + len(self.models_), len(self.lines_)
        if len(self._texts) not in (0, n_folds) or set(self._texts) != set(map(str, range(len(self._texts)))):
            raise ValueError(
                f"the trees must be one model per fold or none: got {len(self._texts)} for {n_folds} folds."
            )
        self._boosters = [
            load_booster(self._texts[str(fold)], n_features=n_features, who=f"fold {fold}")
            for fold in range(len(self._texts))
        ]


@dataclass(frozen=True)
class _Pairs:
    """Drawn (row, label) pairs with their truth and weight."""

    row: IndexArray
    label: IndexArray
    y_true: DoubleArray
    weight: DoubleArray | None

    def targets(self, part: BoolArray) -> dict[str, Any]:
        """Return truth and weight of some pairs as LightGBM names them."""
        return {"label": self.y_true[part], "weight": None if self.weight is None else self.weight[part]}


def _check_parameters(n_trees: int, negatives_per_positive: float) -> None:
    """Raise unless there is at least one tree and some negatives."""
    check_at_least(1, n_trees=n_trees)
    if not negatives_per_positive > 0:
        raise ValueError(f"negatives_per_positive must be above 0: got {negatives_per_positive}.")


def _draw_pairs(rows: TrainingRows, ratio: float, rng: np.random.Generator) -> tuple[_Pairs, float]:
    """Take all positives and a random share q of the negatives that are annotated and weigh; return log q too."""
    counts = np.ones(rows.y_true.shape, dtype=bool) if rows.weight is None else rows.weight > 0
    positive = counts & (rows.y_true > 0.5)
    negatives = np.flatnonzero(counts & ~positive)
    wanted = min(len(negatives), int(np.ceil(ratio * max(int(positive.sum()), 1))))
    drawn = rng.choice(negatives, size=wanted, replace=False)
    cells = np.sort(np.concatenate([np.flatnonzero(positive), drawn]))
    row, label = np.divmod(cells, rows.y_true.shape[1])
    weight = None if rows.weight is None else rows.weight[row, label]
    share = wanted / len(negatives) if wanted else 1.0
    return _Pairs(row, label, rows.y_true[row, label], weight), float(np.log(share))


def _frequency_logits(rows: TrainingRows, fitting: BoolArray) -> DoubleArray:
    """Return the logits of the labels' smoothed frequencies in some rows."""
    truth = rows.y_true[fitting]
    weight = np.ones(truth.shape) if rows.weight is None else rows.weight[fitting]
    positives, total = (truth * weight).sum(axis=0), weight.sum(axis=0)
    return np.log(positives + 0.5) - np.log(np.maximum(total - positives, 0.0) + 0.5)


def _features(
    logits: FloatArray, usable: BoolArray, frequency: DoubleArray, train_frequency: DoubleArray
) -> FloatArray:
    """Return the features of all pairs, (n_rows, n_labels, FIRST_MEMBER + n_models)."""
    from scipy.stats import rankdata

    n_models, n_rows, n_labels = logits.shape
    features = np.full((n_rows, n_labels, FIRST_MEMBER + n_models), np.nan, dtype=np.float32)
    pooled = mean_logits(logits, usable)
    mean = mean_logits(sigmoid(logits).astype(np.float32), usable)
    deviation = logits - pooled.astype(np.float32)
    features[:, :, 0] = pooled
    features[:, :, 1] = np.sqrt(mean_logits(deviation**2, usable))
    features[:, :, 2] = rankdata(-pooled.astype(np.float32), axis=1) if n_rows else 0.0
    features[:, :, FREQUENCY] = frequency
    if len(train_frequency):
        features[:, :, 4] = train_frequency
    features[:, :, MEAN] = logit(mean)
    for model, block in enumerate(logits):
        features[:, :, FIRST_MEMBER + model] = np.where(usable[:, model], block, np.nan)
    return features


def _raw(booster: Any, features: FloatArray, rounds: int) -> DoubleArray:
    """Return the trees' log odds for all pairs of a block, (n_rows, n_labels)."""
    flat = features.reshape(-1, features.shape[2])
    raw = booster.predict(flat, raw_score=True, num_iteration=rounds, num_threads=1)
    return np.asarray(raw, dtype=np.float64).reshape(features.shape[:2])


def _fit_line(x: FloatArray, label: DoubleArray, weight: DoubleArray | None) -> DoubleArray:
    """Return slope and intercept of the logistic regression on one feature."""
    column = None if weight is None else weight[:, None]
    return fit_logistic([x[:, None]], label[:, None], weight=column)[0]
