"""How a text file holds a table: its encoding, what separates its cells, and a first line that only says so."""

import codecs
import csv
import gzip
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from stacking.files.untrusted import check_unpacked_size

CELL_SEPARATORS = (",", ";", "\t")
_SEPARATOR_LINE = re.compile(r'\s*"?sep=([,;\t|])"?\s*', re.IGNORECASE)
"""The first line by which a file tells spreadsheets what separates its cells."""
_HEAD_BYTES = 2**18
"""How much of a file is looked at to find what separates its cells: room for a header of thousands of labels."""
_HEAD_ROWS = 20
"""Rows, the header among them, whose cells are counted where several separators are possible. A choice, not tuned."""


@dataclass(frozen=True)
class TextForm:
    """
    How a text file holds its table.

    Parameters
    ----------
    encoding : str
        ``utf-8-sig``, or ``utf-16`` where the file begins with its mark.
    separator : str
        What separates the cells: a comma, a semicolon or a tab; a bar only where the first line says so.
    n_skipped : int
        1 where the first line only says what separates the cells, else 0.
    """

    encoding: str
    separator: str
    n_skipped: int


def find_text_form(path: Path) -> TextForm:
    """
    Find the encoding of a text file and what separates its cells.

    Parameters
    ----------
    path : Path
        A CSV, TSV or TXT file, plain or gzipped.

    Returns
    -------
    TextForm
        Its separator is what a first line such as ``sep=;`` names, else a tab in a ``.tsv``, else the one that the
        header holds outside quotes. Where the header holds several, the one under which the rows that follow have as
        many cells as the header; a comma where nothing decides.
    """
    check_unpacked_size(path)
    try:
        with opener(path)(path, "rb") as file:
            data = file.read(_HEAD_BYTES)
    except (OSError, EOFError):
        return TextForm("utf-8-sig", ",", 0)  # whoever reads the file says what is wrong with it
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    text = data.decode(encoding, errors="replace")
    if "\0" in text:
        raise ValueError(f"{path} must be UTF-8 text: it holds a NUL character; save it as UTF-8 (CSV UTF-8).")
    lines = text.splitlines(keepends=True)
    said = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    if said or ".tsv" in path.suffixes:
        return TextForm(encoding, said[1] if said else "\t", int(said is not None))
    whole = len(data) < _HEAD_BYTES or len(lines) < 2
    return TextForm(encoding, _guess_separator(lines if whole else lines[:-1]), 0)


def find_cell_separator(path: Path) -> str:
    """
    Find what separates the cells of a text file.

    Parameters
    ----------
    path : Path
        A CSV, TSV or TXT file, plain or gzipped.

    Returns
    -------
    str
        As `find_text_form` finds it.
    """
    return find_text_form(path).separator


def _guess_separator(lines: Sequence[str]) -> str:
    """Find what separates the cells in the first lines of a table."""
    widths: dict[str, list[int]] = {}
    for separator in CELL_SEPARATORS:
        try:
            rows = [row for row in islice(csv.reader(lines, delimiter=separator), _HEAD_ROWS) if row]
        except csv.Error:
            continue
        widths[separator] = [len(row) for row in rows]
    several = [separator for separator, found in widths.items() if found and found[0] > 1]
    even = [separator for separator in several if len(set(widths[separator])) == 1]
    return (even or several or [","])[0]


def opener(path: Path) -> Any:
    """
    Find what opens a text file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    callable
        `gzip.open` for a name that ends with ``.gz``, else `open`.
    """
    return gzip.open if path.suffix.lower() == ".gz" else open


def member_name(path: Path) -> str:
    """Name the member that a file holds.

    Parameters
    ----------
    path : Path
        Its file.

    Returns
    -------
    str
        The file's name without its ending, ``.csv.gz`` like ``.csv``.

    Examples
    --------
    >>> member_name(Path("scores/resnet.csv.gz")), member_name(Path("scores/vit.b16.npy"))
    ('resnet', 'vit.b16')
    """
    return Path(path.stem).stem if path.suffix.lower() == ".gz" else path.stem
