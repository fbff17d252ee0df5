"""Ids that are missing or there twice, and label names that do not meet."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from stacking._checks import first_names
from stacking.diagnosis.findings import Finding
from stacking.diagnosis.mending import mend_table, quoted
from stacking.diagnosis.raw_inputs import RawInputs, RawMember
from stacking.named_arrays import find_difference

NEAR = 0.75
"""Similarity from which a name that is nowhere else counts as a misspelling of one that is missing (`difflib`'s ratio:
one letter in four wrong, doubled or left out). A choice."""


def check_ids(raw: RawInputs) -> Iterator[Finding]:
    """Find ids that are there twice, missing, or known to one file only.

    Parameters
    ----------
    raw : RawInputs
        As read.

    Yields
    ------
    Finding
        Of the check "ids".
    """
    for member in raw.members:
        twice = [name for name, count in Counter(member.ids).items() if count > 1]
        if twice:
            yield Finding(
                "red",
                "ids",
                f"{member.name} has {len(twice):,} ids more than once, such as {first_names(twice)}: which row counts?",
                member.name,
                remedy="Keep one row each; here the first.",
                command=mend_table(member.path, "t[~t.index.duplicated()]", member.name),
            )
        blank = sum(not name.strip() for name in member.ids)
        if blank:
            yield Finding("red", "ids", f"{member.name} has {blank:,} rows without an id.", member.name,
                          remedy="Name them, or drop them.")  # fmt: skip
    wanted, whose = _reference_ids(raw)
    for member in raw.members:
        yield from _compare_ids(member, wanted, whose)


def _reference_ids(raw: RawInputs) -> tuple[list[str], str]:
    """Say which samples there should be: those of the truth, else those that most members have."""
    if raw.truth is not None:
        return raw.truth.ids.tolist(), "the truth"
    if not raw.members:
        return [], ""
    counts = Counter(frozenset(member.ids) for member in raw.members)
    usual = counts.most_common(1)[0][0]
    first = next(member for member in raw.members if frozenset(member.ids) == usual)
    return list(dict.fromkeys(first.ids)), first.name


def _compare_ids(member: RawMember, wanted: list[str], whose: str) -> Iterator[Finding]:
    """Hold a member's ids against those that there should be."""
    own, needed = set(member.ids), set(wanted)
    missing = [name for name in wanted if name not in own]
    unknown = [name for name in dict.fromkeys(member.ids) if name not in needed]
    if not missing and not unknown:
        return
    parts = []
    if missing:
        parts.append(f"lacks {len(missing):,} of the {len(wanted):,} ids of {whose}, such as {first_names(missing)}")
    if unknown:
        parts.append(f"has {len(unknown):,} that {whose} has not, such as {first_names(unknown)}")
    difference = find_difference(missing[0], unknown) if missing and unknown else ""
    remedy = f"{difference}." if difference else "Score the samples that are missing, or leave them out everywhere."
    command = ""
    if unknown and not missing:
        remedy = "Drop the rows that are too many."
        command = mend_table(member.path, f"t.drop(index={quoted(unknown)})", member.name) if len(unknown) <= 20 else ""
    yield Finding("red", "ids", f"{member.name} {' and '.join(parts)}.", member.name, remedy=remedy, command=command)


def check_labels(raw: RawInputs) -> Iterator[Finding]:
    """Find labels that are misspelt, unknown, or answered by some members only.

    Parameters
    ----------
    raw : RawInputs
        As read.

    Yields
    ------
    Finding
        Of the check "labels".
    """
    wanted, whose = _reference_labels(raw)
    for member in raw.members:
        twice = [name for name, count in Counter(member.labels).items() if count > 1]
        if twice:
            yield Finding("red", "labels", f"{member.name} has columns of one name: {first_names(twice)}.", member.name,
                          tuple(twice), remedy="Rename or drop one.")  # fmt: skip
        yield from _compare_labels(member, wanted, whose, raw.truth is not None)
    for first, second in _alike(wanted):
        yield Finding(
            "yellow",
            "labels",
            f"{whose} has {first!r} and {second!r}, which differ in spelling only.",
            labels=(first, second),
            remedy="If they are one label, write it in one way everywhere.",
        )


