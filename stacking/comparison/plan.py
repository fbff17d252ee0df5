"""The options of a comparison, and the manifest that says what it was made from."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import Any, TypeAlias

from stacking._checks import check_at_least
from stacking.comparison.splits import Split
from stacking.decision_rules.image_rules import refuse_other_rules
from stacking.files.versions import installed_versions
from stacking.metrics.named import DEFAULT_METRIC, Metric, find_metric
from stacking.predictions import PredictionSet

_PACKAGES = ("labelstack", "numpy", "scipy", "scikit-learn", "lightgbm", "numba", "pyswarms")

Progress: TypeAlias = Callable[[int, int, str], None]
"""Called with (number of steps done, number of steps, name of the method); a step is one method on one split."""


@dataclass(frozen=True)
class ComparisonPlan:
    """The options of a comparison.

    Attributes
    ----------
    n_splits : int
        Outer and inner folds.
    random_state : int
        Seed of folds, methods and bootstrap.
    n_bootstrap : int
        Number of resamples.
    time_limit : float or None
        Seconds after which no further split is started.
    ensemble : dict
        Keyword arguments of `StackingEnsemble` that every method is fitted with.
    progress : callable or None
        Called with what runs.
    metric : Metric
        What everything is scored by.
    """

    n_splits: int
    random_state: int
    n_bootstrap: int
    time_limit: float | None
    ensemble: dict[str, Any]
    progress: Progress | None
    metric: Metric = field(default_factory=partial(find_metric, DEFAULT_METRIC))

    def __post_init__(self) -> None:
        check_at_least(2, n_splits=self.n_splits)
        check_at_least(1, n_bootstrap=self.n_bootstrap)
        refuse_other_rules(self.ensemble.get("image_rules"))
        if self.time_limit is not None and not (isinstance(self.time_limit, Real) and self.time_limit > 0):
            raise ValueError(f"time_limit must be a positive number of seconds or None: got {self.time_limit}.")
        of_fits = self.ensemble.get("time_limit")
        if of_fits is not None and not (isinstance(of_fits, Real) and float(of_fits) >= 0):
            raise ValueError(f"fit_time_limit must be a number of seconds or None: got {of_fits}.")


def write_manifest(
    predictions: PredictionSet,
    holdout: PredictionSet | None,
    splits: Sequence[Split],
    plan: ComparisonPlan,
    options: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """Record inputs, protocol, versions and options.

    Parameters
    ----------
    predictions : PredictionSet
        What was fitted on.
    holdout : PredictionSet or None
        What was scored on, if not the same.
    splits : sequence of Split
        The splits used.
    plan : ComparisonPlan
        The options.
    options : mapping of str to dict
        Constructor parameters of the methods that were scored.

    Returns
    -------
    dict
        Plain values.
    """
    scored = predictions if holdout is None else splits[0].test_side
    rules = plan.ensemble["image_rules"]
    ensemble = {**plan.ensemble, "image_rules": None if rules is None else rules.as_dict()}
    if plan.metric.name == DEFAULT_METRIC:
        ensemble.pop("metric", None)
    else:
        ensemble["metric"] = plan.metric.name
    units, has_groups = scored.truth.n_units, scored.truth.groups is not None
    return {
        "protocol": "nested" if holdout is None else "holdout",
        "n_splits": len(splits),
        "n_inner_splits": plan.n_splits,
        "n_fitted": predictions.n_samples,
        "n_scored": scored.n_samples,
        "n_groups": units if has_groups else None,
        "bootstrap": {
            "n_bootstrap": plan.n_bootstrap,
            "level": 0.95,
            "units": f"{units:,} {'groups' if has_groups else 'samples'}",
            "fit_error": f"jackknife over {len(splits)} folds" if len(splits) > 1 else None,
        },
        "random_state": plan.random_state,
        "time_limit": plan.time_limit,
        "ensemble": ensemble,
        "fingerprint": predictions.fingerprint,
        "holdout_fingerprint": None if holdout is None else holdout.fingerprint,
        "models": list(predictions.models),
        "labels": list(predictions.labels),
        "ids_sha256": _hash_names(scored.ids.tolist()),
        "labels_sha256": _hash_names(predictions.labels),
        "versions": {"python": platform.python_version(), **installed_versions(_PACKAGES, absent="not installed")},
        "machine": f"{platform.system()} {platform.machine()}",
        "options": {name: own for name, own in options.items() if own},
    }


def _hash_names(names: Sequence[str]) -> str:
    """Hash names in their order."""
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()
