"""What goes into the folder of an ensemble, and comes back checked as if a stranger had written it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import check_frequency, check_label_groups
from stacking.combiners.combiner import Combiner
from stacking.decision_rules import ImageRules, SampleRule
from stacking.decision_rules.image_rules import group_of_labels
from stacking.ensemble.report import EnsembleReport


def put_together(
    kind: Any, description: Mapping[str, Any], combiner: Combiner, extra_arrays: Mapping[str, npt.NDArray[Any]]
) -> Any:
    """Make an ensemble of what `take_apart` gave and a folder kept, and let it decide two made-up rows.

    Parameters
    ----------
    kind : type
        `StackingEnsemble`, or a class made of it.
    description : mapping
        What the folder's manifest says.
    combiner : Combiner
        Fitted.
    extra_arrays : mapping of str to ndarray
        Arrays by name.

    Returns
    -------
    StackingEnsemble
        Fitted.

    Raises
    ------
    ValueError
        If the parts do not fit together.
    """
    from stacking.ensemble.card import CardFigures  # here, so that reports are not imported with every ensemble

    parameters, models, labels = dict(description["parameters"]), description["models"], tuple(description["labels"])
    rules = parameters.pop("image_rules", None)
    ensemble = kind(**parameters, image_rules=None if rules is None else ImageRules(**rules))
    ensemble.combiner_, ensemble.thresholds_ = combiner, extra_arrays["thresholds"]
    ensemble.fitted_ids_ = extra_arrays.get("fitted_ids")
    ensemble.predicted_share_ = extra_arrays.get("predicted_share")
    ensemble.models_, ensemble.labels_ = tuple(models), labels
    ensemble.sample_rule_ = _read_sample_rule(description, extra_arrays, len(labels))
    ensemble.label_groups_ = tuple(description.get("label_groups") or group_of_labels(labels))
    ensemble.figures_ = CardFigures.restored(description.get("figures"), ensemble.models_, len(labels))
    ids = description.get("label_ids")
    ensemble.label_ids_ = None if ids is None else tuple(ids)
    report = {"gain_steps" if key == "rungs" else key: value for key, value in description["report"].items()}
    ensemble.report_, ensemble.fitted_on_ = EnsembleReport(report), description["fitted_on"]
    _check_restored(ensemble)
    return ensemble


def _read_sample_rule(
    description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], n_labels: int
) -> SampleRule | None:
    """Return the rule that decides sample by sample, where the folder holds one."""
    stored = description.get("sample_rule")
    if stored is None:
        return None
    slope, beta, intercept = float(stored["slope"]), float(stored["beta"]), arrays["sample_intercept"]
    if intercept.shape != (n_labels,) or not np.isfinite([slope, beta, *intercept]).all() or beta <= 0:
        raise ValueError(f"sample_intercept must hold a finite number for each of {n_labels} labels")
    return SampleRule(slope, intercept.astype(np.float64), beta)


def take_apart(ensemble: Any) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """Give all of an ensemble but its combiner as its folder keeps it.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Fitted.

    Returns
    -------
    description : dict
        JSON-able.
    extra_arrays : dict of str to ndarray
        Arrays by name.
    """
    description = {
        "parameters": ensemble._parameters(),
        "models": list(ensemble.models_),
        "labels": list(ensemble.labels_),
        "label_groups": list(ensemble.label_groups_),
        "label_ids": None if ensemble.label_ids_ is None else list(ensemble.label_ids_),
        "report": dict(ensemble.report_),
        "fitted_on": ensemble.fitted_on_,
    }
    if ensemble.figures_ is not None:
        description["figures"] = ensemble.figures_.as_dict()
    extra_arrays: dict[str, npt.NDArray[Any]] = {"thresholds": np.asarray(ensemble.thresholds_, np.float64)}
    for name, array in (("fitted_ids", ensemble.fitted_ids_), ("predicted_share", ensemble.predicted_share_)):
        if array is not None:
            extra_arrays[name] = array
    if ensemble.sample_rule_ is not None:
        description["sample_rule"] = {"slope": ensemble.sample_rule_.slope, "beta": ensemble.sample_rule_.beta}
        extra_arrays["sample_intercept"] = ensemble.sample_rule_.intercept
    return description, extra_arrays


def _check_restored(ensemble: Any) -> None:
    """Check that the parts of an ensemble fit together, and let it decide two made-up rows."""
    combiner, n_labels = ensemble.combiner_, len(ensemble.labels_)
    known = set(combiner.labels_)
    answered = tuple(name for name in ensemble.labels_ if name in known)
    if (ensemble.models_, answered) != (combiner.models_, combiner.labels_):
        raise ValueError("its manifest names other models or labels than its combiner")
    check_label_groups(ensemble.label_groups_, n_labels)
    if ensemble.predicted_share_ is not None:
        check_frequency(ensemble.predicted_share_, n_labels)
    seen = ensemble.fitted_ids_
    if seen is not None and (seen.dtype != np.uint64 or seen.ndim != 1):
        raise ValueError(f"fitted_ids must be hashes of ids: got shape {seen.shape} of {seen.dtype}")
    ensemble.decide(np.zeros((2, n_labels), np.float32))
    str(ensemble.report_)
