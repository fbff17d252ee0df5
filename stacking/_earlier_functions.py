"""Functions and classes of version 0.1 as they were called then, for one version; see `stacking._earlier_names`."""

import numpy as np
import numpy.typing as npt

from stacking.decision_rules.labeled_scores import LabeledScores as LabelledScores  # noqa: F401
from stacking.folds import deal_folds
from stacking.metrics.paired_difference import F1Counts
from stacking.metrics.paired_difference import F1Counts as UnitCounts  # noqa: F401
from stacking.predictions import PredictionSet
from stacking.process.deadline import time_limited as within  # noqa: F401


def make_folds(
    predictions: PredictionSet, n_splits: int = 5, *, random_state: int | np.random.Generator | None = 0
) -> npt.NDArray[np.intp]:
    """Deal folds of a prediction set: now `stacking.folds.deal_folds` of its truth."""
    return deal_folds(predictions.truth, n_splits, random_state=random_state)


def sample_rows(
    predictions: PredictionSet, max_rows: int | None, *, random_state: int | np.random.Generator | None = 0
) -> PredictionSet:
    """Draw rows of a prediction set: now its method `sample`."""
    return predictions.sample(max_rows, random_state=random_state)


def count_units(decided: npt.NDArray[np.bool_], predictions: PredictionSet) -> F1Counts:
    """Count decisions by sample or group: now `F1Counts` of what `Truth.count` returns."""
    return F1Counts(predictions.truth.count(decided))
