"""The form that a contest wants: its header, and one row for every one of its ids, in its order.

It is read from the contest's sample file, or from a list of ids. What has no prediction gets a row all the same, and
what was filled is counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from stacking._checks import first_names
from stacking.files.csv_cells import to_csv
from stacking.predictions.forms.name_lists import read_ids
from stacking.predictions.forms.tables import read_columns, read_texts

DIGITS = 6  # of a probability: float32 holds no more
LIST_HEADER = ("image_id", "label_id")  # of iMaterialist Fashion 2018
TABLES = (".csv", ".tsv", ".parquet", ".feather")


@dataclass(frozen=True)
class SampleSheet:
    """Ids, header and labels of a contest's file.

    Attributes
    ----------
    ids : tuple of str
        One per row.
    header : tuple of str
        The columns.
    places : tuple of int or None
        The label of each column of probabilities; None where one column lists the labels.
    """

    ids: tuple[str, ...]
    header: tuple[str, ...] = LIST_HEADER
    places: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Filling:
    """What a sheet and the predictions do not share.

    Attributes
    ----------
    filled : tuple of str
        Ids of the sheet without a prediction; they get a row without labels, or the labels' training frequencies.
    left_out : tuple of str
        Predicted ids that the sheet does not ask for.
    """

    filled: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def notes(self, n_ids: int) -> list[str]:
        """Say it.

        Parameters
        ----------
        n_ids : int
            Ids of the sheet.

        Returns
        -------
        list of str
            A line for each that there is.
        """
        lines = []
        if self.filled:
            some = first_names(self.filled)
            lines.append(f"filled: {len(self.filled):,} of {n_ids:,} ids have no prediction, such as {some}")
        if self.left_out:
            some = first_names(self.left_out)
            lines.append(f"left out: {len(self.left_out):,} predicted samples are not asked for, such as {some}")
        return lines


def read_sheet(path: Path, labels: Sequence[str], label_ids: Sequence[str] | None) -> SampleSheet:
    """Read a sample submission, or a list of ids.

    Parameters
    ----------
    path : Path
        A table with ids in its first column and either one more column or one per label; or a list of ids.
    labels : sequence of str
        The labels of the predictions.
    label_ids : sequence of str or None
        Their ids.

    Returns
    -------
    SampleSheet
        Its order and header.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If an id repeats, or the columns are not the labels.
    """
    if path.suffix.lower() not in TABLES or not path.is_file() or len(read_columns(path)) < 2:
        return SampleSheet(tuple(read_ids(path).tolist()))
    header = read_columns(path)
    ids = read_texts(path, [header[0]], names_in=(header[0],))[header[0]]
    known = {**dict(zip(labels, range(len(labels)), strict=True))}
    known |= {key: place for place, key in enumerate(label_ids or ()) if key not in known}
    checked = tuple(read_ids(ids).tolist())
    if len(header) == 2 and header[1] not in known:
        return SampleSheet(checked, header)
    unknown = [name for name in header[1:] if name not in known]
    places = [known[name] for name in header[1:] if name in known]
    lacking = sorted(set(range(len(labels))) - set(places))
    if unknown or lacking or len(set(places)) < len(places):
        odd = first_names(unknown or [labels[place] for place in lacking] or header[1:])
        what = "columns that are no label" if unknown else "no column for labels" if lacking else "a label twice"
        raise ValueError(
            f"{path} must have one column per label, or one that lists the labels: it has {what}, such as {odd}; give "
            "the contest's sample file, or the table of labels with their ids (--labels)."
        )
    return SampleSheet(checked, header, tuple(places))


def match_sheet(sheet: SampleSheet, ids: Sequence[str]) -> tuple[NDArray[np.int64], Filling]:
    """Find the prediction of every row.

    Parameters
    ----------
    sheet : SampleSheet
        What is wanted.
    ids : sequence of str
        The samples that were predicted.

    Returns
    -------
    rows : ndarray of int64, shape (n_ids,)
        Their places, −1 where there is none.
    filling : Filling
        What the two do not share.

    Raises
    ------
    ValueError
        If no id is in both.
    """
    if not len(sheet.ids):
        raise ValueError("the file of ids that are asked for (--like) must hold at least one: got none.")
    places = {name: place for place, name in enumerate(ids)}
    rows = np.array([places.get(name, -1) for name in sheet.ids], dtype=np.int64)
    if not (rows >= 0).any():
        raise ValueError(
            f"the ids that are asked for must be among those that are predicted: got {first_names(sheet.ids)} for "
            f"{first_names(list(ids))}; give the contest's own list."
        )
    asked = set(sheet.ids)
    filled = tuple(name for name, row in zip(sheet.ids, rows, strict=True) if row < 0)
    return rows, Filling(filled, tuple(name for name in ids if name not in asked))


def write_sheet(
    file: BinaryIO,
    sheet: SampleSheet,
    rows: NDArray[np.int64],
    texts: Sequence[str],
    y_pred: NDArray[np.bool_],
    y_score: NDArray[np.float32],
    fill: NDArray[np.float64] | None = None,
) -> None:
    """Write one row for every id, in the order of the sheet.

    Parameters
    ----------
    file : binary file
        To write to.
    sheet : SampleSheet
        What is wanted.
    rows : ndarray of int64, shape (n_ids,)
        From `match_sheet`.
    texts : sequence of str, shape (n_labels,)
        What the labels are called in a list.
    y_pred : ndarray of bool, shape (n_samples, n_labels)
        Decisions.
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Scores.
    fill : ndarray of shape (n_labels,), optional
        Probabilities of a row without a prediction; 0 by default.
    """
    lines: list[Sequence[str]] = [sheet.header]
    blank = np.zeros(len(texts)) if fill is None else fill
    for name, row in zip(sheet.ids, rows.tolist(), strict=True):
        if sheet.places is None:
            found = np.flatnonzero(y_pred[row]) if row >= 0 else ()
            lines.append((name, " ".join(texts[int(place)] for place in found)))
        else:
            scores = y_score[row] if row >= 0 else blank
            lines.append((name, *(f"{scores[place]:.{DIGITS}g}" for place in sheet.places)))
    file.write(to_csv(lines).encode("utf-8"))
