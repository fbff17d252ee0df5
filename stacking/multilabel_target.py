"""Read what scikit-learn users give a classifier: a target in any container, and features that the bases may know."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import get_tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array

from stacking._checks import check_names, check_y_true, numbers_of_objects
from stacking.named_arrays import AxisNames, align_by_name, read_array


@dataclass(frozen=True)
class Target:
    """A target as indicators, with what is needed to answer in its own form.

    Parameters
    ----------
    indicators : ndarray of uint8, shape (n_samples, n_labels)
        0 and 1.
    classes : ndarray
        Numbers of the labels, or the values of a one-dimensional target.
    labels : tuple of str
        Names of the labels.
    is_one_dimensional : bool
        Whether it came as one column.
    """

    indicators: NDArray[np.uint8]
    classes: NDArray[Any]
    labels: tuple[str, ...]
    is_one_dimensional: bool


def read_target(y: Any, n_samples: int, rows: tuple[str, AxisNames | None] = ("X", None)) -> Target:
    """Read a target of one or many labels; a single column is the case of one label.

    Parameters
    ----------
    y : array-like, sparse matrix, data frame or series of shape (n_samples, n_labels) or (n_samples,)
        Indicators 0 and 1 of any type of numbers, nullable and pyarrow columns included; a one-dimensional target holds
        two values of any kind.
    n_samples : int
        Rows of the features.
    rows : tuple of (str, AxisNames or None), default=("X", None)
        Who names them, and the names; a target with names is brought into their order.

    Returns
    -------
    Target
        Checked.

    Raises
    ------
    TypeError
        If a matrix holds anything but numbers and booleans.
    ValueError
        If it has another number of rows, is masked, holds anything but 0 and 1, or names a label twice or not at all.
    """
    if y is None:
        raise ValueError("StackingMultilabelClassifier requires y to be passed, but the target y is None.")
    columns = read_array(y, "y").axis(1)
    values = read_array(align_by_name({"row": rows}, "position", y=y)[0], "y").values
    if values.ndim == 2 and values.shape[1] != 1:
        indicators = check_y_true(values, name="y")
        _check_length(indicators, n_samples)
        if not indicators.size:
            raise ValueError(f"y must hold at least one sample and one label: got shape {indicators.shape}.")
        names = [f"label{i}" for i in range(values.shape[1])] if columns is None else [str(n) for n in columns.names]
        labels = tuple(check_names(names, name="y's columns (the labels)").tolist())
        return Target(indicators, np.arange(len(labels)), labels, False)
    return _read_one(values[:, 0] if values.ndim == 2 else values, n_samples)


def _read_one(values: NDArray[Any], n_samples: int) -> Target:
    """Read a target of one label: two values of any kind, the larger one means yes."""
    values = numbers_of_objects(values) if values.dtype.kind == "O" else values
    dense = check_array(values, ensure_2d=False, dtype=None, input_name="y")
    check_classification_targets(dense)
    _check_length(dense, n_samples)
    kind = type_of_target(dense, input_name="y")
    if kind != "binary" or dense.ndim != 1:
        raise ValueError(
            "Only binary classification is supported for a one-dimensional target. "
            f"The type of the target is {kind}; give one indicator column per class."
        )
    classes = np.unique(dense)
    return Target((dense == classes[-1]).astype(np.uint8)[:, None], classes, ("label0",), True)


def _check_length(dense: NDArray[Any], n_samples: int) -> None:
    """Raise unless there is one row of the target per row of the features."""
    if len(dense) != n_samples:
        raise ValueError(f"y must have one row per row of X: got {len(dense)} rows for {n_samples}.")


def name_rows(X: Any, y: Any) -> tuple[str, AxisNames | None]:
    """Find the names of the rows.

    Parameters
    ----------
    X : array-like, sparse matrix, data frame or series
        Features.
    y : array-like, sparse matrix, data frame or series
        The target, whose rows are those of the features where these have no names.

    Returns
    -------
    tuple of (str, AxisNames or None)
        ``"X"`` and its index, or ``"y"`` and its own, or ``"X"`` and None.
    """
    if hasattr(X, "iloc"):
        return "X", AxisNames.of(X.index)
    return ("y", AxisNames.of(y.index)) if hasattr(y, "iloc") else ("X", None)


def holds_text(X: Any) -> bool:
    """Tell whether features are text, which only the base classifiers can read.

    Parameters
    ----------
    X : array-like
        Features.

    Returns
    -------
    bool
        True for a list or array of strings, and for a table with a string in it.
    """
    if isinstance(X, list | tuple):
        return bool(X) and (isinstance(X[0], str) or (_is_row(X[0]) and any(_has_string(row) for row in X)))
    kind = getattr(getattr(X, "dtype", None), "kind", None)
    return kind in ("U", "S") or (kind == "O" and _has_string(np.asarray(X, dtype=object).ravel()))


def refuse_gaps(X: Any, estimators: Iterable[tuple[str, Any]]) -> None:
    """Refuse NaN and infinity where a base classifier is known not to take them; others are left to find out.

    Parameters
    ----------
    X : ndarray or sparse matrix
        Features.
    estimators : iterable of (str, estimator)
        The base classifiers.

    Raises
    ------
    ValueError
        If X holds NaN or infinity, and one is scikit-learn's own, holds no other estimator, and says it takes none.
    """
    values = X.data if hasattr(X, "toarray") else X
    if values.dtype.kind != "f" or np.isfinite(values).all():
        return
    for name, estimator in estimators:
        is_composed = any(hasattr(estimator, part) for part in ("steps", "estimator", "estimators"))
        own = type(estimator).__module__.startswith("sklearn.")
        if own and not is_composed and not get_tags(estimator).input_tags.allow_nan:
            found = "NaN" if np.isnan(values).any() else "infinity"
            raise ValueError(
                f"Input X contains {found}, which {type(estimator).__name__} ({name!r}) does not take: fill the gaps "
                "before it in a pipeline, or use a classifier that takes NaN or inf."
            )


def _is_row(value: object) -> bool:
    """Tell whether a value of a list is a row of values."""
    return isinstance(value, list | tuple)


def _has_string(values: Iterable[Any]) -> bool:
    """Tell whether there is a string among some values."""
    return any(isinstance(value, str) for value in values)
