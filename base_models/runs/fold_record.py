"""What a finished fold records of itself: `done.json`, written last, so that a fold is either whole or not there."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from base_models.recipe.member import HeadName
from stacking.files.atomic_files import atomic_write_json, sha256_file
from stacking.files.untrusted import damage_of, read_json

FILE = "done.json"


@dataclass(frozen=True, kw_only=True)
class FoldRecord:
    """What a network is, and how its training went; enough to build it again.

    Parameters
    ----------
    member : str
        Name of the member.
    network : str
        Name of the network.
    size : int
        Side of the photos, in pixels.
    labels : tuple of str
        Labels that the network answers.
    normalization : dict
        ``mean`` and ``std`` of the photos' channels.
    files : dict of str to str
        SHA-256 by file name.
    fold : int
        The fold, from 0.
    head : str, default "linear"
        What turns features into logits; records of the first version lack it, as they lack `hidden`.
    hidden : tuple of int, default ()
        Widths of the head's hidden layers.
    degraded_size : int, default 0
        Side that photos are degraded to, 0 for none.
    precision : str, optional
        What the network computes in; None in records of the first version.
    flip_tta : bool, default False
        Whether photos are scored with their mirror images.
    label_epochs : tuple of int, optional
        The epoch that each label's answer is taken from, where labels have their own.
    validation_micro_f1 : float, default 0.0
        The best of all epochs, on the validation rows.
    figures : dict
        What reports say and nothing depends on: epochs, seconds, speed, numbers of rows and parameters, seed.
    """

    member: str
    network: str
    size: int
    labels: tuple[str, ...]
    normalization: dict[str, list[float]]
    files: dict[str, str]
    fold: int = 0
    head: HeadName = "linear"
    hidden: tuple[int, ...] = ()
    degraded_size: int = 0
    precision: str | None = None
    flip_tta: bool = False
    label_epochs: tuple[int, ...] | None = None
    validation_micro_f1: float = 0.0
    figures: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, place: Path) -> FoldRecord:
        """Read the record of a finished fold.

        Parameters
        ----------
        place : pathlib.Path
            Folder of one member and fold.

        Returns
        -------
        FoldRecord
            As written; what later versions add is kept in `figures`.

        Raises
        ------
        ValueError
            If it does not say what the network is.
        """
        stored = read_json(place / FILE, f"the fold's {place / FILE}")
        if "normalisation" in stored:  # as version 0.1 wrote it
            stored["normalization"] = stored.pop("normalisation")
        names = {entry.name: entry for entry in dataclasses.fields(cls) if entry.name != "figures"}
        known = {name: value for name, value in stored.items() if name in names}
        missing = [name for name, entry in names.items() if _is_needed(entry) and name not in known]
        if missing:
            raise ValueError(f"{place / FILE} must hold {missing[0]!r}: it does not; train the fold again.")
        with damage_of(f"the fold's {place / FILE}", "train the fold again"):
            known |= {name: tuple(known[name]) for name in ("labels", "hidden", "label_epochs") if name in known}
            figures = {name: value for name, value in stored.items() if name not in names}
            return cls(**known, figures=figures)

    def write(self, place: Path) -> None:
        """Write the record, which says that the fold is done.

        Parameters
        ----------
        place : pathlib.Path
            Folder of the member and fold.
        """
        entries = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        figures, files = entries.pop("figures"), entries.pop("files")
        if self.label_epochs is None:
            del entries["label_epochs"]
        atomic_write_json(place / FILE, {**entries, **figures, "files": files})


def _is_needed(entry: dataclasses.Field[Any]) -> bool:
    """Tell whether a record must say this."""
    return entry.default is dataclasses.MISSING and entry.default_factory is dataclasses.MISSING


def fold_is_done(place: Path) -> bool:
    """Tell whether a fold's files are all there and whole.

    Parameters
    ----------
    place : pathlib.Path
        Folder of one member and fold.

    Returns
    -------
    bool
        True when ``done.json`` names files whose SHA-256 is right.

    Raises
    ------
    ValueError
        If it names a file that is missing or damaged.
    """
    marker = place / FILE
    if not marker.is_file():
        return False
    with damage_of(f"the fold's {marker}", f"delete {place} to train it again"):
        files = dict(read_json(marker, f"the fold's {marker}")["files"])
    for name, digest in files.items():
        if Path(name).name != name or not (place / name).is_file() or sha256_file(place / name) != digest:
            raise ValueError(
                f"a finished fold must be whole: {place / name} is missing or damaged; delete {place} to train "
                "it again."
            )
    return True
