"""Voting with searched weights: any optimizer, any objective.

The default searches by greedy selection (Caruana et al. 2004) for micro-F1 at the best threshold. Log loss is convex
in the weights, so ``optimizer="slsqp", objective="log-loss"`` finds its exact optimum.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from optimizers import OptimizationResult, minimize
from stacking.combiner import Combiner
from stacking.folds import holdout_rows
from stacking.predictions import PredictionSet
from stacking.voting.means import combine, covered_weights
from stacking.voting.objectives import WeightObjective, create_objective

__all__ = ["WeightedVoting"]

FloatArray = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_NEGLIGIBLE = 1e-6


class WeightedVoting(Combiner):
    """Average the members' scores with weights searched for an objective.

    Parameters
    ----------
    optimizer : str, default "greedy"
        One of `optimizers.list_optimizers`; ``"slsqp"`` needs an objective with a gradient (``"log-loss"``).
    objective : str, default "micro-f1-best"
        What the weights optimise, one of `stacking.voting.objectives.list_objectives`: micro-F1 at the best single
        threshold (``"micro-f1-best"``), at .5 (``"micro-f1-half"``) or at the best thresholds per label
        (``"micro-f1-per-label"``), ``"macro-f1"`` at the latter, ``"mean-average-precision"``, or binary cross-entropy
        (``"log-loss"``).
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        Mean of scores or of logits.
    random_state : int, Generator or None, default 0
        Seed of the optimizer and of the sample of rows.
    max_members : int, optional
        Most members with weight; the search is repeated on the heaviest ones where it used more.
    max_rows : int or None, default 100_000
        Most rows to search on; more are sampled, stratified by label. None uses all, at the memory's cost.
    optimizer_options : mapping, optional
        Options of the optimizer, such as ``{"n_iterations": 50}``.

    Attributes
    ----------
    weights_ : ndarray of float64, shape (n_models, n_labels)
        The weights, renormalised per label over the models that cover it; columns on the simplex.
    shared_weights_ : ndarray of float64, shape (n_models,)
        The weights before that.
    history_ : list of (int, float)
        Number of evaluations and the best loss so far.
    loss_ : float
        Loss reached: one minus the F1 or average precision, or nats.
    n_evaluations_ : int
        Candidates scored.
    n_tuning_rows_ : int
        Rows searched on: all, or the sample of `max_rows`.

    Notes
    -----
    The micro-F1 objectives with one threshold keep only cells whose decision the weights can change (about a tenth);
    the others keep a float32 copy of all scores of the tuning rows. The greedy search is deterministic.

    References
    ----------
    R. Caruana, A. Niculescu-Mizil, G. Crew, A. Ksikes, "Ensemble selection from libraries of models", ICML 2004.

    Examples
    --------
    >>> voting = WeightedVoting().fit([[[0.9, 0.2], [0.3, 0.8]], [[0.1, 0.9], [0.8, 0.1]]], [[1, 0], [0, 1]])
    >>> voting.weights_[:, 0].tolist()
    [1.0, 0.0]
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "counts"

    weights_: Float64Array
    shared_weights_: Float64Array
    history_: list[tuple[int, float]]
    loss_: float
    n_evaluations_: int
    n_tuning_rows_: int

    def __init__(
        self,
        optimizer: str = "greedy",
        objective: str = "micro-f1-best",
        mean: str = "arithmetic",
        random_state: int | np.random.Generator | None = 0,
        max_members: int | None = None,
        max_rows: int | None = 100_000,
        optimizer_options: Mapping[str, Any] | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.objective = objective
        self.mean = mean
        self.random_state = random_state
        self.max_members = max_members
        self.max_rows = max_rows
        self.optimizer_options = optimizer_options

    def _fit(self, predictions: PredictionSet) -> None:
        """Search the weights on all rows, or on a stratified sample of them."""
        for name in ("max_members", "max_rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 or None: got {value}.")
        rng = np.random.default_rng(self.random_state)
        if self.max_rows is not None and predictions.n_samples > self.max_rows:
            share = self.max_rows / predictions.n_samples
            sampled = holdout_rows(np.asarray(predictions.y_true), share, random_state=rng)
            predictions = predictions.subset(samples=np.flatnonzero(sampled)[: self.max_rows])
        self.n_tuning_rows_ = predictions.n_samples
        result = self._search(create_objective(self.objective, predictions, self.mean), rng)
        self.shared_weights_ = np.asarray(result.weights, dtype=np.float64)
        self.weights_ = covered_weights(self.shared_weights_, self.covers_)
        self.history_ = [(int(n), float(loss)) for n, loss in result.history]
        self.loss_ = float(result.loss)
        self.n_evaluations_ = int(result.n_evaluations)

    def _combine_block(self, scores: FloatArray, covers: npt.NDArray[np.bool_]) -> FloatArray:
        """Average a block with the weights of the members that are present."""
        return combine(scores, covered_weights(self.shared_weights_, covers), self.mean)

    def _search(self, objective: WeightObjective, rng: np.random.Generator) -> OptimizationResult:
        """Run the optimizer; where it used too many members, again on the heaviest."""
        options = dict(self.optimizer_options or {})
        n_models = len(self.models_)
        if self.optimizer == "greedy" and self.max_members is not None:
            options.setdefault("max_members", self.max_members)
        result = minimize(objective, n_models, self.optimizer, random_state=rng, **options)
        used = np.flatnonzero(result.weights > _NEGLIGIBLE)
        if self.max_members is None or len(used) <= self.max_members:
            return result
        kept = np.sort(np.argsort(-result.weights, kind="stable")[: self.max_members])
        return _widen(
            minimize(_Subset(objective, kept), len(kept), self.optimizer, random_state=rng, **options), kept, n_models
        )


class _Subset:
    """An objective over some of the members, the others at weight 0."""

    def __init__(self, objective: WeightObjective, kept: npt.NDArray[np.intp]) -> None:
        self.objective = objective
        self.kept = kept
        if hasattr(objective, "value_and_gradient"):
            self.value_and_gradient = self._value_and_gradient

    def __call__(self, candidates: Float64Array) -> Float64Array:
        return self.objective(self._widen(candidates))

    def _value_and_gradient(self, weights: Float64Array) -> tuple[float, Float64Array]:
        """Return the loss and the kept part of the gradient."""
        value, gradient = self.objective.value_and_gradient(self._widen(weights[None])[0])  # type: ignore[attr-defined]
        return value, gradient[self.kept]

    def _widen(self, candidates: Float64Array) -> Float64Array:
        """Return the candidates with zeros for the other members."""
        full = np.zeros((len(candidates), self.objective.predictions.n_models))
        full[:, self.kept] = candidates
        return full


def _widen(result: OptimizationResult, kept: npt.NDArray[np.intp], n_models: int) -> OptimizationResult:
    """Return the result with its weights over all members."""
    from dataclasses import replace

    weights = np.zeros(n_models)
    weights[kept] = result.weights
    return replace(result, weights=weights)
