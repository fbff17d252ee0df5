"""Constraints on the labels of one image: how many it has, and how many of each label group.

Thresholds decide every label for itself; what is known of whole images (no image is without a label, a garment has one
neckline) is left out. Among the label sets that keep the rules, the one with the highest sum of margins is taken, a
margin being how far a score lies above its label's threshold on the logit scale: with calibrated scores and thresholds
that stand for the cost of a wrong label, this is the most probable set that the rules allow. Groups do not overlap, so
the best set is found by ranking: within a group what it must and may not hold, then over the image.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.registry import did_you_mean
from stacking._checks import check_thresholds, check_y_score
from stacking._typing import BoolArray, DoubleArray, IndexArray
from stacking.links import logit
from stacking.named_arrays import align_by_name

NEVER = 100.0
"""Taken off the score's logit of a label that never fires: such labels are added last, and still by their score. With
`TINY` logits lie within ±27.6, so other margins are above −55.3, and these below −72."""

TINY = 1e-12
"""Scores and thresholds are clipped to this distance from 0 and 1 before the logit, and the margin of a label that does
not fire to this distance below 0, so that the sign of a margin is its decision."""

BLOCK_CELLS = 4_000_000
"""Cells worked on at a time: only memory and speed depend on it."""


@dataclass(frozen=True)
class ImageRules:
    """What the labels of every image must keep.

    Parameters
    ----------
    min_labels : int, default=0
        Fewest labels of an image.
    max_labels : int or None, default=None
        Most labels of an image; None is no limit.
    top_k : int or None, default=None
        Exactly this many labels for every image; instead of `min_labels` and `max_labels`.
    exclusive_groups : sequence of str, default=()
        Label groups of which an image has at most one label.
    min_per_group, max_per_group : mapping of str to int, default={}
        Fewest and most labels of a label group.
    never_empty : bool, default=False
        Whether every image gets a label; the same as ``min_labels=1``.

    Raises
    ------
    ValueError
        If a number is negative, or two of them contradict each other.

    Examples
    --------
    >>> ImageRules(min_labels=1, exclusive_groups=["color"]).is_active
    True
    """

    min_labels: int = 0
    max_labels: int | None = None
    top_k: int | None = None
    exclusive_groups: Sequence[str] = ()
    min_per_group: Mapping[str, int] = field(default_factory=dict)
    max_per_group: Mapping[str, int] = field(default_factory=dict)
    never_empty: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.exclusive_groups, str):
            raise ValueError(
                f"exclusive_groups must be a sequence of group names: got the string {self.exclusive_groups!r}."
            )
        limits = {"min_labels": self.min_labels, "max_labels": self.max_labels, "top_k": self.top_k}
        for side in ("min_per_group", "max_per_group"):
            limits |= {f"{side}[{group!r}]": value for group, value in getattr(self, side).items()}
        for name, value in limits.items():
            if value is not None and value < 0:
                raise ValueError(f"{name} must not be negative: got {value}.")
        if self.top_k is not None and (self.min_labels or self.max_labels is not None):
            raise ValueError("top_k must not be combined with min_labels or max_labels: it sets both; leave them out.")
        low, high = self.label_bounds
        if high is not None and low > high:
            raise ValueError(f"an image cannot have at least {low} and at most {high} labels: change one of them.")
        for group, least in self.min_per_group.items():
            most = self._most_of(group)
            if most is not None and least > most:
                raise ValueError(f"min_per_group of {group!r} must not exceed its maximum: got {least} and {most}.")

    @property
    def label_bounds(self) -> tuple[int, int | None]:
        """The fewest and the most labels of an image."""
        if self.top_k is not None:
            return max(self.top_k, int(self.never_empty)), self.top_k
        return max(self.min_labels, int(self.never_empty)), self.max_labels

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups that have a rule, sorted."""
        return tuple(sorted({*self.exclusive_groups, *self.min_per_group, *self.max_per_group}))

    @property
    def is_active(self) -> bool:
        """Whether there is a rule at all."""
        return self.label_bounds != (0, None) or bool(self.groups)

    def as_dict(self) -> dict[str, Any]:
        """Return the rules as plain data for JSON.

        Returns
        -------
        dict
            Keyword arguments of `ImageRules`.
        """
        plain = {"exclusive_groups": list(self.exclusive_groups)}
        return {**asdict(self), **plain, **{side: dict(getattr(self, side)) for side in _SIDES}}

    def check(self, labels: Sequence[str], label_groups: Sequence[str] | None = None) -> None:
        """Raise if no image could keep the rules.

        Parameters
        ----------
        labels : sequence of str
            Names of the labels.
        label_groups : sequence of str, optional
            Group of each label, as `group_of_labels` takes it.

        Raises
        ------
        ValueError
            If a group is unknown or too small, or the limits of the groups contradict those of the image.
        """
        group_limits(self, group_of_labels(labels, label_groups))

    def _most_of(self, group: str) -> int | None:
        """Return the most labels of a group, None without a limit."""
        limits = [self.max_per_group[group]] if group in self.max_per_group else []
        return min([*limits, *([1] if group in self.exclusive_groups else [])], default=None)


