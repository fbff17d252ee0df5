"""Modules under the names they had in version 0.1: they answer for one more version, with a FutureWarning.

Files moved into the room of their stage. Whoever imports one by its earlier name gets what it held; a real module of
that name comes first. This file goes with version 0.3, and with it `stacking/_earlier_functions.py`,
`base_models/_earlier_names.py` and the `__getattr__` of five packages.
"""

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Homes = str | tuple[str, ...]
_PREFIX = __name__.removesuffix("stacking._earlier_names")
"""Blank, but where `labelstack._rooms` has given our packages a second name."""


class EarlierModules(MetaPathFinder, Loader):
    """Find modules by their earlier names, after every other finder has failed."""

    def __init__(self, homes: Mapping[str, Homes]) -> None:
        """Keep where each module's names live now."""
        self.homes = homes

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return a specification for a module that has moved; say what became of one that is gone."""
        if fullname in GONE:
            raise ImportError(GONE[fullname], name=fullname)
        if fullname not in self.homes:
            return None
        is_package = any(earlier.startswith(f"{fullname}.") for earlier in self.homes)
        return ModuleSpec(fullname, self, is_package=is_package)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the import system make an empty module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Let the module look its names up where they live now."""
        homes = self.homes[module.__name__]
        named = [home for home in ((homes,) if isinstance(homes, str) else homes) if "._" not in home]
        warn_of_earlier_name(module.__name__, ", ".join(named))
        module.__getattr__ = _look_up(module.__name__, homes)  # type: ignore[method-assign]


def find_earlier_modules(homes: Mapping[str, Homes]) -> None:
    """Make modules importable by their earlier names.

    Parameters
    ----------
    homes : mapping of str to str or tuple of str
        By earlier dotted name: the module, or modules, where its names live now.
    """
    if not _PREFIX:  # else the names are the user's
        sys.meta_path.append(EarlierModules(homes))


def find_earlier_name(package: str, home: str, name: str, *, now: Mapping[str, str] | None = None) -> Any:
    """Look up a name that a package had in version 0.1, such as when it was a module.

    Parameters
    ----------
    package : str
        Its dotted name.
    home : str
        The module that holds what it held.
    name : str
        What is asked for.
    now : mapping of str to str, optional
        What names are called now, by what they were called; a name that is not in it has stayed the same.

    Returns
    -------
    object
        Found there, with a FutureWarning.

    Raises
    ------
    AttributeError
        If it is not there.
    """
    current = (now or {}).get(name, name)
    value = _look_up(package, home)(current)
    if not name.startswith("_"):
        warn_of_earlier_name(f"{package}.{name}", f"{home}.{current}")
    return value


class Renamed:
    """An attribute or method under the name that it had in version 0.1."""

    def __init__(self, now: str) -> None:
        """Keep what it is called now."""
        self.now = now

    def __set_name__(self, owner: type, name: str) -> None:
        """Keep what it was called."""
        self.earlier = name

    def __get__(self, instance: Any, owner: type) -> Any:
        """Return what has the new name, with a FutureWarning."""
        warn_of_earlier_name(f"{owner.__name__}.{self.earlier}", self.now, stacklevel=3)
        return getattr(owner if instance is None else instance, self.now)


def _look_up(earlier: str, homes: Homes) -> Callable[[str], Any]:
    """Return a function that finds a name in the first of some modules that has it."""

    def find(name: str) -> Any:
        if not name.startswith("__"):
            for home in (homes,) if isinstance(homes, str) else homes:
                found = getattr(import_module(f"{_PREFIX}{home.removeprefix(_PREFIX)}"), name, None)
                if found is not None:
                    return found
        raise AttributeError(f"module {earlier!r} has no attribute {name!r}")

    return find


def warn_of_earlier_name(earlier: str, now: str, stacklevel: int = 4) -> None:
    """Say where something lives now, or what it is called.

    Parameters
    ----------
    earlier, now : str
        Its name in version 0.1, and today's.
    stacklevel : int, default=4
        Of the warning: how many calls above is the caller who used the earlier name.
    """
    text = f"{earlier} is now {now}; the earlier name goes with version 0.3."
    warnings.warn(text, FutureWarning, stacklevel=stacklevel)


GONE = {
    "stacking.calibration": (
        "stacking.calibration is gone: on data that tuned nothing, no map of finished scores came near the method "
        "'logistic', which calibrates every label; use StackingEnsemble('logistic'), or scikit-learn's calibrators."
    )
}

