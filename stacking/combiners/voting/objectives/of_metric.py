"""Objectives for any metric: how the weights of a vote are searched for what the user goes by.

What a metric is made of decides how candidates are scored:

- counts over all cells, and rankings of all cells: from histograms of the mixed scores on the grid of thresholds that
  ``micro-f1-best`` uses, 64 cuts an octave of the odds, at each candidate's best cut;
- each label by itself: exact, at each label's own best cut (`stacking.kernels.labels`);
- each sample by itself: one pass over the mixed rows (`stacking.kernels.samples`), with decisions at the best of 32
  cuts an octave of the odds;
- a sum: its parts, each at its own best cuts;
- a function: asked once for each candidate, with decisions at the one threshold that is best for micro-F1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, DoubleArray, FloatArray
from stacking.combiners.voting.means import to_mixing_space
from stacking.combiners.voting.objectives.objective import BELOW, WeightObjective
from stacking.combiners.voting.objectives.per_label import LabelObjective
from stacking.links import sigmoid_in_place
from stacking.metrics.named import Metric
from stacking.metrics.named.functions import FunctionMetric
from stacking.metrics.named.of_decisions import CountRatio, SubsetAccuracy
from stacking.metrics.named.of_rankings import UNRANKED, RankingMetric
from stacking.metrics.named.of_samples import SampleMetric
from stacking.metrics.named.sums import SumMetric
from stacking.predictions import PredictionSet


class PooledMetric(WeightObjective):
    """Loss of a metric of all cells pooled, at each candidate's best threshold where it looks at decisions.

    Parameters
    ----------
    metric : CountRatio or RankingMetric
        Micro-averaged.
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    """

    name = "pooled metric"

    def __init__(
        self, metric: CountRatio | RankingMetric, predictions: PredictionSet, mean: str = "arithmetic"
    ) -> None:
        super().__init__(predictions, mean)
        self.metric = metric
        self._cells = self._gather([BELOW])[0][0]

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return one minus the metric, or a loss itself."""
        from stacking.kernels import weights as _kernels

        weights = self.effective(candidates)
        shape = (len(weights), 2, 2 * _kernels.GRID_HALF + 1)
        histograms = np.zeros(shape, dtype=np.int32 if self.predictions.sample_weight is None else np.float64)
        active = np.arange(len(weights))
        for part in self._cells:
            _kernels.grid_histograms(part.values, part.start, part.weight, weights, active, self.is_logit, histograms)
        false, true = np.moveaxis(histograms[:, :, ::-1].astype(np.float64), 1, 0)
        if isinstance(self.metric, RankingMetric):
            return 1.0 - _rank_histograms(false, true, self.metric)
        return self._best_cut(np.cumsum(true, axis=1), np.cumsum(false, axis=1), self.metric)

    def _best_cut(self, hits: DoubleArray, false: DoubleArray, metric: CountRatio) -> DoubleArray:
        """Return the loss at the best cut of each candidate, that which predicts nothing included."""
        nothing = np.zeros((len(hits), 1))
        hits, false = np.concatenate([nothing, hits], axis=1), np.concatenate([nothing, false], axis=1)
        positives = hits[:, -1:]
        counts = (hits, hits + false, np.broadcast_to(positives, hits.shape))
        upper, lower = (
            np.asarray(sum(factor * count for factor, count in zip(factors, counts, strict=True)))
            for factors in (metric.upper, metric.lower)
        )
        if metric.per_cell:
            lower = np.broadcast_to(positives + false[:, -1:], hits.shape)
        values = np.divide(upper, lower, out=np.zeros_like(upper), where=lower > 0)
        return 1.0 - values.max(axis=1) if metric.greater_is_better else values.min(axis=1)


def _rank_histograms(false: DoubleArray, true: DoubleArray, metric: RankingMetric) -> DoubleArray:
    """Return the statistic of each candidate's ranking; cells at one position of the grid are tied."""
    hits, all_false = np.cumsum(true, axis=1), np.cumsum(false, axis=1)
    positives, negatives = hits[:, -1:], all_false[:, -1:]
    if positives[0, 0] == 0 or (metric.statistic == "ROC AUC" and negatives[0, 0] == 0):
        return np.full(len(hits), UNRANKED[metric.statistic])
    if metric.statistic == "ROC AUC":
        wrong = (true * (all_false - false / 2.0)).sum(axis=1)
        return 1.0 - wrong / (positives * negatives)[:, 0]
    fired = np.maximum(hits + all_false, np.finfo(np.float64).tiny)
    return np.asarray((true / positives * hits / fired).sum(axis=1))


