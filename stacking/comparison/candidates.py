"""What a comparison scores: every member, then the methods asked for, cheap ones first.

Each candidate is a whole predictor, as `StackingEnsemble` fits and saves it: combiner, decision rule and image rules.
A member is one whose combiner passes on what that model says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from stacking._typing import FloatArray
from stacking.combiners.combiner import Combiner
from stacking.decision_rules import check_rule
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.predictions import PredictionSet

Kind: TypeAlias = Literal["member", "vote", "meta", "auto", "saved"]


@dataclass(frozen=True)
class Candidate:
    """Something to be scored.

    Attributes
    ----------
    name : str
        Its name in the table.
    kind : {"member", "vote", "meta", "auto", "saved"}
        What it is.
    build : callable
        Returns an unfitted ensemble.
    member : str, default=""
        The model, for a member.
    cost : float, default=0
        Usual time of the method, as `Method.cost` has it.
    """

    name: str
    kind: Kind
    build: Callable[[], StackingEnsemble]
    member: str = ""
    cost: float = 0.0


class SingleMember(Combiner):
    """Answer what one member answers; a label that it does not cover has no answer, and is never predicted.

    Parameters
    ----------
    model : str
        Its name.
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "counts"
    requires_truth: ClassVar[bool] = False

    def __init__(self, model: str) -> None:
        self.model = model

    def _fit(self, predictions: PredictionSet) -> None:
        """Learn nothing."""

    @property
    def answered_labels(self) -> npt.NDArray[np.bool_]:
        """The labels that the member covers."""
        return np.asarray(self.covers_[self.models_.index(self.model)])

    def _predict(self, predictions: PredictionSet, covers: npt.NDArray[np.bool_]) -> FloatArray:
        """Read the member's scores."""
        return np.nan_to_num(predictions.model_scores(self.model), nan=0.0)


def find_candidates(
    predictions: PredictionSet,
    methods: str | Sequence[str] | Mapping[str, Combiner | StackingEnsemble],
    options: Mapping[str, Any],
    rules: Sequence[str] = (),
) -> list[Candidate]:
    """List what is to be scored.

    Parameters
    ----------
    predictions : PredictionSet
        Whose models are the members.
    methods : "all", sequence of str or mapping of str to Combiner or StackingEnsemble
        Registered methods by name, or named combiners or ensembles; "all" leaves out the slow ones (`Method.is_slow`).
    options : mapping of str to object
        Keyword arguments of `StackingEnsemble`, its method apart, for all that is no ensemble itself.
    rules : sequence of str, default=()
        Decision rules by which every method is scored once more each.

    Returns
    -------
    list of Candidate
        Members first; a member that has a method's name gets " (member)" after its own.

    Raises
    ------
    TypeError
        If a value of the mapping is neither.
    ValueError
        If a method is unknown or named twice.
    """
    if isinstance(methods, Mapping):
        chosen = [_own_candidate(str(name), given, options) for name, given in methods.items()]
    else:
        chosen = _registered_candidates(methods, options)
    chosen += _ruled_candidates(chosen, rules)
    taken = {candidate.name for candidate in chosen} | {"mean"}
    members = [
        Candidate(
            f"{model} (member)" if model in taken else model,
            "member",
            partial(StackingEnsemble, SingleMember(model), **options),
            model,
        )
        for model in predictions.models
    ]
    return members + chosen


def _ruled_candidates(methods: Sequence[Candidate], rules: Sequence[str]) -> list[Candidate]:
    """Put every method beside every decision rule, as ``mean + half``."""
    if isinstance(rules, str):
        raise ValueError(f"rules must be a list of names: got {rules!r}; write [{rules!r}].")
    for rule in rules:
        check_rule(rule)
        if list(rules).count(rule) > 1:
            raise ValueError(f"rules must name each decision rule once: got {rule!r} {list(rules).count(rule)} times.")

    def build(method: Candidate, rule: str) -> StackingEnsemble:
        ensemble = method.build()
        ensemble.set_params(rule=rule)
        return ensemble

    return [
        replace(one, name=f"{one.name} + {rule}", kind="meta" if one.kind == "auto" else one.kind,
                build=partial(build, one, rule))
        for one in methods
        for rule in rules
    ]  # fmt: skip


def _registered_candidates(methods: str | Sequence[str], options: Mapping[str, Any]) -> list[Candidate]:
    """Resolve "all" and names, in the registry's order; raise on unknown or repeated names."""
    from stacking.combiners.registry import find_method, list_methods, method_kind

    known = list(list_methods())
    if isinstance(methods, str):
        methods = list_methods(include_slow=False) if methods == "all" else [methods]
    names = [str(name) for name in methods]
    kinds = {name: cast(Kind, method_kind(name)) for name in names}
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"methods must name each method once: got {name!r} {names.count(name)} times.")
    return [
        Candidate(name, kinds[name], partial(StackingEnsemble, name, **options), cost=find_method(name).cost)
        for name in sorted(names, key=known.index)
    ]


def _own_candidate(name: str, given: Combiner | StackingEnsemble, options: Mapping[str, Any]) -> Candidate:
    """Make a candidate of a combiner or an ensemble that the caller brought."""
    from stacking.combiners.registry import method_kind

    if isinstance(given, StackingEnsemble):
        method = given.method
        kind = _kind_of(method) if isinstance(method, Combiner) else cast(Kind, method_kind(method))
        return Candidate(name, kind, partial(clone, given))
    if not isinstance(given, Combiner):
        raise TypeError(f"methods must map names to combiners or ensembles: got {type(given).__name__} for {name!r}.")
    return Candidate(name, _kind_of(given), partial(StackingEnsemble, given, **options))


def _kind_of(combiner: Combiner) -> Kind:
    """Tell votes from meta-learners."""
    return "vote" if combiner.fits_from == "counts" else "meta"
