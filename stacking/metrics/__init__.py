"""Multi-label metrics on plain arrays, each with a mask of annotated cells and with sample weights.

scikit-learn has the same metrics without the mask: a label that was never annotated counts there as a negative. Here a
cell with ``y_known`` False counts neither way. Where every cell is known the values equal scikit-learn's (tested).
Every micro-averaged metric rests on `micro_f1_counts`, which adds up over shards of rows.

Decisions and truth are {0, 1} or bool of shape (n_samples, n_labels); scores lie in [0, 1].
"""

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
    "constant_answer",
    "constant_labels",
    "f1_per_label",
    "hamming_loss",
    "log_loss",
    "macro_f1",
    "mean_average_precision",
    "micro_f1",
    "micro_f1_counts",
    "recall_at_k",
    "samples_f1",
    "subset_accuracy",
]
