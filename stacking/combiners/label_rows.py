"""Label rows for the methods that learn from them: annotated rows that no member has scored."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from stacking.combiners.registry import find_method, list_methods
from stacking.predictions import PredictionSet
from stacking.predictions.forms.label_rows import attach_label_rows


def teach_label_rows(predictions: PredictionSet, label_rows: Any, methods: Iterable[Any]) -> PredictionSet:
    """Give label rows to predictions, where there are any and one of the methods learns from them.

    Parameters
    ----------
    predictions : PredictionSet
        What the methods are to be fitted on.
    label_rows : path, data frame, array of shape (n_rows, n_labels) or None
        As `StackingEnsemble.fit` takes them.
    methods : iterable of str, Combiner or StackingEnsemble
        What is to be fitted.

    Returns
    -------
    PredictionSet
        Itself where there are no label rows.

    Raises
    ------
    ValueError
        If there are label rows and none of the methods learns from them, or they do not fit the predictions.
    """
    if label_rows is None:
        return predictions
    check_label_rows_teach(methods)
    return attach_label_rows(predictions, label_rows)


def check_label_rows_teach(methods: Iterable[Any]) -> None:
    """Refuse label rows where nothing learns from them.

    Parameters
    ----------
    methods : iterable of str, Combiner or StackingEnsemble
        What is to be fitted.

    Raises
    ------
    ValueError
        If none of them learns from label rows.
    """
    given = [getattr(method, "method", method) if not isinstance(method, str) else method for method in methods]
    classes = [find_method(one).combiner if isinstance(one, str) else type(one) for one in given]
    if not any(getattr(one, "learns_from_label_rows", False) for one in classes):
        *able, last = (name for name in list_methods() if find_method(name).combiner.learns_from_label_rows)
        names = ", ".join(repr(one) if isinstance(one, str) else type(one).__name__ for one in given[:3])
        raise ValueError(
            f"label_rows (--label-rows) teach {', '.join(able)} and {last} only: got {names}; choose one of "
            "these methods, or leave the label rows out."
        )
