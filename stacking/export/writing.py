"""Write an exported ensemble: a folder that numpy alone reads, or one ONNX file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from stacking.ensemble.ensemble import StackingEnsemble
from stacking.export import reader
from stacking.export.onnx_graph import build_onnx
from stacking.export.predictor import ExportedProgram, build_program
from stacking.files.atomic_files import (
    OutputRefusedError,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_npz,
    atomic_write_text,
    check_writable,
    sha256_file,
)
from stacking.files.output_folder import OutputFolder
from stacking.files.output_rules import check_output_file, format_kind
from stacking.report.writing import write_count

StrPath = str | os.PathLike[str]
MANIFEST = "manifest.json"

NUMPY_EXPORT = format_kind("an exported ensemble", MANIFEST, reader.FORMAT)
ONNX_MARK = b"labelstack"
"""The producer of an ONNX file, which stands in its first bytes: what lacks it there is not ours to replace."""


def export_numpy(
    ensemble: StackingEnsemble,
    folder: StrPath,
    *,
    overwrite: bool = False,
    inputs: Iterable[StrPath | None] = (),
) -> bool:
    """Write an ensemble as a folder that is read with numpy alone.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Fitted.
    folder : path-like
        New or empty, or an earlier export to replace.
    overwrite : bool, default=False
        Replace an earlier export.
    inputs : iterable of path-like or None
        Where the ensemble comes from; the folder must not hold it.

    Returns
    -------
    bool
        False where the export of the same ensemble was there already, and nothing was written.

    Raises
    ------
    OutputRefusedError
        If the folder holds something that is not to be replaced.
    OSError
        If it cannot be written.
    """
    exported = build_program(ensemble)
    request = {"command": "export", "form": "numpy", **exported.facts}
    with OutputFolder(folder, NUMPY_EXPORT, overwrite=overwrite, inputs=inputs, request=request) as output:
        if output.is_there and not overwrite:
            return False
        program = exported.program
        arrays = {**program.constants, "covers": exported.covers, "thresholds": exported.thresholds}
        check_writable(output.path, sum(array.nbytes for array in arrays.values()) + 2**20)  # 1 MiB: names and texts
        steps = [[step.op, list(step.inputs), step.output, step.attributes] for step in program.steps]
        atomic_write_json(
            output.path_of("program.json"), {**exported.facts, "outputs": program.outputs, "steps": steps}
        )
        atomic_write_npz(output.path_of("arrays.npz"), arrays)
        atomic_write_bytes(output.path_of("predict.py"), Path(reader.__file__).read_bytes())
        atomic_write_text(output.path_of("README.md"), _describe(exported))
        hashes = {name: sha256_file(output.path_of(name)) for name in sorted(output.written)}
        output.commit({"format": reader.FORMAT, "versions": exported.facts["versions"], "sha256": hashes})
    return True


def export_onnx(
    ensemble: StackingEnsemble,
    file: StrPath,
    *,
    overwrite: bool = False,
    inputs: Iterable[StrPath | None] = (),
) -> bool:
    """Write an ensemble as one ONNX file.

    Parameters
    ----------
    ensemble : StackingEnsemble
        Fitted.
    file : path-like
        Its name ends in ``.onnx``.
    overwrite : bool, default=False
        Replace an earlier export.
    inputs : iterable of path-like or None
        Where the ensemble comes from.

    Returns
    -------
    bool
        False where the export of the same ensemble was there already, and nothing was written.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If the name has another ending, or the ensemble is too large for one file.
    OutputRefusedError
        If a file is there that is not to be replaced.
    OSError
        If it cannot be written.
    """
    path = Path(file)
    if path.suffix != ".onnx":
        raise ValueError(f"the ONNX file must have a name that ends in .onnx: got {str(path)!r}.")
    check_output_file(path, overwrite=True, inputs=inputs)
    data = build_onnx(build_program(ensemble))
    if path.is_file():
        earlier = path.read_bytes()
        if earlier == data:
            return False
        if ONNX_MARK not in earlier[:32]:
            raise OutputRefusedError(f"{path} is no file that labelstack exported: choose another name.")
        check_output_file(path, overwrite=overwrite)
    check_writable(path.parent, len(data))
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write_bytes(path, data, replace=overwrite)
    return True


def _describe(exported: ExportedProgram) -> str:
    """Say what the folder is and how it is used."""
    facts = exported.facts
    n_models, n_labels = exported.covers.shape
    never = [label for label, limit in zip(facts["labels"], exported.thresholds, strict=True) if limit > 1]
    rules = "none" if facts["image_rules"] is None else f"`{json.dumps(facts['image_rules'])}`"
    lines = [
        f"# An ensemble of {write_count(n_models, 'model')} for {write_count(n_labels, 'label')}",
        "",
        "Needs Python 3.11 and numpy 2, nothing else. `predict.py` runs what `program.json` lists on the numbers in",
        "`arrays.npz`; it gives the probabilities and decisions of the ensemble that it was exported from.",
        "",
        "```python",
        "from predict import load  # this folder on the path",
        "",
        "ensemble = load()",
        f"# scores: ({n_models}, n_samples, {n_labels}), or one matrix by the name of each model",
        "probabilities = ensemble.predict_proba(scores)",
        "decisions = ensemble.predict(scores)",
        "```",
        "",
        "At a shell, from one .npz with `y_scores`, `ids`, `models` and `labels`:",
        "",
        "    python predict.py scores.npz --out labels.csv",
        "",
        "Scores are probabilities in [0, 1] of the models below, in this order or by name. A label that is NaN in all",
        "rows of a model is one that it does not answer; `without=[MODEL]` leaves a model out.",
        "",
        f"- models: {', '.join(f'`{name}`' for name in facts['models'])}",
        f"- method: {facts['method']}; decision rule: {facts['rule']}; metric: {facts['metric']}",
        f"- rules on the labels of one sample: {rules}",
        f"- labels that are never predicted: {', '.join(f'`{name}`' for name in never) or 'none'}",
        f"- made by labelstack {facts['versions'].get('labelstack', 'unknown')}",
        "",
    ]
    return "\n".join(lines)
