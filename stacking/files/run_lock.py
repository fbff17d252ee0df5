"""One run at a time in a folder: a lock that a killed run leaves free, in a file that goes with the run."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from stacking.files.atomic_files import OutputRefusedError, check_regular, check_writable

if TYPE_CHECKING:
    from filelock import FileLock

LOCK_NAME = ".lock"
SECONDS_BETWEEN_TRIES = 0.5
"""Between two looks at a lock that is waited for: only the time of waiting depends on it."""


class FolderInUseError(OSError):
    """Another run holds the lock of a folder."""


@contextlib.contextmanager
def run_lock(folder: str | os.PathLike[str], *, wait: Callable[[], None] | None = None) -> Iterator[None]:
    """
    Hold a folder for one run; a second run on it is refused at once.

    Parameters
    ----------
    folder : path-like
        The folder, created where it does not exist. It holds a small file ``.lock`` meanwhile; the operating system
        releases the lock when the process ends, however it ends.
    wait : callable, optional
        Called once where another run holds the folder; then its end is waited for, instead of an error.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    FolderInUseError
        If another run holds the folder.
    OutputRefusedError
        If ``.lock`` is a file of someone else's.
    OSError
        If the folder cannot be written.
    """
    place = Path(folder)
    check_writable(place)
    path = place / LOCK_NAME
    check_regular(path)
    if path.exists() and path.stat().st_size:
        raise OutputRefusedError(f"{path} must be an empty file that serves as lock: it holds something; move it.")
    place.mkdir(parents=True, exist_ok=True)
    lock = _acquire(path, wait)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()


def _acquire(path: Path, wait: Callable[[], None] | None) -> "FileLock":
    """Lock a file that whoever held it before removes: the file locked must be the one that bears the name."""
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=0)
    warned = False
    while True:
        path.touch()
        with contextlib.suppress(FileNotFoundError):  # removed in this very moment: once more
            before = path.stat()
            try:
                lock.acquire()
            except Timeout as error:
                if wait is None:
                    text = "another run is working in this folder: wait for it to end, or choose another folder"
                    raise FolderInUseError(errno.EBUSY, text, str(path.parent)) from error
                if not warned:
                    wait()
                warned = True
                time.sleep(SECONDS_BETWEEN_TRIES)
                continue
            # The holder before may have removed the file in between: then this lock is on a file without a name, and
            # another run can lock a new one of the same name.
            try:
                if os.path.samestat(before, path.stat()):
                    return lock
            except FileNotFoundError:
                lock.release()
            else:
                lock.release()
