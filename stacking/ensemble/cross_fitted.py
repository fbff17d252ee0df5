"""What a fit leaves for the choice of thresholds, and the hash that names its outcome."""

from __future__ import annotations

import hashlib
import json
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from stacking._typing import BoolArray, FloatArray
from stacking.decision_rules.choice import RuleTuner
from stacking.files.plain_values import as_plain
from stacking.predictions import PredictionSet


class CrossFitted(NamedTuple):
    """The rows that thresholds were tuned on, with scores that did not see them, and decisions if a rule was chosen."""

    predictions: PredictionSet
    y_score: FloatArray
    folds: npt.NDArray[np.intp]
    tuner: RuleTuner
    decided: BoolArray | None = None


def hash_fit(parts: list[Any], thresholds: npt.ArrayLike, sample_rule: Any) -> str:
    """Hash what was fitted.

    Parameters
    ----------
    parts : list
        Parameters, names and what the data was, as JSON takes them.
    thresholds : array of shape (n_labels,)
        Thresholds.
    sample_rule : SampleRule or None
        What moves scores before them.

    Returns
    -------
    str
        SHA-256.
    """
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True, default=as_plain).encode())
    digest.update(np.ascontiguousarray(thresholds, np.float64).tobytes())
    if sample_rule is not None:
        numbers = [sample_rule.slope, sample_rule.beta]
        digest.update(np.append(sample_rule.intercept, numbers).astype(np.float64).tobytes())
    return digest.hexdigest()
