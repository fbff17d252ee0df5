"""Nested values as JSON can hold them: what numpy made becomes Python's, and what is no number None."""

import math
from collections.abc import Mapping
from typing import Any


def as_plain(value: Any) -> Any:
    """Turn nested values into what JSON knows.

    Parameters
    ----------
    value : object
        A value, or mappings, lists and tuples of values.

    Returns
    -------
    object
        Dictionaries with text as keys, lists, and Python's own values; NaN and infinity are None.

    Examples
    --------
    >>> import numpy as np
    >>> as_plain({"a": (np.float32(0.5), np.array([1.0, np.nan]))})
    {'a': [0.5, [1.0, None]]}
    """
    if isinstance(value, Mapping):
        return {str(key): as_plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [as_plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return as_plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
