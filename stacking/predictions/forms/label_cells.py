"""Labels in the cells of a table: the one place that says where a label ends, and which column a key means.

Photo tables and truth tables come here with the cells of one column. One separator is chosen for the whole column,
never cell by cell: ``|``, semicolons, commas, white space between ids, or a Python or JSON list. Where the labels of
the task are known, the separator is the one under which every part is a label. Where they are not, what could be one
label of several words or several labels is refused instead of guessed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from stacking._checks import first_names

Keys = tuple[str, ...]
Kind = Literal["ids", "names"]

WHITE_SPACE = " "
SEPARATORS = ("|", ";", ",", WHITE_SPACE)
SEPARATOR_WORDS = {"|": "'|'", ";": "semicolons", ",": "commas", WHITE_SPACE: "spaces"}
_BRACKETS = {"[": "]", "(": ")", "{": "}"}
_EMPTY = ("()", "{}", "set()")
"""How Python writes a tuple or set without members: a list without labels where other cells are lists."""
_ITEM = re.compile(
    r"""\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^\s,'"\[\](){}]+(?:[ \t]+[^\s,'"\[\](){}]+)*))\s*"""
)
_BROKEN_LIST = re.compile(r"""\[\s*['"]""")
_ESCAPE = re.compile(r"\\(u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r"}
MOST_ONCE = 0.5
"""Above this share of labels that occur once, a column without a label list is said to be split wrongly, perhaps. A
choice, not tuned; only a warning depends on it."""
FEW_SAMPLES = 20
"""Below it nearly every label occurs once, and nothing is said. A choice, not tuned."""


