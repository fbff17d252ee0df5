"""What the ledgers of download and ingest share: one SQLite file with a row per photo, written while work goes on.

Rows are committed in batches, at most a hundred rows or a fifth of a second late: a million single commits would take
longer than the work that they record, and what a kill loses is done once more. A ledger in a folder that cannot be
written can still be read.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from stacking.files.atomic_files import check_regular
from stacking.files.ending import run_all

_COMMIT_ROWS = 100
_COMMIT_SECONDS = 0.2


class SqliteLedger:
    """Open a ledger, commit its rows in batches, and close it.

    Parameters
    ----------
    path : pathlib.Path
        The SQLite file; made if it is absent, unless it is only read.
    read_only : bool, default=False
        Change nothing; the folder may then be one that cannot be written.

    Attributes
    ----------
    kind : str
        What the ledger is of, for errors.
    schema : str
        SQL that makes the tables where they are absent.
    probe : str
        SQL that fails on the tables of something else.

    Raises
    ------
    ValueError
        If the file is no such ledger.
    """

    kind: ClassVar[str]
    schema: ClassVar[str]
    probe: ClassVar[str]

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        check_regular(path)
        if not read_only:
            self._check_own(path)
        self.path = path
        self._uncommitted = 0
        self._committed_at = time.monotonic()
        self._connection = sqlite3.connect(_address(path, read_only), uri=True)
        try:
            if not read_only:
                self._connection.execute("PRAGMA journal_mode = WAL")
                self._connection.execute("PRAGMA synchronous = NORMAL")
                self._connection.executescript(self.schema)
            self._connection.execute(self.probe)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise self._foreign(path, error) from error

    def _check_own(self, path: Path) -> None:
        """Refuse a database of something else before anything in it is changed; one without tables is a fresh one."""
        if not path.exists() or not path.stat().st_size:
            return
        try:
            with closing(sqlite3.connect(_address(path, read_only=True), uri=True)) as connection:
                if connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                    connection.execute(self.probe)
        except sqlite3.DatabaseError as error:
            raise self._foreign(path, error) from error

    def _foreign(self, path: Path, error: sqlite3.DatabaseError) -> ValueError:
        """Say that a file is no such ledger."""
        return ValueError(f"{path} must be the ledger of {self.kind}: SQLite says {error}; move it away to begin anew.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        run_all(self._commit, self._connection.close, after=value)

    def _commit(self) -> None:
        """Make sure of what was written."""
        with self._writing():
            self._connection.commit()

    def _write(self, statement: str, values: tuple[Any, ...]) -> None:
        """Write one row; commit with it what has waited long enough."""
        with self._writing():
            self._connection.execute(statement, values)
            self._uncommitted += 1
            now = time.monotonic()
            if self._uncommitted >= _COMMIT_ROWS or now - self._committed_at >= _COMMIT_SECONDS:
                self._connection.commit()
                self._uncommitted, self._committed_at = 0, now

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say which file could not be written, and why."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise OSError(
                f"{self.path} must be writable: SQLite says {error}; free some space, or mend the disk, and run the "
                "same command again."
            ) from error


def _address(path: Path, read_only: bool) -> str:
    """Return the file's address; one in a folder without write access is opened as if it could never change."""
    address = path.absolute().as_uri()
    if not read_only:
        return address
    return f"{address}?mode=ro" if os.access(path.parent, os.W_OK) else f"{address}?immutable=1"
