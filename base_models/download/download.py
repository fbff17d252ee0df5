"""A data set's photos, from the urls of its annotation file to a folder with a ledger.

``FOLDER/photos/ab/ID.jpg`` holds the photos, in 256 sub-folders; ``ledger.sqlite`` knows of every photo what became of
it; ``failures.csv`` lists the failures for people. The same call goes on where a killed one stopped, and asks for no
photo again that is there or that failed for good.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import shutil
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base_models.download.ledger import LEDGER_NAME, Ledger, LedgerRow
from base_models.download.options import DownloadOptions
from base_models.manifest.imaterialist_json import read_photo_urls
from base_models.photos.decoding import photo_format
from stacking.files.atomic_files import atomic_write_bytes, check_writable
from stacking.files.ending import ending_with
from stacking.files.output_folder import work_folder
from stacking.files.output_rules import ResultKind

if TYPE_CHECKING:
    import aiohttp

    from base_models.download.hosts import Hosts


ASSUMED_BYTES = 100_000
"""Bytes of a photo as long as none was measured: a shop's photo of 600 × 800 pixels."""

DOWNLOAD = ResultKind("a download", LEDGER_NAME, None)
"""The ledger, a database, is the marker: whether it is one of ours, it says itself before anything is changed."""

_MEASURED_ENOUGH = 50  # photos whose mean size is taken for all; only estimates of space depend on it
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png", "GIF": ".gif", "WEBP": ".webp", "BMP": ".bmp"}
Progress = Callable[..., None]


@dataclass(frozen=True)
class DownloadEstimate:
    """What a download will need.

    Parameters
    ----------
    n_photos : int
        Photos that the annotation file lists.
    n_waiting : int
        Photos still to be fetched.
    bytes_per_photo : float
        Mean size.
    measured : bool
        Whether the mean is that of photos fetched into the folder before, or assumed.
    bytes_free : int
        Free space on the folder's disk.
    """

    n_photos: int
    n_waiting: int
    bytes_per_photo: float
    measured: bool
    bytes_free: int

    @property
    def bytes_needed(self) -> int:
        """Return the bytes still to be written."""
        return round(self.n_waiting * self.bytes_per_photo)


@dataclass(frozen=True)
class DownloadReport:
    """What became of a download.

    Parameters
    ----------
    counts : dict of str to int
        Photos by status: ``waiting``, ``fetched``, ``refused``, ``unreachable``.
    reasons : dict of str to int
        Failed photos by reason.
    n_bytes : int
        Bytes of all photos in the folder.
    n_fetched : int
        Photos that this run has fetched.
    seconds : float
        Wall time of this run.
    stopped : str, default=""
        The limit that ended the run before all photos were tried, or nothing.
    """

    counts: dict[str, int]
    reasons: dict[str, int]
    n_bytes: int
    n_fetched: int
    seconds: float
    stopped: str = ""


def estimate_download(annotations: Path, out: Path, options: DownloadOptions | None = None) -> DownloadEstimate:
    """Estimate the disk that a download needs; nothing is fetched or written.

    Parameters
    ----------
    annotations : pathlib.Path
        Contest JSON with ids and urls.
    out : pathlib.Path
        The download's folder; it need not exist.
    options : DownloadOptions, optional
        Limits and manners.

    Returns
    -------
    DownloadEstimate
        Photos, bytes needed and bytes free.

    Raises
    ------
    ValueError
        If the annotation file is no such file.
    """
    urls = read_photo_urls(annotations)
    counts, n_bytes = {"fetched": 0, "refused": 0, "unreachable": 0}, 0
    if (out / LEDGER_NAME).is_file():
        with Ledger(out / LEDGER_NAME, read_only=True) as ledger:
            counts, n_bytes = ledger.counts(), ledger.total_bytes()
    settled = counts["fetched"] + counts["refused"]
    if not (options or DownloadOptions()).retry_failed:
        settled += counts["unreachable"]
    measured = counts["fetched"] >= _MEASURED_ENOUGH
    place = out.absolute()
    while not place.exists():
        place = place.parent
    return DownloadEstimate(
        n_photos=len(urls),
        n_waiting=max(0, len(urls) - settled),
        bytes_per_photo=n_bytes / counts["fetched"] if measured else ASSUMED_BYTES,
        measured=measured,
        bytes_free=shutil.disk_usage(place).free,
    )


