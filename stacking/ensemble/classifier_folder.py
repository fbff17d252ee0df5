"""A fitted stack of scikit-learn classifiers as a folder: JSON, the ensemble's folder, and skops for the classifiers.

scikit-learn has no form of its own but pickle, which runs code. skops writes what an estimator is made of and, when it
is read, builds only types that it trusts, scikit-learn's and numpy's; any other must be named by whoever reads. What
combines the classifiers is kept as `StackingEnsemble.save` keeps it.
"""

from __future__ import annotations

import contextlib
import numbers
import os
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from stacking.combiners.multilabel_bases import FittedBase
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.files.atomic_files import atomic_write_bytes, sha256_file
from stacking.files.journal import finish_interrupted
from stacking.files.output_folder import OutputFolder
from stacking.files.output_rules import format_kind
from stacking.files.untrusted import check_plain_file, damage_of, read_json
from stacking.files.versions import installed_versions

FORMAT = "labelstack stack"
MANIFEST = "manifest.json"
CLASSIFIERS = "classifiers.skops"
ENSEMBLE = "ensemble"
_HARMLESS = ("numpy.dtype",)
"""Types that skops asks about and that hold numbers only. Trees are not among them: their nodes point into memory."""


STACK = format_kind("a stack of classifiers", MANIFEST, FORMAT)


def describe_stack(stack: Any) -> dict[str, Any]:
    """Give what is plain of a stack as its folder keeps it.

    Parameters
    ----------
    stack : StackingMultilabelClassifier
        Fitted.

    Returns
    -------
    dict
        JSON-able.
    """
    cv = int(stack.cv) if isinstance(stack.cv, numbers.Integral) else None  # a splitter is not saved
    return {
        "parameters": {"n_splits": stack.n_splits, "random_state": stack.random_state, "cv": cv},
        "labels": list(stack.labels_),
        "classes": stack.classes_.tolist(),
        "is_one_dimensional": stack._one_dimensional,
        "thresholds": [None if np.isinf(value) else float(value) for value in stack.thresholds_],
        "n_features_in": getattr(stack, "n_features_in_", None),
        "feature_names_in": getattr(stack, "feature_names_in_", np.array([])).tolist(),
    }


def restore_stack(stack: Any, facts: Mapping[str, Any]) -> None:
    """Set what `describe_stack` gave and a folder kept.

    Parameters
    ----------
    stack : StackingMultilabelClassifier
        With its fitted parts.
    facts : mapping
        As the folder holds them.

    Raises
    ------
    ValueError
        If its parts are for different numbers of labels.
    """
    stack.labels_, stack.classes_ = tuple(facts["labels"]), np.array(facts["classes"])
    stack._one_dimensional = bool(facts["is_one_dimensional"])
    stack.thresholds_ = np.array([np.inf if value is None else value for value in facts["thresholds"]])
    if facts["n_features_in"] is not None:
        stack.n_features_in_ = int(facts["n_features_in"])
    if facts["feature_names_in"]:
        stack.feature_names_in_ = np.array(facts["feature_names_in"], dtype=object)
    if len({len(stack.labels_), len(stack.thresholds_), len(stack.final_estimator_.labels_)}) > 1:
        raise ValueError("its parts are for different numbers of labels")


