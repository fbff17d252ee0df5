"""The networks of a finished run as ONNX graphs, one for each: from pixels to probabilities.

A graph takes photos as they are kept, uint8 in [0, 255] at the member's size, and normalizes them itself; where the run
scores photos with their mirror images, the graph does, too. So nothing of a recipe has to be repeated outside.
"""

from __future__ import annotations

import os
import re
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from base_models.networks.logits import compute_logits
from base_models.networks.network import MultilabelNetwork
from base_models.networks.per_label import LabelwiseNetwork
from base_models.runs.fold_record import FoldRecord
from base_models.runs.inference import load_member, read_run_names
from base_models.training.progress import Progress, TrainingEvent
from stacking.export.onnx_file import OPSET, finish_onnx, import_onnx
from stacking.files.atomic_files import atomic_write_bytes, atomic_write_text, check_writable, sha256_file
from stacking.files.output_folder import OutputFolder
from stacking.files.output_rules import format_kind
from stacking.files.untrusted import read_json
from stacking.files.versions import installed_versions

FORMAT = "labelstack onnx networks"
_N_PHOTOS = 2  # of the made-up batch that is traced: one would be taken for a fixed number


ONNX_NETWORKS = format_kind("exported networks", "manifest.json", FORMAT)


class PhotosToProbabilities(nn.Module):
    """What a graph computes.

    Parameters
    ----------
    network : MultilabelNetwork or LabelwiseNetwork
        Trained.
    flip : bool
        Whether scores are the mean over a photo and its mirror image.
    """

    def __init__(self, network: MultilabelNetwork | LabelwiseNetwork, flip: bool) -> None:
        super().__init__()
        self.network, self.flip = network, flip

    def forward(self, photos: Tensor) -> Tensor:
        """Score photos.

        Parameters
        ----------
        photos : Tensor
            Shape (n_photos, 3, size, size), uint8: red, green, blue.

        Returns
        -------
        Tensor
            Shape (n_photos, n_labels), float32.
        """
        shown = photos.float()
        scores = torch.sigmoid(compute_logits(self.network, shown, "float32"))
        if self.flip:
            scores = (scores + torch.sigmoid(compute_logits(self.network, shown.flip(-1), "float32"))) / 2
        return scores