def find_misspelt(raw: RawInputs) -> dict[str, dict[str, str]]:
    """Pair label names that only one member has with those that only it lacks.

    Parameters
    ----------
    raw : RawInputs
        As read.

    Returns
    -------
    dict of str to dict of str to str
        By member: what it wrote, and what it should have written.
    """
    wanted, _ = _reference_labels(raw)
    return {member.name: _pair_names(member.labels, wanted) for member in raw.members}


def _reference_labels(raw: RawInputs) -> tuple[list[str], str]:
    """Say which labels there should be: those of the truth, else those that at least half of the members have."""
    if raw.truth is not None:
        return list(raw.truth.labels), "the truth"
    counts = Counter(label for member in raw.members for label in dict.fromkeys(member.labels))
    return [label for label, count in counts.items() if 2 * count >= len(raw.members)], "most members"


def _pair_names(found: Sequence[str], wanted: Sequence[str]) -> dict[str, str]:
    """Pair unknown names with missing ones that are spelt almost alike, the nearest first."""
    unknown = [name for name in dict.fromkeys(found) if name not in set(wanted)]
    missing = [name for name in wanted if name not in set(found)]
    likeness = sorted(
        ((_likeness(one, other), one, other) for one in unknown for other in missing), key=lambda triple: -triple[0]
    )
    pairs: dict[str, str] = {}
    for value, one, other in likeness:
        if value >= NEAR and one not in pairs and other not in pairs.values():
            pairs[one] = other
    return pairs


def _likeness(one: str, other: str) -> float:
    """Return how alike two names are: 1 where only case, spaces and signs differ."""
    first, second = _bare(one), _bare(other)
    return 1.0 if first == second and first else SequenceMatcher(None, first or one, second or other).ratio()


def _bare(name: str) -> str:
    """Leave the letters and digits of a name."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name).casefold())


def _compare_labels(member: RawMember, wanted: list[str], whose: str, is_strict: bool) -> Iterator[Finding]:
    """Hold a member's labels against those that there should be."""
    pairs = _pair_names(member.labels, wanted)
    if pairs:
        shown = ", ".join(f"{one!r} for {other!r}" for one, other in list(pairs.items())[:3])
        yield Finding(
            "red",
            "labels",
            f"{member.name} spells {len(pairs)} {'label' if len(pairs) == 1 else 'labels'} otherwise than {whose}: "
            f"{shown}.",
            member.name,
            tuple(pairs.values()),
            remedy="Rename the column." if len(pairs) == 1 else "Rename the columns.",
            command=mend_table(member.path, f"t.rename(columns={quoted(pairs)})", member.name),
        )
    unknown = [name for name in dict.fromkeys(member.labels) if name not in set(wanted) and name not in pairs]
    missing = [name for name in wanted if name not in set(member.labels) and name not in pairs.values()]
    if unknown:
        yield Finding(
            "red" if is_strict else "yellow",
            "labels",
            f"{member.name} has {len(unknown)} {'label' if len(unknown) == 1 else 'labels'} that {whose} has not, "
            f"such as {first_names(unknown)}.",
            member.name,
            tuple(unknown),
            remedy="Drop these columns, or add the labels to the truth.",
            command=mend_table(member.path, f"t.drop(columns={quoted(unknown)})", member.name)
            if len(unknown) <= 20
            else "",
        )
    if missing:
        yield Finding(
            "yellow",
            "labels",
            f"{member.name} does not answer {len(missing):,} of {len(wanted):,} labels, such as "
            f"{first_names(missing)}: it counts as a specialist for the others.",
            member.name,
            tuple(missing),
            remedy="Nothing is to be done if that is meant.",
        )


def _alike(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of names that are one but for case, spaces and signs."""
    seen: dict[str, str] = {}
    for name in names:
        bare = _bare(name)
        if bare and bare in seen:
            yield seen[bare], name
        seen.setdefault(bare, name)
