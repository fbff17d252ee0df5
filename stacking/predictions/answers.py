"""Give an answer the form that its input had: a data frame of the same library, or an array."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

import numpy.typing as npt

from stacking.named_arrays import LIBRARIES, AxisNames, FrameForm, NamedScores, build_frame
from stacking.predictions.prediction_set import PredictionSet


def give_answer(
    values: npt.NDArray[Any], labels: Sequence[str], asked: PredictionSet | NamedScores, as_frame: bool | str | None
) -> Any:
    """
    Give scores or decisions as an array or a data frame.

    Parameters
    ----------
    values : ndarray of shape (n_samples, n_labels)
        The answer.
    labels : sequence of str
        The names of its columns.
    asked : PredictionSet or NamedScores
        What was answered, whose rows these are.
    as_frame : bool, str or None
        None gives frames for frames and arrays for all else; False an array; True a data frame, of the library that
        came in or of pandas; a library's name one of that library.

    Returns
    -------
    ndarray or data frame
        A frame holds the ids as the frames that came in did.

    Raises
    ------
    ImportError
        If the library is not installed.
    ValueError
        If no such library is known.
    """
    if isinstance(as_frame, str) and as_frame not in LIBRARIES:
        raise ValueError(f"as_frame must be True, False, None or one of {', '.join(LIBRARIES)}: got {as_frame!r}.")
    is_set = isinstance(asked, PredictionSet)
    form = asked.form
    if as_frame is False or (as_frame is None and (is_set or form is None)):
        return values
    rows: Sequence[Hashable] | None
    if isinstance(asked, PredictionSet):
        rows = asked.ids.tolist()
        made_up = AxisNames.of(asked.ids.tolist(), "sample").is_made_up
    else:
        rows, made_up = (None, True) if asked.rows is None else (asked.rows.names, asked.rows.is_made_up)
    form = form or FrameForm()
    library = as_frame if isinstance(as_frame, str) else form.library
    if library not in LIBRARIES:  # computed elsewhere, such as by DuckDB: what narwhals collects that into
        library = "pyarrow"
    if library != form.library:
        form = replace(form, library=library, id_column=form.id_column if library != "pandas" else None)
    return build_frame(values, None if made_up and form.id_column is None else rows, labels, form)
