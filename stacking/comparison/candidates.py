"""What a comparison scores: every member, then the methods asked for, cheap ones first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import cast

from sklearn.base import clone

from stacking.combiners.combiner import Combiner
from stacking.comparison.evaluation import Candidate, Kind
from stacking.predictions import PredictionSet

__all__ = ["find_candidates"]


def find_candidates(
    predictions: PredictionSet, methods: str | Sequence[str] | Mapping[str, Combiner], random_state: int
) -> list[Candidate]:
    """List what is to be scored.

    Parameters
    ----------
    predictions : PredictionSet
        Whose models are the members.
    methods : "all", sequence of str or mapping of str to Combiner
        Registered methods by name, or named combiners; "all" leaves out the dear ones (`Method.is_slow`).
    random_state : int
        Seed given to registered methods.

    Returns
    -------
    list of Candidate
        Members first; a member that has a method's name gets " (member)" after its own.

    Raises
    ------
    TypeError
        If a value of the mapping is no combiner.
    ValueError
        If a method is unknown or named twice.
    """
    if isinstance(methods, Mapping):
        chosen = [_own_candidate(str(name), combiner) for name, combiner in methods.items()]
    else:
        chosen = _registered_candidates(methods, random_state)
    taken = {candidate.name for candidate in chosen} | {"mean"}
    members = [
        Candidate(f"{model} (member)" if model in taken else model, "member", member=model)
        for model in predictions.models
    ]
    return members + chosen


def _registered_candidates(methods: str | Sequence[str], random_state: int) -> list[Candidate]:
    """Resolve "all" and names, in the registry's order; raise on unknown or repeated names."""
    from stacking.combiners.registry import create_method, list_methods, method_kind

    known = list(list_methods())
    if isinstance(methods, str):
        methods = list_methods(with_dear=False) if methods == "all" else [methods]
    names = [str(name) for name in methods]
    kinds = {name: cast(Kind, method_kind(name)) for name in names}
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"methods must name each method once: got {name!r} {names.count(name)} times.")
    return [
        Candidate(name, kinds[name], partial(create_method, name, random_state=random_state))
        for name in sorted(names, key=known.index)
    ]


def _own_candidate(name: str, combiner: Combiner) -> Candidate:
    """Make a candidate of a combiner that the caller brought."""
    if not isinstance(combiner, Combiner):
        raise TypeError(f"methods must map names to combiners: got {type(combiner).__name__} for {name!r}.")
    kind: Kind = "vote" if combiner.fits_from == "counts" else "meta"
    return Candidate(name, kind, partial(clone, combiner))
