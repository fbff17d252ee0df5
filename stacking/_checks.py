"""Array and name validation for the whole package, so that every error reads the same way.

Each check returns its argument in the one form that the rest of the package uses (dtype, dimensions, contiguity) or
raises one sentence: which argument, what it must be, what was got, what to do. Checks are cheap next to what follows
them and run before it.
"""

from collections.abc import Collection, Hashable, Iterable, Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizers.registry import did_you_mean
from stacking._typing import BoolArray, DoubleArray, FloatArray, IntArray, LabelArray, StringArray

SIMPLEX_TOLERANCE = 1e-4
"""How far a sum of weights may lie from 1 before it counts as a mistake and not as rounding, in float32 or in a text of
six digits; the weights are then divided by it. A choice, not tuned."""
ROUNDING = 1e-6
"""A score this far outside [0, 1] was meant to be a probability: sums in float32 end there."""
MOST_CHARACTERS = 4_096
"""Of a name: as many as the longest path on Linux has. Ids are often paths or addresses."""


def check_choice(value: str, choices: Iterable[str], *, name: str) -> str:
    """Check that a name is one of the known ones, or raise with the nearest one as a suggestion."""
    known = list(choices)
    if value not in known:
        hint = did_you_mean(str(value), known)
        raise ValueError(f"{name} must be one of {', '.join(map(repr, known))}: got {value!r}.{hint}")
    return value


def check_at_least(least: int, **given: int | None) -> None:
    """Raise where one of some arguments, by name, is smaller or no whole number; None is none."""
    for name, value in given.items():
        wanted = "" if isinstance(value, Integral) else "a whole number of "
        if value is not None and (wanted or value < least):
            raise ValueError(f"{name} must be {wanted}at least {least}: got {value!r}.")


def check_y_true(
    y_true: npt.ArrayLike, *, n_samples: int | None = None, n_labels: int | None = None, name: str = "y_true"
) -> LabelArray:
    """
    Check a truth matrix.

    Parameters
    ----------
    y_true : array-like of shape (n_samples, n_labels)
        Zeros and ones of any numeric or boolean dtype; a scipy sparse matrix is made dense.
    n_samples, n_labels : int, optional
        The shape it must have.
    name : str, default="y_true"
        The argument's name, for the error.

    Returns
    -------
    ndarray of uint8, shape (n_samples, n_labels)
        The truth, C-ordered; not copied where it already has this form.

    Raises
    ------
    TypeError
        If it does not hold numbers or booleans.
    ValueError
        If it is not two-dimensional, has another shape, or holds anything but 0 and 1.
    """
    array = _numeric(y_true, name)
    _check_matrix_shape(array, (n_samples, n_labels), name)
    if array.dtype != np.bool_:
        wrong = array > 1 if array.dtype == np.uint8 else (array != 0) & (array != 1)
        if wrong.any():
            row, label = first_true(wrong)
            values = np.unique(array)
            raise ValueError(
                f"{name} must hold only 0 and 1: got {array[row, label]} at row {row}, column {label}; "
                f"{_remedy(values, name)}."
            )
    return np.ascontiguousarray(array, dtype=np.uint8)


def check_mask(
    mask: npt.ArrayLike, *, n_samples: int | None = None, n_labels: int | None = None, name: str = "y_known"
) -> BoolArray:
    """Check a boolean matrix such as ``y_known``, ``y_pred`` or ``covers``: booleans, or zeros and ones."""
    return check_y_true(mask, n_samples=n_samples, n_labels=n_labels, name=name).view(np.bool_)


