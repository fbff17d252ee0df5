"""From a folder of strangers' photos to one that training can trust.

Every photo is decoded once, in a limited child process, and written as a clean JPEG; everything later reads only
those. ``OUT/photos/ab/ID.jpg`` holds the photos, ``OUT/duplicates/`` those that repeat another,
``OUT/annotations.json`` (or ``.csv``) the annotations of the kept ones, ``OUT/ledger.csv`` what became of each, and
``OUT/ingest.json``, written last, the options, versions and counts. The same call goes on where a killed one stopped.
"""

from __future__ import annotations

import base64
import hashlib
import platform
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from base_models.download.ledger import read_failures
from base_models.ingest.annotation_files import kept_name, read_photo_ids, write_kept
from base_models.ingest.clean_photo import read_source
from base_models.ingest.decoder_pool import DecoderPool
from base_models.ingest.duplicates import find_duplicates
from base_models.ingest.ledger import IngestLedger, IngestRow
from base_models.ingest.options import IngestOptions
from base_models.manifest import FolderPhotos, scan_folder
from base_models.manifest.photo_names import match_photos, name_photos, normalize_path
from stacking.files.atomic_files import (
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_text,
    check_writable,
    sha256_file,
)
from stacking.files.csv_cells import guard_cell, to_csv
from stacking.files.output_folder import work_folder
from stacking.files.output_rules import ResultKind, check_work_folder
from stacking.files.untrusted import read_json
from stacking.files.versions import installed_versions

SCHEMA_VERSION = 1  # raised when earlier versions could not read the folder
INGEST = ResultKind(
    "the result of an ingest", "ingest.json", lambda marker: () if isinstance(marker.get("options"), dict) else None
)
_BYTES_PER_PIXEL = 0.25  # of a letterboxed JPEG of quality 85, measured on shop photos; rounded up
_STATUSES = ("kept", "duplicate", "blank", "failed", "missing")
Progress = Callable[..., None]


@dataclass(frozen=True)
class IngestReport:
    """What became of an ingest.

    Parameters
    ----------
    counts : dict of str to int
        Photos by status: ``kept``, ``duplicate``, ``blank``, ``failed``, ``missing``.
    reasons : dict of str to int
        Photos that failed or are missing, by reason, the most frequent first.
    n_decoded : int
        Photos that this run has decoded.
    seconds : float
        Wall time of this run.
    annotations : pathlib.Path or None
        The annotations of the kept photos.
    """

    counts: dict[str, int]
    reasons: dict[str, int]
    n_decoded: int
    seconds: float
    annotations: Path | None


def ingest_photos(
    source: Path,
    out: Path,
    annotations: Path | None = None,
    options: IngestOptions | None = None,
    *,
    progress: Progress | None = None,
) -> IngestReport:
    """Decode, check and rewrite the photos of a folder.

    Parameters
    ----------
    source : pathlib.Path
        Folder of photos, as a download leaves it or any other; searched with its sub-folders.
    out : pathlib.Path
        Folder for the result; the same call resumes.
    annotations : pathlib.Path, optional
        A table, contest JSON, plain JSON, or the labels of another tool; without it every photo of the folder is taken
        and no annotations are written.
    options : IngestOptions, optional
        Form, filters and limits.
    progress : callable, optional
        Called as ``progress(done, total, description)`` after every photo.

    Returns
    -------
    IngestReport
        Counts and reasons.

    Raises
    ------
    ValueError
        If the folder or the annotations cannot be read, no photo could be kept, or `out` holds photos of
        other options or something else.
    OSError
        If another run works in `out`, it cannot be written, or the disk is full.

    Notes
    -----
    A rerun reads every photo once more, to tell by its hash whether it has changed: times of files prove nothing. For
    a million photos, memory is some 1.5 GB while duplicates are looked for (768 bytes per thumbnail).
    """
    options = options or IngestOptions()
    if source.resolve() in (out.resolve(), *out.resolve().parents):
        raise ValueError(
            f"out must be outside the folder of photos: got {str(out)!r} in {str(source)!r}; choose another."
        )
    found, photos = scan_folder(source)
    ids, paths = (found, found) if annotations is None else read_photo_ids(annotations, source, options)
    places = _find_photos(ids, paths, found, photos, annotations)
    inputs = [source, annotations]
    check_work_folder(out, INGEST, inputs=inputs)
    _check_options(out, options)
    check_writable(out, round(len(places) * _BYTES_PER_PIXEL * options.size**2))
    with work_folder(out, INGEST, inputs=inputs):
        run = _Run(out, ids, places, photos, options)
        atomic_write_json(out / "ingest.json", {"schema_version": SCHEMA_VERSION, "options": options.of_the_result()})
        with IngestLedger(out / "ledger.sqlite") as ledger:
            run.decode(ledger, progress)
            run.sort_out(ledger)
        return run.finish(annotations, read_failures(source))


