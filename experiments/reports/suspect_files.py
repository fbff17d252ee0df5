"""What `labelstack suspects` writes: a table, tasks for Label Studio, tags for FiftyOne, and a page with photos."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.reports.report_files import write_report
from stacking.diagnosis.suspects import Suspects
from stacking.files.atomic_files import atomic_write_bytes, atomic_write_text
from stacking.files.csv_cells import to_csv
from stacking.files.output_rules import is_regular, read_json_object
from stacking.report import Cell, Column, ImageGrid, Paragraph, Photo, Report, Section, Table, Tag
from stacking.report.writing import write_score

if TYPE_CHECKING:
    from base_models.manifest import Manifest
    from stacking.files.output_folder import OutputFolder

MOST_PHOTOS, MOST_ROWS = 24, 200
"""Suspects that the page shows with their photo and in its table; the CSV file lists all."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhotosOfRun:
    """The photos that a run was trained on, and where its maps come from.

    Attributes
    ----------
    manifest : Manifest
        Gives the photos by id.
    run : Path
        The run's folder.
    """

    manifest: Manifest
    run: Path


def is_run(folder: Path | None) -> bool:
    """Tell the folder of a training run from predictions.

    Parameters
    ----------
    folder : Path or None
        What was given.

    Returns
    -------
    bool
        True for a run.
    """
    marker = None if folder is None else folder / "manifest.json"
    return marker is not None and is_regular(marker) and "recipe_hash" in (read_json_object(marker) or {})


def open_photos_of_run(run: Path, data: Path | None) -> PhotosOfRun | None:
    """Open the photos that a run was trained on.

    Parameters
    ----------
    run : Path
        The run's folder.
    data : Path or None
        Folder that the recipe's paths start from, if the photos have moved.

    Returns
    -------
    PhotosOfRun or None
        None, and a warning in the log, where they are not to be found and `data` does not say where they are.
    """
    from experiments.reports.run_report import find_photos

    try:
        return PhotosOfRun(find_photos(run, read_json_object(run / "manifest.json") or {}, data), run)
    except (OSError, ValueError) as error:
        if data is not None:
            raise
        _log.warning("the photos of the run are not shown: %s", error)
        return None


def write_suspects(found: Suspects, output: OutputFolder, photos: PhotosOfRun | None = None) -> None:
    """Write all files.

    Parameters
    ----------
    found : Suspects
        From `find_suspects`.
    output : OutputFolder
        Claimed.
    photos : PhotosOfRun, optional
        Where there are photos.
    """
    paths = {} if photos is None else _paths(photos.manifest)
    atomic_write_text(output.path_of("suspects.csv"), _table(found, paths))
    tasks = _by_sample(found, paths)
    for name, content in (("label_studio.json", _label_studio(tasks)), ("fiftyone.json", _fiftyone(tasks))):
        atomic_write_bytes(output.path_of(name), json.dumps(content, indent=1, ensure_ascii=False).encode())
    write_report(_describe(found, photos), output)


def _paths(manifest: Manifest) -> dict[str, str]:
    """Return where photos lie, as far as they are files of a folder."""
    root, paths = getattr(manifest.photos, "root", None), getattr(manifest.photos, "paths", None)
    if root is None or paths is None:
        return {}
    return {str(name): str(Path(root) / str(path)) for name, path in zip(manifest.ids, paths, strict=True)}


def _table(found: Suspects, paths: dict[str, str]) -> str:
    """Write one row per suspect, the most doubtful first."""
    rows: list[list[str]] = [["rank", "id", "label", "given", "score", "doubt", "suggestion", "photo"]]
    for rank in range(len(found)):
        sample, label = str(found.ids[found.rows[rank]]), found.labels[found.columns[rank]]
        given = bool(found.given[rank])
        numbers = [str(int(given)), f"{found.score[rank]:.6f}", f"{found.doubt[rank]:.6f}"]
        change = "remove" if given else "add"
        rows.append([str(rank + 1), sample, label, *numbers, change, paths.get(sample, "")])
    return to_csv(rows)


def _by_sample(found: Suspects, paths: dict[str, str]) -> list[dict[str, Any]]:
    """Gather the suspects of each sample, samples in the order of their most doubtful one."""
    gathered: dict[int, dict[str, Any]] = {}
    for place, row in enumerate(found.rows.tolist()):
        sample = str(found.ids[row])
        entry = gathered.setdefault(row, {"id": sample, "photo": paths.get(sample), "add": {}, "remove": {}})
        side = "remove" if found.given[place] else "add"
        entry[side][found.labels[found.columns[place]]] = round(float(found.doubt[place]), 6)
    return list(gathered.values())


