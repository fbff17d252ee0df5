"""A data set as plain files for other programs: one table, and one file of labels per photo."""

from __future__ import annotations

import numpy as np

from base_models.manifest import Manifest
from stacking.files.atomic_files import atomic_write_text
from stacking.files.csv_cells import to_csv
from stacking.files.output_folder import OutputFolder

TABLE = "photos.csv"
LABEL_FILES = "labels"


def write_data_table(manifest: Manifest, output: OutputFolder) -> None:
    """Write one row per photo, in the form that a recipe's ``format = "csv"`` reads.

    Parameters
    ----------
    manifest : Manifest
        The data set.
    output : OutputFolder
        Gets ``photos.csv``: ``image``, ``labels`` joined by ``|``, ``split``, and ``group`` where there are groups.
    """
    columns = [manifest.ids.tolist(), ["|".join(names) for names in _names(manifest)], manifest.split.tolist()]
    header = ["image", "labels", "split"]
    if manifest.groups is not None:
        columns.append(manifest.groups.tolist())
        header.append("group")
    atomic_write_text(output.path_of(TABLE), to_csv([header, *zip(*columns, strict=True)]))


def write_label_files(manifest: Manifest, output: OutputFolder) -> None:
    """Write one text file per photo, a label a line.

    Parameters
    ----------
    manifest : Manifest
        The data set.
    output : OutputFolder
        Gets ``labels/PHOTO.txt``; empty for a photo without labels.
    """
    for photo_id, names in zip(manifest.ids.tolist(), _names(manifest), strict=True):
        text = "".join(f"{name}\n" for name in names)
        atomic_write_text(output.path_of(f"{LABEL_FILES}/{photo_id}.txt"), text)


def _names(manifest: Manifest) -> list[list[str]]:
    """Return the labels of each photo."""
    names = manifest.vocabulary.names
    return [[names[column] for column in np.flatnonzero(row)] for row in manifest.y_true]
