"""Combine the predictions of several multi-label models into one predictor, and say by how much it is better."""

from stacking._earlier_names import MODULES, find_earlier_modules
from stacking.combiners.meta_learners.trees.per_label_lightgbm import PerLabelStacker
from stacking.combiners.voting import SoftVoting, WeightedVoting
from stacking.comparison import compare
from stacking.decision_rules import tune_thresholds
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.metrics import micro_f1
from stacking.multilabel_classifier import StackingMultilabelClassifier
from stacking.predictions import PredictionSet, load_predictions, save_predictions

__all__ = [
    "PerLabelStacker",
    "PredictionSet",
    "SoftVoting",
    "StackingEnsemble",
    "StackingMultilabelClassifier",
    "WeightedVoting",
    "compare",
    "load_predictions",
    "micro_f1",
    "save_predictions",
    "tune_thresholds",
]

find_earlier_modules(MODULES)