def _label_studio(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write tasks whose prediction proposes the labels to add; those to remove stand in the data."""
    tasks = []
    for sample in samples:
        proposed = [*sample["add"]]
        result = {
            "from_name": "labels",
            "to_name": "image",
            "type": "choices",
            "value": {"choices": proposed},
        }
        data = {"image": sample["photo"] or sample["id"], "id": sample["id"]}
        data |= {"add": ", ".join(proposed), "remove": ", ".join(sample["remove"])}
        score = max([*sample["add"].values(), *sample["remove"].values()])
        prediction = {"model_version": "labelstack suspects", "score": score, "result": [result] if proposed else []}
        tasks.append({"data": data, "predictions": [prediction]})
    return tasks


def _fiftyone(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Write keyword arguments of ``fiftyone.Sample``, one sample each."""
    return [
        {
            "filepath": sample["photo"] or sample["id"],
            "tags": ["suspect", *(f"add:{name}" for name in sample["add"]), *(f"remove:{n}" for n in sample["remove"])],
            "photo_id": sample["id"],
            "doubt": max([*sample["add"].values(), *sample["remove"].values()]),
        }
        for sample in samples
    ]


def _describe(found: Suspects, photos: PhotosOfRun | None) -> Report:
    """Write the page."""
    columns: list[Column | str] = ["sample", "label", "annotated", Column("score", "score"), Column("doubt", "percent")]
    rows: list[list[Cell]] = [
        [str(found.ids[row]), found.labels[column], "given" if given else "not given", float(score), float(doubt)]
        for row, column, given, score, doubt in zip(
            found.rows[:MOST_ROWS],
            found.columns[:MOST_ROWS],
            found.given[:MOST_ROWS],
            found.score[:MOST_ROWS],
            found.doubt[:MOST_ROWS],
            strict=True,
        )
    ]
    caption = (
        "Score: what the ensemble, fitted without this sample, says of the label. Doubt: how probable it is, by "
        "estimate, that the annotation is wrong."
    )
    mending = Table(
        ["mended", Column("micro-F1", "score")],
        [[f"the first {count:,}" if count else "nothing", value] for count, value in found.mending],
        "Cross-fitted micro-F1 of the same answers beside the mended truth, if all of the suspects are wrong: a bound "
        "on what mending brings to the measured score. A new fit on the mended truth may gain more.",
    )
    n_added = int((~found.given).sum())
    sections = [Section("What mending would bring", [mending])]
    sections += [] if photos is None else [_photo_section(found, photos)]
    sections.append(Section("The suspects", [Table(columns, rows, caption)]))
    return Report(
        "Suspect labels",
        sections,
        verdict=f"{len(found):,} suspects: {n_added:,} labels that seem to be missing, {len(found) - n_added:,} that "
        f"seem to be wrong; by estimate {found.n_errors:,.0f} of {len(found.ids) * len(found.labels):,} annotations "
        "are wrong.",
    )


def _photo_section(found: Suspects, photos: PhotosOfRun) -> Section:
    """Show the most doubtful photos with a map of where the label was looked for."""
    place = {str(name): row for row, name in enumerate(photos.manifest.ids)}
    asked = [k for k in range(len(found)) if str(found.ids[found.rows[k]]) in place][:MOST_PHOTOS]
    try:
        grid, note = _draw(found, photos, [(k, place[str(found.ids[found.rows[k]])]) for k in asked])
    except (OSError, ValueError) as error:
        _log.warning("no photo can be shown: %s", error)
        return Section("Photos", [Paragraph(f"The photos cannot be shown. {error}", "warning")])
    return Section("Photos", [grid, Paragraph(note, "note")])


def _draw(found: Suspects, photos: PhotosOfRun, asked: list[tuple[int, int]]) -> tuple[ImageGrid, str]:
    """Draw photo and map side by side."""
    from base_models.explanation.member_maps import MemberExplainer
    from base_models.explanation.overlay import overlay_map
    from base_models.photos.decoding import UnreadablePhotoError, letterbox
    from base_models.photos.tensors import PhotoTensors
    from base_models.runs.inference import load_member
    from experiments.reports.explaining import PICTURE_SIDE, encode_jpeg

    member = load_member(photos.run)
    explainer = MemberExplainer(member)
    shown = [(k, index) for k, index in asked if found.labels[found.columns[k]] in member.labels]
    tiles: list[Photo] = []
    if shown:
        source = PhotoTensors(photos.manifest, np.array([index for _, index in shown]), explainer.size)
        columns = np.array([[member.labels.index(found.labels[found.columns[k]])] for k, _ in shown])
        maps = np.concatenate([heat for _, heat in explainer.iter_maps(source, np.arange(len(shown)), columns)])[:, 0]
        for (k, index), heat in zip(shown, maps, strict=True):
            try:
                photo = letterbox(photos.manifest.read_photo(index), PICTURE_SIDE)
            except UnreadablePhotoError:
                continue
            change = "remove" if found.given[k] else "add"
            tag = Tag(f"{change} {found.labels[found.columns[k]]}? score {write_score(float(found.score[k]), 2)}")
            both = np.concatenate([photo, overlay_map(photo, heat)], axis=1)
            tiles.append(Photo(encode_jpeg(both), str(found.ids[found.rows[k]]), [tag]))
    note = f"Right: where {member.name} looked for the label ({explainer.method})."
    return ImageGrid(tiles, "The most doubtful annotations.", wide=True), note
