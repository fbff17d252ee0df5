"""The metrics by name: objects that say what they need, which way is better and which decision rules serve them."""

from stacking.metrics.named.metric import Measurement, Metric
from stacking.metrics.named.registry import find_metric, list_metrics, register_metric

__all__ = ["Measurement", "Metric", "find_metric", "list_metrics", "register_metric"]
