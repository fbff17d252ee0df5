"""Explain what a member of a run sees in photos: pictures, the maps as numbers, and a report.

For every photo the labels with the highest scores, or the named ones, get a picture with the places that speak for
them. Photos are taken batch by batch; the report shows the first of them, the pictures and ``maps.npz`` all.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base_models.explanation import MemberExplainer, overlay_map
from base_models.explanation.member_maps import Method
from base_models.manifest import Manifest
from base_models.photos.decoding import letterbox
from base_models.photos.encoding import encode_picture
from base_models.photos.tensors import PhotoTensors
from base_models.runs.folder import write_npz
from base_models.runs.inference import find_readable, load_member, open_photos
from base_models.runs.out_of_fold import choose_device
from experiments.reports.report_files import write_report
from experiments.reports.result_manifest import build_manifest, claimed, commit_result
from optimizers.registry import did_you_mean
from stacking.files.atomic_files import atomic_writer
from stacking.files.untrusted import read_json
from stacking.report import Block, Column, ImageGrid, Paragraph, Photo, Report, Section, Table, Tag
from stacking.report.writing import write_score

if TYPE_CHECKING:
    from base_models.runs.inference import MemberNetworks
    from stacking.files.output_folder import OutputFolder

# Choices on which only the look and the size of the report depend.
PICTURE_SIDE = 224  # pixels
MOST_SHOWN = 48  # photos in the report; the pictures of all are written as files
DEFAULT_TOP = 3


@dataclass(frozen=True)
class ExplainPlan:
    """What to explain.

    Attributes
    ----------
    member : str, optional
        Name of the member; by default the one with the best validation score.
    labels : tuple of str, default=()
        Labels asked of every photo; none asks for those with the highest scores.
    top : int, default=3
        How many of the highest.
    method : {"auto", "grad-cam", "attention"}, default="auto"
        How, see `base_models.explanation.MemberExplainer`.
    device : str, default="auto"
        Where to compute.
    """

    member: str | None = None
    labels: tuple[str, ...] = ()
    top: int = DEFAULT_TOP
    method: Method = "auto"
    device: str = "auto"


@dataclass
class ExplainedPhotos:
    """What was explained.

    Attributes
    ----------
    explainer : MemberExplainer
        The member and the method.
    ids : ndarray of str, shape (n_photos,)
        The photos.
    unreadable : list of str
        Photos that could not be read.
    columns : ndarray of int64, shape (n_photos, n_asked)
        Labels of each picture, as columns of the member's answer.
    scores : ndarray of float32, shape (n_photos, n_asked)
        Their scores.
    maps : ndarray of float32, shape (n_photos, n_asked, height, width)
        Their maps in [0, 1].
    pictures : list of list of str
        Their files, relative to the folder of the results.
    shown : list of ImageGrid
        The first photos, for the report.
    """

    explainer: MemberExplainer
    ids: NDArray[np.str_]
    unreadable: list[str]
    columns: NDArray[np.int64]
    scores: NDArray[np.float32]
    maps: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0, 1, 1), np.float32))
    pictures: list[list[str]] = field(default_factory=list)
    shown: list[ImageGrid] = field(default_factory=list)


def explain_images(
    run: Path,
    images: Path,
    out: "Path | OutputFolder",
    plan: ExplainPlan,
    progress: Callable[..., None] | None = None,
    *,
    overwrite: bool = False,
) -> ExplainedPhotos:
    """Explain photos and write what was found.

    Parameters
    ----------
    run : Path
        Folder of a finished run.
    images : Path
        Folder of photos.
    out : Path or OutputFolder
        Made if it is absent; gets ``pictures/``, ``maps.npz``, ``report.html``, ``report.md`` and ``manifest.json``.
    plan : ExplainPlan
        What to explain.
    progress : callable, optional
        Called with the number of photos done and of all.
    overwrite : bool, default=False
        Replace an earlier explanation; nothing else is ever replaced.

    Returns
    -------
    ExplainedPhotos
        What was explained.

    Raises
    ------
    ValueError
        If the run, the member, a label, the method or the photos cannot be used.
    """
    device = choose_device(plan.device)
    member = load_member(run, plan.member, device=device)
    explainer = MemberExplainer(member, plan.method, device)
    named = _columns_of(plan.labels, member)
    if not 1 <= plan.top <= len(member.labels):
        raise ValueError(f"top must lie in 1 … {len(member.labels)}, the labels of {member.name!r}: got {plan.top}.")
    ids, reader, _ = open_photos(images)
    with claimed(out, "explain", overwrite=overwrite) as output:
        readable, unreadable = find_readable(ids, reader, 0)
        source = PhotoTensors(reader, readable, explainer.size)
        rows = np.arange(len(readable))
        y_score = explainer.score(source, rows)
        columns = np.tile(named, (len(rows), 1)) if len(named) else np.argsort(-y_score, axis=1, kind="stable")
        columns = columns if len(named) else columns[:, : plan.top]
        shown = np.take_along_axis(y_score, columns, axis=1)
        found = ExplainedPhotos(explainer, ids[readable], unreadable, columns, shown)
        _draw_all(found, source, output, progress)
        _write_results(found, run, images, output, plan)
    return found


def _columns_of(labels: tuple[str, ...], member: "MemberNetworks") -> NDArray[np.int64]:
    """Find the named labels among those that the member answers."""
    for label in labels:
        if label not in member.labels:
            raise ValueError(
                f"label must be one of the {len(member.labels)} that member {member.name!r} answers: got {label!r}."
                f"{did_you_mean(label, member.labels)}"
            )
    return np.array([member.labels.index(label) for label in dict.fromkeys(labels)], dtype=np.int64)


def _draw_all(
    found: ExplainedPhotos, source: PhotoTensors, output: "OutputFolder", progress: Callable[..., None] | None
) -> None:
    """Compute the maps batch by batch, and write each picture as soon as its map is there."""
    maps, names = [], _FileNames()
    for places, heat in found.explainer.iter_maps(source, np.arange(len(source)), found.columns):
        maps.append(heat)
        for place, heat_of_photo in zip(places.tolist(), heat, strict=True):
            photo = letterbox(source.reader.read_photo(int(source.indices[place])), PICTURE_SIDE)
            drawn = [overlay_map(photo, one) for one in heat_of_photo]
            labels = [found.explainer.member.labels[column] for column in found.columns[place]]
            files = [f"pictures/{names.of(str(found.ids[place]), label)}.png" for label in labels]
            for file, picture in zip(files, drawn, strict=True):
                with atomic_writer(output.path_of(file), sync=False) as target:
                    Image.fromarray(picture).save(target, "PNG")
            found.pictures.append(files)
            if place < MOST_SHOWN:
                tags = [f"score {write_score(float(score), 2)}" for score in found.scores[place]]
                found.shown.append(_row(str(found.ids[place]), photo, labels, tags, drawn))
        if progress is not None:
            progress(int(places[-1]) + 1, len(source))
    found.maps = np.concatenate(maps)


class _FileNames:
    """Make names of files from names of photos and labels, each once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def of(self, photo: str, label: str) -> str:
        """Return a name without what file systems or shells take amiss, at most 80 characters for each of the two."""
        plain = "__".join(
            "".join(sign if sign.isalnum() or sign in "-_." else "_" for sign in part)[:80] for part in (photo, label)
        ).lstrip(".-")
        name, number = plain, 1
        while name.casefold() in self._taken:
            number += 1
            name = f"{plain}-{number}"
        self._taken.add(name.casefold())
        return name