def download_photos(
    annotations: Path, out: Path, options: DownloadOptions | None = None, *, progress: Progress | None = None
) -> DownloadReport:
    """Fetch the photos that an annotation file names.

    Parameters
    ----------
    annotations : pathlib.Path
        Contest JSON: ``{"images": [{"imageId": "1", "url": "https://…"}, …]}``.
    out : pathlib.Path
        Folder for the photos and the ledger; the same call resumes.
    options : DownloadOptions, optional
        Limits and manners.
    progress : callable, optional
        Called as ``progress(done, total, description)`` after every photo of this run.

    Returns
    -------
    DownloadReport
        Counts, reasons, bytes and seconds.

    Raises
    ------
    ValueError
        If the annotation file or the ledger is no such file, or the folder holds something else than a download.
    OSError
        If another run works in the folder, it cannot be written, or the disk is full.

    Notes
    -----
    One process, one event loop. The annotation file is read whole (some 1.5 GB of memory for a million photos); after
    that the photos are taken from the ledger a page at a time.
    """
    options = options or DownloadOptions()
    urls = read_photo_urls(annotations)
    with work_folder(out, DOWNLOAD, inputs=[annotations]), Ledger(out / LEDGER_NAME) as ledger:
        ledger.enrol(urls)
        del urls
        ledger.forget_lost(out)
        if options.retry_failed:
            ledger.let_unreachable_wait()
        _check_space(ledger, out, options)
        (out / "photos").mkdir(exist_ok=True)
        run = _Run(out, ledger, options, progress)
        with ending_with(lambda: ledger.write_failures(out / "failures.csv")):
            asyncio.run(run.work())
        return run.report()


def _check_space(ledger: Ledger, out: Path, options: DownloadOptions) -> None:
    """Refuse to begin where the photos will not fit, as far as their size is known."""
    counts, n_bytes = ledger.counts(), ledger.total_bytes()
    needed = 0
    if counts["fetched"] >= _MEASURED_ENOUGH:
        needed = round(counts["waiting"] * n_bytes / counts["fetched"])
    if options.max_total_bytes is not None:
        needed = min(needed, max(0, options.max_total_bytes - n_bytes))
    check_writable(out, needed)


