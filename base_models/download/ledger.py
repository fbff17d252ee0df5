"""The ledger of a download: one row per photo, in SQLite, so that a killed run of a million photos goes on.

A row is ``waiting`` (to be fetched), ``fetched``, ``refused`` (failed for good: 404, no photo, too large …) or
``unreachable`` (failed for a reason that may pass; ``--retry-failed`` tries again). The ledger is written after the
photo, at most a hundred rows late: what a kill loses is fetched once more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from base_models.ledgers.sqlite_ledger import SqliteLedger
from stacking.files.atomic_files import atomic_write_text
from stacking.files.csv_cells import guard_cell, to_csv

LEDGER_NAME = "ledger.sqlite"
_PAGE = 1000  # rows read at once; only speed and memory depend on it
_SCHEMA = """
CREATE TABLE IF NOT EXISTS photos (
    id TEXT PRIMARY KEY, position INTEGER NOT NULL, url TEXT NOT NULL, status TEXT NOT NULL DEFAULT 'waiting',
    reason TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0, bytes INTEGER NOT NULL DEFAULT 0,
    sha256 TEXT NOT NULL DEFAULT '', file TEXT NOT NULL DEFAULT '');
CREATE INDEX IF NOT EXISTS by_status ON photos (status, position);
"""
_ENROL = """
INSERT INTO photos (id, position, url) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    position = excluded.position, url = excluded.url,
    status = 'waiting', reason = '', attempts = 0, bytes = 0, sha256 = ''
