"""Annotations as a table: one row per photo, columns mapped by the recipe.

Everything is read as text, so that the id ``007`` stays ``007`` and ``NA`` is a name, not a hole.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from base_models.manifest.annotations import AnnotationTable, normalise_split
from base_models.photos.decoding import PHOTO_SUFFIXES
from base_models.recipe.data import DataConfig

__all__ = ["read_csv_table"]


def read_csv_table(path: Path, config: DataConfig) -> AnnotationTable:
    """Read a CSV file of annotations.

    Parameters
    ----------
    path : Path
        The file, UTF-8, with a header line.
    config : DataConfig
        Names of the columns and the separator of labels.

    Returns
    -------
    AnnotationTable
        Ids (file names without folder and photo suffix), labels, splits, groups.

    Raises
    ------
    ValueError
        If the file is missing or no UTF-8 CSV, a mapped column is absent, a row is short, or a split is unknown.
    """
    rows = _read_rows(path, config)
    separator = config.label_separator
    if separator is None and any("|" in row[config.labels_column] for row in rows):
        separator = "|"
    table = AnnotationTable(path.name)
    splits: dict[str, str] = {}
    for row in rows:
        # an empty separator means white space, as None does for str.split
        labels = (label.strip() for label in row[config.labels_column].split(separator or None))
        split = row[config.split_column] if config.split_column else "train"
        if split not in splits:
            splits[split] = normalise_split(split, path.name)
        group = row[config.group_column] if config.group_column else ""
        table.add(_photo_id(row[config.id_column]), (x for x in labels if x), split=splits[split], group=group)
    return table


def _read_rows(path: Path, config: DataConfig) -> list[dict[str, str]]:
    """Read the mapped columns of every line."""
    wanted = [config.id_column, config.labels_column]
    wanted += [c for c in (config.group_column, config.split_column) if c is not None]
    if not path.is_file():
        raise ValueError(
            f"data.annotations must name a CSV file: got {str(path)!r}, which does not exist; correct the path."
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            missing = [column for column in wanted if column not in header]
            if missing:
                raise ValueError(
                    f"{path.name} must have the column {missing[0]!r}: got columns {', '.join(header) or 'none'}; map "
                    "the columns in the recipe's [data] table."
                )
            places = [(column, header.index(column)) for column in wanted]
            last = max(place for _, place in places)
            rows = []
            for cells in reader:
                if not cells:
                    continue
                if len(cells) <= last:
                    raise ValueError(
                        f"{path.name} must have {len(header)} cells per line: line {reader.line_num} has {len(cells)}; "
                        "complete it."
                    )
                rows.append({column: cells[place] for column, place in places})
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path.name} must be CSV text in UTF-8: {error}; convert it.") from error
    return rows


def _photo_id(value: str) -> str:
    """Return the file name without folder and photo suffix; ``v1.2`` is no file name and stays whole."""
    name = PurePosixPath(value.strip())
    return name.stem if name.suffix.lower() in PHOTO_SUFFIXES else name.name