@dataclass
class _Run:
    """One run over the waiting photos."""

    out: Path
    ledger: Ledger
    options: DownloadOptions
    progress: Progress | None
    started: float = field(default_factory=time.monotonic)
    n_fetched: int = 0
    n_failed: int = 0
    stopped: str = ""

    def __post_init__(self) -> None:
        self.n_bytes = self.ledger.total_bytes()
        self.n_to_do = self.ledger.counts()["waiting"]
        self._saving: set[asyncio.Task[None]] = set()

    async def work(self) -> None:
        """Keep a window of photos under way until none waits or a limit is reached."""
        from base_models.download.fetching import open_session
        from base_models.download.hosts import Hosts

        limit = self.options.time_limit
        deadline = None if limit is None else self.started + limit
        hosts = Hosts(self.options.connections, self.options.per_host, self.options.longest_wait)
        # names are resolved in threads too, slowly where they are dead; photos are written all the same
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(self.options.connections + 4))
        window = 8 * self.options.connections  # so that one slow host does not hold up the others
        pending: set[asyncio.Task[None]] = set()
        rows = self.ledger.waiting()
        async with open_session(self.options) as session:
            try:
                row = next(rows, None)
                while (row is not None or pending) and not self.stopped:
                    while row is not None and len(pending) < window:
                        pending.add(_start(self._settle(row, session, hosts)))
                        row = next(rows, None)
                    left = None if deadline is None else max(0.0, deadline - time.monotonic())
                    done, pending = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()  # a full disk ends the run
                    if hosts.nothing_answers and (pending or row is not None):
                        self.stopped = self.stopped or "hosts, of which none answers"
                    if deadline is not None and time.monotonic() >= deadline and (pending or row is not None):
                        self.stopped = self.stopped or "time limit"
            finally:
                for task in pending:
                    task.cancel()
                await asyncio.gather(*pending, return_exceptions=True)
                await asyncio.gather(*self._saving, return_exceptions=True)

    async def _settle(self, row: LedgerRow, session: aiohttp.ClientSession, hosts: Hosts) -> None:
        """Fetch one photo, as often as it is worth it, and record what became of it."""
        from base_models.download.fetching import FetchError, fetch_photo

        for attempt in range(1, self.options.attempts + 1):
            try:
                data = await fetch_photo(session, hosts, row.url, self.options)
            except FetchError as error:
                tried = replace(row, attempts=row.attempts + attempt - (not error.asked), reason=error.reason)
                if not error.may_pass:
                    self._record(replace(tried, status="refused"))
                    return
                too_long = error.wait is not None and error.wait > self.options.longest_wait
                if attempt == self.options.attempts or too_long or not error.asked:
                    self._record(replace(tried, status="unreachable"))
                    return
                if error.wait is None:  # else the host rests as a whole
                    await asyncio.sleep(self._back_off(attempt))
            else:
                saving = _start(self._save(replace(row, attempts=row.attempts + attempt), data))
                self._saving.add(saving)
                saving.add_done_callback(self._saving.discard)
                await asyncio.shield(saving)  # a file that is being written is finished and recorded
                return

    def _back_off(self, attempt: int) -> float:
        """Return the seconds to wait after a failed attempt, varied by up to a half so that they spread out."""
        wait = self.options.first_wait * 2 ** (attempt - 1) * random.uniform(0.5, 1.5)
        return min(wait, self.options.longest_wait)

    async def _save(self, row: LedgerRow, data: bytes) -> None:
        """Write one photo under its id, unless the folder would exceed its limit."""
        limit = self.options.max_total_bytes
        if self.stopped or (limit is not None and self.n_bytes + len(data) > limit):
            self.stopped = self.stopped or "byte limit"
            return
        self.n_bytes += len(data)
        file, digest = await asyncio.to_thread(_write_photo, self.out, row.photo_id, data)
        self._record(replace(row, status="fetched", reason="", n_bytes=len(data), sha256=digest, file=file))

    def _record(self, row: LedgerRow) -> None:
        """Note the end of one photo in the ledger and tell whoever watches."""
        self.ledger.record(row)
        self.n_fetched += row.status == "fetched"
        self.n_failed += row.status != "fetched"
        if self.progress is not None:
            done = self.n_fetched + self.n_failed
            self.progress(done, self.n_to_do, f"fetching photos ({self.n_failed:,} failed)")

    def report(self) -> DownloadReport:
        """Sum up."""
        return DownloadReport(
            counts=self.ledger.counts(),
            reasons=self.ledger.reasons(),
            n_bytes=self.ledger.total_bytes(),
            n_fetched=self.n_fetched,
            seconds=time.monotonic() - self.started,
            stopped=self.stopped,
        )


def _start(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """
    Start a task whose error may stay unread.

    What ends a run, such as a full disk, ends many tasks at once, and only the first error comes out of it; asyncio
    prints every other when its task is collected, which may be in the middle of anything.
    """
    task = asyncio.create_task(work)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task


def _write_photo(out: Path, photo_id: str, data: bytes) -> tuple[str, str]:
    """Write one photo; return its file relative to the folder, and its hash."""
    suffix = _SUFFIXES[photo_format(data) or "JPEG"]
    folder = out / "photos" / hashlib.sha256(photo_id.encode()).hexdigest()[:2]
    folder.mkdir(exist_ok=True)
    atomic_write_bytes(folder / f"{photo_id}{suffix}", data)
    for other in _SUFFIXES.values():  # the photo of an earlier url may have had another format
        if other != suffix:
            (folder / f"{photo_id}{other}").unlink(missing_ok=True)
    return f"photos/{folder.name}/{photo_id}{suffix}", hashlib.sha256(data).hexdigest()
