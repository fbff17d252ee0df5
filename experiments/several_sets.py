"""Predictions of several runs: run folders, stores and bundles opened and joined, each named by its folder or file."""

import os
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stacking.predictions import PredictionSet, is_store, load_predictions
from stacking.predictions.joining import join_predictions


def store_of(path: Path, split: str = "oof") -> Path:
    """Return the store that a run folder holds; any other path is returned as it is.

    Parameters
    ----------
    path : Path
        A run folder, store, bundle or anything else.
    split : str, default="oof"
        Which store of a run: ``oof``, ``test`` or ``validation``.

    Returns
    -------
    Path
        ``RUN/oof`` for a run folder.
    """
    return path / split if not is_store(path) and is_store(path / split) else path


def join_sets(sets: Sequence[Any] | Mapping[str, Any], split: str = "oof") -> PredictionSet:
    """Open several sets of predictions and put their models side by side.

    Parameters
    ----------
    sets : sequence or mapping of str to path or PredictionSet
        Run folders, stores, bundles or sets; named by the mapping, else by their folder or file (``RUN/oof`` by that of
        the run), or ``set0 …``.
    split : str, default="oof"
        Which store of a run folder.

    Returns
    -------
    PredictionSet
        See `stacking.predictions.joining.join_predictions`.

    Raises
    ------
    ValueError
        If a path holds no predictions, or the sets do not fit together.
    """
    named = dict(sets) if isinstance(sets, Mapping) else dict(zip(_names(sets), sets, strict=True))
    opened = {
        name: where if isinstance(where, PredictionSet) else load_predictions(store_of(Path(where), split))
        for name, where in named.items()
    }
    return join_predictions(opened)


def join_holdouts(holdouts: Sequence[Path], sets: Sequence[Path]) -> PredictionSet:
    """Open the held-out rows of several sets and name their models as those of the sets are named.

    Parameters
    ----------
    holdouts : sequence of Path
        One per set, in their order; a run folder stands for its test split.
    sets : sequence of Path
        The sets that are fitted on.

    Returns
    -------
    PredictionSet
        Joined.
    """
    if len(holdouts) == 1:
        return load_predictions(store_of(holdouts[0], "test"))
    return join_sets(dict(zip(_names(sets), holdouts, strict=True)), "test")


def have_the_same_rows(sets: Sequence[Path]) -> bool:
    """Tell whether sets hold the same rows and labels, so that they can be packed into one store.

    Parameters
    ----------
    sets : sequence of Path
        Run folders, stores or bundles.

    Returns
    -------
    bool
        True if none has more than another.
    """
    opened = [load_predictions(store_of(path)) for path in sets]
    return len({(frozenset(one.ids.tolist()), frozenset(one.labels)) for one in opened}) == 1


def are_sets(scores: Any) -> bool:
    """Tell whether scores are several sets of predictions, such as the runs of a comparison.

    Parameters
    ----------
    scores : object
        What was given.

    Returns
    -------
    bool
        True for a list or mapping of sets, stores, bundles and run folders alone.
    """
    values = list(scores.values()) if isinstance(scores, Mapping) else scores
    return isinstance(values, list | tuple) and len(values) > 1 and all(map(_is_set, values))


def _is_set(value: Any) -> bool:
    """Tell whether something is a set of predictions that may hold several models."""
    if isinstance(value, PredictionSet):
        return True
    return isinstance(value, str | os.PathLike) and (is_store(store_of(Path(value))) or _is_bundle(Path(value)))


def _is_bundle(path: Path) -> bool:
    """Tell a bundle from other ``.npz`` files, which hold the scores of one model."""
    if path.suffix.lower() != ".npz" or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return "y_scores.npy" in archive.namelist()


def _names(sets: Sequence[Any]) -> list[str]:
    """Name sets by their folders or files; by whole paths where those are alike."""
    paths = [None if isinstance(one, PredictionSet) else Path(one) for one in sets]
    short = [f"set{place}" if path is None else _short_name(path) for place, path in enumerate(paths)]
    counts = Counter(short)
    names = [
        str(path) if path is not None and counts[name] > 1 else name for name, path in zip(short, paths, strict=True)
    ]
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ValueError(f"sets of predictions must differ: got {twice!r} twice; leave one out.")
    return names


def _short_name(path: Path) -> str:
    """Return a run's name for its folder and the stores in it, else a file's name without ending."""
    resolved = Path(os.path.abspath(path))  # noqa: PTH100 - "." has a name, and links keep theirs
    in_run = resolved.name in ("oof", "test", "validation") and (resolved.parent / "manifest.json").is_file()
    return resolved.parent.name if in_run else resolved.stem if resolved.suffix == ".npz" else resolved.name
