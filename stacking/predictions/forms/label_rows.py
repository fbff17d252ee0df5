"""Annotated rows without scores, in all forms that a truth has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from stacking.named_arrays import AxisNames, is_frame
from stacking.predictions.alignment import match_names
from stacking.predictions.forms.label_cells import LabelList
from stacking.predictions.forms.name_lists import existing_file, load_npy
from stacking.predictions.forms.truth import read_truth
from stacking.predictions.label_rows import LabelRows
from stacking.predictions.prediction_set import PredictionSet
from stacking.predictions.selection import take


def attach_label_rows(predictions: PredictionSet, source: Any) -> PredictionSet:
    """
    Read label rows and match their labels with those of the predictions by name.

    Parameters
    ----------
    predictions : PredictionSet
        What they are to help.
    source : path-like, data frame, array-like of shape (n_rows, n_labels), PredictionSet, LabelRows or None
        In any form that a truth has; arrays and ``.npy`` files hold the labels in the order of the predictions and name
        no rows. Of a prediction set its truth is taken. None leaves the predictions as they are.

    Returns
    -------
    PredictionSet
        With the rows that are not scored.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read as a truth, or its labels are not those of the predictions.
    """
    if source is None:
        return predictions
    if isinstance(source, PredictionSet):
        return predictions.with_label_rows(_truth_of(source, predictions))
    is_path = isinstance(source, str | os.PathLike)
    if is_path and Path(source).suffix.lower() == ".npy":
        return predictions.with_label_rows(load_npy(existing_file(source, "label rows")))
    if not is_path and not is_frame(source):
        return predictions.with_label_rows(source)
    if is_path:
        existing_file(source, "label rows")
    known = LabelList(predictions.labels, predictions.label_ids)
    truth = read_truth(source, labels=predictions.labels, known=known)
    columns = match_names(truth.labels, predictions.labels, who="label_rows", what="label")
    rows = LabelRows.check(
        take(truth.y_true, columns, 1),
        n_labels=predictions.n_labels,
        y_known=take(truth.y_known, columns, 1),
        ids=truth.ids,
        groups=truth.metadata.get("groups"),
    )
    return predictions.with_label_rows(rows)


def _truth_of(source: PredictionSet, predictions: PredictionSet) -> LabelRows:
    """Take the truth of a prediction set, its labels in the order of the predictions."""
    if source.y_true is None:
        raise ValueError("label_rows must carry a truth: got predictions without one.")
    columns = match_names(source.labels, predictions.labels, who="label_rows", what="label")
    nameless = AxisNames.of(source.ids.tolist(), "sample").is_made_up
    names = {"ids": None if nameless else source.ids, "groups": source.groups}
    known = take(source.y_known, columns, 1)
    return LabelRows.check(take(source.y_true, columns, 1), n_labels=predictions.n_labels, y_known=known, **names)
