"""Which labels a member answers: all, the frequent ones, the rare ones, or one of several tiers by frequency.

Specialists by frequency follow the contest's student teams (frequent meant 100,000 photos and more there). A
specialist's head holds its own labels only, so its loss is masked to them; elsewhere its scores are NaN and ``covers``
is False.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from base_models.recipe.member import MemberConfig


def covered_labels(member: MemberConfig, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the columns of the labels that a member answers.

    Parameters
    ----------
    member : MemberConfig
        ``labels``, and ``split_count``, ``split_share`` or ``tier_counts`` and ``tier`` of a specialist; labels below
        ``training.min_label_count`` are dropped.
    counts : ndarray of shape (n_labels,)
        Positive training rows of each label.

    Returns
    -------
    ndarray of int64
        Columns, ascending. Frequent and rare with the same split, and the tiers of the same counts, share no label and
        leave none out but those dropped.

    Raises
    ------
    ValueError
        If the specialist would have no label.

    Examples
    --------
    >>> rare = MemberConfig("rare", "resnet50", labels="rare", split_count=10)
    >>> covered_labels(rare, np.array([12, 3, 10, 0]))
    array([1, 3])
    """
    inside, rule = _labels_inside(member, counts)
    if member.training.min_label_count:
        inside = inside & (counts >= member.training.min_label_count)
        rule = f"{rule} and min_label_count {member.training.min_label_count}"
    covered = np.flatnonzero(inside)
    if not len(covered):
        kind = f"in tier {member.tier}" if member.labels == "tier" else member.labels.replace("all", "left")
        raise ValueError(
            f"member {member.name!r} must cover at least one label: with {rule} no label is {kind} (the largest count "
            f"is {counts.max(initial=0)}); change the split."
        )
    return covered


def _labels_inside(member: MemberConfig, counts: NDArray[np.int64]) -> tuple[NDArray[np.bool_], str]:
    """Return the labels of a member by its split, and the split's name."""
    if member.labels == "all":
        return np.ones(len(counts), bool), "all labels"
    if member.labels == "tier":
        tier = np.searchsorted(np.array(member.tier_counts), counts, side="right")
        return tier == member.tier, f"tier_counts {list(member.tier_counts)}"
    if member.split_count:
        frequent, rule = counts >= member.split_count, f"split_count {member.split_count}"
    else:
        n_frequent = round(member.split_share * len(counts))
        frequent, rule = np.zeros(len(counts), bool), f"split_share {member.split_share}"
        frequent[np.argsort(-counts, kind="stable")[:n_frequent]] = True
    return frequent if member.labels == "frequent" else ~frequent, rule
