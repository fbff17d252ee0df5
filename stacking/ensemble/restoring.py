"""What goes into the folder of an ensemble, and comes back checked as if a stranger had written it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking._checks import check_frequency, check_label_groups
from stacking.decision_rules import SampleRule


def read_sample_rule(
    description: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]], n_labels: int
) -> SampleRule | None:
    """Return the rule of a folder.

    Parameters
    ----------
    description : mapping
        The folder's manifest; ``sample_rule`` holds slope and beta, if there is a rule.
    arrays : mapping of str to ndarray
        ``sample_intercept``, shape (n_labels,).
    n_labels : int
        Number of labels.

    Returns
    -------
    SampleRule or None
        None if the folder holds none.

    Raises
    ------
    ValueError
        If a number is missing or not finite.
    """
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


def check_restored(ensemble: Any) -> None:
    """Check that the parts of an ensemble fit together, and let it decide two made-up rows.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Put together from a folder.

    Raises
    ------
    ValueError
        If names, groups, shares or hashes do not fit.
    """
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
