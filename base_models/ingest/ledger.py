"""The ledger of an ingest: one row per photo, in SQLite, so that a killed run goes on and no failure is lost.

A row is ``clean``, ``blank`` or ``failed``. Which of the clean photos repeat others is found anew by every run and is
no part of the row.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from base_models.ingest.clean_photo import THUMBNAIL_SIDE

__all__ = ["IngestLedger", "IngestRow"]

_COMMIT_ROWS = 100
_COMMIT_SECONDS = 0.2
_COLUMNS = "id, source, source_bytes, status, reason, width, height, bytes, sha256"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS ingested (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, source_bytes INTEGER NOT NULL, status TEXT NOT NULL,
    reason TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
    thumbnail BLOB NOT NULL)
"""


@dataclass(frozen=True)
class IngestRow:
    """What became of one photo.

    Parameters
    ----------
    photo_id : str
        The photo's id.
    source : str
        Its file, relative to the folder that was read.
    source_bytes : int
        Size of that file.
    status : {"clean", "blank", "failed"}
        What became of it.
    reason : str, default=""
        Why it was not kept.
    width, height : int, default=0
        Pixels of the original.
    n_bytes : int, default=0
        Size of the JPEG written.
    sha256 : str, default=""
        Hash of the JPEG written.
    """

    photo_id: str
    source: str
    source_bytes: int
    status: str
    reason: str = ""
    width: int = 0
    height: int = 0
    n_bytes: int = 0
    sha256: str = ""


class IngestLedger:
    """Keep the rows of one ingest.

    Parameters
    ----------
    path : pathlib.Path
        The SQLite file; made if it is absent.

    Raises
    ------
    ValueError
        If the file is no such ledger.
    """

    def __init__(self, path: Path) -> None:
        self._uncommitted = 0
        self._committed_at = time.monotonic()
        self._connection = sqlite3.connect(path)
        try:
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_SCHEMA)
            self._connection.execute(f"SELECT {_COLUMNS} FROM ingested LIMIT 1")
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise ValueError(
                f"{path} must be the ledger of an ingest: SQLite says {error}; move it away to begin anew."
            ) from error

    def __enter__(self) -> IngestLedger:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        try:
            self._connection.commit()
        finally:
            self._connection.close()

    def record(self, row: IngestRow, thumbnail: bytes = b"") -> None:
        """Write what became of one photo.

        Parameters
        ----------
        row : IngestRow
            The row.
        thumbnail : bytes, default=b""
            RGB of 16 × 16 cells, for clean photos.
        """
        values = (row.photo_id, row.source, row.source_bytes, row.status, row.reason, row.width, row.height)
        self._connection.execute(
            f"INSERT OR REPLACE INTO ingested ({_COLUMNS}, thumbnail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, row.n_bytes, row.sha256, thumbnail),
        )
        self._uncommitted += 1
        now = time.monotonic()
        if self._uncommitted >= _COMMIT_ROWS or now - self._committed_at >= _COMMIT_SECONDS:
            self._connection.commit()
            self._uncommitted, self._committed_at = 0, now

    def rows(self) -> dict[str, IngestRow]:
        """Return all rows.

        Returns
        -------
        dict of str to IngestRow
            By photo id.
        """
        found = self._connection.execute(f"SELECT {_COLUMNS} FROM ingested")
        return {values[0]: IngestRow(*values) for values in found}

    def thumbnails(self, ids: list[str]) -> NDArray[np.uint8]:
        """Return the thumbnails of clean photos.

        Parameters
        ----------
        ids : list of str
            The photos.

        Returns
        -------
        ndarray of uint8, shape (n_photos, 16, 16, 3)
            RGB cells; 768 bytes per photo.
        """
        made = np.zeros((len(ids), THUMBNAIL_SIDE, THUMBNAIL_SIDE, 3), dtype=np.uint8)
        places = {photo_id: place for place, photo_id in enumerate(ids)}
        for photo_id, cells in self._connection.execute("SELECT id, thumbnail FROM ingested WHERE status = 'clean'"):
            if photo_id in places:
                made[places[photo_id]] = np.frombuffer(cells, dtype=np.uint8).reshape(made.shape[1:])
        return made
