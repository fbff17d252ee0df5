"""The manifest that every result folder carries: what went in, with which options, made by which versions.

``manifest.json`` is written last, so a folder without it is unfinished. Times are left out on purpose: the same
inputs, options and seed give the same manifest.
"""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.estimates.doctor import PACKAGES
from stacking.files.versions import installed_versions

MANIFEST_NAME = "manifest.json"


def build_manifest(command: str, inputs: Mapping[str, str], options: Mapping[str, Any]) -> dict[str, Any]:
    """Describe how a result was made.

    Parameters
    ----------
    command : str
        Name of the command.
    inputs : mapping of str to str
        Name of each input to the hash of its content.
    options : mapping of str to object
        Options as they were used, defaults included, with the seed; paths and the like are written as text.

    Returns
    -------
    dict
        JSON-able, with keys command, inputs, options and versions.

    Examples
    --------
    >>> sorted(build_manifest("fit", {}, {"seed": 0}))
    ['command', 'inputs', 'options', 'versions']
    """
    return {
        "command": command,
        "inputs": dict(inputs),
        "options": json.loads(json.dumps(dict(options), default=str)),
        "versions": {"python": platform.python_version(), **installed_versions(PACKAGES)},
    }


def write_manifest(folder: str | Path, manifest: Mapping[str, Any]) -> None:
    """Write ``manifest.json``, complete or not at all.

    Parameters
    ----------
    folder : str or Path
        Result folder.
    manifest : mapping
        From `build_manifest`.
    """
    from stacking.files.atomic_files import atomic_write_json

    atomic_write_json(Path(folder) / MANIFEST_NAME, dict(manifest))