WHERE url <> excluded.url
"""


@dataclass(frozen=True)
class LedgerRow:
    """What is known about one photo.

    Parameters
    ----------
    photo_id : str
        The photo's id.
    url : str
        Where it is.
    status : {"waiting", "fetched", "refused", "unreachable"}
        How far it is.
    reason : str, default=""
        Why it failed.
    attempts : int, default=0
        Requests so far, redirects not counted.
    n_bytes : int, default=0
        Size of the photo's file.
    sha256 : str, default=""
        Hash of the photo's file.
    file : str, default=""
        The file, relative to the folder.
    """

    photo_id: str
    url: str
    status: str = "waiting"
    reason: str = ""
    attempts: int = 0
    n_bytes: int = 0
    sha256: str = ""
    file: str = ""


class Ledger(SqliteLedger):
    """Keep the rows of one download; see :class:`base_models.ledgers.sqlite_ledger.SqliteLedger`."""

    kind = "a download"
    schema = _SCHEMA
    probe = "SELECT id, position, url, status, reason, attempts, bytes, sha256, file FROM photos LIMIT 1"

    def enrol(self, urls: Iterable[tuple[str, str]]) -> None:
        """Add photos; one whose url has changed waits again.

        Parameters
        ----------
        urls : iterable of (str, str)
            Id and url, in the order in which they are to be fetched.
        """
        rows = ((photo_id, position, url) for position, (photo_id, url) in enumerate(urls))
        with self._writing():
            self._connection.executemany(_ENROL, rows)
            self._connection.commit()

    def forget_lost(self, folder: Path) -> int:
        """Let photos wait again whose file has gone from the folder.

        Parameters
        ----------
        folder : pathlib.Path
            The download's folder.

        Returns
        -------
        int
            How many.
        """
        found: dict[str, set[str]] = {}
        lost = []
        for photo_id, file in self._connection.execute("SELECT id, file FROM photos WHERE status = 'fetched'"):
            parent, _, name = file.rpartition("/")
            if parent not in found:
                place = folder / parent
                found[parent] = {entry.name for entry in place.iterdir()} if place.is_dir() else set()
            if name not in found[parent]:
                lost.append((photo_id,))
        self._connection.executemany("UPDATE photos SET status = 'waiting', bytes = 0 WHERE id = ?", lost)
        self._connection.commit()
        return len(lost)

    def let_unreachable_wait(self) -> int:
        """Let photos wait again whose failure may have passed.

        Returns
        -------
        int
            How many.
        """
        done = self._connection.execute("UPDATE photos SET status = 'waiting' WHERE status = 'unreachable'")
        self._connection.commit()
        return done.rowcount

    def waiting(self) -> Iterator[LedgerRow]:
        """Go through the waiting photos in their order, a page at a time.

        Yields
        ------
        LedgerRow
            One photo; recording others meanwhile is allowed.
        """
        place: tuple[int, str] = (-1, "")
        while True:
            page = self._connection.execute(
                "SELECT position, id, url, attempts, file FROM photos "
                "WHERE status = 'waiting' AND (position, id) > (?, ?) ORDER BY position, id LIMIT ?",
                (*place, _PAGE),
            ).fetchall()
            for _, photo_id, url, attempts, file in page:
                yield LedgerRow(photo_id, url, attempts=attempts, file=file)
            if len(page) < _PAGE:
                return
            place = (page[-1][0], page[-1][1])

    def record(self, row: LedgerRow) -> None:
        """Write what became of one photo.

        Parameters
        ----------
        row : LedgerRow
            The photo's new row.
        """
        self._write(
            "UPDATE photos SET status = ?, reason = ?, attempts = ?, bytes = ?, sha256 = ?, file = ? WHERE id = ?",
            (row.status, row.reason, row.attempts, row.n_bytes, row.sha256, row.file, row.photo_id),
        )

    def counts(self) -> dict[str, int]:
        """Count the photos by status.

        Returns
        -------
        dict of str to int
            All four statuses.
        """
        counts = dict.fromkeys(("waiting", "fetched", "refused", "unreachable"), 0)
        counts.update(self._connection.execute("SELECT status, COUNT(*) FROM photos GROUP BY status"))
        return counts

    def total_bytes(self) -> int:
        """Add up the sizes of the fetched photos.

        Returns
        -------
        int
            Bytes.
        """
        query = "SELECT COALESCE(SUM(bytes), 0) FROM photos WHERE status = 'fetched'"
        return int(self._connection.execute(query).fetchone()[0])

    def reasons(self) -> dict[str, int]:
        """Count the failures by reason, the most frequent first.

        Returns
        -------
        dict of str to int
            Number of photos by reason.
        """
        return dict(
            self._connection.execute(
                "SELECT reason, COUNT(*) FROM photos WHERE status IN ('refused', 'unreachable') GROUP BY reason "
                "ORDER BY COUNT(*) DESC, reason"
            )
        )

    def absent(self) -> dict[str, str]:
        """Return the photos that were not fetched.

        Returns
        -------
        dict of str to str
            Reason by photo id.
        """
        rows = self._connection.execute("SELECT id, reason FROM photos WHERE status <> 'fetched'")
        return {photo_id: reason or "not fetched yet" for photo_id, reason in rows}

    def write_failures(self, path: Path) -> None:
        """Write the failed photos as CSV, for people.

        Parameters
        ----------
        path : pathlib.Path
            The file: ``id,url,status,reason,attempts``.
        """
        rows = self._connection.execute(
            "SELECT id, url, status, reason, attempts FROM photos WHERE status IN ('refused', 'unreachable') "
            "ORDER BY position, id"
        )
        lines = [(photo_id, *(guard_cell(str(cell)) for cell in cells)) for photo_id, *cells in rows]
        atomic_write_text(path, to_csv([("id", "url", "status", "reason", "attempts"), *lines]))


def read_failures(folder: Path) -> dict[str, str]:
    """Read why photos are absent from a download's folder.

    Parameters
    ----------
    folder : pathlib.Path
        The folder.

    Returns
    -------
    dict of str to str
        Reason by photo id; empty where the folder is no download.
    """
    path = folder / LEDGER_NAME
    if not path.is_file():
        return {}
    with Ledger(path, read_only=True) as ledger:
        return ledger.absent()
