"""Array types, told once: every module takes its names from here."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
"""Scores, as everywhere outside of sums."""

FloatingArray = npt.NDArray[np.floating]
DoubleArray = npt.NDArray[np.float64]
"""Weights, sums, thresholds and whatever is solved for."""

IntArray = npt.NDArray[np.int64]
IndexArray = npt.NDArray[np.intp]
"""Positions, as numpy gives them."""

BoolArray = npt.NDArray[np.bool_]
LabelArray = npt.NDArray[np.uint8]
"""Truth: 0 and 1."""

StringArray = npt.NDArray[np.str_]