def write_classifier_folder(
    folder: str | os.PathLike[str],
    ensemble: Any,
    estimators: list[tuple[str, Any]],
    fitted: Mapping[str, FittedBase],
    facts: Mapping[str, Any],
    *,
    overwrite: bool = False,
) -> None:
    """Write a fitted stack.

    Parameters
    ----------
    folder : path-like
        New or empty, or an earlier stack to replace.
    ensemble : object
        What combines the classifiers; a `StackingEnsemble`.
    estimators : list of (str, estimator)
        The unfitted classifiers.
    fitted : mapping of str to FittedBase
        The fitted ones.
    facts : mapping
        JSON-able values that the stack knows besides.
    overwrite : bool, default=False
        Replace an earlier stack.

    Raises
    ------
    ImportError
        If skops is not installed.
    OutputRefusedError
        If the folder holds something that is not to be replaced.
    TypeError
        If something else than a `StackingEnsemble` combines them.
    """
    if not isinstance(ensemble, StackingEnsemble):
        raise TypeError(
            f"final_estimator must be a StackingEnsemble, or the name of its method, to be saved without pickle: got "
            f"{type(ensemble).__name__}."
        )
    skops = _skops()
    held = {"estimators": estimators, "fitted": {name: list(base.classifiers) for name, base in fitted.items()}}
    constants = {
        name: [None if np.isnan(value) else value for value in base.constants.tolist()] for name, base in fitted.items()
    }
    with OutputFolder(folder, STACK, overwrite=overwrite) as output, tempfile.TemporaryDirectory() as scratch:
        atomic_write_bytes(output.path_of(CLASSIFIERS), skops.dumps(held))
        ensemble.save(Path(scratch) / ENSEMBLE)
        for path in sorted((Path(scratch) / ENSEMBLE).rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                name = path.relative_to(scratch).as_posix()
                atomic_write_bytes(output.path_of(name), path.read_bytes())
        hashes = {name: sha256_file(output.path_of(name)) for name in sorted(output.written)}
        versions = installed_versions(["labelstack", "scikit-learn", "skops", "numpy"])
        facts = {**facts, "constants": constants}
        output.commit({"format": FORMAT, "schema": 1, "facts": facts, "versions": versions, "sha256": hashes})


def read_classifier_folder(
    folder: str | os.PathLike[str], trusted: Collection[str] = ()
) -> tuple[StackingEnsemble, list[tuple[str, Any]], dict[str, FittedBase], dict[str, Any]]:
    """Read a stack that `write_classifier_folder` wrote.

    Parameters
    ----------
    folder : path-like
        Its folder.
    trusted : collection of str, default=()
        Types beyond scikit-learn's and numpy's that may be built, by their full names.

    Returns
    -------
    ensemble, estimators, fitted, facts
        As they were written.

    Raises
    ------
    ImportError
        If skops is not installed.
    ValueError
        If a file is missing or was changed, or holds a type that is not trusted; the error names it.
    """
    place = Path(folder)
    with contextlib.suppress(OSError):  # its files keep their names, so a kill can leave two stacks mixed
        finish_interrupted(place)
    manifest = read_json(place / MANIFEST, "stack")
    if STACK.names_in(manifest) is None or manifest.get("schema") != 1:
        raise ValueError(f"{place} must be a folder that StackingMultilabelClassifier.save wrote in this version.")
    for name, digest in manifest["sha256"].items():
        check_plain_file(place / name, place, "stack")
        if sha256_file(place / name) != digest:
            raise ValueError(f"{place / name} must be the file that was saved: it was changed; save the stack again.")
    skops = _skops()
    data = (place / CLASSIFIERS).read_bytes()
    with damage_of(f"stack {place}", "fit it again"):
        unknown = sorted({*skops.get_untrusted_types(data=data)} - {*trusted, *_HARMLESS})
    if unknown:
        raise ValueError(
            f"{place} must hold types that are trusted: got {', '.join(unknown)}; if you trust whoever saved it, load "
            f"it with trusted={unknown}."
        )
    with damage_of(f"stack {place}", "fit it again"):
        held, facts = skops.loads(data, trusted=[*trusted, *_HARMLESS]), manifest["facts"]
        fitted = {
            str(name): FittedBase(
                np.array([np.nan if value is None else value for value in facts["constants"][name]], np.float64),
                tuple(classifiers),
            )
            for name, classifiers in held["fitted"].items()
        }
        estimators = [(str(name), estimator) for name, estimator in held["estimators"]]
    return StackingEnsemble.load(place / ENSEMBLE), estimators, fitted, dict(facts)


def _skops() -> Any:
    """Import skops, or say how to install it."""
    try:
        import skops.io
    except ImportError as error:
        raise ImportError("saving classifiers without pickle needs skops: pip install 'labelstack[skops]'.") from error
    return skops.io
