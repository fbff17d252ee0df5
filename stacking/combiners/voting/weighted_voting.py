"""Voting with searched weights: any optimizer, any objective, one set of weights or one per label.

The default searches by greedy selection (Caruana et al. 2004) for micro-F1 at the best threshold. Log loss is convex
in the weights, so ``optimizer="slsqp", objective="log-loss"`` finds its exact optimum.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from optimizers import OptimizationResult, list_optimizer_options, minimize
from optimizers._checks import check_random_state
from optimizers.greedy import greedy_together
from optimizers.registry import expect_evaluations
from stacking._checks import check_choice, check_weights
from stacking._typing import DoubleArray, FloatArray
from stacking.combiners.combiner import Combiner, CombinerState
from stacking.combiners.registry import register_method
from stacking.combiners.voting.label_weights import GroupSearch, find_label_groups, search_label_weights
from stacking.combiners.voting.means import combine, covered_weights, have_weight
from stacking.combiners.voting.member_limits import MemberLimits, MemberSubset, within_limits
from stacking.combiners.voting.objectives.creation import create_objective
from stacking.combiners.voting.objectives.objective import WeightObjective
from stacking.combiners.voting.objectives.registry import list_objectives
from stacking.metrics.named import Metric
from stacking.predictions import PredictionSet
from stacking.process.progress import advance, steps

_NEGLIGIBLE = 1e-6  # as in `stacking.combiners.voting.member_limits`
_GROUP_ITERATIONS = 10  # shrunk weights need no finer steps than tenths
_WEIGHTS_PER = ("model", "group", "label")
_STARTS = ("uniform", "convex", "greedy")

_vote = partial(register_method, kind="vote", objective="micro-f1-best")


@_vote("greedy", "greedy selection with replacement for micro-F1", cost=0.5, optimizer="greedy")
@_vote("greedy-geometric", "greedy selection on logits for micro-F1", cost=0.5, optimizer="greedy", mean="geometric")
@_vote("convex", "exact optimum of the log loss", cost=1.0, optimizer="slsqp", objective="log-loss")
@_vote(
    "greedy-per-label",
    "greedy selection for micro-F1 per label, shrunk to the shared weights",
    cost=3.0,
    optimizer="greedy",
    weights_per="label",
)
@_vote("hill-climbing", "hill climbing for micro-F1", cost=4.0, optimizer="hill-climbing")
@_vote("pso", "particle swarm for micro-F1", cost=4.0, optimizer="pso", requires="pyswarms")
class WeightedVoting(Combiner):
    """Average the members' scores with weights searched for an objective.

    Parameters
    ----------
    optimizer : str, default "greedy"
        One of `optimizers.list_optimizers`; ``"slsqp"`` needs an objective with a gradient (``"log-loss"``).
    objective : str or Metric, default "micro-f1-best"
        What the weights optimize: any metric, as `stacking.metrics.find_metric` takes it (at each candidate's best
        thresholds where it looks at decisions, see `stacking.combiners.voting.objectives.of_metric`), or one of
        `stacking.combiners.voting.objectives.registry.list_objectives`: micro-F1 at the best
        single threshold (``"micro-f1-best"``), at .5 (``"micro-f1-half"``) or at the best thresholds per label
        (``"micro-f1-per-label"``), ``"macro-f1"`` at the latter, ``"mean-average-precision"``, or binary cross-entropy
        (``"log-loss"``).
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        Mean of scores or of logits.
    random_state : int, Generator or None, default 0
        Seed of the optimizer and of the sample of rows.
    max_members : int, optional
        Most members with weight. Greedy search keeps this limit and `max_cost` at each step; after any other optimizer
        the search is repeated on the heaviest members that fit.
    max_rows : int or None, default 100_000
        Most rows to search on; more are sampled, stratified by label, groups whole. None uses all, at the memory's
        cost.
    optimizer_options : mapping, optional
        Options of the optimizer, such as ``{"n_iterations": 50}``.
    weights_per : {"model", "group", "label"}, default "model"
        Whether all labels share the weights, or those of one of the predictions' `label_groups`, or none. Own weights
        are searched from the shared ones; for a micro-F1 they maximize it at the best thresholds per label.
    shrinkage : float, default 300
        Strength of the shared weights, in positives, where labels or groups have their own: own weights found with p
        positives count p / (p + shrinkage), and for a micro-F1 a distance d from the shared ones costs shrinkage · d²
        positives in the search. 0 keeps own weights as found.
    start : {"uniform", "convex", "greedy"} or array of shape (n_models,), default "uniform"
        Weights the search starts from, besides uniform ones and the single members: those that minimize the log loss,
        those of a greedy search for the same objective, or given ones.
    member_costs : array of shape (n_models,) or mapping of str to float, optional
        What each member costs at prediction, any unit, in order or by name.
    max_cost : float, optional
        Most that the members with weight may cost together, in the same unit.

    Attributes
    ----------
    weights_ : ndarray of float64, shape (n_models, n_labels)
        The weights, renormalized per label over the models that cover it; columns on the simplex.
    shared_weights_ : ndarray of float64, shape (n_models,)
        The weights that all labels share, before that.
    history_ : list of (int, float)
        Number of evaluations and the best loss so far.
    loss_ : float
        Loss that the shared weights reach: one minus the F1 or average precision, or nats.
    n_evaluations_ : int
        Candidates scored in the search for the shared weights.
    n_tuning_rows_ : int
        Rows searched on: all, or the sample of `max_rows`.

    Notes
    -----
    The micro-F1 objectives with one threshold keep only cells whose decision the weights can change (about a tenth),
    and ``"micro-f1-best"`` no more of them than about 4.5 GiB; the others keep a float32 copy of all scores.
    Weights per label pay where members see different labels well; where the same members are best throughout, own
    weights fit noise, which is why they are shrunk as strongly as that. The greedy search is deterministic.

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

    weights_: DoubleArray
    shared_weights_: DoubleArray
    history_: list[tuple[int, float]]
    loss_: float
    n_evaluations_: int
    n_tuning_rows_: int

    def __init__(  # noqa: PLR0913 - scikit-learn's parameters are flat
        self,
        optimizer: str = "greedy",
        objective: str | Metric = "micro-f1-best",
        mean: str = "arithmetic",
        random_state: int | np.random.Generator | None = 0,
        max_members: int | None = None,
        max_rows: int | None = 100_000,
        optimizer_options: Mapping[str, Any] | None = None,
        *,
        weights_per: str = "model",
        shrinkage: float = 300.0,
        start: str | npt.ArrayLike = "uniform",
        member_costs: Mapping[str, float] | npt.ArrayLike | None = None,
        max_cost: float | None = None,
    ) -> None:
        self.optimizer = optimizer
        self.objective = objective
        self.mean = mean
        self.random_state = random_state
        self.max_members = max_members
        self.max_rows = max_rows
        self.optimizer_options = optimizer_options
        self.weights_per = weights_per
        self.shrinkage = shrinkage
        self.start = start
        self.member_costs = member_costs
        self.max_cost = max_cost

    def _state(self) -> CombinerState:
        """Save the objective by its name."""
        values, arrays, texts = super()._state()
        values["parameters"]["objective"] = getattr(self.objective, "name", self.objective)
        return values, arrays, texts

    def _fit(self, predictions: PredictionSet) -> None:
        """Search the weights on all rows, or on a stratified sample of them."""
        self._check_parameters()
        limits = MemberLimits.check(self.models_, self.max_members, self.member_costs, self.max_cost)
        group_of = None if self.weights_per == "model" else find_label_groups(predictions, self.weights_per)
        rng = check_random_state(self.random_state)
        predictions = predictions.sample(self.max_rows, stratified=True, random_state=rng)
        self.n_tuning_rows_ = predictions.n_samples
        self._keep(self._search(create_objective(self.objective, predictions, self.mean), limits, rng))
        if group_of is not None:
            minimizers = self._group_minimizers(rng)
            search = GroupSearch(
                str(self.objective), self.mean, minimizers[0], self._allowed(), float(self.shrinkage), minimizers[1]
            )
            self.weights_ = search_label_weights(predictions, self.shared_weights_, group_of, search)

    def _keep(self, result: OptimizationResult) -> None:
        """Keep what was found."""
        self.shared_weights_ = np.asarray(result.weights, dtype=np.float64)
        self.weights_ = covered_weights(self.shared_weights_, self.covers_)
        self.history_ = [(int(n), float(loss)) for n, loss in result.history]
        self.loss_ = float(result.loss)
        self.n_evaluations_ = int(result.n_evaluations)

    def _combine_block(self, scores: FloatArray, covers: npt.NDArray[np.bool_]) -> FloatArray:
        """Average a block with the weights of the members that are present."""
        return combine(scores, self._weights_over(covers), self.mean)

    def _moves_scores(self, covers: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """Tell which members have weight in a label."""
        return have_weight(self._weights_over(covers))

    def _weights_over(self, covers: npt.NDArray[np.bool_]) -> DoubleArray:
        """Return the weights of the members that are present: (n_models, n_labels)."""
        return covered_weights(self.shared_weights_ if self.weights_per == "model" else self.weights_, covers)

    def _check_parameters(self) -> None:
        """Raise for what the search would not notice itself."""
        for name in ("max_members", "max_rows"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 or None: got {value}.")
        check_choice(self.weights_per, _WEIGHTS_PER, name="weights_per")
        if self.weights_per != "model" and self.objective not in list_objectives():
            raise ValueError(
                f"objective must be one of {', '.join(list_objectives())} where labels or groups have weights of their "
                f"own: got {getattr(self.objective, 'name', self.objective)!r}."
            )
        if not 0.0 <= self.shrinkage < np.inf:
            raise ValueError(f"shrinkage must be finite and not negative: got {self.shrinkage}.")
        if isinstance(self.start, str):
            check_choice(self.start, _STARTS, name="start")
        else:
            check_weights(self._align_parameters(start=self.start)[0], len(self.models_), 1, name="start")

    def _search(self, objective: WeightObjective, limits: MemberLimits, rng: np.random.Generator) -> OptimizationResult:
        """Run the optimizer; where it broke a limit, again on the heaviest members that fit."""
        n_models = len(self.models_)
        options = self._starting_options(objective, limits, rng)
        if self.optimizer == "greedy":
            objective.is_race = True  # a greedy step asks for the best of its batch only
            limited = within_limits(objective, limits)
            return self._minimize(limited, n_models, rng, options)
        with steps({"all members": 1.0, "members within limits": 1.0} if limits.are_set else {}) as begin:
            begin("all members")
            result = self._minimize(objective, n_models, rng, options)
            if limits.allow(result.weights[None])[0]:
                return result
            begin("members within limits")
            kept = limits.keep_heaviest(result.weights)
            options["initial"] = _restrict(options.get("initial"), kept)
            again = self._minimize(MemberSubset(objective, kept), len(kept), rng, options)
        weights = np.zeros(n_models)
        weights[kept] = again.weights
        return replace(again, weights=weights)

    def _minimize(
        self, objective: Any, n_models: int, rng: np.random.Generator, options: dict[str, Any]
    ) -> OptimizationResult:
        """Run the optimizer, and say how much of its usual number of evaluations is done."""
        expected = expect_evaluations(self.optimizer, n_models, options)

        def tell(n_evaluations: int, _loss: float) -> None:
            advance(n_evaluations, expected or 0)

        return minimize(objective, n_models, self.optimizer, random_state=rng, callback=tell, **options)

    def _starting_options(
        self, objective: WeightObjective, limits: MemberLimits, rng: np.random.Generator
    ) -> dict[str, Any]:
        """Return the optimizer's options with the warm start."""
        options = dict(self.optimizer_options or {})
        n_models = len(self.models_)
        if self.optimizer == "greedy" and self.max_members is not None:
            options.setdefault("max_members", self.max_members)
        if not isinstance(self.start, str):
            start = self._align_parameters(start=self.start)[0]
            options["initial"] = check_weights(start, n_models, 1, name="start").T
        elif self.start == "greedy":
            limited = within_limits(objective, limits)
            found = minimize(limited, n_models, "greedy", random_state=rng, max_members=limits.max_members)
            options["initial"] = found.weights[None]
        elif self.start == "convex":
            smooth = create_objective("log-loss", objective.predictions, self.mean)
            options["initial"] = minimize(smooth, n_models, "slsqp", random_state=rng).weights[None]
        return options

    def _group_minimizers(self, rng: np.random.Generator) -> tuple[Any, Any]:
        """Return the search of one group of labels, the same optimizer from given weights, and of many if it can."""
        options = {key: value for key, value in (self.optimizer_options or {}).items() if key != "initial"}
        if self.optimizer == "greedy":
            options.setdefault("n_iterations", _GROUP_ITERATIONS)

        def search(objective: Any, n_members: int, initial: DoubleArray) -> DoubleArray:
            result = minimize(objective, n_members, self.optimizer, random_state=rng, initial=initial[None], **options)
            return result.weights

        side_by_side = self.optimizer == "greedy" and options.keys() <= list_optimizer_options("greedy").keys()
        return search, partial(greedy_together, **options) if side_by_side else None

    def _allowed(self) -> npt.NDArray[np.bool_]:
        """Tell which members may get weight in a label: under a limit only those of the shared weights."""
        if self.max_members is None and self.max_cost is None:
            return np.ones(len(self.models_), dtype=bool)
        return self.shared_weights_ > _NEGLIGIBLE


def _restrict(initial: DoubleArray | None, kept: npt.NDArray[np.intp]) -> DoubleArray | None:
    """Return warm starts over the kept members, those without any weight there left out."""
    if initial is None:
        return None
    starts = np.atleast_2d(np.asarray(initial, dtype=np.float64))[:, kept]
    starts = starts[starts.sum(axis=1) > 0]
    return starts / starts.sum(axis=1, keepdims=True) if len(starts) else None
