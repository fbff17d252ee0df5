"""What a whole training run is: its data, members, folds and seed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from base_models.recipe.canonical import NEUTRAL
from base_models.recipe.data import DataConfig
from base_models.recipe.folds import FoldConfig
from base_models.recipe.member import MemberConfig
from base_models.recipe.problems import refuse


@dataclass(frozen=True)
class DerivedMember:
    """Combine trained members into one more, without training: the mean of those that cover a label.

    Parameters
    ----------
    name : str
        Name of the derived member.
    members : tuple of str
        Names of the trained members it is made of, for example the frequent and the rare specialist.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class TrainingRun:
    """Everything that decides what ``run_training`` computes.

    Parameters
    ----------
    name : str
        Name of the recipe.
    data : DataConfig
        The photos and labels.
    members : tuple of MemberConfig
        Members in the order in which they are trained.
    derived : tuple of DerivedMember
        Members made of trained ones.
    folds : FoldConfig
        The deal into folds.
    seed : int
        Seed of the weights, the shuffling and the augmentation.
    n_threads : int
        Threads of torch on the CPU; 0 takes what torch finds. The number is recorded, and a resumed run uses the
        recorded one.
    cache : {"auto", "memory", "none"}
        Whether decoded photos are kept in memory; ``auto`` keeps them when they fit in ``cache_gib`` and are not packed
        on the disk, from where the system itself keeps in memory what there is room for.
    cache_gib : float
        Memory for decoded photos, in GiB; only speed and memory depend on it.
    n_workers : int
        Processes that decode photos which are not kept in memory; -1 starts one per processor where a GPU trains, and
        none where a CPU does. Only speed depends on it.
    photos_folder : str
        Where packed photos are kept, see :mod:`base_models.packed`, so that several runs share them; empty keeps them
        in ``RUN/photos``.
    photos_gib : float
        Largest disk space for the photos that this run packs, in GiB; more than that is decoded in every epoch, unless
        it is kept in memory. 0 packs none. Only speed depends on it.
    features_folder : str
        Where precomputed features are kept, so that several runs share them; empty keeps them in ``RUN/features``.
    features_gib : float
        Largest disk space for the precomputed features of one body, in GiB.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    data: DataConfig
    members: tuple[MemberConfig, ...]
    derived: tuple[DerivedMember, ...] = ()
    folds: FoldConfig = field(default_factory=FoldConfig)
    seed: int = 0
    n_threads: int = field(default=0, metadata=NEUTRAL)
    cache: Literal["auto", "memory", "none"] = field(default="auto", metadata=NEUTRAL)
    cache_gib: float = field(default=4.0, metadata=NEUTRAL)
    n_workers: int = field(default=-1, metadata=NEUTRAL)
    photos_folder: str = field(default="", metadata=NEUTRAL)
    photos_gib: float = field(default=20.0, metadata=NEUTRAL)
    features_folder: str = field(default="", metadata=NEUTRAL)
    features_gib: float = field(default=20.0, metadata=NEUTRAL)

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        """Say what is wrong with the settings."""
        if not self.members:
            yield "members must hold at least one member: got none."
        if self.n_workers < -1:
            yield f"n_workers must be -1, for what suits the device, or a number: got {self.n_workers}."
        names = [member.name for member in self.members] + [member.name for member in self.derived]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            yield f"members must have different names: {', '.join(map(repr, twice))} occurs more than once."
        for derived in self.derived:
            unknown = sorted(set(derived.members) - {member.name for member in self.members})
            if unknown or not derived.members:
                yield (
                    f"derived member {derived.name!r} must name trained members: got "
                    f"{', '.join(map(repr, unknown)) or 'none'}."
                )


def merge_training_defaults(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the recipe's top-level ``[training]`` table into every member, where the member says nothing itself.

    Parameters
    ----------
    recipe : mapping
        The parsed TOML file.

    Returns
    -------
    dict
        The same recipe without its ``training`` table, each member with a full one; ready to become a ``TrainingRun``.

    Examples
    --------
    >>> merge_training_defaults({"training": {"epochs": 3}, "members": [{"name": "a"}]})
    {'members': [{'name': 'a', 'training': {'epochs': 3}}]}
    """
    merged = {key: value for key, value in recipe.items() if key != "training"}
    defaults = recipe.get("training", {})
    if isinstance(defaults, Mapping) and isinstance(merged.get("members"), list):
        merged["members"] = [
            {**member, **_joined_heads(member), "training": {**defaults, **member.get("training", {})}}
            if isinstance(member, Mapping) and isinstance(member.get("training", {}), Mapping)
            else member
            for member in merged["members"]
        ]
    return merged


def _joined_heads(member: Mapping[str, Any]) -> dict[str, str]:
    """Write heads that share one network, ``["recurrent", "wide"]``, as the one name that they have together."""
    heads = member.get("head")
    if not isinstance(heads, list) or not heads or not all(isinstance(head, str) for head in heads):
        return {}
    return {"head": "+".join(sorted(heads, reverse=True))}
