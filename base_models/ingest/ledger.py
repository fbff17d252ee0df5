"""The ledger of an ingest: one row per photo, in SQLite, so that a killed run goes on and no failure is lost.

A row is ``clean``, ``blank`` or ``failed``. Which of the clean photos repeat others is found anew by every run and is
no part of the row.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from base_models.ingest.clean_photo import THUMBNAIL_SIDE
from base_models.ledgers.sqlite_ledger import SqliteLedger

_COLUMNS = "id, source, source_bytes, status, reason, width, height, bytes, sha256"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS ingested (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, source_bytes INTEGER NOT NULL, status TEXT NOT NULL,
    reason TEXT NOT NULL, width INTEGER NOT NULL, height INTEGER NOT NULL, bytes INTEGER NOT NULL, sha256 TEXT NOT NULL,
    thumbnail BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS sources (id TEXT PRIMARY KEY, sha256 TEXT NOT NULL)
"""  # a table of its own, so that ledgers of earlier versions, which know sizes only, still serve


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
    source_sha256 : str, default=""
        Hash of the file that was read; empty where none was, or an earlier version wrote the row.
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
    source_sha256: str = ""


class IngestLedger(SqliteLedger):
    """Keep the rows of one ingest; see :class:`base_models.ledgers.sqlite_ledger.SqliteLedger`."""

    kind = "an ingest"
    schema = _SCHEMA
    probe = f"SELECT {_COLUMNS} FROM ingested LIMIT 1"  # a constant of this module  # nosec B608

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
        self._write(
            f"INSERT OR REPLACE INTO ingested ({_COLUMNS}, thumbnail) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, row.n_bytes, row.sha256, thumbnail),
        )
        self._write("INSERT OR REPLACE INTO sources VALUES (?, ?)", (row.photo_id, row.source_sha256))

    def rows(self) -> dict[str, IngestRow]:
        """Return all rows.

        Returns
        -------
        dict of str to IngestRow
            By photo id.
        """
        hashes = dict(self._connection.execute("SELECT id, sha256 FROM sources"))
        found = self._connection.execute(f"SELECT {_COLUMNS} FROM ingested")  # a constant of this module  # nosec B608
        return {values[0]: replace(IngestRow(*values), source_sha256=hashes.get(values[0], "")) for values in found}

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
