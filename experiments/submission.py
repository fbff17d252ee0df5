"""Write predicted labels as a CSV file: for people, for other programs, or for the contest.

``labels`` is ``id,labels`` with label names joined by ``|``, the form that truth files have as well. ``submission``
is what the iMaterialist Fashion 2018 contest asked for: ``image_id,label_id`` with label ids joined by spaces. Ids and
labels come out as they went in. Whoever opens the file in a spreadsheet may ask for an apostrophe before what that
would run as a formula; such a file names other ids and labels, and is not to be read back.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from stacking.files.csv_cells import guard_cell, to_csv

CsvFormat = Literal["labels", "submission"]

_HEADERS = {"labels": ("id", "labels"), "submission": ("image_id", "label_id")}
_SEPARATORS = {"labels": "|", "submission": " "}


def write_labels_csv(
    path: str | Path | BinaryIO,
    ids: Sequence[str] | NDArray[np.str_],
    labels: Sequence[str],
    y_pred: NDArray[np.bool_],
    *,
    csv_format: CsvFormat = "labels",
    guard: bool = False,
    overwrite: bool = False,
) -> None:
    """Write one row per sample with its predicted labels.

    Parameters
    ----------
    path : str, Path or binary file
        File to write; under a name it is complete or absent, never half written.
    ids : sequence of str, shape (n_samples,)
        Names of the samples.
    labels : sequence of str, shape (n_labels,)
        Names of the labels.
    y_pred : ndarray of bool, shape (n_samples, n_labels)
        Which labels each sample gets.
    csv_format : {'labels', 'submission'}, default='labels'
        Header and separator, see the module.
    guard : bool, default=False
        Put an apostrophe before a cell that starts with ``= + - @``, tab or carriage return and is no number. The
        contest's form is never guarded.
    overwrite : bool, default=False
        Replace a file that is there.

    Raises
    ------
    ValueError
        If the shapes disagree, the form is unknown, a label name holds the separator, or a file is there that was not
        to be replaced.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp()) / "predicted.csv"
    >>> write_labels_csv(file, ["a", "b"], ["red", "blue"], np.array([[True, True], [False, False]]))
    >>> file.read_text().splitlines()
    ['id,labels', 'a,red|blue', 'b,']
    """
    from stacking.files.atomic_files import atomic_write_bytes
    from stacking.files.output_rules import check_output_file

    _check_csv_format(csv_format)
    if y_pred.shape != (len(ids), len(labels)):
        raise ValueError(
            f"y_pred must have one row per id and one column per label, {(len(ids), len(labels))}: got {y_pred.shape}."
        )
    separator = _SEPARATORS[csv_format]
    _check_separator(labels, separator, csv_format)
    guard = guard and csv_format == "labels"
    rows: list[Sequence[str]] = [_HEADERS[csv_format]]
    for sample, row in zip(ids, y_pred, strict=True):
        cells = (str(sample), separator.join(labels[int(label)] for label in np.flatnonzero(row)))
        rows.append([guard_cell(cell) for cell in cells] if guard else cells)
    data = to_csv(rows).encode("utf-8")
    if isinstance(path, str | Path):
        check_output_file(path, overwrite=overwrite)
        atomic_write_bytes(path, data, replace=overwrite)
    else:
        path.write(data)


def choose_label_texts(labels: Sequence[str], label_ids: Sequence[str] | None, csv_format: str) -> tuple[str, ...]:
    """Say what a file calls the labels, and refuse before any work what it could not hold.

    Parameters
    ----------
    labels : sequence of str
        Their names.
    label_ids : sequence of str or None
        Their ids, where the data set has any.
    csv_format : str
        ``labels`` (names) or ``submission`` (ids).

    Returns
    -------
    tuple of str
        One text per label.

    Raises
    ------
    ValueError
        If the form is unknown, or a text holds its separator.
    """
    _check_csv_format(csv_format)
    texts = tuple(labels)
    if csv_format == "submission":
        texts = tuple(label_ids or labels)
        if label_ids is None and not all(label.isdecimal() for label in labels):
            warnings.warn(
                "a submission holds label ids, and the ensemble knows none: the names of the labels are written; give "
                "the table of labels with their ids (--labels).",
                stacklevel=3,
            )
    _check_separator(texts, _SEPARATORS[csv_format], csv_format)
    return texts


def _check_csv_format(csv_format: str) -> None:
    """Raise unless the form is known."""
    if csv_format not in _HEADERS:
        raise ValueError(f"the format of a CSV file must be 'labels' or 'submission': got {csv_format!r}.")


def _check_separator(labels: Sequence[str], separator: str, csv_format: str) -> None:
    """Raise when a label could not be told from two."""
    for label in labels:
        if separator in label:
            hint = "rename the label"
            if csv_format == "submission":
                hint = "choose the form 'labels', or give the table of labels with their ids (--labels)"
            raise ValueError(
                f"label names must not hold {separator!r} in the form {csv_format!r}: got {label!r}; {hint}."
            )