def _row(
    photo_id: str, photo: NDArray[np.uint8], labels: list[str], tags: list[str], drawn: list[NDArray[np.uint8]]
) -> ImageGrid:
    """Show a photo and, beside it, what speaks for its labels."""
    tiles = [Photo(_encode_jpeg(photo), photo_id, [Tag("the photo")])]
    tiles += [Photo(_encode_jpeg(p), label, [Tag(tag)]) for label, tag, p in zip(labels, tags, drawn, strict=True)]
    return ImageGrid(tiles)


def _encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """Encode a picture for a report."""
    return encode_picture(Image.fromarray(picture), quality=85)


def draw_beside_maps(
    explainer: MemberExplainer, manifest: Manifest, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[list[bytes | None], tuple[int, ...]]:
    """Draw photos, each beside itself with the map of one label.

    Parameters
    ----------
    explainer : MemberExplainer
        Makes the maps.
    manifest : Manifest
        Gives the photos.
    rows, columns : ndarray of int64, shape (n_asked,)
        Rows of the photos in the manifest; columns of the labels in the member's answers.

    Returns
    -------
    pictures : list of bytes or None
        A JPEG each; None for a photo that cannot be read.
    shape : tuple of int
        Height and width of a map, in places.
    """
    source = PhotoTensors(manifest, rows, explainer.size)
    asked = explainer.iter_maps(source, np.arange(len(rows)), columns[:, None])
    maps = np.concatenate([heat for _, heat in asked])[:, 0]
    photos = {row: letterbox(photo, PICTURE_SIDE) for row, photo in manifest.iter_readable(np.unique(rows))}
    pictures = [
        _encode_jpeg(np.concatenate([photos[row], overlay_map(photos[row], heat)], axis=1)) if row in photos else None
        for row, heat in zip(rows.tolist(), maps, strict=True)
    ]
    return pictures, maps.shape[1:]


def how_to_read(explainer: MemberExplainer, shape: tuple[int, ...]) -> str:
    """Say what a map shows and what it does not.

    Parameters
    ----------
    explainer : MemberExplainer
        The member and the method.
    shape : tuple of int
        Height and width of a map, in places.

    Returns
    -------
    str
        A few sentences.
    """
    height, width = shape
    n_networks = len(explainer.member.networks)
    mean = f", the mean of the maps of its {n_networks} networks," if n_networks > 1 else ""
    if explainer.method == "attention":
        what = "the more the label's own attention counts it; warm all over means that the label looks everywhere alike"
    else:
        what = (
            f"the more it speaks for the label (Grad-CAM at {explainer.layer}); gray all over means that nothing "
            "in the photo does"
        )
    return (
        f"The photo is drawn in gray. The warmer a place, {what}. Each map{mean} has {height} × {width} places and a "
        "scale of its own: it tells regions, not outlines, and is no warmer for a higher score. It says where the "
        "network looks, not whether it is right."
    )


def _write_results(found: ExplainedPhotos, run: Path, images: Path, output: "OutputFolder", plan: ExplainPlan) -> None:
    """Write the maps, the report and, last, the manifest."""
    names = np.array(found.explainer.member.labels, dtype=np.str_)
    write_npz(
        output.path_of("maps.npz"),
        ids=found.ids,
        labels=names[found.columns],
        scores=found.scores,
        maps=found.maps,
        pictures=np.array(found.pictures, dtype=np.str_),
    )
    report = _report(found, plan)
    write_report(report, output)
    recorded = read_json(run / "manifest.json", f"the run folder's {run / 'manifest.json'}")
    options = {
        "images": images,
        "member": found.explainer.member.name,
        "labels": plan.labels,
        "top": None if plan.labels else plan.top,
        "method": found.explainer.method,
        "layer": found.explainer.layer,
    }
    inputs = {"run": recorded["recipe_hash"], "weights": found.explainer.member.record.files["weights.safetensors"]}
    commit_result(output, build_manifest("explain", inputs, options))


def _report(found: ExplainedPhotos, plan: ExplainPlan) -> Report:
    """Lay the pictures out as a report."""
    explainer = found.explainer
    n_photos, n_asked = found.columns.shape
    which = "the named labels" if plan.labels else f"the {n_asked} labels with the highest scores of each"
    blocks: list[Block] = [Paragraph(how_to_read(explainer, found.maps.shape[2:]))]
    if n_photos > len(found.shown):
        blocks.append(Paragraph(f"The first {len(found.shown)} photos; pictures/ holds all.", role="note"))
    if found.unreadable:
        lost = ", ".join(found.unreadable[:5])
        blocks.append(Paragraph(f"{len(found.unreadable):,} photos could not be read: {lost}.", role="warning"))
    sections = [Section("Photos", [*blocks, *found.shown]), Section("Labels", [_label_table(found)])]
    name, network = explainer.member.name, explainer.member.record.network
    how = "Attention" if explainer.method == "attention" else "Grad-CAM"
    subtitle = f"{how} of {name} ({network}) on {n_photos:,} photos: {which}"
    return Report("What speaks for each label", sections, subtitle=subtitle)


def _label_table(found: ExplainedPhotos) -> Table:
    """Count how often each label is shown, how sure the member is, and how much of the photo speaks for it."""
    names = found.explainer.member.labels
    # a map ends at 1; what counts as speaking for the label is half of that: a choice
    area = (found.maps >= 0.5).mean(axis=(2, 3))  # (n_photos, n_asked)
    rows = []
    for column in np.unique(found.columns).tolist():
        own = found.columns == column
        rows.append((names[column], int(own.sum()), float(found.scores[own].mean()), float(area[own].mean())))
    rows.sort(key=lambda row: (-row[1], -row[2]))
    columns: list[Column | str] = [
        "label",
        Column("photos", "count"),
        Column("mean score", "score"),
        Column("warm area", "percent"),
    ]
    caption = "Warm area: share of the photo where the map is at least half."
    return Table(columns, rows, caption, folded=len(rows) > 12)
