"""The metrics by name: objects that say what they need, which way is better and which decision rules serve them."""

from stacking.metrics.named.metric import Metric
from stacking.metrics.named.registry import (
    DEFAULT_METRIC,
    find_metric,
    list_metrics,
    metric_name,
    name_or_metric,
    register_metric,
    unregister_metric,
)

__all__ = [
    "DEFAULT_METRIC",
    "Metric",
    "find_metric",
    "list_metrics",
    "metric_name",
    "name_or_metric",
    "register_metric",
    "unregister_metric",
]
