"""Scores of many photos, by network and chunk: in memory, or in a folder in which a killed call goes on.

A chunk's file is named by a hash of all that decides its numbers, so whatever is found under its name may be used, and
another run, network or list of photos never meets it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stacking.files.atomic_files import atomic_write_npy
from stacking.files.output_rules import ResultKind

SCHEMA_VERSION = 1  # raised when earlier versions could not read the folder
CHUNK_ROWS = 8192  # what a killed call scores again at most; a multiple of all batches, and few MB of scores
MARKER = "predict-work.json"
WORK = ResultKind(
    "the work of a prediction", MARKER, lambda marker: () if marker.get("kind") == "work of a prediction" else None
)


class ScoredChunks:
    """Keep the scores of every network.

    Parameters
    ----------
    n_rows : int
        Photos.
    folder : pathlib.Path, optional
        Where chunks are kept; in memory by default.
    """

    def __init__(self, n_rows: int, folder: Path | None = None) -> None:
        self.n_rows, self.folder = n_rows, folder
        self._kept: dict[str, NDArray[np.float32]] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def chunks(self) -> list[NDArray[np.int64]]:
        """Cut the rows.

        Returns
        -------
        list of ndarray of int64
            The rows of each chunk.
        """
        rows = np.arange(self.n_rows)
        return [rows[start : start + CHUNK_ROWS] for start in range(0, self.n_rows, CHUNK_ROWS)]

    def name(self, facts: Mapping[str, Any], chunk: int) -> str:
        """Name a chunk of a network's scores.

        Parameters
        ----------
        facts : mapping
            JSON-able; all that decides the numbers but for the rows.
        chunk : int
            Its number.

        Returns
        -------
        str
            The name.
        """
        text = json.dumps([SCHEMA_VERSION, dict(facts), self.n_rows, CHUNK_ROWS, chunk], sort_keys=True)
        return f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npy"

    def holds(self, name: str) -> bool:
        """Tell whether a chunk is there.

        Parameters
        ----------
        name : str
            From `name`.

        Returns
        -------
        bool
            True for one that is whole.
        """
        return name in self._kept if self.folder is None else (self.folder / name).is_file()

    def keep(self, name: str, scores: NDArray[np.float32]) -> None:
        """Keep a chunk.

        Parameters
        ----------
        name : str
            From `name`.
        scores : ndarray of float32, shape (n_rows, n_labels)
            Its scores.
        """
        if self.folder is None:
            self._kept[name] = scores
        else:
            atomic_write_npy(self.folder / name, scores)

    def read(self, name: str) -> NDArray[np.float32]:
        """Return a chunk.

        Parameters
        ----------
        name : str
            From `name`.

        Returns
        -------
        ndarray of float32, shape (n_rows, n_labels)
            Its scores.
        """
        if self.folder is None:
            return self._kept[name]
        return np.asarray(np.load(self.folder / name, allow_pickle=False), np.float32)

    def fill(
        self, facts: Mapping[str, Any], score: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    ) -> Iterator[int]:
        """Score the chunks that are not there yet.

        Parameters
        ----------
        facts : mapping
            All that decides the numbers.
        score : callable
            Takes rows and returns their scores.

        Yields
        ------
        int
            Rows that are done, after every chunk.
        """
        for number, rows in enumerate(self.chunks()):
            name = self.name(facts, number)
            if not self.holds(name):
                self.keep(name, score(rows))
            yield int(rows[-1]) + 1
