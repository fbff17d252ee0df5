"""Multi-label metrics on plain arrays, each with a mask of annotated cells and with sample weights.

scikit-learn has the same metrics without the mask: a label that was never annotated counts there as a negative. Here a
cell with ``y_known`` False counts neither way. Where every cell is known the values equal scikit-learn's (tested).
Every micro-averaged metric rests on `micro_f1_counts`, which adds up over shards of rows. `find_metric` returns any of
them, and many more, as an object by name: what fitting, comparison and weight search go by.

Decisions and truth are {0, 1} or bool of shape (n_samples, n_labels); scores lie in [0, 1].
"""

from stacking.metrics.named import Metric, find_metric, list_metrics, metric_name, register_metric, unregister_metric
from stacking.metrics.of_decisions import (
    constant_answer,
    constant_labels,
    f1_per_label,
    hamming_loss,
    macro_f1,
    micro_f1,
    micro_f1_counts,
    samples_f1,
    subset_accuracy,
)
from stacking.metrics.of_scores import log_loss, mean_average_precision, recall_at_k

__all__ = [
    "Metric",
    "constant_answer",
    "constant_labels",
    "f1_per_label",
    "find_metric",
    "hamming_loss",
    "list_metrics",
    "log_loss",
    "macro_f1",
    "mean_average_precision",
    "metric_name",
    "micro_f1",
    "micro_f1_counts",
    "recall_at_k",
    "register_metric",
    "samples_f1",
    "subset_accuracy",
    "unregister_metric",
]
