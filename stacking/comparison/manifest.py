"""What a comparison was made from, so that it can be made again."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from stacking.comparison.evaluation import MethodResult
from stacking.comparison.splits import Split
from stacking.predictions import PredictionSet

if TYPE_CHECKING:
    from stacking.comparison.compare import ComparisonPlan

__all__ = ["write_manifest"]

_PACKAGES = ("labelstack", "numpy", "scipy", "scikit-learn", "lightgbm", "numba", "pyswarms")


def write_manifest(
    predictions: PredictionSet,
    holdout: PredictionSet | None,
    splits: Sequence[Split],
    plan: ComparisonPlan,
    results: Sequence[MethodResult],
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
    results : sequence of MethodResult
        The methods that were scored.

    Returns
    -------
    dict
        Plain values.
    """
    scored = predictions if holdout is None else splits[0].test_side
    rules = plan.ensemble["image_rules"]
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
        },
        "random_state": plan.random_state,
        "time_limit": plan.time_limit,
        "ensemble": {**plan.ensemble, "image_rules": None if rules is None else rules.as_dict()},
        "fingerprint": predictions.fingerprint,
        "holdout_fingerprint": None if holdout is None else holdout.fingerprint,
        "models": list(predictions.models),
        "labels": list(predictions.labels),
        "ids_sha256": _hash_names(scored.ids.tolist()),
        "labels_sha256": _hash_names(predictions.labels),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "machine": f"{platform.system()} {platform.machine()}",
        "options": {result.name: result.options for result in results if result.options},
    }


def _hash_names(names: Sequence[str]) -> str:
    """Hash names in their order."""
    return hashlib.sha256(json.dumps(list(names)).encode()).hexdigest()


def _version(package: str) -> str:
    """Return the installed version of a distribution."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