def check_y_score(
    y_score: npt.ArrayLike, *, n_samples: int | None = None, n_labels: int | None = None, name: str = "y_score"
) -> FloatArray:
    """
    Check one score matrix without gaps.

    Parameters
    ----------
    y_score : array-like of shape (n_samples, n_labels)
        Probabilities in [0, 1], dimensionless; float16 and float64 are accepted, NaN is not.
    n_samples, n_labels : int, optional
        The shape it must have.
    name : str, default="y_score"
        The argument's name, for the error.

    Returns
    -------
    ndarray of float32, shape (n_samples, n_labels)
        The scores, C-ordered; not copied where they already have this form.

    Raises
    ------
    TypeError
        If it does not hold numbers.
    ValueError
        If it is not two-dimensional, has another shape, or holds NaN, infinity or a value outside [0, 1].
    """
    array = _numeric(y_score, name)
    _check_matrix_shape(array, (n_samples, n_labels), name)
    if array.size and not (array.min() >= 0 and array.max() <= 1):
        row, label = first_true(~((array >= 0) & (array <= 1)))
        raise ValueError(
            f"{name} must hold probabilities in [0, 1]: got {array[row, label]} at row {row}, column {label}"
            f"{_logit_hint(array)}."
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def check_weights(weights: npt.ArrayLike, n_models: int, n_labels: int, *, name: str = "weights") -> DoubleArray:
    """
    Check combination weights and bring them to one column per label.

    Parameters
    ----------
    weights : array-like of shape (n_models,) or (n_models, n_labels)
        Non-negative shares, dimensionless; each column sums to 1 (within 1e-4).
    n_models, n_labels : int
        The shape they are for.
    name : str, default="weights"
        The argument's name, for the error.

    Returns
    -------
    ndarray of float64, shape (n_models, n_labels)
        The weights, each column summing to 1 to machine precision.

    Raises
    ------
    TypeError
        If they are not numbers.
    ValueError
        If their shape is another, one is negative or not finite, or a column does not sum to 1.

    Examples
    --------
    >>> check_weights([0.25, 0.75], n_models=2, n_labels=3).shape
    (2, 3)
    """
    array = np.asarray(_numeric(weights, name), dtype=np.float64)
    if array.ndim not in (1, 2) or array.shape[0] != n_models:
        got = array.shape[0] if array.ndim == 1 else f"shape {array.shape}"
        raise ValueError(f"{name} must hold one value per model: got {got} for {n_models} models.")
    if array.ndim == 2 and array.shape[1] != n_labels:
        raise ValueError(f"{name} must have one column per label: got {array.shape[1]} columns for {n_labels} labels.")
    array = np.repeat(array[:, None], n_labels, axis=1) if array.ndim == 1 else array.copy()
    if not np.isfinite(array).all() or array.min() < 0:
        raise ValueError(f"{name} must be finite and not negative: got {array.min()} as the smallest value.")
    total = array.sum(axis=0)
    worst = int(np.argmax(np.abs(total - 1)))
    if abs(total[worst] - 1) > SIMPLEX_TOLERANCE:
        raise ValueError(
            f"{name} must sum to 1 over the models: got {total[worst]:.6g} in column {worst}; divide by the sum."
        )
    return array / total


def check_thresholds(thresholds: npt.ArrayLike, n_labels: int, *, name: str = "thresholds") -> DoubleArray:
    """Check one threshold for all labels or one each, ``+inf`` for never; a label fires at or above its threshold."""
    array = np.asarray(_numeric(thresholds, name), dtype=np.float64)
    if array.ndim == 0:
        array = np.full(n_labels, float(array))
    if array.shape != (n_labels,):
        raise ValueError(f"{name} must hold one value per label: got shape {array.shape} for {n_labels} labels.")
    if np.isnan(array).any():
        raise ValueError(
            f"{name} must not be NaN: got NaN at label {int(np.isnan(array).argmax())}; use inf for never."
        )
    return array.copy()


def check_sample_weight(sample_weight: npt.ArrayLike, n_samples: int, *, name: str = "sample_weight") -> DoubleArray:
    """Check one weight per sample: finite, not negative, not all zero; any scale."""
    array = np.asarray(_numeric(sample_weight, name), dtype=np.float64)
    if array.shape != (n_samples,):
        raise ValueError(f"{name} must hold one value per sample: got shape {array.shape} for {n_samples} samples.")
    wrong = ~(np.isfinite(array) & (array >= 0))
    if wrong.any():
        raise ValueError(f"{name} must be finite and not negative: got {array[wrong][0]} at row {wrong.argmax()}.")
    if not array.any():
        raise ValueError(f"{name} must not be zero everywhere: got {n_samples} zeros; leave it out for equal weights.")
    return np.ascontiguousarray(array)


def check_names(values: npt.ArrayLike, n_expected: int | None = None, *, name: str) -> StringArray:
    """
    Check a list of names: strings or integers, none empty, none twice.

    Parameters
    ----------
    values : array-like of str or int
        The names; integers and UTF-8 bytes become strings, so ``"007"`` and ``7`` stay different.
    n_expected : int, optional
        How many there must be.
    name : str
        What they name, as the argument is called: ``"ids"``, ``"models"``, ``"labels"``.

    Returns
    -------
    ndarray of str, shape (n,)
        The names with numpy's ``U`` dtype.

    Raises
    ------
    TypeError
        If one is neither a string nor an integer.
    ValueError
        If their number is another, one is empty or holds a NUL character, or one appears twice.
    """
    array = _as_strings(values, name)
    if n_expected is not None and len(array) != n_expected:
        raise ValueError(f"{name} must hold {n_expected} names, as the scores do: got {len(array)}.")
    texts: list[str] = array.tolist()
    if "" in texts:
        raise ValueError(f"{name} must not be empty strings: got one at position {texts.index('')}.")
    blank = next((place for place, text in enumerate(texts) if text.isspace()), None)
    if blank is not None:
        raise ValueError(f"{name} must not be blank: got {texts[blank]!r} at position {blank}; name it.")
    if len(set(texts)) != len(texts):
        twice = first_duplicate(texts)
        raise ValueError(f"{name} must be unique: got {twice!r} {texts.count(twice)} times; keep one of them.")
    return array


def check_model_scores(
    scores: npt.NDArray[Any], covers: BoolArray, *, model: str, ids: StringArray, labels: Sequence[str]
) -> None:
    """
    Check one model's scores against its coverage.

    Parameters
    ----------
    scores : ndarray of shape (n_rows, n_labels)
        Probabilities in [0, 1], NaN exactly where the model does not cover the label.
    covers : ndarray of bool, shape (n_labels,)
        Which labels the model answers.
    model : str
        The model's name, for the error.
    ids : ndarray of str, shape (n_rows,)
        The rows' ids, for the error.
    labels : sequence of str
        The labels' names, for the error.

    Raises
    ------
    ValueError
        If a covered score is NaN, infinite or outside [0, 1], or an uncovered one is not NaN; names model, row and
        label.
    """
    if not len(scores):
        return
    with np.errstate(invalid="ignore"):
        fine = (scores.min(axis=0) >= 0) & (scores.max(axis=0) <= 1)
    wrong = covers & ~fine
    if wrong.any():
        column = int(wrong.argmax())
        row = int((~((scores[:, column] >= 0) & (scores[:, column] <= 1))).argmax())
        where = f"model {model!r}, row {str(ids[row])!r}, label {labels[column]!r}"
        value = scores[row, column]
        if np.isnan(value):
            raise ValueError(
                f"{where}: the score must be a number, since the model covers this label: got NaN; "
                "was this row never predicted? A label that the model does not answer is NaN in every row."
            )
        raise ValueError(
            f"{where}: the score must be a probability in [0, 1]: got {value}{_logit_hint(scores[:, covers])}."
        )
    if not covers.all():
        extra = ~np.isnan(scores) & ~covers
        if extra.any():
            row, column = first_true(extra)
            where = f"model {model!r}, row {str(ids[row])!r}, label {labels[column]!r}"
            raise ValueError(
                f"{where}: the score must be NaN, since covers is False for this model and label: "
                f"got {scores[row, column]}; correct covers or the score."
            )


def check_y_scores(y_scores: object) -> FloatArray:
    """Return scores as a C-ordered float32 array of three dimensions."""
    array = np.asarray(y_scores)
    if array.dtype.kind not in "buif":
        raise TypeError(
            f"y_scores must hold numbers: got dtype {array.dtype}; convert it with astype('float32') first."
        )
    if array.ndim != 3:
        raise ValueError(
            f"y_scores must have three dimensions, (n_models, n_samples, n_labels): got shape {array.shape}."
        )
    if 0 in array.shape:
        raise ValueError(f"y_scores must hold at least one model, sample and label: got shape {array.shape}.")
    if array.dtype == np.float64 and np.isfinite(array).all() and np.abs(array).max() > np.finfo(np.float32).max:
        raise ValueError("y_scores must be probabilities in [0, 1]: got values beyond the range of float32.")
    return np.ascontiguousarray(array, dtype=np.float32)


def find_covered(matrix: FloatArray) -> BoolArray:
    """Find the labels that are not NaN in every row of one model."""
    candidates = np.isnan(matrix[0])
    covered = np.ones(matrix.shape[1], np.bool_)
    if candidates.any():
        covered[candidates] = ~np.isnan(matrix[:, candidates]).all(axis=0)
    return covered


def check_or_make_names(values: npt.ArrayLike | None, size: int, prefix: str, name: str) -> StringArray:
    """Check names, or make them."""
    if values is None:
        return np.array([f"{prefix}{i}" for i in range(size)], dtype=np.str_)
    return check_names(values, size, name=name)


def check_per_sample(values: npt.ArrayLike, n_samples: int, name: str) -> npt.NDArray[Any]:
    """Check one int or str per sample."""
    refuse_mask(values, name)
    array = np.asarray(values)
    if array.dtype.kind == "O":
        array = np.array([str(value) for value in array.tolist()], dtype=np.str_)
    if array.shape != (n_samples,):
        raise ValueError(f"{name} must hold one value per sample: got shape {array.shape} for {n_samples} samples.")
    if array.dtype.kind not in "iuUb":
        raise TypeError(f"{name} must be integers or strings: got dtype {array.dtype}.")
    if array.dtype.kind == "U":
        _check_characters(array, name)
    return array if array.dtype.kind == "U" else array.astype(np.int64)


_MISSING = frozenset(("", "None", "nan", "NaN", "NaT", "<NA>"))
"""What Python, numpy and pandas write for a value that is not there."""


def check_groups(values: npt.ArrayLike, n_samples: int, *, name: str = "groups") -> npt.NDArray[Any]:
    """Check one group per sample: integers stay, text and dates become text, ``""`` where blank.

    Blank are None, NaN, NaT, text without a visible character, and the text that Python makes of a missing value: one
    group of all that lack one would put them into one fold.
    """
    if np.ma.isMaskedArray(values):
        masked, values = np.ma.getmaskarray(values), np.ma.getdata(values).astype(object)
        values[masked] = None
    # A list of names and NaN would become the text "nan".
    array = np.asarray(values, dtype=object) if isinstance(values, list | tuple) else np.asarray(values)
    if array.shape != (n_samples,):
        raise ValueError(f"{name} must hold one value per sample: got shape {array.shape} for {n_samples} samples.")
    if array.dtype.kind in "iub":
        return array.astype(np.int64)
    if array.dtype.kind == "M":
        array = array.astype(np.str_)
    if array.dtype.kind == "U":
        return np.where(np.isin(np.char.strip(array), sorted(_MISSING)), "", array)
    if array.dtype.kind not in "Of":
        raise TypeError(f"{name} must be integers, text or dates: got dtype {array.dtype}.")
    cells = array.tolist()
    if all(isinstance(value, int | np.integer) for value in cells):
        return array.astype(np.int64)
    return np.array([_group_text(value, name) for value in cells], dtype=np.str_)


def _is_collection(value: object) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | bytes)