class LabelMetric(LabelObjective):
    """One minus a metric that averages over labels, each at its own best cut where it looks at decisions.

    Parameters
    ----------
    metric : CountRatio or RankingMetric
        Macro-averaged.
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    """

    name = "metric per label"

    def __init__(
        self, metric: CountRatio | RankingMetric, predictions: PredictionSet, mean: str = "arithmetic"
    ) -> None:
        super().__init__(predictions, mean)
        self.metric = metric
        negatives = np.diff(self.cells.start)[::2]
        self._n_ranked = max(int(np.count_nonzero((self.cells.positives > 0) & (negatives > 0))), 1)

    def _metric(self, weights: FloatArray) -> DoubleArray:
        """Return the mean over labels; see `LabelObjective`."""
        if isinstance(self.metric, RankingMetric):
            return np.asarray(self.cells.evaluate(weights, "roc-auc").sum(axis=1) / self._n_ranked)
        # The factor of P in the lower count is beta²; Jaccard's J = F / (2 − F) rises with F1, so its cut is F1's.
        is_jaccard = self.metric.lower[0] < 0
        worths = self.cells.evaluate(weights, "own-f1", 1.0 if is_jaccard else self.metric.lower[2])
        return np.asarray((worths / (2.0 - worths) if is_jaccard else worths).mean(axis=1))


class RowObjective(WeightObjective):
    """Base of the losses that look at whole rows of mixed scores.

    Parameters
    ----------
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.

    Notes
    -----
    Keeps a float32 copy of the scores; mixing a candidate is one matrix product.
    """

    name = "metric by rows"

    def __init__(self, predictions: PredictionSet, mean: str = "arithmetic") -> None:
        super().__init__(predictions, mean)
        scores = np.nan_to_num(self.predictions.to_array(), nan=0.0)
        self._scores = np.ascontiguousarray(to_mixing_space(scores, mean))
        truth = self.predictions.truth
        self.truth = truth
        self._facts = (
            truth.y_true.view(np.uint8),
            np.empty((0, 0), dtype=bool) if truth.y_known is None else truth.y_known,
            np.empty(0) if truth.sample_weight is None else truth.sample_weight,
        )

    def mix(self, weights: FloatArray) -> FloatArray:
        """Mix the scores of one candidate.

        Parameters
        ----------
        weights : ndarray of float32, shape (n_models, n_groups)
            As `effective` returns them.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            Scores in [0, 1].
        """
        if self.shared:
            shape = self._scores.shape
            mixed = (weights[:, 0] @ self._scores.reshape(shape[0], -1)).reshape(shape[1:])
        else:
            mixed = np.einsum("ml,mnl->nl", weights, self._scores)
        if self.is_logit:
            sigmoid_in_place(mixed)
        return np.clip(mixed, 0.0, 1.0, out=mixed)


class SampleDecisions(RowObjective):
    """One minus a metric of each sample's decisions, at each candidate's best threshold.

    Parameters
    ----------
    metric : CountRatio or SubsetAccuracy
        Averaged over samples.
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    """

    def __init__(
        self, metric: CountRatio | SubsetAccuracy, predictions: PredictionSet, mean: str = "arithmetic"
    ) -> None:
        super().__init__(predictions, mean)
        self.metric = metric

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return one minus the metric."""
        from stacking.kernels import samples as _kernels

        is_subset = isinstance(self.metric, SubsetAccuracy)
        nothing = (0.0, 0.0, 0.0)
        upper = nothing if isinstance(self.metric, SubsetAccuracy) else self.metric.upper
        lower = nothing if isinstance(self.metric, SubsetAccuracy) else self.metric.lower
        weights = self.effective(candidates)
        best = np.zeros((len(weights), 1))
        for candidate, own in zip(weights, best, strict=True):
            mixed = self.mix(candidate)
            _kernels.best_of_thresholds(mixed, *self._facts, np.array(upper), np.array(lower), is_subset, own)
        return 1.0 - best[:, 0]


class SampleScores(RowObjective):
    """Loss of a metric of each sample's scores.

    Parameters
    ----------
    metric : SampleMetric
        One that a kernel knows.
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    """

    def __init__(self, metric: SampleMetric, predictions: PredictionSet, mean: str = "arithmetic") -> None:
        super().__init__(predictions, mean)
        self.metric = metric

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return one minus the metric, or a loss itself."""
        from stacking.kernels import samples as _kernels

        kind = getattr(_kernels, self.metric.kind.upper().replace("-", "_"))
        weights = self.effective(candidates)
        sums = np.zeros((len(weights), 2))
        for candidate, own in zip(weights, sums, strict=True):
            _kernels.measure_rows(self.mix(candidate), *self._facts, kind, max(self.metric.k, 1), own)
        values = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)
        return 1.0 - values if self.metric.greater_is_better else values


