"""Stratified grouped folds and holdouts for multi-label truth.

Plain random folds leave rare labels out of whole folds: of 228 labels on 10,000 photos, 89 with five or more positives
miss from some fold. Iterative stratification deals the rarest label's samples out first, each to the fold that wants
that label most (Sechidis et al., ECML PKDD 2011, Algorithm 1).

Small sets without groups use the library iterative-stratification. Its cost grows with samples × labels², and it knows
no groups, so larger sets and grouped ones run the same algorithm compiled, on label *counts* per group: no group is
ever split, a group counts with its size, and a million rows need no sampling (the cost grows with the positives).

Everything in `stacking` that splits rows or draws some of them does it here, from a `Truth`: what does not count
(cells that are not annotated, rows of weight 0) moves no other row.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers._checks import check_random_state
from stacking._checks import check_groups, check_y_true
from stacking._typing import BoolArray, DoubleArray, IndexArray
from stacking.named_arrays import align_by_name
from stacking.truth import Truth, number_groups

REMEMBERED_PARTS = 16
"""Deals that a truth remembers: more than the outer folds of a comparison; only speed depends on it."""

RandomState = int | np.random.Generator | None

LIBRARY_CELLS = 300_000
"""Up to this many cells, and without groups, the library does the work; it needs no compilation. Both deal by the same
algorithm, but break ties differently, so the folds depend on it. A choice; no measurement is on record."""


def deal_folds(truth: Truth, n_splits: int = 5, *, random_state: RandomState = 0) -> IndexArray:
    """Deal rows into stratified folds that keep groups together; fewer where there are fewer rows or groups.

    Parameters
    ----------
    truth : Truth
        What is balanced, and what belongs together.
    n_splits : int, default 5
        Wanted number of folds.
    random_state : int, Generator or None, default 0
        Breaks ties.

    Returns
    -------
    ndarray of int, shape (n_samples,)
        The fold each row is held out in; all 0 where nothing can be split (one row or group that counts). Rows that do
        not count lie with their group, else are dealt round in their order.
    """
    n_splits = min(n_splits, truth.n_units)
    if n_splits < 2:
        return np.zeros(len(truth.y_true), dtype=np.intp)
    if truth.counted is None:
        return stratified_group_folds(truth.y_true, n_splits, groups=truth.groups, random_state=random_state)
    kept = truth.only_counted()
    folds = stratified_group_folds(kept.y_true, n_splits, groups=kept.groups, random_state=random_state)
    return _place_uncounted(truth, folds, lambda number: number % n_splits)


def deal_part(truth: Truth, part: BoolArray) -> IndexArray:
    """Deal some of the rows into folds, as `deal_folds` does, and remember them for whoever deals the same part again.

    Parameters
    ----------
    truth : Truth
        Of all rows.
    part : ndarray of bool, shape (n_samples,)
        The rows to deal.

    Returns
    -------
    ndarray of int, shape (n_samples,)
        Their folds; -1 for the other rows.
    """
    key = part.tobytes()
    if key not in truth.dealt:
        folds = np.full(len(part), -1, dtype=np.intp)
        folds[part] = deal_folds(truth.rows(part))
        while len(truth.dealt) >= REMEMBERED_PARTS:
            truth.dealt.pop(next(iter(truth.dealt)))
        truth.dealt[key] = folds.astype(np.int8)
    return truth.dealt[key].astype(np.intp)


def hold_out(truth: Truth, fraction: float, *, random_state: RandomState = 0) -> BoolArray:
    """Choose a stratified holdout of about a fraction of the rows that count, no group split.

    Parameters
    ----------
    truth : Truth
        What is balanced, and what belongs together.
    fraction : float
        Share to hold out, between 0 and 1, both excluded.
    random_state : int, Generator or None, default 0
        Breaks ties.

    Returns
    -------
    ndarray of bool, shape (n_samples,)
        True for the rows held out. Rows that do not count lie with their group, else are held out in the same share.
    """
    if truth.counted is None:
        return holdout_rows(truth.y_true, fraction, truth.groups, random_state)
    kept = truth.only_counted()
    held = holdout_rows(kept.y_true, fraction, kept.groups, random_state).astype(np.intp)
    evenly = _place_uncounted(truth, held, lambda number: np.diff(np.floor(np.append(number, len(number)) * fraction)))
    return evenly == 1


def _place_uncounted(truth: Truth, placed: IndexArray, place: Callable[[IndexArray], npt.NDArray[Any]]) -> IndexArray:
    """Add the rows that do not count: where their group is, else by their number among themselves."""
    counted = np.ones(len(truth.y_true), dtype=bool) if truth.counted is None else truth.counted
    where = np.full(len(counted), -1, dtype=np.intp)
    where[counted] = placed
    if truth.groups is None:
        where[~counted] = place(np.arange(np.count_nonzero(~counted)))
        return where
    of_group = np.full(int(truth.groups.max()) + 1, -1, dtype=np.intp)
    of_group[truth.groups[counted]] = placed
    alone = np.unique(truth.groups[of_group[truth.groups] < 0])
    of_group[alone] = place(np.arange(len(alone)))
    where[~counted] = of_group[truth.groups[~counted]]
    return where


def sample_rows(
    truth: Truth, max_rows: int | None, *, stratified: bool = False, random_state: RandomState = 0
) -> IndexArray | None:
    """Draw at most `max_rows` rows that count, whole groups only.

    Fitting reads rows many times; beyond `max_rows` more rows cost memory and time but hardly move a per-label fit.

    Parameters
    ----------
    truth : Truth
        Which rows count, and which belong together.
    max_rows : int or None
        Upper limit; None takes all.
    stratified : bool, default False
        Whether every label's positives are drawn in the same share.
    random_state : int, Generator or None, default 0
        Which rows.

    Returns
    -------
    ndarray of int, shape (n_drawn,), or None
        Their positions, ascending; None where all rows are taken. A group that alone is larger than `max_rows` is cut
        where nothing smaller is left.
    """
    counted = None if truth.counted is None else np.flatnonzero(truth.counted)
    n_counted = len(truth.y_true) if counted is None else len(counted)
    if max_rows is None or n_counted <= max_rows:
        return counted
    kept = truth.only_counted()
    rng = check_random_state(random_state)
    if stratified and kept.n_units > 1:
        drawn = np.flatnonzero(holdout_rows(kept.y_true, max_rows / n_counted, kept.groups, rng))
        drawn = drawn[:max_rows] if kept.groups is None else _fill_with_groups(kept.groups, max_rows, rng, drawn)
    elif kept.groups is None:
        drawn = np.sort(rng.choice(n_counted, size=max_rows, replace=False))
    else:
        drawn = _fill_with_groups(kept.groups, max_rows, rng, np.arange(n_counted))
    return drawn if counted is None else counted[drawn]


def _fill_with_groups(groups: IndexArray, max_rows: int, rng: np.random.Generator, among: IndexArray) -> IndexArray:
    """Draw whole groups of some rows in random order while they fit; part of the smallest where none does."""
    names, number, sizes = np.unique(groups[among], return_inverse=True, return_counts=True)
    left, chosen = max_rows, np.zeros(len(names), dtype=bool)
    for group in rng.permutation(len(names)).tolist():
        if sizes[group] <= left:
            chosen[group] = True
            left -= int(sizes[group])
    if not chosen.any():
        return among[number == int(np.argmin(sizes))][:max_rows]
    return among[chosen[number]]


def stratified_group_folds(
    y_true: npt.ArrayLike, n_splits: int = 5, *, groups: npt.ArrayLike | None = None, random_state: RandomState = 0
) -> IndexArray:
    """Deal the samples into folds that share every label evenly and split no group.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1. Labels without positives are fine, and so are labels with fewer positives than folds.
    n_splits : int, default 5
        Number of folds, at least 2 and at most the number of samples (of groups, if given).
    groups : array of shape (n_samples,), optional
        Samples with an equal value share a fold; one whose value is blank (None, NaN, "") stands alone.
    random_state : int, Generator or None, default 0
        Breaks ties; the same seed gives the same folds. The global generator is not touched.

    Returns
    -------
    ndarray of int, shape (n_samples,)
        The fold, 0 … n_splits − 1, in which each sample is held out. No fold is empty.

    Raises
    ------
    ValueError
        If `y_true` is not two-dimensional, `groups` has another length, or `n_splits` is out of range.

    Notes
    -----
    O(positives · n_splits) beyond 300,000 cells or with groups; the library's O(n_samples · n_labels²) below.

    References
    ----------
    K. Sechidis, G. Tsoumakas, I. Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011, Algorithm 1.

    Examples
    --------
    >>> folds = stratified_group_folds([[1, 0], [1, 0], [0, 1], [0, 1]], n_splits=2)
    >>> sorted(folds[:2].tolist()), sorted(folds[2:].tolist())
    ([0, 1], [0, 1])
    """
    y_true, groups = align_by_name(y_true=y_true, groups=groups)
    truth = _check_truth(y_true)
    item_of, n_items = _items(groups, len(truth))
    unit = "samples" if groups is None else "groups"
    if not 2 <= n_splits <= n_items:
        raise ValueError(f"n_splits must lie between 2 and the number of {unit}, {n_items}: got {n_splits}")
    shares = np.full(n_splits, 1.0 / n_splits)
    return _deal(truth, shares, item_of, n_items, check_random_state(random_state))


def holdout_rows(
    y_true: npt.ArrayLike, fraction: float, groups: npt.ArrayLike | None = None, random_state: RandomState = 0
) -> BoolArray:
    """Choose a stratified holdout: about `fraction` of the samples and of every label's positives, no group split.

    Parameters
    ----------
    y_true : array of shape (n_samples, n_labels)
        The truth, 0 or 1.
    fraction : float
        Share of the samples to hold out, between 0 and 1, both excluded.
    groups : array of shape (n_samples,), optional
        Samples with an equal value stay on one side; one whose value is blank (None, NaN, "") stands alone.
    random_state : int, Generator or None, default 0
        Breaks ties; the same seed gives the same rows.

    Returns
    -------
    ndarray of bool, shape (n_samples,)
        True for the rows held out. At least one row (group) lies on each side.

    Raises
    ------
    ValueError
        If `fraction` is out of range, shapes differ, or there are fewer than two samples (groups).

    Notes
    -----
    A label with a single positive keeps it on the larger side.

    Examples
    --------
    >>> int(holdout_rows([[1], [1], [0], [0]], 0.5).sum())
    2
    """
    y_true, groups = align_by_name(y_true=y_true, groups=groups)
    truth = _check_truth(y_true)
    if not 0.0 < fraction < 1.0:
        raise ValueError(f"fraction must lie between 0 and 1, both excluded: got {fraction}")
    item_of, n_items = _items(groups, len(truth))
    if n_items < 2:
        raise ValueError(f"y_true must hold at least two samples (groups, if given) to hold one out: got {n_items}")
    shares = np.array([1.0 - fraction, fraction])
    return _deal(truth, shares, item_of, n_items, check_random_state(random_state)) == 1


def _deal(
    truth: BoolArray, shares: DoubleArray, item_of: IndexArray | None, n_items: int, rng: np.random.Generator
) -> IndexArray:
    """Return the fold of each sample, with no fold empty."""
    if item_of is None and truth.size <= LIBRARY_CELLS:
        from iterstrat.ml_stratifiers import IterativeStratification

        seeded = np.random.RandomState(rng.integers(2**31))  # the kind of generator the library takes
        fold_of = IterativeStratification(truth, shares, seeded)
        sizes = np.ones(n_items)
    else:
        fold_of, sizes = _deal_counts(truth, shares, item_of, n_items, rng)
    fold_of = _fill_empty(fold_of.astype(np.intp), sizes, len(shares))
    return fold_of if item_of is None else fold_of[item_of]


def _deal_counts(
    truth: BoolArray, shares: DoubleArray, item_of: IndexArray | None, n_items: int, rng: np.random.Generator
) -> tuple[IndexArray, DoubleArray]:
    """Deal items by their label counts; large items first, equal ones in random order."""
    from stacking.kernels import folds as _kernels

    n_labels = truth.shape[1]
    if item_of is None:
        sizes, held = np.ones(n_items), np.count_nonzero(truth, axis=1)
        label = (np.flatnonzero(truth) % n_labels).astype(np.int32)  # half the memory of `np.nonzero`
        count = np.ones(len(label))
    else:
        sizes = np.bincount(item_of, minlength=n_items).astype(np.float64)
        sample, label = np.nonzero(truth)
        cell, times = np.unique(item_of[sample] * n_labels + label, return_counts=True)
        held, label = np.bincount(cell // n_labels, minlength=n_items), (cell % n_labels).astype(np.int32)
        count = times.astype(np.float64)
    item_start = np.concatenate([[0], np.cumsum(held)])
    shuffled = rng.permutation(n_items)
    order = shuffled[np.argsort(-sizes[shuffled], kind="stable")]
    shift = rng.integers(len(shares), size=n_items)
    return _kernels.stratify(shares, sizes, item_start, label, count, n_labels, order, shift), sizes


def _fill_empty(fold_of: IndexArray, sizes: DoubleArray, n_folds: int) -> IndexArray:
    """Give each empty fold the smallest item of the fold that holds most items."""
    for fold in range(n_folds):
        held = np.bincount(fold_of, minlength=n_folds)
        if held[fold] == 0:
            donors = np.flatnonzero(fold_of == int(np.argmax(held)))
            fold_of[donors[np.argmin(sizes[donors])]] = fold
    return fold_of


def _items(groups: npt.ArrayLike | None, n_samples: int) -> tuple[IndexArray | None, int]:
    """Return the item (group) number of each sample and how many there are; None where every sample is its own."""
    if groups is None:
        return None, n_samples
    numbers = number_groups(check_groups(groups, n_samples))
    if numbers is None:
        return None, n_samples
    names, item_of = np.unique(numbers, return_inverse=True)
    return item_of.astype(np.intp), len(names)


def _check_truth(y_true: npt.ArrayLike) -> BoolArray:
    """Return the truth as a two-dimensional bool array, one that is already without a copy."""
    is_checked = isinstance(y_true, np.ndarray) and y_true.dtype == np.bool_ and y_true.ndim == 2
    truth = np.asarray(y_true) if is_checked else check_y_true(y_true).view(np.bool_)
    if not truth.size:
        raise ValueError(f"y_true must hold at least one sample and one label: got shape {truth.shape}.")
    return truth


def read_folds(cv: Any, X: Any, y: npt.NDArray[Any], groups: npt.ArrayLike | None = None) -> IndexArray:
    """Take folds from a splitter of scikit-learn, or from pairs of row numbers.

    Parameters
    ----------
    cv : splitter or iterable of (train, test)
        Anything with ``split(X, y, groups)``, or the pairs that it would give.
    X : array-like of shape (n_samples, n_features)
        Features, for the splitter.
    y : ndarray of shape (n_samples, n_labels) or (n_samples,)
        The target, for the splitter.
    groups : array-like of shape (n_samples,), optional
        Rows that must share a fold.

    Returns
    -------
    ndarray of int, shape (n_samples,)
        The fold in which each row is held out.

    Raises
    ------
    ValueError
        If `cv` is none of these, does not test every row once and train on all others, or splits a group.

    Examples
    --------
    >>> read_folds([([2, 3], [0, 1]), ([0, 1], [2, 3])], np.zeros((4, 1)), np.zeros(4)).tolist()
    [0, 0, 1, 1]
    """
    n_samples = len(y)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The groups parameter is ignored")  # they are looked at below
            pairs = list(cv.split(X, y, groups) if hasattr(cv, "split") else cv)
        held_out = [np.arange(n_samples)[np.asarray(test)] for _, test in pairs]
        trained = [np.arange(n_samples)[np.asarray(train)] for train, _ in pairs]
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"cv must be a number of folds, a splitter that takes this target, or pairs of row numbers: {error}."
        ) from error
    if len(pairs) < 2 or not np.array_equal(np.sort(np.concatenate(held_out)), np.arange(n_samples)):
        raise ValueError(
            f"cv must test every row once, in two folds at least: got {len(pairs)} folds that test "
            f"{sum(map(len, held_out))} of {n_samples} rows; use KFold, GroupKFold or the like."
        )
    if any(len(train) + len(test) != n_samples for train, test in zip(trained, held_out, strict=True)):
        raise ValueError("cv must train on all rows that it does not test: one of its folds leaves some out.")
    folds = np.empty(n_samples, np.intp)
    for number, test in enumerate(held_out):
        folds[test] = number
    units = None if groups is None else number_groups(check_groups(groups, n_samples))
    if units is not None and len(np.unique(np.stack([units, folds]), axis=1).T) > len(np.unique(units)):
        raise ValueError("cv must keep groups whole: it splits one of them; use GroupKFold, or a number of folds.")
    return folds
