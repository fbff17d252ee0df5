"""Searches over some of the members: a limit on their number, and on what they cost together.

A member with weight must be run at prediction whatever its weight, so what limits an ensemble is the number of members
and the sum of their costs (milliseconds, megabytes, any unit).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from optimizers.registry import did_you_mean
from stacking._typing import DoubleArray, IndexArray
from stacking.combiners.voting.objectives.objective import WeightObjective
from stacking.named_arrays import AxisNames, align_by_name

BatchObjective = Callable[[DoubleArray], DoubleArray]

_NEGLIGIBLE = 1e-6
"""Weights up to this count as 0, such as a search by gradients leaves them. A choice; no measurement is on record."""


@dataclass(frozen=True)
class MemberLimits:
    """Limits on the members with weight.

    Parameters
    ----------
    costs : ndarray of float64, shape (n_models,)
        Cost of each member.
    max_cost : float
        Most that members with weight may cost together; inf is no limit.
    max_members : int
        Most members with weight.
    """

    costs: DoubleArray
    max_cost: float
    max_members: int

    @classmethod
    def check(
        cls,
        models: Sequence[str],
        max_members: int | None,
        member_costs: Mapping[str, float] | npt.ArrayLike | None,
        max_cost: float | None,
    ) -> "MemberLimits":
        """Check the limits and bring them to one form.

        Parameters
        ----------
        models : sequence of str
            Names of the members.
        max_members : int or None
            Most members; None is no limit.
        member_costs : mapping of str to float, array of shape (n_models,) or None
            Cost of each member by name or in order.
        max_cost : float or None
            Most that they may cost together; None is no limit.

        Returns
        -------
        MemberLimits
            The limits.

        Raises
        ------
        ValueError
            If one of costs and limit is missing, a cost is negative or missing, or no member is within the limit.
        """
        most = len(models) if max_members is None else min(max_members, len(models))
        if (member_costs is None) != (max_cost is None):
            given, missing = ("max_cost", "member_costs") if member_costs is None else ("member_costs", "max_cost")
            raise ValueError(f"member_costs and max_cost belong together: got {given} alone; give {missing} as well.")
        if member_costs is None or max_cost is None:
            return cls(np.zeros(len(models)), np.inf, most)
        costs = _check_costs(member_costs, models)
        if not costs.min() <= max_cost:
            raise ValueError(
                f"max_cost must afford at least one member: got {max_cost}, and the cheapest costs {costs.min():g}; "
                "raise it."
            )
        return cls(costs, float(max_cost), most)

    @property
    def are_set(self) -> bool:
        """Whether some members may have to go without weight."""
        return self.max_members < len(self.costs) or bool(self.costs.sum() > self.max_cost)

    def allow(self, weights: DoubleArray) -> npt.NDArray[np.bool_]:
        """Tell which candidates keep the limits.

        Parameters
        ----------
        weights : ndarray of float64, shape (k, n_models)
            Candidates.

        Returns
        -------
        ndarray of bool, shape (k,)
            True within the limits.
        """
        used = weights > _NEGLIGIBLE
        allowed: npt.NDArray[np.bool_] = (used.sum(axis=1) <= self.max_members) & (used @ self.costs <= self._ceiling)
        return allowed

    def keep_heaviest(self, weights: DoubleArray) -> IndexArray:
        """Take members from the heaviest to the lightest, as long as they fit.

        Parameters
        ----------
        weights : ndarray of float64, shape (n_models,)
            Weights that break the limits.

        Returns
        -------
        ndarray of int
            Positions of the members to keep, sorted, at least one.
        """
        kept: list[int] = []
        cost = 0.0
        for member in np.argsort(-weights, kind="stable"):
            fits = len(kept) < self.max_members and cost + self.costs[member] <= self._ceiling
            if fits and (weights[member] > _NEGLIGIBLE or not kept):
                kept.append(int(member))
                cost += float(self.costs[member])
        return np.sort(np.array(kept, dtype=np.intp))

    @property
    def _ceiling(self) -> float:
        """The highest cost, with room for the rounding of a sum."""
        return self.max_cost * (1.0 + 1e-12)


def within_limits(objective: BatchObjective, limits: MemberLimits) -> BatchObjective:
    """Give candidates beyond the limits a loss of +inf.

    Parameters
    ----------
    objective : callable
        Candidates (k, n_models) to losses (k,).
    limits : MemberLimits
        The limits.

    Returns
    -------
    callable
        The limited objective; only allowed candidates are scored.
    """

    def limited(candidates: DoubleArray) -> DoubleArray:
        losses = np.full(len(candidates), np.inf)
        allowed = limits.allow(candidates)
        if allowed.any():
            losses[allowed] = objective(candidates[allowed])
        return losses

    return limited


class MemberSubset:
    """An objective over some of the members, the others at weight 0.

    Parameters
    ----------
    objective : WeightObjective
        The objective over all members.
    kept : ndarray of int
        Positions of the members that are searched.
    """

    def __init__(self, objective: WeightObjective, kept: IndexArray) -> None:
        self.objective = objective
        self.kept = kept
        if hasattr(objective, "value_and_gradient"):
            self.value_and_gradient = self._value_and_gradient

    def __call__(self, candidates: DoubleArray) -> DoubleArray:
        """Return the losses of candidates (k, n_kept)."""
        return self.objective(self._widen(candidates))

    def _value_and_gradient(self, weights: DoubleArray) -> tuple[float, DoubleArray]:
        """Return the loss and the kept part of the gradient."""
        value, gradient = self.objective.value_and_gradient(self._widen(weights[None])[0])  # type: ignore[attr-defined]
        return value, gradient[self.kept]

    def _widen(self, candidates: DoubleArray) -> DoubleArray:
        """Return the candidates with zeros for the other members."""
        full = np.zeros((len(candidates), self.objective.predictions.n_models))
        full[:, self.kept] = candidates
        return full


def _check_costs(member_costs: Mapping[str, float] | npt.ArrayLike, models: Sequence[str]) -> DoubleArray:
    """Return one finite cost that is not negative for each member."""
    if isinstance(member_costs, Mapping):
        for name in models:
            if name not in member_costs:
                raise ValueError(f"member_costs must name every member: {name!r} is missing; add it.")
        for name in member_costs:
            if name not in models:
                hint = did_you_mean(str(name), models)
                raise ValueError(f"member_costs must name members only: got {name!r}.{hint}")
        member_costs = [member_costs[name] for name in models]
    names = AxisNames.of(models, "model")
    (member_costs,) = align_by_name({"model": ("the predictions", names)}, member_costs=member_costs)
    costs = np.asarray(member_costs, dtype=np.float64)
    if costs.shape != (len(models),):
        raise ValueError(
            f"member_costs must hold one value per model: got shape {costs.shape} for {len(models)} models."
        )
    if not (np.isfinite(costs) & (costs >= 0)).all():
        raise ValueError(f"member_costs must be finite and not negative: got {costs.tolist()}.")
    return costs