MODULES: dict[str, Homes] = {
    "stacking._kernels": ("stacking.kernels.weights", "stacking.kernels.cuts", "stacking.kernels.folds"),
    "stacking._label_kernels": "stacking.kernels.labels",
    "stacking.atomic_files": ("stacking.files.atomic_files", "stacking.files.run_lock"),
    "stacking.auto": "stacking.combiners.auto.race",
    "stacking.auto_budget": "stacking.combiners.auto.budget",
    "stacking.auto_choice": "stacking.combiners.auto.choice",
    "stacking.classifier_combiner": "stacking.combiners.classifier",
    "stacking.combiner": "stacking.combiners.combiner",
    "stacking.comparison.bootstrap": "stacking.metrics.bootstrap",
    "stacking.comparison.counts": ("stacking.metrics.counts", "stacking.truth"),
    "stacking.comparison.label_section": "stacking.comparison.presentation.label_section",
    "stacking.comparison.ladder": "stacking.metrics.gain_ladder",
    "stacking.comparison.manifest": "stacking.comparison.plan",
    "stacking.comparison.rules": "stacking.decision_rules.choice",
    "stacking.comparison.weight_section": "stacking.comparison.presentation.weight_section",
    "stacking.cross_fitting": (
        "stacking._earlier_functions",
        "stacking.folds",
        "stacking.combiners.combiner",
        "stacking.decision_rules.choice",
    ),
    "stacking.csv_cells": "stacking.files.csv_cells",
    "stacking.deadline": ("stacking.process.deadline", "stacking._earlier_functions"),
    "stacking.decision_rules.labelled_scores": (
        "stacking.decision_rules.labeled_scores",
        "stacking._earlier_functions",
    ),
    "stacking.ensemble_folder": ("stacking.ensemble.folder", "stacking.combiners.state"),
    "stacking.kept_pieces": "stacking.files.result_cache",
    "stacking.meta_learners": ("stacking.combiners.meta_learners", "stacking.combiners.blend"),
    "stacking.meta_learners.batched_logistic": "stacking.combiners.meta_learners.batched_logistic",
    "stacking.meta_learners.blend": "stacking.combiners.blend",
    "stacking.meta_learners.boosted_label": "stacking.combiners.meta_learners.trees.boosted_label",
    "stacking.meta_learners.context_regression": "stacking.combiners.meta_learners.context_regression",
    "stacking.meta_learners.convolutional": "stacking.combiners.meta_learners.convolutional",
    "stacking.meta_learners.fused_logits": "stacking.combiners.meta_learners.pooled_logits",
    "stacking.meta_learners.label_context": "stacking.combiners.meta_learners.label_context",
    "stacking.meta_learners.label_feed": "stacking.combiners.meta_learners.trees.label_inputs",
    "stacking.meta_learners.labelwise_logistic": (
        "stacking.combiners.meta_learners.labelwise_logistic",
        "stacking.combiners.meta_learners.logit_stacker",
    ),
    "stacking.meta_learners.pair_lightgbm": "stacking.combiners.meta_learners.trees.pair_lightgbm",
    "stacking.meta_learners.per_label_lightgbm": "stacking.combiners.meta_learners.trees.per_label_lightgbm",
    "stacking.meta_learners.ridge_context": (
        "stacking.combiners.meta_learners.ridge_context",
        "stacking.combiners.meta_learners.logit_stacker",
    ),
    "stacking.meta_learners.training_rows": ("stacking.combiners.meta_learners.training_rows", "stacking.links"),
    "stacking.meta_learners.tree_combiner": "stacking.combiners.meta_learners.trees.tree_combiner",
    "stacking.methods": "stacking.combiners.registry",
    "stacking.multilabel_bases": "stacking.combiners.multilabel_bases",
    "stacking.nested_state": "stacking.combiners.state",
    "stacking.paired_gain": ("stacking.metrics.paired_difference", "stacking._earlier_functions"),
    "stacking.predictions.bundle": "stacking.predictions.forms.bundle",
    "stacking.predictions.loading": "stacking.predictions.forms.loading",
    "stacking.predictions.matrix_files": "stacking.predictions.forms.matrix_files",
    "stacking.predictions.packing": "stacking.predictions.forms.packing",
    "stacking.predictions.store": "stacking.predictions.forms.store",
    "stacking.predictions.store_index": "stacking.predictions.forms.store_index",
    "stacking.predictions.tables": "stacking.predictions.forms.tables",
    "stacking.predictions.truth": (
        "stacking.predictions.forms.truth",
        "stacking.predictions.forms.label_tables",
        "stacking.predictions.forms.label_cells",
        "stacking.predictions.forms.name_lists",
    ),
    "stacking.row_identity": "stacking.ensemble.seen_samples",
    "stacking.score_blocks": "stacking.decision_rules.score_blocks",
    "stacking.threshold_choice": "stacking.decision_rules.choice",
    "stacking.voting": "stacking.combiners.voting",
    "stacking.voting.label_cells": "stacking.combiners.voting.objectives.label_cells",
    "stacking.voting.label_objectives": "stacking.combiners.voting.objectives.per_label",
    "stacking.voting.label_weights": "stacking.combiners.voting.label_weights",
    "stacking.voting.means": "stacking.combiners.voting.means",
    "stacking.voting.member_limits": "stacking.combiners.voting.member_limits",
    "stacking.voting.objectives": (
        "stacking.combiners.voting.objectives.pooled",
        "stacking.combiners.voting.objectives.objective",
        "stacking.combiners.voting.objectives.registry",
    ),
    "stacking.voting.soft_voting": "stacking.combiners.voting.soft_voting",
    "stacking.voting.weighted_voting": "stacking.combiners.voting.weighted_voting",
}
