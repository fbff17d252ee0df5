"""What `labelstack suspects` writes: a table, tasks for Label Studio, tags for FiftyOne, and a page with photos."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.labeling.tool_files import label_studio_task, labeling_interface, photo_paths
from experiments.reports.report_files import write_report
from stacking.diagnosis.suspects import Suspects
from stacking.files.atomic_files import atomic_write_bytes, atomic_write_text
from stacking.files.csv_cells import to_csv
from stacking.files.output_rules import read_json_object
from stacking.report import Cell, Column, ImageGrid, Paragraph, Photo, Report, Section, Table, Tag
from stacking.report.writing import write_score

if TYPE_CHECKING:
    from base_models.manifest import Manifest
    from stacking.files.output_folder import OutputFolder
    from stacking.predictions import PredictionSet

SAID = {"add": "Missing?", "remove": "Wrong?"}
"""What a task of Label Studio shows beside the photo."""
MOST_PHOTOS, MOST_ROWS = 24, 200
"""Suspects that the page shows with their photo and in its table; the CSV file lists all."""

WEAKNESS = (
    "The ensemble is weak, and what it cannot know looks to it like an error: most suspects may be sound and "
    "their number says little. Look at the first ones, or judge again with better models."
)
"""Said where `Suspects.is_weak`."""

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


def write_suspects(
    found: Suspects, truth: PredictionSet, output: OutputFolder, photos: PhotosOfRun | None = None
) -> None:
    """Write all files.

    Parameters
    ----------
    found : Suspects
        From `find_suspects`.
    truth : PredictionSet
        The predictions with the truth that was looked over.
    output : OutputFolder
        Claimed.
    photos : PhotosOfRun, optional
        Where there are photos.
    """
    paths = {} if photos is None else photo_paths(photos.manifest.ids, photos.manifest.photos)
    root = "" if photos is None else getattr(photos.manifest.photos, "root", "")
    files = {name: str(Path(root) / path) for name, path in paths.items()}
    atomic_write_text(output.path_of("suspects.csv"), _table(found, files))
    samples = _by_sample(found, truth)
    for name, content in (
        ("label_studio.json", _label_studio(samples, {n: f"{Path(root).name}/{path}" for n, path in paths.items()})),
        ("fiftyone.json", _fiftyone(samples, files)),
    ):
        atomic_write_bytes(output.path_of(name), json.dumps(content, indent=1, ensure_ascii=False).encode())
    atomic_write_text(output.path_of("label_studio.xml"), labeling_interface(found.labels, SAID))
    write_report(_describe(found, photos), output)


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


@dataclass
class _Sample:
    """A sample with suspects: their doubts by label, and its labels with all of them mended."""

    name: str
    mended: dict[str, None]
    add: dict[str, float] = field(default_factory=dict)
    remove: dict[str, float] = field(default_factory=dict)

    @property
    def doubt(self) -> float:
        """Return the greatest."""
        return max([*self.add.values(), *self.remove.values()])


def _by_sample(found: Suspects, truth: PredictionSet) -> list[_Sample]:
    """Gather the suspects of each sample, samples in the order of their most doubtful one."""
    gathered: dict[int, _Sample] = {}
    for place, row in enumerate(found.rows.tolist()):
        label = found.labels[found.columns[place]]
        if row not in gathered:
            given = np.zeros(0, np.intp) if truth.y_true is None else np.flatnonzero(truth.y_true[row])
            gathered[row] = _Sample(str(found.ids[row]), dict.fromkeys(found.labels[k] for k in given.tolist()))
        sample, doubt = gathered[row], round(float(found.doubt[place]), 6)
        if found.given[place]:
            sample.remove[label] = doubt
            sample.mended.pop(label, None)
        else:
            sample.add[label] = doubt
            sample.mended[label] = None
    return list(gathered.values())


def _label_studio(samples: list[_Sample], paths: dict[str, str]) -> list[dict[str, Any]]:
    """Write tasks that propose all labels of the mended sample: whoever accepts them has mended it."""
    return [
        label_studio_task(
            sample.name,
            paths.get(sample.name),
            list(sample.mended),
            model="labelstack suspects",
            score=sample.doubt,
            said={"add": ", ".join(sample.add), "remove": ", ".join(sample.remove)},
        )
        for sample in samples
    ]


def _fiftyone(samples: list[_Sample], files: dict[str, str]) -> list[dict[str, Any]]:
    """Write keyword arguments of ``fiftyone.Sample``, one sample each."""
    return [
        {
            "filepath": files.get(sample.name, sample.name),
            "tags": ["suspect", *(f"add:{name}" for name in sample.add), *(f"remove:{n}" for n in sample.remove)],
            "photo_id": sample.name,
            "doubt": sample.doubt,
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
    warning = [Paragraph(WEAKNESS, "warning")] if found.is_weak else []
    sections = [Section("What mending would bring", [*warning, mending])]
    sections += [] if photos is None else [_photo_section(found, photos)]
    sections.append(Section("The suspects", [Table(columns, rows, caption)]))
    return Report(
        "Suspect labels",
        sections,
        verdict=f"{len(found):,} suspects: {n_added:,} labels that seem to be missing, {len(found) - n_added:,} that "
        f"seem to be wrong; by estimate {found.n_errors:,.0f} of {len(found.ids) * len(found.labels):,} annotations "
        f"are wrong, judged by an ensemble of micro-F1 {write_score(found.micro_f1, 2)}.",
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
    from base_models.runs.inference import load_member
    from experiments.reports.explaining import draw_beside_maps

    member = load_member(photos.run)
    explainer = MemberExplainer(member)
    shown = [(k, index) for k, index in asked if found.labels[found.columns[k]] in member.labels]
    tiles: list[Photo] = []
    if shown:
        rows, columns = np.array([(row, member.labels.index(found.labels[found.columns[k]])) for k, row in shown]).T
        pictures, _ = draw_beside_maps(explainer, photos.manifest, rows, columns)
        for (k, _), picture in zip(shown, pictures, strict=True):
            if picture is not None:
                change = "remove" if found.given[k] else "add"
                tag = Tag(f"{change} {found.labels[found.columns[k]]}? score {write_score(float(found.score[k]), 2)}")
                tiles.append(Photo(picture, str(found.ids[found.rows[k]]), [tag]))
    note = f"Right: where {member.name} looked for the label ({explainer.method})."
    return ImageGrid(tiles, "The most doubtful annotations.", wide=True), note