def _group_text(value: Any, name: str) -> str:
    """Return the text of one group; empty where it is blank."""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return ""
    if isinstance(value, float | np.floating):  # whole numbers beside NaN, as tables hold them
        if not float(value).is_integer():
            raise TypeError(f"{name} must be integers, text or dates: got {value!r}.")
        value = int(value)
    # A plain object's text is its address: each row would be a group of its own, unasked.
    nameless = isinstance(value, complex | np.complexfloating) or str(value) == object.__repr__(value)
    if nameless or _is_collection(value):
        raise TypeError(f"{name} must be integers, text or dates: got {value!r}, a {type(value).__name__}.")
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    return "" if text.strip() in _MISSING else text


def check_folds(values: npt.ArrayLike, n_samples: int, *, least: int = 1) -> IntArray:
    """Check the fold numbers; `least` different ones must be there: 2 where every row is to be held out once."""
    folds = check_per_sample(values, n_samples, "folds")
    if folds.dtype.kind == "U" or folds.min() < -1:
        got = folds.dtype if folds.dtype.kind == "U" else folds.min()
        raise ValueError(f"folds must be integers from −1 up: got {got}.")
    found = len(np.unique(folds)) if least > 1 else least
    if found < least:
        raise ValueError(f"folds must hold at least {least} different folds: got {found}, so no row could be held out.")
    return folds


