"""Ensembles and runs on the Hugging Face Hub: `push`, and what `load_ensemble("hf://…")` fetches."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import Any

from stacking.ensemble.ensemble import StackingEnsemble
from stacking.ensemble.folder import ENSEMBLE
from stacking.files.output_rules import owned_names, read_json_object, read_manifest

_ADDRESS = re.compile(r"(?:hf://)?(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_ENSEMBLE_FILES = ["manifest.json", "combiner*.json", "arrays/*.npy", "texts/*.txt"]
_RUN_FILES = ["README.md", "manifest.json", "recipe.toml", "oof/**", "test/**", "members/*/fold*/done.json"]
_RUN_FILES += ["members/*/fold*/weights.safetensors", "members/*/fold*/history.csv"]
"""Of a run: what `predict` and `report` need; chunks and checkpoints only resume a training."""


def push(
    folder: str | os.PathLike[str],
    repo: str,
    *,
    public: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload an ensemble or a finished run, with its card, to a repository on the Hub.

    Parameters
    ----------
    folder : path-like
        What ``labelstack fit`` or ``labelstack train`` wrote. Only files of the result are uploaded.
    repo : str
        ``"user/name"``; made if it is absent.
    public : bool, default=False
        Whether a new repository can be read by everybody.
    token : str, optional
        By default the one that ``hf auth login`` keeps, or ``HF_TOKEN``.
    endpoint : str, optional
        Address of another hub.

    Returns
    -------
    str
        Address of the commit.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.
    ValueError
        If the folder is neither, is damaged, or the name is none of a repository.
    OSError
        If the Hub cannot be reached or refuses.
    """
    hub, place = _import_hub(), Path(folder)
    name, revision = split_address(repo)
    if revision is not None:
        raise ValueError(f"repo must be user/name to be pushed to: got {repo!r}; leave the revision out.")
    patterns, what = _check_folder(place)
    api = hub.HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(name, private=not public, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name, folder_path=place, allow_patterns=patterns, commit_message=f"labelstack: {what}"
        )
    except Exception as error:  # of httpx, of the hub, of the file system
        raise OSError(f"{name} could not be pushed to the Hub: {_first_line(error)}") from error
    return str(getattr(commit, "commit_url", commit))


def fetch_ensemble(address: str, *, token: str | None = None, endpoint: str | None = None) -> StackingEnsemble:
    """Download an ensemble from the Hub and open it; it is checked as any stranger's.

    Parameters
    ----------
    address : str
        ``"hf://user/name"``, with ``@revision`` for a branch, tag or commit.
    token : str, optional
        As `push` takes it.
    endpoint : str, optional
        Address of another hub.

    Returns
    -------
    StackingEnsemble
        Fitted.

    Raises
    ------
    ImportError
        If huggingface_hub is not installed.
    ValueError
        If the address is none, or what is there is no ensemble or was changed.
    OSError
        If it cannot be downloaded.
    """
    hub = _import_hub()
    name, revision = split_address(address)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            hub.snapshot_download(
                name,
                revision=revision,
                local_dir=scratch,
                allow_patterns=_ENSEMBLE_FILES,
                token=token,
                endpoint=endpoint,
            )
        except Exception as error:  # of httpx, of the hub, of the file system
            raise OSError(f"{address} could not be fetched from the Hub: {_first_line(error)}") from error
        return StackingEnsemble.load(scratch)


def split_address(address: str) -> tuple[str, str | None]:
    """Split ``hf://user/name@revision``.

    Parameters
    ----------
    address : str
        With or without ``hf://`` and revision.

    Returns
    -------
    tuple of str and str or None
        Repository and revision.

    Raises
    ------
    ValueError
        If it is no such address.

    Examples
    --------
    >>> split_address("hf://me/blend@v2")
    ('me/blend', 'v2')
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError(f"a repository must be user/name or hf://user/name@revision: got {address!r}.")
    return found["repo"], found["revision"]


def _check_folder(place: Path) -> tuple[list[str], str]:
    """Tell which files of a folder are uploaded, after a look whether they are whole."""
    if read_manifest(place, ENSEMBLE) is not None:
        StackingEnsemble.load(place)
        return sorted(owned_names(place, ENSEMBLE)), "an ensemble"
    manifest = read_json_object(place / "manifest.json") or {}
    if "recipe_hash" not in manifest:
        raise ValueError(f"folder must be one that `labelstack fit` or `labelstack train` wrote: got {str(place)!r}.")
    if not manifest.get("finished"):
        raise ValueError(f"run must be finished: {place} is not; run the same train command again until it is.")
    return _RUN_FILES, "a training run"


def _first_line(error: Exception) -> str:
    """Shorten what a library says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _import_hub() -> Any:
    """Import huggingface_hub, or say how to install it."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError("the Hub needs huggingface_hub: pip install 'labelstack[hub]'.") from error
    return huggingface_hub