def _find_photos(
    ids: list[str], paths: list[str], found: list[str], photos: FolderPhotos, annotations: Path | None
) -> dict[str, int]:
    """Find the photo of every id, by its path where the annotations have one."""
    if annotations is None:
        return {photo_id: place for place, photo_id in enumerate(found)}
    short = [normalize_path(path) for path in photos.paths.tolist()]
    matched = match_photos(paths, short, name_photos(short), who=annotations.name).tolist()
    return {photo_id: place for photo_id, place in zip(ids, matched, strict=True) if place >= 0}


def _check_options(out: Path, options: IngestOptions) -> None:
    """Refuse to mix photos of different options in one folder."""
    path = out / "ingest.json"
    if not path.is_file():
        return
    before = read_json(path, f"the folder's {path}").get("options", {})
    for name, value in options.of_the_result().items():
        if name in before and before[name] != value:
            raise ValueError(
                f"out must be a folder of the same options: {out} was made with {name}={before[name]!r}, now it is "
                f"{value!r}; choose another folder."
            )


class _Run:
    """One ingest, step by step."""

    def __init__(
        self, out: Path, ids: list[str], places: dict[str, int], photos: FolderPhotos, options: IngestOptions
    ) -> None:
        self.out, self.ids, self.places, self.photos, self.options = out, ids, places, photos, options
        self.started = time.monotonic()
        self.n_decoded = 0
        self.rows: dict[str, IngestRow] = {}
        self.original_of: dict[str, str] = {}

    def decode(self, ledger: IngestLedger, progress: Progress | None) -> None:
        """Decode every photo that no run has decoded yet."""
        to_do = list(self._undone(ledger.rows()))
        for name in {_file_of(photo_id).parent for photo_id in to_do}:
            (self.out / "photos" / name).mkdir(parents=True, exist_ok=True)
        failed = 0
        requests = (
            {
                "id": photo_id,
                "source": str(Path(self.photos.root) / str(self.photos.paths[self.places[photo_id]])),
            }
            for photo_id in to_do
        )
        with DecoderPool(self.options) as pool:
            for request, answer in pool.run(requests):
                jpeg = base64.b64decode(answer.get("jpeg", ""))
                self._write(request["id"], jpeg)
                thumbnail = base64.b64decode(answer.get("thumbnail", ""))
                ledger.record(self._row(request["id"], answer, len(jpeg)), thumbnail)
                self.n_decoded += 1
                failed += answer["status"] != "clean"
                if progress is not None:
                    progress(self.n_decoded, len(to_do), f"decoding photos ({failed:,} failed or blank)")

    def _undone(self, rows: dict[str, IngestRow]) -> Iterator[str]:
        """Yield the photos without a row, with another file than then, or whose result is gone."""
        for photo_id in self.ids:
            place = self.places.get(photo_id)
            if place is None:
                continue
            row = rows.get(photo_id)
            if (
                row is None
                or row.source_bytes != int(self.photos.sizes[place])
                or (
                    row.status == "clean"
                    and not any(
                        (self.out / folder / _file_of(photo_id)).is_file() for folder in ("photos", "duplicates")
                    )
                )
                or _has_other_bytes(Path(self.photos.root) / str(self.photos.paths[place]), row.source_sha256)
            ):
                yield photo_id

    def _write(self, photo_id: str, jpeg: bytes) -> None:
        """Write a clean photo; remove what an earlier run made of another file of it."""
        (self.out / "duplicates" / _file_of(photo_id)).unlink(missing_ok=True)
        if jpeg:
            atomic_write_bytes(self.out / "photos" / _file_of(photo_id), jpeg)
        else:
            (self.out / "photos" / _file_of(photo_id)).unlink(missing_ok=True)

    def _row(self, photo_id: str, answer: dict[str, Any], n_bytes: int) -> IngestRow:
        """Make the ledger's row of an answer."""
        place = self.places[photo_id]
        return IngestRow(
            photo_id,
            str(self.photos.paths[place]),
            int(self.photos.sizes[place]),
            answer["status"],
            answer["reason"],
            width=answer.get("width", 0),
            height=answer.get("height", 0),
            n_bytes=n_bytes,
            sha256=answer.get("sha256", ""),
            source_sha256=answer.get("source_sha256", ""),
        )

    def sort_out(self, ledger: IngestLedger) -> None:
        """Find the photos that repeat others, in the order of the annotations, and lay them aside."""
        self.rows = ledger.rows()
        clean = [photo_id for photo_id in self.ids if photo_id in self.places and self.rows[photo_id].status == "clean"]
        rows = [self.rows[photo_id] for photo_id in clean]
        original = find_duplicates(
            [row.sha256 for row in rows],
            ledger.thumbnails(clean),
            np.array([row.width / row.height for row in rows], dtype=np.float64),
            near=self.options.drop_near_duplicates,
        )
        self.original_of = {clean[row]: clean[first] for row, first in enumerate(original) if first >= 0}
        for photo_id in clean:
            folders = ("duplicates", "photos") if photo_id in self.original_of else ("photos", "duplicates")
            wanted, other = (self.out / folder / _file_of(photo_id) for folder in folders)
            if other.is_file():
                wanted.parent.mkdir(parents=True, exist_ok=True)
                other.replace(wanted)

    def finish(self, annotations: Path | None, absent: dict[str, str]) -> IngestReport:
        """Write the ledger for people, the annotations and, last, what makes the folder complete."""
        outcomes = {photo_id: self._outcome(photo_id, absent) for photo_id in self.ids}
        kept = {photo_id for photo_id, (status, _) in outcomes.items() if status == "kept"}
        self._write_csv(outcomes)
        if not kept:
            raise ValueError(
                f"the folder must hold at least one photo that can be kept: none of {len(self.ids):,} can; see "
                f"{self.out / 'ledger.csv'}."
            )
        target = None
        if annotations is not None:
            target = self.out / kept_name(annotations)
            write_kept(annotations, Path(self.photos.root), target, kept, self.options)
        counts = {**dict.fromkeys(_STATUSES, 0), **Counter(status for status, _ in outcomes.values())}
        bad = Counter(reason for status, reason in outcomes.values() if status in ("failed", "missing"))
        atomic_write_json(
            self.out / "ingest.json",
            {
                "schema_version": SCHEMA_VERSION,
                "kind": "ingest",
                "options": self.options.of_the_result(),
                "counts": counts,
                "annotations_sha256": None if annotations is None or annotations.is_dir() else sha256_file(annotations),
                "versions": installed_versions(("labelstack", "pillow", "numpy"))
                | {"python": platform.python_version()},
            },
        )
        return IngestReport(counts, dict(bad.most_common()), self.n_decoded, time.monotonic() - self.started, target)

    def _outcome(self, photo_id: str, absent: dict[str, str]) -> tuple[str, str]:
        """Return what became of a photo in the end, and why."""
        if photo_id not in self.places:
            return "missing", f"not downloaded: {absent[photo_id]}" if photo_id in absent else "no such file"
        if photo_id in self.original_of:
            return "duplicate", f"the same as {self.original_of[photo_id]}"
        row = self.rows[photo_id]
        return ("kept", "") if row.status == "clean" else (row.status, row.reason)

    def _write_csv(self, outcomes: dict[str, tuple[str, str]]) -> None:
        """Write one line per photo."""
        lines: list[tuple[object, ...]] = [("id", "status", "reason", "source", "width", "height", "bytes", "sha256")]
        for photo_id, (status, reason) in outcomes.items():
            row = self.rows.get(photo_id) if photo_id in self.places else None
            described = (row.source, row.width, row.height, row.n_bytes, row.sha256) if row else ("", 0, 0, 0, "")
            lines.append((photo_id, status, guard_cell(reason), *described))
        atomic_write_text(self.out / "ledger.csv", to_csv(lines))


def _has_other_bytes(path: Path, digest: str) -> bool:
    """Tell whether a photo's file is another than the one that was read; an earlier version kept no hash."""
    if not digest:
        return False
    try:
        return hashlib.sha256(read_source(path)).hexdigest() != digest
    except OSError:  # the decoder says what is wrong with it
        return True


def _file_of(photo_id: str) -> Path:
    """Return the file of a photo below its folder: 256 sub-folders, so that none gets too full."""
    return Path(hashlib.sha256(photo_id.encode()).hexdigest()[:2]) / f"{photo_id}.jpg"
