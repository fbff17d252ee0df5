"""Objectives for any metric: how the weights of a vote are searched for what the user goes by.

What a metric is made of decides how candidates are scored:

- counts over all cells, and rankings of all cells: from histograms of the mixed scores on the grid of thresholds that
  ``micro-f1-best`` uses, 64 cuts an octave of the odds, at each candidate's best cut;
- each label by itself: exact, at each label's own best cut (`stacking.kernels.labels`);
- each sample by itself: one pass over the mixed rows (`stacking.kernels.samples`), with decisions at the best of 16
  cuts an octave of the odds;
- a sum: its parts, each at its own best cuts;
- a function: asked once for each candidate, with decisions at the one threshold that is best for micro-F1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

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

RowFacts: TypeAlias = tuple[npt.NDArray[np.uint8], BoolArray, DoubleArray]
"""Truth, known cells and weights of some rows; the latter two are empty where all are known, and weigh 1."""

_BLOCK_CELLS = 16_384
"""Cells of a model mixed at a time: with some candidates they stay in the second-level cache. Only speed depends on
it, and the rounding of sums."""


class _PooledMetric(WeightObjective):
    """Loss of a metric of all cells pooled, at each candidate's best threshold where it looks at decisions."""

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

        common, weights = self.split(self.effective(candidates))
        shape = (len(weights), 2, 2 * _kernels.GRID_HALF + 1)
        histograms = np.zeros(shape, dtype=np.int32 if self.predictions.sample_weight is None else np.float64)
        active = np.arange(len(weights))
        for part in self._cells:
            given = (part.values, part.start, part.weight, common, weights, active)
            _kernels.grid_histograms(*given, self.is_logit, histograms)
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


class _LabelMetric(LabelObjective):
    """One minus a metric that averages over labels, each at its own best cut where it looks at decisions."""

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
        f_scores = self.cells.evaluate(weights, "own-f1", 1.0 if is_jaccard else self.metric.lower[2])
        return np.asarray((f_scores / (2.0 - f_scores) if is_jaccard else f_scores).mean(axis=1))