def check_label_groups(values: npt.ArrayLike, n_labels: int) -> tuple[str, ...]:
    """Check the groups of the labels."""
    groups = tuple(str(value) for value in np.asarray(values).tolist())
    if len(groups) != n_labels:
        raise ValueError(f"label_groups must hold one group per label: got {len(groups)} for {n_labels} labels.")
    _check_characters(np.array(groups, dtype=np.str_), "label_groups")
    return groups


def check_frequency(values: npt.ArrayLike, n_labels: int) -> DoubleArray:
    """Check label frequencies."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape != (n_labels,):
        raise ValueError(
            f"train_frequency must hold one value per label: got shape {array.shape} for {n_labels} labels."
        )
    if not (array.min() >= 0 and array.max() <= 1):
        raise ValueError(
            f"train_frequency must be shares in [0, 1]: got {array.min()} to {array.max()}; divide by the count."
        )
    return array


def first_true(mask: BoolArray) -> tuple[int, int]:
    """Find the first True of a matrix in row order: its row and column."""
    row, column = np.unravel_index(int(mask.argmax()), mask.shape)
    return int(row), int(column)


def first_duplicate(names: Iterable[Hashable]) -> str:
    """Find the first name that appears for the second time; empty where all are unique."""
    seen: set[Hashable] = set()
    for name in names:
        if name in seen:
            return str(name)
        seen.add(name)
    return ""


def first_names(names: Sequence[str], limit: int = 3) -> str:
    """Write the first few of many names for an error: 'a', 'b', 'c' and 12 more."""
    text = ", ".join(repr(str(value)) for value in names[:limit])
    return text if len(names) <= limit else f"{text} and {len(names) - limit} more"


def _logit_hint(scores: npt.NDArray[Any]) -> str:
    """Say how to pass logits or percentages where the values look like them; never converts."""
    with np.errstate(invalid="ignore"):
        low, high = np.nanmin(scores), np.nanmax(scores)
    if np.isinf(low) or np.isinf(high):
        return ""
    if -ROUNDING <= low < 0 or 1 < high <= 1 + ROUNDING:
        return "; it leaves the range by rounding only: clip the scores to [0, 1]"
    if low < 0:
        return "; the values look like logits: pass from_logits=True (--from-logits, --logits-of MODEL) if they are"
    return "; the values look like percentages: divide them by 100 if they are" if 10 < high <= 100 else ""


def _numeric(values: npt.ArrayLike, name: str) -> npt.NDArray[Any]:
    """Return an array of numbers or booleans in native byte order."""
    to_dense = getattr(values, "toarray", None)
    try:
        array = np.asarray(to_dense() if to_dense is not None else values)
    except ValueError as error:
        raise ValueError(f"{name} must be a rectangular array: its rows have different lengths.") from error
    refuse_mask(values, name)
    if array.dtype.kind == "O":
        array = numbers_of_objects(array)
    if array.dtype.kind not in "buif":
        raise TypeError(
            f"{name} must hold numbers: got dtype {array.dtype}{_among(_distinct(array))}; convert it to numbers first."
        )
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def numbers_of_objects(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn objects into numbers where all of them are, as in columns of integers beside columns of booleans."""
    plain = int | float | np.number | np.bool_  # bool is an int
    if not array.size or not all(isinstance(value, plain) for value in array.ravel().tolist()):
        return array
    return np.array(array.tolist())


