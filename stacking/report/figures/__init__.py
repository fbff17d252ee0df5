"""Charts as inline SVG: functions on arrays."""

from stacking.report.figures.canvas import draw_figure
from stacking.report.figures.curves import (
    data_size_figure,
    learning_rate_figure,
    reliability_figure,
    search_figure,
    threshold_figure,
    training_curves_figure,
)
from stacking.report.figures.labels import label_f1_figure, never_predicted_table
from stacking.report.figures.rankings import ladder_figure, leaderboard_figure
from stacking.report.figures.weights import weight_bars_figure, weights_figure

__all__ = [
    "data_size_figure",
    "draw_figure",
    "label_f1_figure",
    "ladder_figure",
    "leaderboard_figure",
    "learning_rate_figure",
    "never_predicted_table",
    "reliability_figure",
    "search_figure",
    "threshold_figure",
    "training_curves_figure",
    "weight_bars_figure",
    "weights_figure",
]
