"""The annotation file of an ingest: which photos it names, and its copy for those that were kept.

The copy has the form of the original (contest JSON or CSV) and all its other entries and columns, so that the recipe
that read the one reads the other.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Set
from pathlib import Path
from typing import Any

from base_models.ingest.options import IngestOptions
from base_models.manifest.csv_table import read_csv_table
from base_models.manifest.imaterialist_json import read_imaterialist_json
from base_models.recipe.data import DataConfig
from stacking.files.atomic_files import atomic_write_text

__all__ = ["kept_name", "read_photo_ids", "write_kept"]

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


def read_photo_ids(annotations: Path, options: IngestOptions) -> list[str]:
    """Read the ids of the annotated photos.

    Parameters
    ----------
    annotations : pathlib.Path
        Contest JSON, or CSV.
    options : IngestOptions
        Columns of a CSV file.

    Returns
    -------
    list of str
        Ids in the order of the file; unique, and safe as file names.

    Raises
    ------
    ValueError
        If the file is no such file, or an id is unsafe or repeated.
    """
    if annotations.suffix.lower() == ".json":
        table, _ = read_imaterialist_json(annotations)
    else:
        table = read_csv_table(annotations, _csv_config(annotations, options))
    table.check_ids()
    return table.ids


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
        Columns of a CSV file.
    """
    if annotations.suffix.lower() == ".json":
        content = json.loads(annotations.read_text(encoding="utf-8-sig"))
        for name in ("images", "annotations"):
            if name in content:
                content[name] = [entry for entry in content[name] if _entry_id(entry) in kept]
        atomic_write_text(target, json.dumps(content, ensure_ascii=False) + "\n")
        return
    ids = read_csv_table(annotations, _csv_config(annotations, options)).ids
    with annotations.open(encoding="utf-8-sig", newline="") as file:
        header, *rows = [cells for cells in csv.reader(file) if cells]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(cells for photo_id, cells in zip(ids, rows, strict=True) if photo_id in kept)
    atomic_write_text(target, buffer.getvalue())


def _csv_config(annotations: Path, options: IngestOptions) -> DataConfig:
    """Name the columns."""
    return DataConfig(
        format="csv",
        root="",
        annotations=str(annotations),
        id_column=options.id_column,
        labels_column=options.labels_column,
    )


def _entry_id(entry: dict[str, Any]) -> str:
    """Return the photo id of one entry, in whichever spelling."""
    return str(next(entry[key] for key in _ID_KEYS if key in entry))