class FunctionOfScores(RowObjective):
    """Minus the merit by someone's function, asked once for each candidate.

    Parameters
    ----------
    metric : FunctionMetric
        The function.
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    """

    def __init__(self, metric: FunctionMetric, predictions: PredictionSet, mean: str = "arithmetic") -> None:
        super().__init__(predictions, mean)
        self.metric = metric

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return minus the merit."""
        values = [self.metric.ask(self.truth, self._answer(self.mix(one))) for one in self.effective(candidates)]
        return -self.metric.sign * np.asarray(values, dtype=np.float64)

    def _answer(self, mixed: FloatArray) -> FloatArray | BoolArray:
        """Decide at the best single threshold for micro-F1, where the function looks at decisions."""
        if not self.metric.needs_decisions:
            return mixed
        from stacking.decision_rules.labeled_scores import LabeledScores
        from stacking.decision_rules.single import tune_single

        return np.asarray(mixed >= tune_single(LabeledScores.of(mixed, self.truth))[0])


class SumOfMetrics(WeightObjective):
    """The weighted sum of the losses of a sum's parts.

    Parameters
    ----------
    metric : SumMetric
        The sum.
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.
    create : callable
        ``create(metric, predictions, mean)`` builds the objective of a part.
    """

    name = "sum of metrics"

    def __init__(
        self,
        metric: SumMetric,
        predictions: PredictionSet,
        mean: str,
        create: Callable[[Metric, PredictionSet, str], WeightObjective],
    ) -> None:
        super().__init__(predictions, mean)
        self._terms = [
            (weight, create(part, self.predictions, mean))
            for weight, part in zip(metric.weights, metric.parts, strict=True)
        ]

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return the sum of the losses."""
        return np.sum([weight * objective(candidates) for weight, objective in self._terms], axis=0)


def objective_of_metric(
    metric: Metric,
    predictions: PredictionSet,
    mean: str,
    create: Callable[[Metric, PredictionSet, str], WeightObjective],
) -> WeightObjective:
    """Build the objective of a metric.

    Parameters
    ----------
    metric : Metric
        What is searched for.
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}
        The mean whose weights are searched.
    create : callable
        ``create(metric, predictions, mean)`` builds the objective of a part of a sum.

    Returns
    -------
    WeightObjective
        A callable for `optimizers.minimize`: one minus the metric, a loss itself, or minus a function's merit.

    Raises
    ------
    TypeError
        If it is a kind of metric that no search knows.
    """
    if isinstance(metric, SumMetric):
        return SumOfMetrics(metric, predictions, mean, create)
    if isinstance(metric, FunctionMetric):
        return FunctionOfScores(metric, predictions, mean)
    if isinstance(metric, SampleMetric):
        return SampleScores(metric, predictions, mean)
    if isinstance(metric, SubsetAccuracy) or (isinstance(metric, CountRatio) and metric.average == "samples"):
        return SampleDecisions(metric, predictions, mean)
    if isinstance(metric, RankingMetric):
        return (PooledMetric if metric.pooled else LabelMetric)(metric, predictions, mean)
    if isinstance(metric, CountRatio):
        return (PooledMetric if metric.average == "micro" else LabelMetric)(metric, predictions, mean)
    raise TypeError(f"metric must be of a kind that a search knows: got {type(metric).__name__}; give a function.")
