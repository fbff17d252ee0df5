"""An objective by its own name, or by that of the metric that it searches for."""

from optimizers.registry import did_you_mean
from stacking.combiners.voting.objectives.objective import WeightObjective
from stacking.combiners.voting.objectives.of_metric import objective_of_metric
from stacking.combiners.voting.objectives.registry import find_objective, list_objectives
from stacking.metrics.named import Metric, find_metric, list_metrics
from stacking.predictions import PredictionSet

SEARCHED_BY = {"micro-f1": "micro-f1-best", "map": "mean-average-precision"}
"""Metric → objective, where an exact one has another name."""


def create_objective(name: str | Metric, predictions: PredictionSet, mean: str = "arithmetic") -> WeightObjective:
    """Create an objective by name.

    Parameters
    ----------
    name : str or Metric
        One of `list_objectives`, or any metric as `stacking.metrics.find_metric` takes it.
    predictions : PredictionSet
        Scores with their truth.
    mean : {"arithmetic", "geometric"}, default "arithmetic"
        The mean whose weights are searched.

    Returns
    -------
    WeightObjective
        A callable for `optimizers.minimize`.

    Raises
    ------
    ValueError
        If the name or the mean is unknown, the truth is missing, or the metric cannot measure it.
    """
    own = find_objective(name) if isinstance(name, str) else None
    if own is not None:
        return own(predictions, mean)
    metric = _find_objective_metric(name)
    exact = find_objective(SEARCHED_BY.get(metric.name, metric.name))
    if exact is not None:
        return exact(predictions, mean)
    metric.check_truth(predictions.truth)
    return objective_of_metric(metric, predictions, mean, create_objective)


def _find_objective_metric(name: str | Metric) -> Metric:
    """Look up the metric that is no objective by name."""
    try:
        return find_metric(name)
    except ValueError as error:
        if not isinstance(name, str) or any(mark in name for mark in ":*+"):
            raise
        known = list_objectives()
        raise ValueError(
            f"objective must be one of {', '.join(map(repr, known))}, or a metric: got {name!r}."
            f"{did_you_mean(name, [*known, *list_metrics()])}"
        ) from error