@dataclass(frozen=True)
class LabelList:
    """
    The labels of a task.

    Parameters
    ----------
    names : tuple of str
        Their names, in order.
    ids : tuple of str, optional
        Their ids in the data set, where they differ from the names.
    groups : tuple of str, optional
        Their groups.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...] | None = None
    groups: tuple[str, ...] | None = None

    @property
    def keys(self) -> frozenset[str]:
        """Give all that a file may call a label: names and ids."""
        return frozenset(self.names) | frozenset(self.ids or ())

    def to_names(self, keys: Sequence[str], who: str) -> tuple[str, ...]:
        """
        Call columns by names where they are called by ids.

        Parameters
        ----------
        keys : sequence of str
            What the columns are called: all names, or all ids.
        who : str
            Whose they are, for errors.

        Returns
        -------
        tuple of str
            Names; keys that are neither stay, for whoever refuses them.
        """
        places = match_label_keys(keys, self, who=who, prefer="names")
        return tuple(self.names[places[key]] if key in places else key for key in keys)


def match_label_keys(keys: Iterable[str], labels: LabelList, *, who: str, prefer: Kind | None = None) -> dict[str, int]:
    """
    Decide whether label keys are ids or names, all together, and find the label of each.

    Parameters
    ----------
    keys : iterable of str
        What a file calls its labels.
    labels : LabelList
        Names and, where they differ, ids.
    who : str
        Whose keys they are, for the error.
    prefer : {"ids", "names"}, optional
        What the file says that they are, by the name of a column or by its form; it decides where both are possible.

    Returns
    -------
    dict of str to int
        Position of each key's label; unknown keys are left out.

    Raises
    ------
    ValueError
        If the keys could be ids as well as names, and would mean different labels.

    Notes
    -----
    Keys that all are ids are ids, keys that all are names are names. Where some are only the one and some only the
    other, each is what it can be.

    Examples
    --------
    >>> match_label_keys(["7", "9"], LabelList(("red", "blue"), ids=("7", "9")), who="truth")
    {'7': 0, '9': 1}
    """
    found = list(dict.fromkeys(keys))
    names = {name: position for position, name in enumerate(labels.names)}
    if labels.ids is None:
        return {key: names[key] for key in found if key in names}
    ids = {name: position for position, name in enumerate(labels.ids)}
    if prefer is not None:
        first, second = (ids, names) if prefer == "ids" else (names, ids)
        if all(key in first for key in found):
            return {key: first[key] for key in found}
        if all(key in second for key in found):
            return {key: second[key] for key in found}
    all_ids, all_names = all(key in ids for key in found), all(key in names for key in found)
    torn = [key for key in found if key in ids and key in names and ids[key] != names[key]]
    if torn and all_ids == all_names:
        key = torn[0]
        raise ValueError(
            f"{who}: the labels must be ids or names, and could be both: {key!r} is the id of "
            f"{labels.names[ids[key]]!r} and the name of the label with the id {labels.ids[names[key]]!r}; call the "
            "column 'labelId' or 'labelName'."
        )
    first, second = (names, ids) if all_names else (ids, names)
    return {key: first.get(key, second.get(key, -1)) for key in found if key in first or key in second}


def split_cells(
    cells: Sequence[str], *, known: Collection[str] | None = None, separator: str | None = None, who: str
) -> list[Keys]:
    """
    Split the cells of a column into labels.

    Parameters
    ----------
    cells : sequence of str
        The column; a blank cell holds no label.
    known : collection of str, optional
        Names and ids of the labels. A cell that is one of them stays whole.
    separator : str, optional
        What separates labels, an empty text or a space for white space; by default it is found.
    who : str
        Whose column it is, for errors.

    Returns
    -------
    list of tuple of str
        The labels of every cell, stripped, as written; unknown ones too, which the caller refuses with their row.

    Raises
    ------
    ValueError
        If there is more than one way to read the column, or none.

    Examples
    --------
    >>> split_cells(["red, blue", "red", ""], who="labels.csv")
    [('red', 'blue'), ('red',), ()]
    >>> split_cells(["long sleeve", "red"], who="labels.csv")
    [('long sleeve',), ('red',)]
    >>> split_cells(["['red', 'dark blue']", "[]"], who="labels.csv")
    [('red', 'dark blue'), ()]
    """
    texts = [text for text in dict.fromkeys(cell.strip() for cell in cells) if text]
    parts = _read_column(texts, frozenset(known) if known is not None else None, separator, who)
    return [parts.get(cell.strip(), ()) for cell in cells]


def warn_of_rare_labels(counts: Counter[str], n_samples: int, *, who: str) -> str:
    """
    Say so where most labels occur once, as they do where a column was split at the wrong places.

    Parameters
    ----------
    counts : Counter of str
        Samples by label.
    n_samples : int
        All samples.
    who : str
        Whose labels they are.

    Returns
    -------
    str
        One sentence, or nothing.
    """
    once = [label for label, count in counts.items() if count == 1]
    if n_samples < FEW_SAMPLES or len(once) <= MOST_ONCE * len(counts):
        return ""
    return (
        f"{who}: {len(once):,} of {len(counts):,} labels occur in one sample only, such as {first_names(once)}: "
        "is the separator right? A label list or a separator given for the column decides."
    )


def _read_column(texts: list[str], known: frozenset[str] | None, separator: str | None, who: str) -> dict[str, Keys]:
    """Choose how the distinct cells are read."""
    if separator is not None:
        return {text: _split(text, separator.strip() or WHITE_SPACE) for text in texts}
    lists = [text for text in texts if _BROKEN_LIST.match(text) or _is_list(text)]
    if lists and known is not None:
        # labels may look like lists themselves
        whole = all(text in known for text in lists)
        barred = any("|" in text for text in texts)
        lists = [] if whole or (barred and all(key in known for text in texts for key in _split(text, "|"))) else lists
    if lists:
        plain = next((text for text in texts if not _is_list(text) and text not in _EMPTY), None)
        if plain is not None:
            raise ValueError(
                f"{who} must write all labels in one form: {lists[0][:80]!r} looks like a list and {plain[:80]!r} is "
                "none; join labels by '|'."
            )
        return {text: () if text in _EMPTY else _parse_list(text, who) for text in texts}
    return _by_evidence(texts, who) if known is None else _by_known(texts, known, who)


def _split(text: str, separator: str) -> Keys:
    """Split one cell; parts are stripped, empty ones dropped."""
    parts = text.split() if separator == WHITE_SPACE else (part.strip() for part in text.split(separator))
    return tuple(part for part in parts if part)


def _is_list(text: str) -> bool:
    """Tell whether a cell is a list: in square brackets, or in others with quotes inside."""
    if len(text) < 2 or _BRACKETS.get(text[0]) != text[-1]:
        return False
    inside = text[1:-1].strip()
    return text[0] == "[" or (inside[:1] in ("'", '"') and (inside[-1:] in ("'", '"') or inside.endswith(("',", '",'))))


def _parse_list(text: str, who: str) -> Keys:
    """Read a list as Python, JSON or numpy write it; nothing in it is run."""
    inside, place = text[1:-1].strip(), 0
    items: list[str] = []
    commas = "," in _ITEM.sub("", inside)
    while place < len(inside):
        match = _ITEM.match(inside, place)
        if match is None:
            raise ValueError(f"{who} must hold lists such as ['a', 'b']: got {text[:80]!r}; correct it.")
        single, double, bare = match.groups()
        if bare is not None:
            if "..." in bare:
                raise ValueError(f"{who} must hold whole lists: got {text[:80]!r}, which was cut short when printed.")
            items += [bare] if commas else bare.split()  # numpy prints [1 2], without commas
        else:
            items.append(_ESCAPE.sub(_unescape, single if single is not None else double))
        place = match.end()
        place += inside[place : place + 1] == ","
    return tuple(item.strip() for item in items if item.strip())


def _unescape(match: re.Match[str]) -> str:
    """Write what a backslash stands for."""
    code = match.group(1)
    return chr(int(code[1:], 16)) if len(code) > 1 else _ESCAPED.get(code, code)


def _by_known(texts: list[str], known: frozenset[str], who: str) -> dict[str, Keys]:
    """Find the separator under which every part is a known label."""
    readings = {separator: _read_by(separator, texts, known, who) for separator in SEPARATORS}
    complete = [(separator, reading) for separator, reading in readings.items() if reading is not None]
    if not complete:
        likely = _likely(texts, known)
        return {text: (text,) if text in known else _split(text, likely) for text in texts}
    (first, chosen), *others = complete
    for separator, reading in others:
        differing = next((text for text in texts if set(reading[text]) != set(chosen[text])), None)
        if differing is not None:
            raise ValueError(
                f"{who} must be read in one way: {differing!r} is labels separated by {SEPARATOR_WORDS[first]} or by "
                f"{SEPARATOR_WORDS[separator]}; give the separator, or join labels by '|'."
            )
    return chosen


def _read_by(separator: str, texts: list[str], known: frozenset[str], who: str) -> dict[str, Keys] | None:
    """Split all cells by one separator but for those that are labels; None where a part is unknown."""
    reading: dict[str, Keys] = {}
    torn = None
    for text in texts:
        parts = _split(text, separator)
        if text in known:
            reading[text] = (text,)
            if len(parts) > 1 and known.issuperset(parts):
                torn = torn or text
        elif known.issuperset(parts):
            reading[text] = parts
        else:
            return None
    if torn is not None:
        raise ValueError(
            f"{who} must say where a label ends: {torn!r} is a label and could be the labels "
            f"{first_names(_split(torn, separator))} as well; join labels by '|' and end that cell with it, or give "
            "the separator."
        )
    return reading


def _likely(texts: list[str], known: frozenset[str]) -> str:
    """Choose the separator that makes most parts known, to say which part is not."""
    if any("|" in text for text in texts):
        return "|"
    if all(part.isdecimal() for text in texts for part in text.split()):
        return WHITE_SPACE

    def unknown(separator: str) -> tuple[int, int]:
        keys = [key for text in texts for key in ((text,) if text in known else _split(text, separator))]
        return -sum(key in known for key in keys), sum(key not in known for key in keys)

    return min((";", ",", WHITE_SPACE), key=unknown)


def _by_evidence(texts: list[str], who: str) -> dict[str, Keys]:
    """Find the separator from the cells alone."""
    if any("|" in text for text in texts):
        reading = {text: _split(text, "|") for text in texts}
        _refuse_mixed(reading, who)
        return reading
    semicolon, comma = (next((text for text in texts if mark in text), None) for mark in (";", ","))
    if semicolon is not None and comma is not None:
        raise ValueError(
            f"{who} must separate labels by one mark: got ';' in {semicolon!r} and ',' in {comma!r}; join labels by "
            "'|', give the separator, or a label list."
        )
    if semicolon is not None:
        return {text: _split(text, ";") for text in texts}
    if comma is not None:
        return _by_commas(texts, who)
    words = {text: _split(text, WHITE_SPACE) for text in texts}
    several = [text for text, parts in words.items() if len(parts) > 1]
    if all(part.isdecimal() for text in several for part in words[text]):
        return words
    divisible = _divisible(words, several)
    if divisible is not None:
        raise ValueError(
            f"{who} must say where a label ends: {divisible!r} could be one label or the labels "
            f"{first_names(words[divisible])}, which occur elsewhere too; join labels by '|', give the separator (' ' "
            "for white space), or a label list."
        )
    return {text: (text,) for text in texts}


def _by_commas(texts: list[str], who: str) -> dict[str, Keys]:
    """Split by commas where parts come back in other cells; names that hold a comma do not."""
    reading = {text: _split(text, ",") for text in texts}
    several = [text for text, parts in reading.items() if len(parts) > 1]
    counts = Counter(part for parts in reading.values() for part in set(parts))
    parts_of = [part for text in several for part in reading[text]]
    if several and not all(part.isdecimal() for part in parts_of) and all(counts[part] == 1 for part in parts_of):
        raise ValueError(
            f"{who} must say where a label ends: {several[0]!r} could be one label or the labels "
            f"{first_names(reading[several[0]])}; join labels by '|', give the separator, or a label list."
        )
    return reading


def _divisible(words: dict[str, Keys], several: list[str]) -> str | None:
    """Find a cell of several words each of which stands in another cell too: one label, or several."""
    counts = Counter(part for parts in words.values() for part in set(parts))
    return next((text for text in several if all(counts[part] > 1 for part in words[text])), None)


def _refuse_mixed(reading: dict[str, Keys], who: str) -> None:
    """Refuse a part that is several labels by another separator, each of which stands alone elsewhere."""
    alone = {part for parts in reading.values() for part in parts}
    for part in alone:
        for mark in (";", ","):
            pieces = _split(part, mark)
            if len(pieces) > 1 and all(piece in alone for piece in pieces):
                raise ValueError(
                    f"{who} must separate labels by one mark: got '|' in other cells and {part!r}, whose parts are "
                    "labels too; join labels by '|', or give the separator."
                )