def refuse_mask(values: object, name: str) -> None:
    """Refuse a masked array that masks something: what lies under the mask means nothing."""
    if isinstance(values, np.ma.MaskedArray) and np.ma.getmaskarray(values).any():
        n_masked = int(np.ma.getmaskarray(values).sum())
        raise ValueError(
            f"{name} must not hold masked values: got {n_masked} of {values.size}; fill them, or leave those rows out."
        )


def _distinct(array: npt.NDArray[Any]) -> list[Any]:
    """List the different values of an array of anything, in order of appearance."""
    return list(dict.fromkeys(value if isinstance(value, str | bytes) else repr(value) for value in array.ravel()))


def _among(values: Sequence[Any] | npt.NDArray[Any]) -> str:
    """Name all values where they are few: a code of its own shows by them."""
    shown = ", ".join(str(value) for value in list(values)[:6])
    return f" among the values {shown}{' …' if len(values) > 6 else ''}" if len(values) else ""


def _remedy(values: npt.NDArray[Any], name: str) -> str:
    """Say what to do with a truth of these values."""
    if np.isnan(values.astype(np.float64)).any():
        of_no_mask = {"y_known": "leave no gaps", "y": "leave those rows out"}  # y is scikit-learn's, which has no mask
        return of_no_mask.get(name, "mask what was not annotated (numpy.ma.masked_invalid), or mark it in y_known")
    if ((values > 0) & (values < 1)).any():
        return "these look like scores: give the truth, or decide each label first"
    shown = ", ".join(map(str, values[:6])) + (" …" if len(values) > 6 else "")
    recode = f"recode the values {shown}, for example as (values == {values[-1]})"
    return f"mark labels that were not annotated in y_known, or {recode}" if name.startswith("y_true") else recode


