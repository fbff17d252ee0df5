"""The annotation file of an ingest: which photos it names, and its copy for those that were kept.

The copy has the form of the original (contest JSON or CSV) and all its other entries and columns, so that the recipe
that read the one reads the other.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from base_models.ingest.options import IngestOptions
from base_models.manifest.annotations import AnnotationTable
from base_models.manifest.csv_table import read_row_names
from base_models.manifest.imaterialist_json import read_imaterialist_json
from stacking.files.atomic_files import atomic_write_text
from stacking.predictions.forms.tables import iterate_rows, read_texts
from stacking.predictions.forms.text_form import find_cell_separator

_ID_KEYS = ("imageId", "image_id", "id")


def kept_name(annotations: Path) -> str:
    """Return the name of the copy.

    Parameters
    ----------
    annotations : pathlib.Path
        The original.

    Returns
    -------
    str
        ``annotations.json`` or ``annotations.csv``.
    """
    return "annotations.json" if annotations.suffix.lower() == ".json" else "annotations.csv"


def read_photo_ids(annotations: Path, options: IngestOptions) -> tuple[list[str], list[str]]:
    """Read the ids of the annotated photos, and where they are said to be.

    Parameters
    ----------
    annotations : pathlib.Path
        Contest JSON, or a table.
    options : IngestOptions
        Columns of a table.

    Returns
    -------
    ids : list of str
        Ids in the order of the file; unique, and safe as file names.
    paths : list of str
        Path of each photo without suffix; the id where the file knows no paths.

    Raises
    ------
    ValueError
        If the file is no such file, or an id is unsafe or repeated.
    """
    if annotations.suffix.lower() == ".json":
        table, _ = read_imaterialist_json(annotations)
        table.check_ids()
        return table.ids, table.ids
    ids, paths = read_row_names(annotations, options.id_column, options.labels_column)
    table = AnnotationTable(annotations.name)
    for photo_id, path in dict.fromkeys(zip(ids, paths, strict=True)):  # a long table repeats its photos
        table.add(photo_id, ())
        table.paths.append(path)
    table.check_ids()
    return table.ids, table.paths


def write_kept(annotations: Path, target: Path, kept: Set[str], options: IngestOptions) -> None:
    """Write the copy for the photos that were kept.

    Parameters
    ----------
    annotations : pathlib.Path
        The original, as read by :func:`read_photo_ids`.
    target : pathlib.Path
        The copy.
    kept : set of str
        Ids to keep.
    options : IngestOptions
        Columns of a table.
    """
    if annotations.suffix.lower() == ".json":
        content = json.loads(annotations.read_text(encoding="utf-8-sig"))
        for name in ("images", "annotations"):
            if name in content:
                content[name] = [entry for entry in content[name] if _entry_id(entry) in kept]
        atomic_write_text(target, json.dumps(content, ensure_ascii=False) + "\n")
        return
    ids, _ = read_row_names(annotations, options.id_column, options.labels_column)
    buffer = io.StringIO()
    if annotations.suffix.lower() == ".parquet":
        columns = read_texts(annotations)
        rows: Iterator[Sequence[str]] = iter([tuple(columns), *zip(*columns.values(), strict=True)])
        writer = csv.writer(buffer, lineterminator="\n")
    else:
        rows = (cells for _, cells in iterate_rows(annotations))
        separator = find_cell_separator(annotations)  # a bar must be said in a first line, which the copy has not
        writer = csv.writer(buffer, lineterminator="\n", delimiter=";" if separator == "|" else separator)
    writer.writerow(next(rows))
    writer.writerows(cells for photo_id, cells in zip(ids, rows, strict=True) if photo_id in kept)
    atomic_write_text(target, buffer.getvalue())


def _entry_id(entry: dict[str, Any]) -> str:
    """Return the photo id of one entry, in whichever spelling."""
    return str(next(entry[key] for key in _ID_KEYS if key in entry))
