"""Members that were trained on the rows that they score.

Such a member is right where no honest one can be: on the positives that all others take for negatives, and the other
way round. Honest members err there together, since they have seen the same kind of photos. With test scores beside,
its certainty falls on the test rows while that of the others stays.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.stats import rankdata

from stacking._typing import DoubleArray
from stacking.diagnosis.findings import Finding
from stacking.diagnosis.matched import Matched

HARD_SHARE = 0.25
"""Share of a label's positives that counts as hard: those that the others score lowest. A choice."""
TOO_GOOD, SUSPICIOUS, AHEAD = 0.9, 0.6, 0.2
"""Share of those pairs ranked rightly from which a member has seen the rows, or may have seen them where it lies so far
ahead of the next. Of 80 honest members (photos, music, six tabular data sets) none was above .52; forests and
nearest neighbors that scored their own training rows reached .74 to 1."""
TOGETHER, FLAWLESS = 0.15, 1.0 - 1e-9
"""Members err together where they rank the hard pairs worse than all pairs by this much (honest real members: by .3 to
.7). Where they do not, as members made of the truth and noise, only one that makes no error at all, on these pairs and
on all others, stands out: in 2 of 25 sets of 240 samples an honest member made none on some 80 hard positives."""
LEAST_CELLS = 30
"""Fewest hard positives to judge by. A choice."""


def _hard_ranking(matched: Matched, member: int) -> tuple[float, int]:
    """Return how well a member ranks what the others rank wrongly.

    Of each label, the positives that the other members' mean scores lowest are held against as many negatives that it
    scores highest.
    """
    if matched.y_true is None:
        return float("nan"), 0
    others, own = matched.others(member), matched.standard[member]
    right = pairs = n_positives = 0.0
    for label in range(len(matched.labels)):
        truth, known = matched.y_true[:, label], matched.known[:, label]
        positives, negatives = np.flatnonzero(truth), np.flatnonzero(known & ~truth)
        n_hard = int(HARD_SHARE * min(len(positives), len(negatives)))
        if n_hard < 1 or not own[:, label].any():
            continue
        low = positives[np.argpartition(others[positives, label], n_hard - 1)[:n_hard]]
        high = negatives[np.argpartition(-others[negatives, label], n_hard - 1)[:n_hard]]
        scores = np.sort(own[high, label])  # a pair counts where its negative is lower, half where the two tie
        below = [np.searchsorted(scores, own[low, label], side=side).sum() for side in ("left", "right")]
        right += sum(below) / 2 / n_hard  # weighted by the hard positives
        pairs += n_hard
        n_positives += n_hard
    return (right / pairs if pairs else float("nan")), int(n_positives)


def check_seen_rows(matched: Matched, test: Matched | None = None) -> Iterator[Finding]:
    """Find members that were trained on the rows that they score.

    Parameters
    ----------
    matched : Matched
        Members side by side.
    test : Matched, optional
        The same members on samples that none was trained on.

    Yields
    ------
    Finding
        Of the check "seen-rows".
    """
    reported = set()
    if matched.y_true is None and test is None:
        yield Finding("skipped", "seen-rows", "Seen rows cannot be found without the truth or test scores (--test).")
        return
    if test is not None:
        for finding in _beside_test(matched, test):
            reported.add(finding.member)
            yield finding
    if len(matched.models) < 2 or matched.y_true is None:
        if test is None:
            yield Finding("skipped", "seen-rows", "Seen rows cannot be found with one member and without test scores.")
        return
    ranked = [_hard_ranking(matched, place) for place in range(len(matched.models))]
    for place, (value, n_positives) in enumerate(ranked):
        peers = [other for other, (hard, _) in enumerate(ranked) if other != place and np.isfinite(hard)]
        is_candidate = value >= SUSPICIOUS and n_positives >= LEAST_CELLS and matched.models[place] not in reported
        if not is_candidate or not peers:
            continue
        rest = np.array([ranked[other][0] for other in peers])
        everywhere = _rankings(matched.scores.astype(np.float64), matched, matched.labels)
        if np.median(everywhere[peers] - rest) < TOGETHER:  # they err each on its own: a good member is right there too
            is_flawless = min(value, everywhere[place]) >= FLAWLESS
            is_strange = is_certain = is_flawless and rest.max() < TOO_GOOD + AHEAD / 4
        else:
            is_certain = value >= TOO_GOOD and value - rest.max() >= AHEAD
            is_strange = value - rest.max() >= AHEAD
        if is_strange:
            yield _too_good(matched.models[place], value, float(np.median(rest)), is_certain)


