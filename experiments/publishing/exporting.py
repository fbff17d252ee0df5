"""Export what was fitted or trained so that it predicts without this package: the verb and the command `export`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.reports.result_manifest import is_run
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.export.writing import export_numpy, export_onnx

if TYPE_CHECKING:
    from base_models.training.progress import Progress

PathLike = str | os.PathLike[str]


def export(
    source: StackingEnsemble | PathLike,
    *,
    numpy: PathLike | None = None,
    onnx: PathLike | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> dict[Path, bool]:
    """Write an ensemble, or the networks of a training run, so that they predict without labelstack.

    Parameters
    ----------
    source : StackingEnsemble or path
        Fitted, or its folder, or the folder of a finished training run.
    numpy : path, optional
        Folder for the ensemble with a reader, ``predict.py``, that needs numpy alone.
    onnx : path, optional
        File ending in ``.onnx`` for the ensemble; for a run the folder of one graph per network.
    overwrite : bool, default=False
        Replace an earlier export.
    progress : callable, optional
        Called with a ``TrainingEvent`` after every network of a run.

    Returns
    -------
    dict of Path to bool
        Where each export is; False where the same one was there already.

    Raises
    ------
    ImportError
        If onnx is asked for and not installed.
    ValueError
        If neither form is asked for, the source is damaged, or it cannot be written in that form.
    OutputRefusedError
        If something is there that is not to be replaced.

    Examples
    --------
    >>> import tempfile
    >>> from experiments.verbs import fit
    >>> y_true = [[1, 0], [0, 1], [1, 1], [0, 0]] * 10
    >>> ensemble = fit([[[0.2 + 0.6 * cell for cell in row] for row in y_true]], "mean", truth=y_true)
    >>> place = Path(tempfile.mkdtemp()) / "exported"
    >>> export(ensemble, numpy=place)[place], sorted(path.name for path in place.glob("*.py"))
    (True, ['predict.py'])
    """
    if numpy is None and onnx is None:
        raise ValueError("numpy= (--numpy FOLDER) or onnx= (--onnx FILE) must say where the export is to go: got none.")
    if not isinstance(source, StackingEnsemble) and is_run(Path(source)):
        if numpy is not None or onnx is None:
            raise ValueError(
                f"networks must be exported to ONNX: {source} is a training run; give onnx= (--onnx FOLDER)."
            )
        from base_models.runs.onnx_export import export_run  # loads torch

        return {Path(onnx): export_run(source, onnx, overwrite=overwrite, progress=progress)}
    inputs = [] if isinstance(source, StackingEnsemble) else [source]
    ensemble = source if isinstance(source, StackingEnsemble) else StackingEnsemble.load(source)
    written = {}
    if onnx is not None:
        written[Path(onnx)] = export_onnx(ensemble, onnx, overwrite=overwrite, inputs=inputs)
    if numpy is not None:
        written[Path(numpy)] = export_numpy(ensemble, numpy, overwrite=overwrite, inputs=inputs)
    return written