def _check_matrix_shape(array: npt.NDArray[Any], shape: tuple[int | None, int | None], name: str) -> None:
    """Raise unless the array is a matrix of the expected shape."""
    if array.ndim != 2:
        raise ValueError(f"{name} must have two dimensions, (n_samples, n_labels): got shape {array.shape}.")
    for axis, (size, what) in enumerate(zip(shape, ("rows", "columns"), strict=True)):
        if size is not None and array.shape[axis] != size:
            raise ValueError(f"{name} must have {size} {what}: got {array.shape[axis]} (shape {array.shape}).")


def _as_strings(values: npt.ArrayLike, name: str) -> StringArray:
    """Turn names into a one-dimensional array of str without changing what they say."""
    if isinstance(values, str | bytes):
        raise TypeError(f"{name} must be a list of names: got the single string {values!r}; put it in a list.")
    refuse_mask(values, name)
    if not isinstance(values, np.ndarray) or values.dtype.kind == "O":  # before each is given the room of the longest
        _refuse_long(values, name)
    array = np.asarray(values)
    if array.dtype.kind not in "USiu":
        array = np.asarray(values, dtype=object)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional: got shape {array.shape}.")
    if array.dtype.kind in "OS":
        array = np.array([_as_text(value, name) for value in array.tolist()] or [""], dtype=np.str_)[: len(array)]
    elif array.dtype.kind == "U" and not isinstance(values, np.ndarray):
        _refuse_mixed(values, name)
    texts = array.astype(np.str_)
    _check_characters(texts, name)
    if len(texts) and "\0" in "".join(texts.tolist()):
        raise ValueError(f"{name} must not hold NUL characters: got one; rename it.")
    return texts


def _check_characters(texts: StringArray, name: str) -> None:
    """Refuse what no file could hold: halves of surrogate pairs, and in damaged arrays numbers beyond Unicode."""
    # numpy holds UTF-32: D800 to DFFF are surrogates, 10FFFF is the last character of Unicode.
    codes = np.ascontiguousarray(texts).view(np.uint32) if texts.nbytes else np.zeros(1, np.uint32)
    wrong = (codes >= 0xD800) & ((codes <= 0xDFFF) | (codes > 0x10FFFF)) if codes.max() >= 0xD800 else np.zeros(1, bool)
    if wrong.any():
        place = int(wrong.argmax()) * codes.itemsize // texts.dtype.itemsize
        odd = "" if codes.max() > 0x10FFFF else f" {str(texts[place])!a}"
        raise ValueError(f"{name} must be text that can be written as UTF-8: got{odd} at position {place}; rename it.")


def _refuse_long(values: npt.ArrayLike, name: str) -> None:
    """Refuse a name that is no name: in an array of a million others it would take gigabytes."""
    texts = (value for value in np.asarray(values, dtype=object).ravel() if isinstance(value, str | bytes))
    longest = max(texts, key=len, default="")
    if len(longest) > MOST_CHARACTERS:
        raise ValueError(
            f"{name} must have at most {MOST_CHARACTERS:,} characters each: got one of {len(longest):,}, which begins "
            f"with {longest[:40]!r}; is a quotation mark missing in the file?"
        )


def _refuse_mixed(values: npt.ArrayLike, name: str) -> None:
    """Refuse what numpy would silently turn into text, such as None or 1.5 in a list of strings."""
    for value in np.asarray(values, dtype=object).tolist():
        if _as_text(value, name).endswith("\0"):
            raise ValueError(f"{name} must not hold NUL characters: got {value!r}; rename it.")


def _as_text(value: object, name: str) -> str:
    """Return one name as str."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{name} must be UTF-8 text: got {value!r}; write it as text.") from error
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return str(int(value))
    raise TypeError(
        f"{name} must be strings or integers: got {value!r} of type {type(value).__name__}; write it as text."
    )
