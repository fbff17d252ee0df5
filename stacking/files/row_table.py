"""Rows of results as one CSV file, with all their digits."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from stacking.files.atomic_files import atomic_write_text
from stacking.files.plain_values import as_plain


def write_rows(path: str | os.PathLike[str], rows: Sequence[Mapping[str, Any]], *, replace: bool = True) -> None:
    """Write a row per mapping, so that the file is complete or absent.

    Parameters
    ----------
    path : path-like
        The final name; its folder must exist.
    rows : sequence of mapping of str to object
        All with the same keys, which are the header. None and not-a-number are left empty; what is neither text nor a
        number is written as JSON.
    replace : bool, default=True
        Whether a file already there is replaced.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if rows:
        writer.writerow(rows[0])
        writer.writerows([_write_value(value) for value in row.values()] for row in rows)
    atomic_write_text(path, text.getvalue(), replace=replace)


def _write_value(value: Any) -> Any:
    """Turn a value into what stands in a cell."""
    if value is None or value != value:  # only not-a-number differs from itself
        return ""
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False, default=as_plain)
