"""The annotation file of an ingest: which photos it names, and its copy for those that were kept.

The copy has the form of the original (contest JSON, plain JSON, another tool's file, or CSV) and all its other entries
and columns, so that the recipe that read the one reads the other.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

from base_models.ingest.options import IngestOptions
from base_models.manifest.annotations import AnnotationTable, list_some
from base_models.manifest.csv_table import read_row_names
from base_models.manifest.imaterialist_json import read_imaterialist_json
from base_models.manifest.json_table import JSON_SUFFIXES, frame_of_json, is_contest_form
from base_models.manifest.tool_forms import ToolSource, find_tool_form, open_labels
from base_models.recipe.data import DataConfig
from stacking.files.atomic_files import atomic_write_text
from stacking.predictions.forms.tables import HeldFrame, iterate_rows, read_texts
from stacking.predictions.forms.text_form import find_cell_separator

logger = logging.getLogger(__name__)

_ID_KEYS = ("imageId", "image_id", "id")


def _open(annotations: Path, photos: Path, options: IngestOptions) -> ToolSource:
    """Open the file; its JSON is read anew for the copy, instead of held for as long as photos are decoded."""
    config = DataConfig("folder", str(photos), id_column=options.id_column, labels_column=options.labels_column)
    return open_labels(annotations, photos, config)


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
    return "annotations.json" if annotations.suffix.lower() in JSON_SUFFIXES else "annotations.csv"


def read_photo_ids(annotations: Path, photos: Path, options: IngestOptions) -> tuple[list[str], list[str]]:
    """Read the ids of the annotated photos, and where they are said to be.

    Parameters
    ----------
    annotations : pathlib.Path
        A table, contest JSON, plain JSON, or the labels of another tool.
    photos : pathlib.Path
        The folder of photos.
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
    source = _open(annotations, photos, options)
    form = find_tool_form(source)
    unannotated: tuple[str, ...] = ()
    if form is not None:
        read = form.read(source)
        for sentence in read.left_out:
            logger.warning("%s: %s", annotations.name, sentence)
        table, unannotated = read.table, read.unannotated
    elif is_contest_form(source.data):
        table, unannotated = read_imaterialist_json(annotations, data=source.data)
    else:
        table = AnnotationTable(annotations.name)
        rows = read_row_names(_table(source), options.id_column, options.labels_column)
        for photo_id, path in dict.fromkeys(zip(*rows, strict=True)):  # a long table repeats its photos
            table.add(photo_id, ())
            table.paths.append(path)
    table.check_ids()
    if unannotated:
        logger.warning("%d photos have no annotation and are left out: %s", len(unannotated), list_some(unannotated))
    return table.ids, table.paths or table.ids


def write_kept(annotations: Path, photos: Path, target: Path, kept: Set[str], options: IngestOptions) -> None:
    """Write the copy for the photos that were kept.

    Parameters
    ----------
    annotations : pathlib.Path
        The original, as read by :func:`read_photo_ids`.
    photos : pathlib.Path
        The folder of photos.
    target : pathlib.Path
        The copy.
    kept : set of str
        Ids to keep.
    options : IngestOptions
        Columns of a table.
    """
    source = _open(annotations, photos, options)
    form = find_tool_form(source)
    if form is not None:
        read = form.read(source)
        entries = {entry for photo_id, entry in zip(read.table.ids, read.entries, strict=True) if photo_id in kept}
        atomic_write_text(target, form.keep(source, entries))
        return
    content = source.data
    if is_contest_form(content):
        for name in ("images", "annotations"):
            if name in content:
                content[name] = [entry for entry in content[name] if _entry_id(entry) in kept]
        atomic_write_text(target, json.dumps(content, ensure_ascii=False) + "\n")
        return
    ids, _ = read_row_names(_table(source), options.id_column, options.labels_column)
    if content is not None:
        chosen = [photo_id in kept for photo_id in ids]
        atomic_write_text(target, json.dumps(_choose(content, chosen), ensure_ascii=False) + "\n")
        return
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


def _table(source: ToolSource) -> Path | HeldFrame:
    """Return a table, or plain JSON as one."""
    return source.path if source.data is None else frame_of_json(source.data, source.path)


def _choose(content: Any, chosen: Sequence[bool]) -> Any:
    """Leave out records of plain JSON, or photos of an object with the labels of each."""
    if isinstance(content, dict):
        return {key: labels for (key, labels), keep in zip(content.items(), chosen, strict=True) if keep}
    return [record for record, keep in zip(content, chosen, strict=True) if keep]


def _entry_id(entry: dict[str, Any]) -> str:
    """Return the photo id of one entry, in whichever spelling."""
    return str(next(entry[key] for key in _ID_KEYS if key in entry))
