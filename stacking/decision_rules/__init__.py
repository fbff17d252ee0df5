"""Turn scores into decisions: thresholds tuned for a stated average, and their application."""

from stacking.decision_rules.best_single import tune_best_single
from stacking.decision_rules.costs import tune_cost, tune_cost_per_label
from stacking.decision_rules.cross_validated import tune_cross_validated
from stacking.decision_rules.cyclic import tune_cyclic
from stacking.decision_rules.exact_micro_f1 import tune_exact_micro_f1
from stacking.decision_rules.expected_f1 import SampleRule, tune_expected_f1, tune_samples_f1
from stacking.decision_rules.half import tune_half
from stacking.decision_rules.image_rules import ImageRules, apply_image_rules
from stacking.decision_rules.macro_f1 import tune_macro_f1
from stacking.decision_rules.micro_macro_f1 import tune_micro_macro_f1
from stacking.decision_rules.own_f1 import tune_own_f1
from stacking.decision_rules.recall_at_least import tune_recall_at_least
from stacking.decision_rules.registry import DecisionRule, check_rule, get_decision_rule, list_decision_rules
from stacking.decision_rules.rematch import rematch_thresholds
from stacking.decision_rules.shrunk import tune_shrunk
from stacking.decision_rules.single import tune_single
from stacking.decision_rules.thresholds import apply_thresholds, never_predicted, tune_thresholds

__all__ = [
    "DecisionRule",
    "ImageRules",
    "SampleRule",
    "apply_image_rules",
    "apply_thresholds",
    "check_rule",
    "get_decision_rule",
    "list_decision_rules",
    "never_predicted",
    "rematch_thresholds",
    "tune_best_single",
    "tune_cost",
    "tune_cost_per_label",
    "tune_cross_validated",
    "tune_cyclic",
    "tune_exact_micro_f1",
    "tune_expected_f1",
    "tune_half",
    "tune_macro_f1",
    "tune_micro_macro_f1",
    "tune_own_f1",
    "tune_recall_at_least",
    "tune_samples_f1",
    "tune_shrunk",
    "tune_single",
    "tune_thresholds",
]
