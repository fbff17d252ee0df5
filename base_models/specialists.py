"""Which labels a member answers: all, the frequent ones, or the rare ones.

Specialists by frequency follow the contest's student teams (frequent meant 100,000 photos and more there). A
specialist's head holds its own labels only, so its loss is masked to them; elsewhere its scores are NaN and ``covers``
is False.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from base_models.member_config import MemberConfig

__all__ = ["covered_labels"]


def covered_labels(member: MemberConfig, counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the columns of the labels that a member answers.

    Parameters
    ----------
    member : MemberConfig
        ``labels``, and ``split_count`` or ``split_share`` of a specialist.
    counts : ndarray of shape (n_labels,)
        Positive training rows of each label.

    Returns
    -------
    ndarray of int64
        Columns, ascending. Frequent and rare with the same split share no label and leave none out.

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
    if member.labels == "all":
        return np.arange(len(counts))
    if member.split_count:
        frequent = counts >= member.split_count
    else:
        n_frequent = round(member.split_share * len(counts))
        frequent = np.zeros(len(counts), bool)
        frequent[np.argsort(-counts, kind="stable")[:n_frequent]] = True
    covered = np.flatnonzero(frequent if member.labels == "frequent" else ~frequent)
    if not len(covered):
        rule = f"split_count {member.split_count}" if member.split_count else f"split_share {member.split_share}"
        raise ValueError(
            f"member {member.name!r} must cover at least one label: with {rule} no label is {member.labels} "
            f"(the largest count is {counts.max(initial=0)}); change the split."
        )
    return covered
