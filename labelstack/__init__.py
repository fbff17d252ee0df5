"""Combine the predictions of several multi-label models into one predictor, and say by how much it is better.

    import labelstack as ls

    scores = ls.load("resnet.csv", "vit.csv", "cnn.csv", truth="labels.csv")
    print(ls.check(scores))  # what would ruin the blend
    result = ls.compare(scores)  # every method, on rows that tuned nothing
    ensemble = ls.fit(scores)
    labels = ls.predict(ensemble, ls.load("new/*.csv"))

Nothing lives here: each name is loaded from its room when it is first asked for, so that the import takes a
millisecond and no room is loaded that is not used.
"""

TYPE_CHECKING = False  # what checkers and editors read; the module typing is not loaded for it
if TYPE_CHECKING:
    from typing import Any

    from experiments.fashionblocks.scores import example_scores
    from experiments.publishing.exporting import export
    from experiments.reports.evaluation import Evaluation
    from experiments.verbs import check, compare, evaluate, fit, load_ensemble, predict, report, split, study_weights
    from stacking.combiners.meta_learners.trees.per_label_lightgbm import PerLabelStacker
    from stacking.combiners.registry import list_methods
    from stacking.combiners.voting import SoftVoting, WeightedVoting
    from stacking.comparison import Comparison
    from stacking.decision_rules import ImageRules, tune_thresholds
    from stacking.diagnosis import CheckReport
    from stacking.ensemble.ensemble import StackingEnsemble
    from stacking.metrics import micro_f1
    from stacking.multilabel_classifier import StackingMultilabelClassifier
    from stacking.predictions import PredictionSet, save_predictions
    from stacking.predictions.forms.gathering import load

    __version__: str

__all__ = [
    "CheckReport",
    "Comparison",
    "Evaluation",
    "ImageRules",
    "PerLabelStacker",
    "PredictionSet",
    "SoftVoting",
    "StackingEnsemble",
    "StackingMultilabelClassifier",
    "WeightedVoting",
    "check",
    "compare",
    "evaluate",
    "example_scores",
    "export",
    "fit",
    "list_methods",
    "load",
    "load_ensemble",
    "micro_f1",
    "predict",
    "report",
    "save_predictions",
    "split",
    "study_weights",
    "tune_thresholds",
]

_HOMES = {
    "CheckReport": "stacking.diagnosis",
    "Comparison": "stacking.comparison",
    "Evaluation": "experiments.reports.evaluation",
    "ImageRules": "stacking.decision_rules",
    "PerLabelStacker": "stacking.combiners.meta_learners.trees.per_label_lightgbm",
    "PredictionSet": "stacking.predictions",
    "SoftVoting": "stacking.combiners.voting",
    "StackingEnsemble": "stacking.ensemble.ensemble",
    "StackingMultilabelClassifier": "stacking.multilabel_classifier",
    "WeightedVoting": "stacking.combiners.voting",
    "check": "experiments.verbs",
    "compare": "experiments.verbs",
    "evaluate": "experiments.verbs",
    "export": "experiments.publishing.exporting",
    "example_scores": "experiments.fashionblocks.scores",
    "fit": "experiments.verbs",
    "list_methods": "stacking.combiners.registry",
    "load": "stacking.predictions.forms.gathering",
    "load_ensemble": "experiments.verbs",
    "micro_f1": "stacking.metrics",
    "predict": "experiments.verbs",
    "report": "experiments.verbs",
    "save_predictions": "stacking.predictions",
    "split": "experiments.verbs",
    "study_weights": "experiments.verbs",
    "tune_thresholds": "stacking.decision_rules",
}


def __getattr__(name: str) -> "Any":
    """Load a name from its room (PEP 562)."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("labelstack")
    elif name in _HOMES:
        from labelstack._rooms import load

        value = getattr(load(_HOMES[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the names for completion, loaded or not."""
    return sorted({*globals(), *__all__, "__version__"} - {"TYPE_CHECKING"})
