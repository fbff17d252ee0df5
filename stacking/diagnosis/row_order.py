"""Rows that hold the scores of other samples: shuffled, shifted, sorted otherwise, in whole or in part.

Scores in the wrong rows agree with the truth, and with the other members, no better than in random order
(`stacking.diagnosis.agreement`). Where an order is found under which they agree, it is named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
from scipy.stats import norm

from stacking._typing import DoubleArray, FloatArray, IntArray
from stacking.diagnosis.agreement import agreement, certainty, chance_deviation, gram
from stacking.diagnosis.findings import Finding
from stacking.diagnosis.matched import Matched
from stacking.diagnosis.mending import mend_table, quoted

CHANCE = 4.0
"""Standard deviations below which an agreement may be chance: about one in 30,000."""
CERTAIN = 10.0
"""Standard deviations of the other members' agreement from which one that agrees by chance only stands out. Of 39
real members of jamendo, the weakest of them far below the mean, each agrees with the others by more."""
FALSE_ALARM = 1e-3
"""Chance that any label of any member is taken for inverted where none is. A choice."""
ALREADY_RIGHT = 0.9
"""Share of the agreement in another order from which the given order is taken for right: a choice."""
BLOCK_USUAL, BLOCK_LOW, BLOCK_PEERS = 0.8, 0.3, 0.6
"""Where stretches of rows are looked at: the share of `CERTAIN` that a member must usually reach in one, the share of
what is usual below which one is suspected, and the share of `CERTAIN` that the other members must reach in it. Choices:
stretches are short, so their agreement varies."""
N_BLOCKS, BLOCK_ROWS = (20, 10, 5), 50
"""Numbers of stretches into which rows are cut (taken is the finest in which a member's agreement is certain), and the
fewest rows of one. Choices."""


def check_rows(matched: Matched, skip: Collection[str] = ()) -> Iterator[Finding]:
    """Find members, or a truth, whose rows are in another order than their ids say.

    Parameters
    ----------
    matched : Matched
        Members side by side.
    skip : collection of str, default=()
        Members whose columns are known to stand wrong, which alone makes them agree by chance.

    Yields
    ------
    Finding
        Of the check "rows".
    """
    if matched.n_samples < 10:
        yield Finding("skipped", "rows", f"The order of rows cannot be judged on {matched.n_samples} samples.")
        return
    truth = matched.standard_truth
    if truth is None and len(matched.models) < 2:
        yield Finding("skipped", "rows", "The order of rows cannot be judged without the truth or a second member.")
        return
    by_truth = [0.0 if truth is None else certainty(own, truth) for own in matched.standard]
    by_others = [certainty(matched.standard[place], matched.others(place)) for place in range(len(matched.models))]
    if truth is not None and len(matched.models) > 1 and _truth_is_alone(by_truth, by_others):
        yield _about_the_truth(matched)
        return
    strength = [max(pair, key=abs) for pair in zip(by_truth, by_others, strict=True)]
    for place in range(len(matched.models)):
        if not matched.standard[place].any() or matched.models[place] in skip:
            continue
        rest = [abs(value) for other, value in enumerate(strength) if other != place]
        reference = truth if truth is not None else matched.others(place)
        moved = _find_order(matched, place, reference)
        if moved is not None:
            yield _moved(matched, place, *moved)
        elif abs(strength[place]) < CHANCE and (np.median(rest) if rest else np.inf) >= CERTAIN:
            yield _shuffled(matched, place, strength[place], float(np.median(rest)) if rest else None)
        elif abs(strength[place]) >= CERTAIN:
            # The others' mean says more than the truth, as members err together.
            yield from _find_blocks(matched, place, matched.others(place) if len(matched.models) > 2 else reference)


def _truth_is_alone(by_truth: list[float], by_others: list[float]) -> bool:
    """Tell whether the members agree with each other and none with the truth."""
    return float(np.median(by_others)) >= CERTAIN and max(map(abs, by_truth)) < CHANCE


def _about_the_truth(matched: Matched) -> Finding:
    """Say that the truth's rows are in another order, and in which if it is one of the usual."""
    everyone = matched.standard.sum(axis=0)
    message = "The members agree with each other row by row, and none agrees with the truth: its rows are shuffled."
    if matched.standard_truth is not None:
        shift, certain = _best_shift(matched.standard_truth, everyone)
        if certain >= CERTAIN and shift:
            message = f"The truth agrees with the members when its rows are moved by {shift}: they are shifted."
    return Finding("red", "rows", message, remedy="Write the truth again with the ids that its rows belong to.")


def _shuffled(matched: Matched, place: int, own: float, others: float | None) -> Finding:
    """Say that a member agrees with nothing."""
    name = matched.models[place]
    measured = "" if others is None else f" ({own:.1f} standard deviations, the other members {others:.0f})"
    what = "the truth and the other members" if matched.y_true is not None else "the other members"
    return Finding(
        "red",
        "rows",
        f"{name} agrees with {what} no better than with its rows in random order{measured}: its rows are shuffled, or "
        "its columns, or it learned nothing.",
        name,
        remedy="Write its scores again with the id of the sample that each row belongs to; until then leave it out.",
        evidence={"certainty": own, **({} if others is None else {"others": others})},
    )


def _find_order(matched: Matched, place: int, reference: FloatArray) -> tuple[str, str, float, float] | None:
    """Find an order under which a member agrees far better: (words, expression of the new ids, before, after)."""
    rows = matched.file_rows[place] if matched.file_rows else np.arange(matched.n_samples)
    present = rows[rows >= 0]
    if len(np.unique(present)) < matched.n_samples or len(present) != matched.n_samples:
        return None
    own, wanted = matched.standard[place][present], reference[present]
    deviation = chance_deviation(gram(own), gram(wanted), len(own))
    if deviation == 0:
        return None
    before = agreement(own, wanted)
    shift, after = _best_shift_value(own, wanted)
    best = (f"moved by {abs(shift)} {'row' if abs(shift) == 1 else 'rows'}", f"np.roll(t.index, {shift})", after)
    for words, expression, order in _usual_orders(matched, place, present):
        value = agreement(own, reference[order])
        if value > best[2]:
            best = (words, expression, value)
    words, expression, after = best
    if (
        (shift == 0 and words.startswith("moved"))
        or min(after, after - before) < CERTAIN * deviation
        or before > ALREADY_RIGHT * after
    ):
        return None
    return words, expression, before / deviation, after / deviation


def _usual_orders(matched: Matched, place: int, present: IntArray) -> Iterator[tuple[str, str, IntArray]]:
    """Yield the ways in which ids and scores part company: (words, expression of the right ids, their positions)."""
    names = [matched.ids[row] for row in present]
    position = {name: row for row, name in enumerate(matched.ids)}
    yield "in reverse order", "t.index[::-1]", present[::-1]
    yield "sorted by id", "sorted(t.index)", np.array([position[name] for name in sorted(names)])
    if all(name.isdecimal() for name in names):
        ordered = sorted(names, key=int)
        yield "sorted by id as a number", "sorted(t.index, key=int)", np.array([position[name] for name in ordered])
    if matched.truth_path is not None and not np.array_equal(present, np.arange(matched.n_samples)):
        yield "in the order of the truth", _ids_of(matched.truth_path), np.arange(matched.n_samples)
    for other, rows in enumerate(matched.file_rows):
        if other != place and len(rows) == len(present) and (rows >= 0).all() and not np.array_equal(rows, present):
            path = matched.path_of(other)
            if path is not None:
                yield f"in the order of {matched.models[other]}", _ids_of(path), rows
                return


def _ids_of(path: Path) -> str:
    """Write how to read the ids of a table."""
    return f"pd.read_csv({quoted(str(path))}, dtype=str).iloc[:, 0]"


def _moved(matched: Matched, place: int, words: str, expression: str, before: float, after: float) -> Finding:
    """Say under which order a member agrees."""
    name = matched.models[place]
    return Finding(
        "red",
        "rows",
        f"{name} has its scores in the wrong rows: {words}, they agree with the others ({after:.0f} standard "
        f"deviations instead of {before:.0f}).",
        name,
        remedy="Give the rows the ids that they belong to.",
        command=mend_table(matched.path_of(place), f"t.set_axis({expression}).rename_axis(t.index.name)", name),
        evidence={"certainty": before, "certainty_in_that_order": after},
    )


def _best_shift(own: FloatArray, reference: FloatArray) -> tuple[int, float]:
    """Return the cyclic shift of the rows that agrees best, and how certain that agreement is."""
    shift, value = _best_shift_value(own, reference)
    deviation = chance_deviation(gram(own), gram(reference), len(own))
    return shift, value / deviation if deviation > 0 else 0.0


def _best_shift_value(own: FloatArray, reference: FloatArray) -> tuple[int, float]:
    """Return the shift s for which row i of `own` agrees best with row i + s of `reference`, and their agreement.

    All shifts at once: the cross-correlation by the Fourier transform, summed over the labels.
    """
    n_rows = len(own)
    total = np.zeros(n_rows // 2 + 1, np.complex128)
    for first in range(0, own.shape[1], 64):  # some labels at a time: memory
        part = slice(first, first + 64)
        total += (np.fft.rfft(own[:, part], axis=0).conj() * np.fft.rfft(reference[:, part], axis=0)).sum(axis=1)
    values: DoubleArray = np.fft.irfft(total, n_rows) / n_rows
    best = int(values.argmax())
    return (best if best <= n_rows // 2 else best - n_rows) * -1, float(values[best])


def _find_blocks(matched: Matched, place: int, reference: FloatArray) -> Iterator[Finding]:
    """Find stretches of rows, or folds, that agree by chance only while the rest of the member agrees."""
    name = matched.models[place]
    for what, blocks in _blocks(matched, place):
        own = np.array([_block_certainty(matched.standard[place], reference, rows) for rows in blocks])
        usual = float(np.quantile(own, 0.75))  # not the median: up to half of the rows may be shuffled
        if usual < BLOCK_USUAL * CERTAIN:
            continue  # the next cut is coarser
        low = np.flatnonzero((own < CHANCE) & (own < BLOCK_LOW * usual)).tolist()
        wrong = [number for number in low if _peers_agree(matched, place, reference, blocks[number])]
        if wrong:
            rows = np.concatenate([blocks[number] for number in wrong])
            where = f"fold {', '.join(map(str, wrong))}" if what == "fold" else f"{len(rows):,} rows"
            yield Finding(
                "red",
                "rows",
                f"{name} agrees with the others, but in {where}, the first {matched.ids[rows[0]]!r}, the last "
                f"{matched.ids[rows[-1]]!r}, no better than by chance: these rows are shuffled.",
                name,
                remedy="Write these scores again with the ids of their samples; until then leave the member out.",
                evidence={"certainty": float(own[wrong].max()), "elsewhere": usual},
            )
        return


def _peers_agree(matched: Matched, place: int, reference: FloatArray, rows: IntArray) -> bool:
    """Tell whether the other members agree within some rows."""
    peers = [
        _block_certainty(matched.standard[other], reference, rows)
        for other in range(len(matched.models))
        if other != place and matched.standard[other].any()
    ]
    return not peers or float(np.median(peers)) >= BLOCK_PEERS * CERTAIN


def _blocks(matched: Matched, place: int) -> Iterator[tuple[str, list[IntArray]]]:
    """Cut the rows into folds, where they are known, and into stretches as they lie in the member's file."""
    if matched.folds is not None and len(np.unique(matched.folds)) > 1:
        folds = [np.flatnonzero(matched.folds == fold) for fold in np.unique(matched.folds)]
        if min(map(len, folds)) >= BLOCK_ROWS:
            yield "fold", folds
    rows = matched.file_rows[place] if matched.file_rows else np.arange(matched.n_samples)
    present = rows[rows >= 0]
    for n_blocks in N_BLOCKS:
        if len(present) >= n_blocks * BLOCK_ROWS:
            yield "rows", list(np.array_split(present, n_blocks))


def _block_certainty(own: FloatArray, reference: FloatArray, rows: IntArray) -> float:
    """Return how certain the agreement within some rows is."""
    first, second = own[rows], reference[rows]
    return certainty(first - first.mean(axis=0), second - second.mean(axis=0))


def check_inverted(matched: Matched) -> Iterator[Finding]:
    """Find members, and labels of members, whose high scores mean that a label is not there.

    Parameters
    ----------
    matched : Matched
        Members side by side.

    Yields
    ------
    Finding
        Of the check "inverted".
    """
    if matched.n_samples < 10:
        return
    truth = matched.standard_truth
    if truth is None and len(matched.models) < 3:  # of two that disagree, nobody can say which is inverted
        yield Finding("skipped", "inverted", "Without the truth it takes three members to say which one is inverted.")
        return
    for place, name in enumerate(matched.models):
        reference = truth if truth is not None else matched.others(place)
        own = certainty(matched.standard[place], reference)
        path = matched.path_of(place)
        if own < -CHANCE:
            yield Finding(
                "red",
                "inverted",
                f"{name} gives high scores where labels are absent ({own:.0f} standard deviations): it holds 1 − p.",
                name,
                remedy="Subtract its scores from 1.",
                command=mend_table(path, "1 - t", name),
                evidence={"certainty": own},
            )
            continue
        if truth is None:
            continue
        correlation = (matched.standard[place] * truth).mean(axis=0) * np.sqrt(matched.n_samples)
        rest = (matched.others(place) * truth).mean(axis=0) * np.sqrt(matched.n_samples)
        limit = norm.isf(FALSE_ALARM / (len(matched.models) * len(matched.labels)))
        wrong = (correlation < -limit) & ((rest > 2) if len(matched.models) > 1 else True)
        labels = tuple(label for label, is_wrong in zip(matched.labels, wrong, strict=True) if is_wrong)
        if labels:
            yield Finding(
                "red",
                "inverted",
                f"{name} gives high scores where the label is absent, for {len(labels):,} of {len(matched.labels):,} "
                f"labels: {', '.join(map(repr, labels[:3]))}.",
                name,
                labels,
                remedy="Subtract these columns from 1.",
                command=mend_table(path, f"t.assign(**(1 - t[{quoted(list(labels))}]))", name),
            )
