"""Annotations as plain JSON: a list of records, one per photo, an object with the labels of each photo, or JSON lines.

They become a data frame, so that a record's keys are read as the columns of a table are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from base_models.manifest.imaterialist_json import load_json
from stacking.files.untrusted import load_strictly
from stacking.predictions.forms.tables import HeldFrame

JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")


def load_any_json(path: Path) -> Any:
    """Parse a JSON file, or one of JSON lines.

    Parameters
    ----------
    path : Path
        The file, UTF-8, with or without a byte order mark.

    Returns
    -------
    object
        The content; a list for JSON lines.

    Raises
    ------
    ValueError
        If the file is missing or no such JSON, repeats a key, or holds NaN or Infinity.
    """
    if path.suffix.lower() == ".json":
        return load_json(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ValueError(f"annotations must be readable JSON lines in UTF-8: got {str(path)!r} ({error}).") from error
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records += [load_strictly(line)] if line.strip() else []
        except (RecursionError, ValueError) as error:
            raise ValueError(f"{path.name}, line {number} must be valid JSON: {error}; correct it.") from error
    return records


def is_contest_form(data: Any) -> bool:
    """Tell whether JSON has the form of the contest's files.

    Parameters
    ----------
    data : object
        The parsed file.

    Returns
    -------
    bool
        True for an object with a list of annotations, or of images.
    """
    return isinstance(data, dict) and (
        isinstance(data.get("annotations"), list) or isinstance(data.get("images"), list)
    )


def frame_of_json(data: Any, path: Path) -> HeldFrame:
    """Bring plain JSON into the form of a table.

    Parameters
    ----------
    data : object
        The parsed file: ``[{"image": "1.jpg", "labels": ["red", "long"]}, …]`` or ``{"1.jpg": ["red", "long"], …}``.
    path : Path
        Where it comes from, for errors.

    Returns
    -------
    HeldFrame
        One row per record; a list of labels is written as a list in its cell.

    Raises
    ------
    ValueError
        If it has another form.
    """
    import pandas as pd

    if isinstance(data, dict):
        data = [{"image": photo, "labels": labels} for photo, labels in data.items()]
    if not isinstance(data, list) or not data or not all(isinstance(record, Mapping) for record in data):
        raise ValueError(
            f'{path.name} must hold records such as {{"image": "1.jpg", "labels": ["red"]}}, or the labels of '
            f"each photo by its name: got {type(data).__name__ if data else 'nothing'}; write it in one of these forms."
        )
    columns = list(dict.fromkeys(str(key) for record in data for key in record))
    as_lists = {key for record in data for key, value in record.items() if isinstance(value, list | Mapping)}
    rows = [{str(key): _cell(value, key in as_lists) for key, value in record.items()} for record in data]
    return HeldFrame(pd.DataFrame(rows, columns=columns, dtype=object).fillna(""), path.name)


def _cell(value: Any, as_list: bool) -> str:
    """Write a value as the cell of a table."""
    if isinstance(value, Mapping):  # {"red": true, "long": false}
        value = [key for key, has in value.items() if has]
    if as_list:
        found = value if isinstance(value, list) else [] if value in (None, "") else [value]
        return json.dumps([str(entry) for entry in found], ensure_ascii=False)
    return "" if value is None else str(int(value)) if isinstance(value, bool) else str(value)