class _RowObjective(WeightObjective):
    """Base of the losses that look at whole rows of mixed scores.

    Keeps a float32 copy of the scores, in blocks of rows that stay in the cache; all candidates of a batch are mixed in
    one matrix product a block.
    """

    name = "metric by rows"

    def __init__(self, predictions: PredictionSet, mean: str = "arithmetic") -> None:
        super().__init__(predictions, mean)
        self.truth = self.predictions.truth
        known, weight = self.truth.y_known, self.truth.sample_weight
        self._blocks: list[tuple[FloatArray, RowFacts]] = []
        step = max(1, _BLOCK_CELLS // self.predictions.n_labels)
        for start in range(0, self.predictions.n_samples, step):
            rows = np.arange(start, min(start + step, self.predictions.n_samples))
            scores = np.nan_to_num(self.predictions.subset(samples=rows).to_array(), nan=0.0)
            facts = (
                np.ascontiguousarray(self.truth.y_true[rows]).view(np.uint8),
                np.empty((0, 0), dtype=bool) if known is None else known[rows],
                np.empty(0) if weight is None else weight[rows],
            )
            self._blocks.append((np.ascontiguousarray(to_mixing_space(scores, mean)), facts))

    def iter_mixed(self, weights: FloatArray) -> Iterator[tuple[FloatArray, RowFacts]]:
        """Mix the scores of all candidates, (k, n_rows, n_labels) at a time, in [0, 1] but for rounding."""
        for scores, facts in self._blocks:
            n_models, n_rows, n_labels = scores.shape
            if self.shared:
                mixed = (weights[:, :, 0] @ scores.reshape(n_models, -1)).reshape(-1, n_rows, n_labels)
            else:
                mixed = np.einsum("kml,mnl->knl", weights, scores)
            if self.is_logit:
                sigmoid_in_place(mixed)
            yield mixed, facts


class _SampleDecisions(_RowObjective):
    """One minus a metric of each sample's decisions, at each candidate's best threshold."""

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
        upper = np.array(nothing if isinstance(self.metric, SubsetAccuracy) else self.metric.upper)
        lower = np.array(nothing if isinstance(self.metric, SubsetAccuracy) else self.metric.lower)
        weights = self.effective(candidates)
        gained, sums = np.zeros((len(weights), 2 * _kernels.HALF + 1)), np.zeros((len(weights), 2))
        for mixed, facts in self.iter_mixed(weights):
            for own, own_gained, own_sums in zip(mixed, gained, sums, strict=True):
                _kernels.add_thresholds(own, *facts, upper, lower, is_subset, own_gained, own_sums)
        reached = sums[:, 0] + np.maximum(np.cumsum(gained[:, ::-1], axis=1).max(axis=1), 0.0)
        return 1.0 - np.divide(reached, sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)


class _SampleScores(_RowObjective):
    """Loss of a metric of each sample's scores."""

    def __init__(self, metric: SampleMetric, predictions: PredictionSet, mean: str = "arithmetic") -> None:
        super().__init__(predictions, mean)
        self.metric = metric

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return one minus the metric, or a loss itself."""
        from stacking.kernels import samples as _kernels

        kind = getattr(_kernels, self.metric.kind.upper().replace("-", "_"))
        weights = self.effective(candidates)
        sums = np.zeros((len(weights), 2))
        for mixed, facts in self.iter_mixed(weights):
            for own, own_sums in zip(mixed, sums, strict=True):
                _kernels.measure_rows(own, *facts, kind, max(self.metric.k, 1), own_sums)
        values = np.divide(sums[:, 0], sums[:, 1], out=np.zeros(len(sums)), where=sums[:, 1] > 0)
        return 1.0 - values if self.metric.greater_is_better else values


class _BrierScore(WeightObjective):
    """The Brier score of an arithmetic mean, a quadratic function of the weights that all labels share.

    Every member covers every label. The scores are read once; a candidate costs O(n_models²).
    """

    name = "brier"

    def __init__(self, predictions: PredictionSet) -> None:
        super().__init__(predictions)
        n_models = self.predictions.n_models
        # Products of the errors of any two members: the mixed error is the mix of errors, since weights sum to 1.
        self._products, self._mass = np.zeros((n_models, n_models)), 0.0
        for rows in self._iter_rows():
            error = rows.scores - rows.truth.astype(np.float32)
            weight = np.ones(rows.truth.shape) if not len(rows.known) else rows.known.astype(np.float64)
            if len(rows.weight):
                weight *= rows.weight[:, None]
            flat = error.reshape(n_models, -1).astype(np.float64)
            self._products += (flat * weight.ravel()) @ flat.T
            self._mass += float(weight.sum())

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return the mean squared errors; 0 if no cell is known."""
        weights = self.effective(candidates)[:, :, 0].astype(np.float64)
        return np.einsum("km,mn,kn->k", weights, self._products, weights) / max(self._mass, 1e-300)


class _FunctionOfScores(_RowObjective):
    """Minus the merit by someone's function, asked once for each candidate."""

    def __init__(self, metric: FunctionMetric, predictions: PredictionSet, mean: str = "arithmetic") -> None:
        super().__init__(predictions, mean)
        self.metric = metric

    def __call__(self, candidates: npt.ArrayLike) -> DoubleArray:
        """Return minus the merit."""
        blocks = [mixed for mixed, _ in self.iter_mixed(self.effective(candidates))]
        values = [
            self.metric.ask(self.truth, self._answer(one)) for one in np.clip(np.concatenate(blocks, axis=1), 0.0, 1.0)
        ]
        return -self.metric.sign * np.asarray(values, dtype=np.float64)

    def _answer(self, mixed: FloatArray) -> FloatArray | BoolArray:
        """Decide at the best single threshold for micro-F1, where the function looks at decisions."""
        if not self.metric.needs_decisions:
            return mixed
        from stacking.decision_rules.labeled_scores import LabeledScores
        from stacking.decision_rules.single import tune_single

        return np.asarray(mixed >= tune_single(LabeledScores.of(mixed, self.truth))[0])


class _SumOfMetrics(WeightObjective):
    """The weighted sum of the losses of a sum's parts, which ``create(metric, predictions, mean)`` builds."""

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
        return _SumOfMetrics(metric, predictions, mean, create)
    if isinstance(metric, FunctionMetric):
        return _FunctionOfScores(metric, predictions, mean)
    if isinstance(metric, SampleMetric):
        if metric.kind == "brier" and mean == "arithmetic" and bool(np.asarray(predictions.covers).all()):
            return _BrierScore(predictions)
        return _SampleScores(metric, predictions, mean)
    if isinstance(metric, SubsetAccuracy) or (isinstance(metric, CountRatio) and metric.average == "samples"):
        return _SampleDecisions(metric, predictions, mean)
    if isinstance(metric, RankingMetric):
        return (_PooledMetric if metric.pooled else _LabelMetric)(metric, predictions, mean)
    if isinstance(metric, CountRatio):
        return (_PooledMetric if metric.average == "micro" else _LabelMetric)(metric, predictions, mean)
    raise TypeError(f"metric must be of a kind that a search knows: got {type(metric).__name__}; give a function.")