def _too_good(name: str, value: float, others: float, is_certain: bool) -> Finding:
    """Say that a member ranks rightly what nobody else can."""
    verb = "has seen" if is_certain else "may have seen"
    return Finding(
        "red" if is_certain else "yellow",
        "seen-rows",
        f"{name} {verb} the rows that it scores: it ranks {value:.0%} of the pairs rightly that all others rank "
        f"wrongly (the other members {others:.0%}).",
        name,
        remedy="Give its out-of-fold scores: each row scored by a model that was not trained on it."
        + ("" if is_certain else " If it is simply far better than the others, compare it on test rows (--test)."),
        evidence={"hard_ranking": float(value), "others": others},
    )


def _beside_test(matched: Matched, test: Matched) -> Iterator[Finding]:
    """Find members whose scores are worse, or less certain, on test rows by much more than the others'."""
    shared = [name for name in matched.models if name in test.models]
    labels = [label for label in matched.labels if label in test.labels]
    if not shared or not labels:
        yield Finding("skipped", "seen-rows", "The test scores share no member or label with the others.")
        return
    here, there = (_take(side, shared, labels) for side in (matched, test))
    certain = _certainties(here) - _certainties(there)
    drops = {"certainty": certain}
    if matched.y_true is not None and test.y_true is not None:
        drops["ranking"] = _rankings(here, matched, labels) - _rankings(there, test, labels)
    for place, name in enumerate(shared):
        for what, drop in drops.items():
            rest = np.delete(drop, place)
            usual = float(np.median(rest)) if len(rest) else 0.0
            own = float(drop[place])
            if not own - max(usual, 0.0) > DROPS[what]:
                continue
            words = {
                "certainty": f"its scores are far less certain on the test rows (their entropy there is "
                f"{np.exp(own):.2f} times as high, that of the other members {np.exp(usual):.2f})",
                "ranking": f"it ranks the test rows worse (AUC lower by {own:.3f}, the other members {usual:.3f})",
            }[what]
            yield Finding(
                "red",
                "seen-rows",
                f"{name} has seen the rows that it scores: {words}.",
                name,
                remedy="Give its out-of-fold scores: each row scored by a model that was not trained on it.",
                evidence={f"drop_of_{what}": own, "others": usual},
            )
            break


DROPS = {"certainty": 0.25, "ranking": 0.05}
"""How much more a member must lose on test rows than the others: of the logarithm of the mean entropy, of the AUC. On
six tabular data sets honest members, whose fold models are averaged on test rows, lost up to .16 and .02 more than the
others; members that scored their own training rows .02 to .4 of the AUC."""


def _take(side: Matched, models: list[str], labels: list[str]) -> DoubleArray:
    """Select members and labels."""
    members = [side.models.index(name) for name in models]
    columns = [side.labels.index(label) for label in labels]
    chosen: DoubleArray = side.scores[members][:, :, columns].astype(np.float64)
    return chosen


def _certainties(scores: DoubleArray) -> DoubleArray:
    """Return, per member, minus the logarithm of the mean entropy of its scores."""
    inside = np.clip(scores, 1e-6, 1 - 1e-6)
    entropy = -(inside * np.log2(inside) + (1 - inside) * np.log2(1 - inside))
    mean: DoubleArray = -np.log(np.maximum(np.nanmean(entropy, axis=(1, 2)), 1e-9))
    return mean


def _rankings(scores: DoubleArray, side: Matched, labels: list[str]) -> DoubleArray:
    """Return, per member, the mean AUC over the labels that have positives and negatives."""
    if side.y_true is None:
        return np.zeros(len(scores))
    columns = [side.labels.index(label) for label in labels]
    truth, known = side.y_true[:, columns], side.known[:, columns]
    n_positive, n_known = truth.sum(axis=0), known.sum(axis=0)
    usable = np.flatnonzero((n_positive >= 5) & (n_positive <= n_known - 5))
    values = np.full(len(scores), np.nan)
    for member, matrix in enumerate(scores):
        # unknown cells get the highest ranks, where they move those of no other cell
        ranks = rankdata(np.where(known, np.nan_to_num(matrix), np.inf)[:, usable], axis=0)
        n = n_positive[usable]
        auc = ((ranks * truth[:, usable]).sum(axis=0) - n * (n + 1) / 2) / (n * (n_known[usable] - n))
        values[member] = auc.mean() if len(usable) else 0.0
    return values
