"""Checkpoints of one network in training: complete at any moment, and readable without running code.

Files carry the epoch in their names; ``last.json`` is written last and names those that count, with their SHA-256.
Whatever it does not name is left over from a kill and is swept. Weights are safetensors; the optimizer's state is a
``torch.save`` file of plain tensors and numbers that ``torch.load(weights_only=True)`` reads.
"""

from __future__ import annotations

import io
import logging
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from stacking.files.atomic_files import atomic_write_bytes, atomic_write_json, atomic_write_text, sha256_file
from stacking.files.untrusted import damage_of, read_json

logger = logging.getLogger(__name__)

MARKER = "last.json"
_FILE_NAME = re.compile(r"last-\d{3,}(\.average)?\.safetensors|last-\d{3,}\.optimizer\.pt|best-\d{3,}\.safetensors")


@dataclass
class Checkpoint:
    """What training goes on from.

    Parameters
    ----------
    epoch : int
        Epochs finished.
    weights : dict of str to Tensor
        The network's tensors.
    averaged : dict of str to Tensor
        The moving average's tensors, or nothing.
    optimizer : dict
        The optimizer's state.
    history : list of dict
        One row per finished epoch.
    best_epoch : int
        Epoch with the best validation score, from 1; 0 before any.
    label_losses : list of list of float or None
        Validation log loss of every finished epoch and label, where each label keeps its own best epoch.
    kept_epochs : tuple of int
        Epochs besides ``best_epoch`` whose scoring weights are kept.
    scaler : dict
        The state of what scales float16's gradients; empty for other arithmetics.
    """

    epoch: int
    weights: dict[str, Tensor]
    averaged: dict[str, Tensor]
    optimizer: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    best_epoch: int = 0
    label_losses: list[list[float | None]] = field(default_factory=list)
    kept_epochs: tuple[int, ...] = ()
    scaler: dict[str, float] = field(default_factory=dict)


def tensors_of(network: nn.Module) -> dict[str, Tensor]:
    """Copy a network's tensors to contiguous ones on the CPU.

    Parameters
    ----------
    network : torch.nn.Module
        Any network.

    Returns
    -------
    dict of str to Tensor
        By name.
    """
    return {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    dict of str to Tensor
        By name.
    """
    from safetensors.torch import load_file

    return dict(load_file(path))


def save_checkpoint(folder: Path, checkpoint: Checkpoint, scoring: dict[str, Tensor]) -> None:
    """Write a checkpoint so that a kill at any moment leaves the previous or the new one.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of one member and fold.
    checkpoint : Checkpoint
        What to save.
    scoring : dict of str to Tensor
        The tensors that scored the validation rows; kept as the best ones if this epoch is the best.
    """
    from safetensors.torch import save

    epoch = checkpoint.epoch
    names = {"weights": f"last-{epoch:03d}.safetensors", "optimizer": f"last-{epoch:03d}.optimizer.pt"}
    atomic_write_bytes(folder / names["weights"], save(checkpoint.weights))
    if checkpoint.averaged:
        names["averaged"] = f"last-{epoch:03d}.average.safetensors"
        atomic_write_bytes(folder / names["averaged"], save(checkpoint.averaged))
    buffer = io.BytesIO()
    torch.save(checkpoint.optimizer, buffer)
    atomic_write_bytes(folder / names["optimizer"], buffer.getvalue())
    names["best"] = f"best-{checkpoint.best_epoch:03d}.safetensors"
    names.update({f"epoch-{kept:03d}": f"best-{kept:03d}.safetensors" for kept in checkpoint.kept_epochs})
    if epoch in (checkpoint.best_epoch, *checkpoint.kept_epochs):
        atomic_write_bytes(folder / f"best-{epoch:03d}.safetensors", save(scoring))
    marker = {
        "epoch": epoch,
        "best_epoch": checkpoint.best_epoch,
        "files": {role: {"name": name, "sha256": sha256_file(folder / name)} for role, name in names.items()},
        "history": checkpoint.history,
    }
    if checkpoint.label_losses:
        marker["label_losses"] = checkpoint.label_losses
    if checkpoint.scaler:
        marker["scaler"] = checkpoint.scaler
    atomic_write_json(folder / MARKER, marker)
    _write_history(folder, checkpoint.history)
    _sweep(folder, set(names.values()))


def load_checkpoint(folder: Path) -> Checkpoint | None:
    """Read the last complete checkpoint of a folder and sweep what a kill left over.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of one member and fold.

    Returns
    -------
    Checkpoint or None
        None when there is none yet.

    Raises
    ------
    ValueError
        If a file that the checkpoint names is missing or damaged.
    """
    if not (folder / MARKER).is_file():
        _sweep(folder, set())
        return None
    marker = read_json(folder / MARKER, f"the checkpoint {folder / MARKER}")
    remedy = f"delete {folder} to train it again"
    with damage_of(f"the checkpoint {folder / MARKER}", remedy):
        names = {str(role): str(entry["name"]) for role, entry in marker["files"].items()}
        digests = {entry["name"]: entry["sha256"] for entry in marker["files"].values()}
    for name, digest in digests.items():
        path = folder / name
        if path.parent != folder or not path.is_file() or sha256_file(path) != digest:
            raise ValueError(f"a checkpoint must be whole: {path} is missing or damaged; {remedy}.")
    _sweep(folder, set(names.values()))
    return Checkpoint(
        epoch=int(marker["epoch"]),
        weights=read_tensors(folder / names["weights"]),
        averaged=read_tensors(folder / names["averaged"]) if "averaged" in names else {},
        optimizer=torch.load(folder / names["optimizer"], map_location="cpu", weights_only=True),
        history=list(marker["history"]),
        best_epoch=int(marker["best_epoch"]),
        label_losses=list(marker.get("label_losses", [])),
        kept_epochs=tuple(int(role.removeprefix("epoch-")) for role in names if role.startswith("epoch-")),
        scaler=dict(marker.get("scaler", {})),
    )


def best_weights_file(folder: Path, epoch: int | None = None) -> Path:
    """Return the file of the best epoch's weights, while the training state is still there.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of one member and fold.
    epoch : int, optional
        One of the epochs that were kept besides it.

    Returns
    -------
    pathlib.Path
        A safetensors file.
    """
    marker = read_json(folder / MARKER, f"the checkpoint {folder / MARKER}")
    return folder / str(marker["files"]["best" if epoch is None else f"epoch-{epoch:03d}"]["name"])


def drop_training_state(folder: Path) -> None:
    """Delete what only a resumed training needs, once the fold is finished.

    Parameters
    ----------
    folder : pathlib.Path
        Folder of one member and fold.
    """
    (folder / MARKER).unlink(missing_ok=True)
    _sweep(folder, set())


def _write_history(folder: Path, history: list[dict[str, Any]]) -> None:
    """Write the epochs' figures as CSV."""
    if not history:
        return
    columns = list(dict.fromkeys(name for row in history for name in row))  # an earlier version may have had fewer
    lines = [",".join(columns)]
    for row in history:
        values = (row.get(name, "") for name in columns)
        lines.append(",".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values))
    atomic_write_text(folder / "history.csv", "\n".join(lines) + "\n")


def _sweep(folder: Path, named: set[str]) -> None:
    """Delete checkpoint files that the marker does not name."""
    for path in [*folder.glob("last-*"), *folder.glob("best-*")]:
        if _FILE_NAME.fullmatch(path.name) and path.name not in named:
            logger.debug("sweep %s", path)
            path.unlink()