_SIDES = ("min_per_group", "max_per_group")


@dataclass(frozen=True)
class GroupLimits:
    """The rules in numbers, one entry per group.

    Parameters
    ----------
    members : tuple of ndarray of int
        Columns of the labels of each group that has a rule.
    least, most : tuple of int
        Fewest and most labels of each.
    low, high : int
        Fewest and most labels of an image.
    """

    members: tuple[IndexArray, ...]
    least: tuple[int, ...]
    most: tuple[int, ...]
    low: int
    high: int


def group_of_labels(labels: Sequence[str], label_groups: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the group of each label; without groups what stands before the colon of a name ``group:value``.

    Parameters
    ----------
    labels : sequence of str
        Names of the labels.
    label_groups : sequence of str, optional
        Group of each label.

    Returns
    -------
    tuple of str
        One group per label; empty for a name without a colon.

    Raises
    ------
    ValueError
        If there is another number of groups.

    Examples
    --------
    >>> group_of_labels(["color:red", "sleeve:long", "striped"])
    ('color', 'sleeve', '')
    """
    if label_groups is None:
        return tuple(label.partition(":")[0] if ":" in label else "" for label in labels)
    if len(label_groups) != len(labels):
        raise ValueError(
            f"label_groups must hold one group per label: got {len(label_groups)} for {len(labels)} labels."
        )
    return tuple(label_groups)


def refuse_other_rules(rules: object) -> None:
    """Refuse what stands for image rules and is none, such as a mapping of options.

    Parameters
    ----------
    rules : object
        To be `ImageRules` or None.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if not isinstance(rules, ImageRules | None):
        raise TypeError(f"image_rules must be labelstack.ImageRules(...) or None: got {type(rules).__name__}.")


def group_limits(rules: ImageRules, groups: Sequence[str]) -> GroupLimits:
    """Resolve rules for labels of known groups.

    Parameters
    ----------
    rules : ImageRules
        The rules.
    groups : sequence of str
        Group of each label.

    Returns
    -------
    GroupLimits
        The limits in numbers.

    Raises
    ------
    ValueError
        If a group is unknown or too small, or the limits of the groups contradict those of the image.
    """
    array = np.asarray(groups, dtype=np.str_)
    known = sorted({group for group in groups if group})
    members, least, most = [], [], []
    for group in rules.groups:
        if group not in known:
            takes = ", ".join(map(repr, known)) if known else "no groups; name labels group:value or give label_groups"
            raise ValueError(f"group {group!r} must be a label group ({takes}).{did_you_mean(group, known)}")
        columns = np.flatnonzero(array == group)
        limit = rules._most_of(group)
        members.append(columns)
        least.append(rules.min_per_group.get(group, 0))
        most.append(len(columns) if limit is None else min(limit, len(columns)))
        if least[-1] > len(columns):
            raise ValueError(
                f"min_per_group of {group!r} must not exceed its {len(columns)} labels: got {least[-1]}; lower it."
            )
    low, limit = rules.label_bounds
    room = len(groups) - sum(map(len, members)) + sum(most)
    if low > room:
        raise ValueError(
            f"min_labels (or top_k) must not exceed the {room} labels that an image may have: got {low}; lower it."
        )
    high = room if limit is None else min(limit, room)
    if sum(least) > high:
        raise ValueError(
            f"max_labels (or top_k) must leave room for the {sum(least)} labels that the groups need: got {high}."
        )
    return GroupLimits(tuple(members), tuple(least), tuple(most), low, high)


def apply_image_rules(
    y_score: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    rules: ImageRules,
    label_groups: Sequence[str] | None = None,
) -> BoolArray:
    """Decide by thresholds, then add and drop the labels that the rules ask for.

    Of all label sets that keep the rules, the one with the highest sum of margins is taken; where the thresholds'
    answer keeps them, it is that answer.

    Parameters
    ----------
    y_score : array of shape (n_samples, n_labels)
        Scores in [0, 1].
    thresholds : float or array of shape (n_labels,)
        Thresholds, +inf for never; such a label is added only where no other can be.
    rules : ImageRules
        What every image must keep.
    label_groups : sequence of str, optional
        Group of each label; needed by rules on groups.

    Returns
    -------
    ndarray of bool, shape (n_samples, n_labels)
        The decisions.

    Raises
    ------
    ValueError
        If shapes differ, a group is unknown, or no image could keep the rules.

    Notes
    -----
    The margin of a label is ``logit(score) − logit(threshold)``, dimensionless. Equal margins are taken in the order of
    the labels. O(n_samples · n_labels · log n_labels).

    Examples
    --------
    >>> apply_image_rules([[0.3, 0.4], [0.9, 0.8]], 0.5, ImageRules(top_k=1)).tolist()
    [[False, True], [True, False]]
    """
    from stacking.decision_rules.thresholds import apply_thresholds

    y_score, thresholds, label_groups = align_by_name(y_score=y_score, thresholds=thresholds, label_groups=label_groups)
    scores = check_y_score(y_score)
    limits = check_thresholds(thresholds, scores.shape[1])
    groups = ("",) * scores.shape[1] if label_groups is None else tuple(map(str, label_groups))
    if len(groups) != scores.shape[1]:
        raise ValueError(f"label_groups must hold one group per label: got {len(groups)} for {scores.shape[1]} labels.")
    bounds = group_limits(rules, groups)
    y_pred = apply_thresholds(scores, limits)
    step = max(1, BLOCK_CELLS // max(scores.shape[1], 1))
    for start in range(0, len(scores), step):
        rows = slice(start, start + step)
        broken = start + np.flatnonzero(~_keeps(y_pred[rows], bounds))
        if len(broken):
            y_pred[broken] = _choose(_margins(scores[broken], limits, y_pred[broken]), bounds)
    return y_pred


def _margins(scores: npt.NDArray[np.float32], thresholds: DoubleArray, fired: BoolArray) -> DoubleArray:
    """Return how far each score lies above its threshold in logits: below 0 exactly where the label does not fire."""
    own, needed = logit(scores, np.float64, TINY), logit(thresholds, np.float64, TINY)
    margins = own - np.where(thresholds > 1.0, NEVER, needed)
    return np.where(fired, np.maximum(margins, 0.0), np.minimum(margins, -TINY))


def _keeps(y_pred: BoolArray, bounds: GroupLimits) -> BoolArray:
    """Tell which rows keep every rule."""
    count = y_pred.sum(axis=1)
    kept = (count >= bounds.low) & (count <= bounds.high)
    for columns, least, most in zip(bounds.members, bounds.least, bounds.most, strict=True):
        of_group = y_pred[:, columns].sum(axis=1)
        kept &= (of_group >= least) & (of_group <= most)
    return np.asarray(kept)


def _choose(margins: DoubleArray, bounds: GroupLimits) -> BoolArray:
    """Return the allowed label set with the highest sum of margins, row by row.

    What a group must hold comes first, then everything that may be added by its margin, then what is barred; the number
    taken is what the thresholds ask for, within the limits.
    """
    must, barred = np.zeros((2, *margins.shape), dtype=bool)
    for columns, least, most in zip(bounds.members, bounds.least, bounds.most, strict=True):
        place = _ranks(-margins[:, columns])
        must[:, columns], barred[:, columns] = place < least, place >= most
    wanted = (must | ((margins >= 0) & ~barred)).sum(axis=1)
    taken = np.clip(wanted, bounds.low, bounds.high)
    tier = np.where(must, 0.0, np.where(barred, 2.0, 1.0))
    order = np.lexsort((-margins, tier), axis=1)
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(margins.shape[1])[None, :], axis=1)
    return np.asarray(place < taken[:, None])


def _ranks(values: DoubleArray) -> IndexArray:
    """Return each value's place in its row, the smallest first, equal ones by column."""
    order = np.argsort(values, axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(values.shape[1])[None, :], axis=1)
    return place
