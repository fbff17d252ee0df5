"""Arrays that carry names or gaps (data frames, series, mappings, masked arrays), brought to plain arrays by name.

Whatever carries the names of its rows or columns is matched by them or refused; only what has no names goes by
position. This is the one place that decides so: every function that takes arrays side by side calls `align_by_name`
first and sees plain arrays only. Names that merely count (pandas' 0, 1, 2 …, and ``sample0 …``, ``label0 …``, which
this package gives to plain arrays) are names only where the other side has the same ones. Row numbers in another order
beside an array without names are refused: nobody knows whether the array was shuffled with them.

Masked arrays: the mask of a truth becomes `y_known`, that of scores NaN (a missing score), that of groups a blank one;
everywhere else a masked value is refused, since what lies under a mask means nothing.
"""

from stacking.named_arrays.arguments import align_by_name, find_names, warn_of_unknown
from stacking.named_arrays.axis_names import AxisNames, find_own_names, match_axis
from stacking.named_arrays.frames import (
    ID_NAMES,
    LIBRARIES,
    FrameForm,
    build_frame,
    find_id_column,
    is_frame,
    name_id_column,
    split_frame,
    to_pandas,
)
from stacking.named_arrays.name_changes import find_difference
from stacking.named_arrays.reading import read_array
from stacking.named_arrays.scores import NamedScores, place_scores, read_scores

__all__ = [
    "ID_NAMES",
    "LIBRARIES",
    "AxisNames",
    "FrameForm",
    "NamedScores",
    "align_by_name",
    "build_frame",
    "find_difference",
    "find_id_column",
    "find_names",
    "find_own_names",
    "is_frame",
    "match_axis",
    "name_id_column",
    "place_scores",
    "read_array",
    "read_scores",
    "split_frame",
    "to_pandas",
    "warn_of_unknown",
]
