"""A whole ensemble as a program: from the members' scores to probabilities and decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from stacking.ensemble.ensemble import StackingEnsemble
from stacking.export import stackers, trees
from stacking.export.deciding import decide
from stacking.export.program import FLOAT, Program, where
from stacking.export.translation import begin_program, translate
from stacking.files.versions import installed_versions

TRANSLATIONS = (stackers, trees)
"""The modules whose classes of combiners are entered when they are imported."""


@dataclass(frozen=True)
class ExportedProgram:
    """A program with what is known of the ensemble.

    Attributes
    ----------
    program : Program
        Inputs ``scores`` (n_models, n_samples, n_labels) and ``covers`` (n_models, n_labels), outputs ``scores`` and
        ``decisions`` (n_samples, n_labels).
    covers : ndarray of bool, shape (n_models, n_labels)
        Which member answered which label when fitted.
    thresholds : ndarray of float64, shape (n_labels,)
        Of the ensemble.
    facts : dict
        JSON-able: names, method, metric, rules, versions.
    """

    program: Program
    covers: npt.NDArray[np.bool_]
    thresholds: npt.NDArray[np.float64]
    facts: dict[str, Any]


def build_program(ensemble: StackingEnsemble) -> ExportedProgram:
    """Put an ensemble into a program.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Fitted.

    Returns
    -------
    ExportedProgram
        The program and what is known.

    Raises
    ------
    ValueError
        If its combiner is none of this package's.
    """
    check_is_fitted(ensemble)
    covers = np.asarray(ensemble.combiner_.covers_, dtype=np.bool_)
    given, sound = begin_program(covers)
    program = given.program
    scores = translate(given, ensemble.combiner_)
    program.give("decisions", decide(scores, ensemble) & sound)
    program.give("scores", where(sound, scores, program.constant(np.nan, FLOAT)))
    rules, report = ensemble.image_rules, ensemble.report_
    facts = {
        "models": list(ensemble.models_),
        "labels": list(ensemble.labels_),
        "label_groups": list(ensemble.label_groups_),
        "label_ids": None if ensemble.label_ids_ is None else list(ensemble.label_ids_),
        "method": report["method"],
        "metric": report.get("metric", "micro-f1"),
        "rule": report["rule"],
        "image_rules": None if rules is None else rules.as_dict(),
        "ensemble": ensemble.fingerprint,
        "versions": installed_versions(["labelstack", "numpy"]),
    }
    return ExportedProgram(program, covers, np.asarray(ensemble.thresholds_, np.float64), facts)