def export_run(
    run: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> bool:
    """Write every network of a run that scores new photos as an ONNX graph.

    Parameters
    ----------
    run : path-like
        The folder of a finished run.
    folder : path-like
        New or empty, or an earlier export of networks to replace.
    overwrite : bool, default=False
        Replace an earlier export.
    progress : callable, optional
        Called with a ``TrainingEvent`` after every network.

    Returns
    -------
    bool
        False where the export of the same run was there already, and nothing was written.

    Raises
    ------
    ImportError
        If onnx or onnxscript is not installed.
    ValueError
        If the run is not finished, its files are damaged, or a network cannot be exported.
    OutputRefusedError
        If the folder holds something that is not to be replaced.
    OSError
        If it cannot be written.
    """
    import_onnx("onnxscript")
    source = Path(run)
    names = read_run_names(source)
    recorded = read_json(source / "manifest.json", f"the run folder's {source / 'manifest.json'}")
    members = [str(entry["name"]) for entry in recorded["recipe"]["members"] if entry["name"] in names.models]
    request = {"command": "export", "form": "onnx networks", "run": sha256_file(source / "manifest.json")}
    with OutputFolder(folder, ONNX_NETWORKS, overwrite=overwrite, inputs=[source], request=request) as output:
        if output.is_there and not overwrite:
            return False
        check_writable(output.path)
        entries = []
        for number, name in enumerate(members):
            member = load_member(source, name)
            stem = f"{number:02d}-{re.sub(r'[^A-Za-z0-9._-]+', '-', name)}"
            files = [f"{stem}-{fold}.onnx" for fold in range(len(member.networks))]
            for fold, (network, file) in enumerate(zip(member.networks, files, strict=True)):
                facts = {"member": name, "labels": list(member.labels), "network": member.record.network}
                atomic_write_bytes(output.path_of(file), trace(network, member.record, facts))
                if progress is not None:
                    message = f"{name}: network {fold + 1} of {len(files)} is written"
                    progress(TrainingEvent("fold", name, fold=fold, n_folds=len(files), message=message))
            entries.append(
                {
                    "member": name,
                    "files": files,
                    "size": member.record.size,
                    "labels": list(member.labels),
                    "average": member.new_photos,
                }
            )
        derived = [entry for entry in recorded["recipe"].get("derived", []) if entry["name"] in names.models]
        atomic_write_text(output.path_of("README.md"), _describe(entries, derived))
        hashes = {name: sha256_file(output.path_of(name)) for name in sorted(output.written)}
        versions = installed_versions(["labelstack", "torch", "onnx"])
        about = {"opset": OPSET, "members": entries, "derived": derived, "labels": list(names.labels)}
        output.commit({"format": FORMAT, **about, "versions": versions, "sha256": hashes})
    return True


def trace(network: MultilabelNetwork | LabelwiseNetwork, record: FoldRecord, facts: Mapping[str, Any]) -> bytes:
    """Write one network as an ONNX file.

    Parameters
    ----------
    network : MultilabelNetwork or LabelwiseNetwork
        Trained.
    record : FoldRecord
        What it records.
    facts : mapping
        JSON-able, kept in the file's metadata.

    Returns
    -------
    bytes
        The file, checked by ONNX.

    Raises
    ------
    ValueError
        If the network is shown features in place of photos, computes what ONNX has not, or is larger than 2 GiB.
    """
    onnx = import_onnx("onnxscript")
    if not network.takes_photos:
        raise ValueError(
            f"member {record.member!r} must be shown photos to be exported: it learns from precomputed features."
        )
    shown = PhotosToProbabilities(network.cpu().float(), record.flip_tta).eval()
    photos = torch.zeros((_N_PHOTOS, 3, record.size, record.size), dtype=torch.uint8)
    with torch.no_grad():
        shown(photos)  # makes what is made once and kept, such as channel means: a trace would leave its own there
    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        path = Path(scratch) / "network.onnx"
        try:
            torch.onnx.export(
                shown,
                (photos,),
                path,
                input_names=["photos"],
                output_names=["probabilities"],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes={"photos": {0: "n_photos"}},
                external_data=False,
                verbose=False,
                custom_translation_table={torch.ops.aten.hypot.default: _hypot},
            )
        except Exception as error:  # torch raises many kinds
            raise ValueError(
                f"member {record.member!r} cannot be exported: torch could not put {record.network!r} with the head "
                f"{record.head!r} into ONNX ({_reason(error)})."
            ) from error
        model = onnx.load(path)
    return finish_onnx(model, facts)


def _reason(error: BaseException) -> str:
    """Say why torch failed: what began it, since the rest is advice on torch."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
    return (said.splitlines() or [type(error).__name__])[0][:200].rstrip(". ")


def _hypot(a: Any, b: Any) -> Any:
    """Write the length of a gradient, which ONNX has no operation for: rounded once, as torch's own is."""
    import onnx
    from onnxscript import opset18

    op: Any = opset18  # its hints do not follow one value through several operations
    wide = [op.Cast(side, to=onnx.TensorProto.DOUBLE) for side in (a, b)]
    squares = [op.Mul(side, side) for side in wide]
    return op.Cast(op.Sqrt(op.Add(*squares)), to=onnx.TensorProto.FLOAT)


def _describe(entries: list[dict[str, Any]], derived: list[dict[str, Any]]) -> str:
    """Say what the graphs take, what they give and how they belong together."""
    lines = [
        "# Networks as ONNX graphs",
        "",
        f"Opset {OPSET}. Each graph takes `photos`, uint8 in [0, 255], shape (n_photos, 3, size, size): red, green and",
        "blue, fitted whole onto a white square of that size. It gives `probabilities`, float32, (n_photos, n_labels),",
        "with the labels in the order of `labels` in its metadata and in `manifest.json`.",
        "",
        "| member | graphs | size | labels | average of the graphs |",
        "|---|---|---|---|---|",
    ]
    for entry in entries:
        files = ", ".join(f"`{name}`" for name in entry["files"])
        how = {"mean": "mean of the probabilities", "logit-mean": "sigmoid of the mean logit"}
        average = how.get(entry["average"], "one network")
        lines.append(f"| {entry['member']} | {files} | {entry['size']} | {len(entry['labels'])} | {average} |")
    for entry in derived:
        parts = " and ".join(entry["members"])
        lines += ["", f"`{entry['name']}` is, label by label, the mean of {parts}, of those that answer the label."]
    return "\n".join([*lines, ""])
