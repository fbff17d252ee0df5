"""The exploratory report of a data set: counts, labels, pairs of labels, photos, and how the splits differ.

Counts are of all photos; sizes and pixel values are measured on a sample, whose size is stated.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from base_models.manifest import Manifest
from experiments.reports.photo_histograms import photo_histograms_section
from experiments.reports.training_report import small_jpeg
from optimizers._checks import check_random_state
from stacking.report import Chart, Column, Figure, ImageGrid, Paragraph, Photo, Report, Section, Table, Tag, columns_of
from stacking.report.figures.canvas import (
    ACCENT,
    BAD,
    GOOD,
    INK,
    SERIES,
    draw,
    finish_axes,
    letters_beside,
    shorten_all,
)
from stacking.report.writing import write_count

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

    from stacking.files.output_folder import OutputFolder

SPLITS = ("train", "validation", "test")
# As many as can be read in one chart: choices. The table lists every label.
MOST_BARS = 30
MOST_MAPPED = 20
MOST_WITH_HISTOGRAMS = 6


@dataclass(frozen=True)
class PhotoSample:
    """What was measured on a sample of the photos.

    Attributes
    ----------
    sizes : ndarray of int64, shape (n_read, 2)
        Width and height in pixels.
    histograms : ndarray of float64, shape (4, 256)
        Share of the pixels with each value: gray, red, green, blue.
    n_unreadable : int
        Photos of the sample that could not be read.
    """

    sizes: NDArray[np.int64]
    histograms: NDArray[np.float64]
    n_unreadable: int


def describe_data(
    manifest: Manifest, *, n_sample: int = 1000, label: str | None = None, random_state: int = 0
) -> Report:
    """Describe a data set.

    Parameters
    ----------
    manifest : Manifest
        The data set.
    n_sample : int, default=1000
        Photos that are opened for sizes and pixel values.
    label : str, optional
        Show photos of this label; by default the most frequent one.
    random_state : int, default=0
        Seed of the sample.

    Returns
    -------
    Report
        For `render_html` and `render_markdown`.

    Raises
    ------
    ValueError
        If there is no photo, or no label of that name.
    """
    names = manifest.vocabulary.names
    if not len(manifest):
        raise ValueError("the data must hold at least one photo: got none; check the folder that the recipe names.")
    if label is not None and label not in names:
        raise ValueError(f"label must be one of the {len(names)} labels of the data: got {label!r}.")
    rng = check_random_state(random_state)
    chosen = label if label is not None else names[int(manifest.y_true.sum(axis=0, dtype=np.int64).argmax())]
    with_it = np.flatnonzero(manifest.y_true[:, names.index(chosen)])
    sections = [
        _counts_section(manifest),
        _labels_section(manifest),
        _pairs_section(manifest),
        _measured_section(measure_photos(manifest, rng.permutation(len(manifest))[:n_sample])),
        _grid_section("Photos", manifest, np.sort(rng.permutation(len(manifest))[:24]), "drawn at random"),
        photo_histograms_section(manifest, np.sort(rng.permutation(len(manifest))[:MOST_WITH_HISTOGRAMS])),
        _grid_section(f"Photos of {chosen}", manifest, np.sort(rng.permutation(with_it)[:12]), f"with {chosen}"),
    ]
    if len(_split_names(manifest)) > 1:
        sections.insert(3, _shift_section(manifest))
    subtitle = f"{write_count(len(manifest), 'photo')}, {write_count(manifest.n_labels, 'label')}"
    return Report("The data set", sections, subtitle=subtitle)


def measure_photos(manifest: Manifest, rows: NDArray[np.int64]) -> PhotoSample:
    """Open photos for their sizes and pixel values.

    Parameters
    ----------
    manifest : Manifest
        Gives the photos.
    rows : ndarray of int64
        Which.

    Returns
    -------
    PhotoSample
        Photos that cannot be read are counted and left out.
    """
    sizes, counts = [], np.zeros((4, 256))
    for _, photo in manifest.iter_readable(rows):
        sizes.append(photo.size)
        bands = [photo.convert("L"), *photo.split()]
        counts += np.array([band.histogram() for band in bands]) / (photo.width * photo.height)
    return PhotoSample(
        np.array(sizes, dtype=np.int64).reshape(-1, 2), counts / max(1, len(sizes)), len(rows) - len(sizes)
    )


def _split_names(manifest: Manifest) -> list[str]:
    """Return the splits that hold photos."""
    return [name for name in SPLITS if (manifest.split == name).any()]


def _counts_section(manifest: Manifest) -> Section:
    """Count photos, labels and labels per photo, split by split."""
    rows, figures = [], []
    for name in _split_names(manifest):
        truth = manifest.y_true[manifest.split == name]
        each, used = truth.sum(axis=1, dtype=np.int64), int((truth.sum(axis=0, dtype=np.int64) > 0).sum())
        rows.append((name, len(truth), int(each.sum()), used, float(each.mean()), int(each.min()), int(each.max())))
        values = np.bincount(each)
        svg = _bars(values, "labels of a photo", "photos")
        figures.append(Figure(svg, f"Labels per photo in {name}."))
    columns = [
        Column("split"),
        *columns_of("count", "photos", "annotations", "labels used"),
        Column("labels per photo", "number"),
        *columns_of("count", "fewest", "most"),
    ]
    missing = f"{len(manifest.missing):,} annotated photos were not found." if manifest.missing else ""
    notes = [Paragraph(missing, role="warning")] if missing else []
    return Section("Counts", [*notes, Table(columns, rows), *figures])


def _labels_section(manifest: Manifest) -> Section:
    """Show how often each label occurs, in each split."""
    splits = _split_names(manifest)
    counts = {name: manifest.y_true[manifest.split == name].sum(axis=0, dtype=np.int64) for name in splits}
    total = np.sum(list(counts.values()), axis=0)
    order = np.argsort(-total, kind="stable")
    names = manifest.vocabulary.names
    top = order[:MOST_BARS]
    shares = {name: counts[name][top] / (manifest.split == name).sum() for name in splits}
    columns = [Column("label"), Column("photos", "count"), Column("share", "percent")]
    columns += [Column(name, "count") for name in splits if len(splits) > 1]
    rows = [
        (names[i], int(total[i]), float(total[i] / len(manifest)), *(int(counts[name][i]) for name in splits))
        for i in order
    ]
    table = Table(columns, [row[: len(columns)] for row in rows], "Every label.", folded=True)
    caption = f"The {len(top)} most frequent labels: the share of the photos{' of each split' * (len(splits) > 1)}."
    return Section("Labels", [Figure(_level_bars([names[i] for i in top], shares), caption), table])


def _pairs_section(manifest: Manifest) -> Section:
    """Show which labels occur together."""
    names = manifest.vocabulary.names
    truth = manifest.y_true.astype(np.float32)
    together = np.rint(truth.T @ truth).astype(np.int64)
    top = np.argsort(-np.diag(together), kind="stable")[:MOST_MAPPED]
    first, second = np.triu_indices(len(names), 1)
    order = np.argsort(-together[first, second], kind="stable")[:20]
    rows = [(names[first[k]], names[second[k]], int(together[first[k], second[k]])) for k in order]
    share = together[np.ix_(top, top)] / np.maximum(1, np.diag(together)[top])[:, None]
    caption = (
        "Of the photos with the label of the row, the share that has the label of the column; the darker the more."
    )
    table = Table(
        ["label", "and", Column("photos", "count")], [row for row in rows if row[2]], "The most frequent pairs."
    )
    return Section("Labels that occur together", [Figure(_heat_map([names[i] for i in top], share), caption), table])


def _shift_section(manifest: Manifest) -> Section:
    """Compare label frequencies of the first split with the others'."""
    splits, names = _split_names(manifest), manifest.vocabulary.names
    rate = {name: manifest.y_true[manifest.split == name].mean(axis=0, dtype=np.float64) for name in splits}
    blocks = []
    for other in splits[1:]:
        gap = rate[other] - rate[splits[0]]
        order = np.argsort(-np.abs(gap), kind="stable")[:15]
        rows = [(names[i], float(rate[splits[0]][i]), float(rate[other][i]), float(gap[i])) for i in order]
        columns: list[Column | str] = [
            "label",
            Column(splits[0], "percent"),
            *columns_of("percent", other, "difference"),
        ]
        blocks.append(Table(columns, rows, f"Frequencies that differ most between {splits[0]} and {other}."))
    return Section("Shift between splits", blocks)


def _measured_section(sample: PhotoSample) -> Section:
    """Show sizes and pixel values of the sample."""
    note = Paragraph(
        f"Measured on {len(sample.sizes):,} photos drawn at random; {sample.n_unreadable:,} more could not be read.",
        role="note",
    )
    if not len(sample.sizes):
        return Section("Sizes and pixel values", [note])
    different = np.unique(sample.sizes, axis=0)
    sizes: Figure | Paragraph = Paragraph(f"All are {different[0, 0]} × {different[0, 1]} pixels.")
    if len(different) > 1:
        svg = draw(3.2, _sizes_painter(sample.sizes), "Widths and heights")
        sizes = Figure(svg, "Width and height in pixels; the larger the dot the more photos.")
    values = Figure(
        draw(3.2, _values_painter(sample.histograms), "Shares of pixel values"),
        "Share of the pixels with each value from 0 to 255: gray, red, green and blue; the scale is logarithmic.",
    )
    return Section("Sizes and pixel values", [note, sizes, values])


def _grid_section(title: str, manifest: Manifest, rows: NDArray[np.int64], how: str) -> Section:
    """Show photos with their labels."""
    photos, names = [], manifest.vocabulary.names
    for row, photo in manifest.iter_readable(rows):
        tags = [Tag(names[i]) for i in np.flatnonzero(manifest.y_true[row])]
        photos.append(Photo(small_jpeg(photo), str(manifest.ids[row]), tags))
    if not photos:
        return Section(title, [Paragraph("No photo of this choice can be read.", role="note")])
    return Section(title, [ImageGrid(photos, f"{len(photos)} photos {how}.")])


def _bars(values: NDArray[np.int64], what: str, unit: str) -> Chart:
    """Draw upright bars over 0, 1, 2 and so on."""

    def paint(canvas: "Canvas") -> None:
        from matplotlib.ticker import MaxNLocator

        axes = canvas.add_subplot()
        axes.bar(np.arange(len(values)), values, color=ACCENT)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel(what)
        axes.set_ylabel(unit)
        finish_axes(axes, grid="y")

    return draw(2.4, paint, f"Number of {unit} by {what}")


def _level_bars(names: list[str], shares: dict[str, NDArray[np.float64]]) -> Chart:
    """Draw level bars with their names, the longest on top, one per split."""
    thickness = 0.8 / len(shares)

    def paint(canvas: "Canvas") -> None:
        axes = canvas.add_subplot()
        places = np.arange(len(names))
        for number, (split, values) in enumerate(shares.items()):
            middle = places + (number + 0.5) * thickness - 0.4
            axes.barh(middle, values, thickness, color=SERIES[number], label=split)
        axes.set_yticks(places, shorten_all(names, letters_beside(canvas.get_figwidth(), 28)))
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        axes.set_xlabel("share of the photos")
        if len(shares) > 1:
            axes.legend(frameon=False, loc="lower right")
        finish_axes(axes, grid="x")

    return draw(0.8 + 0.22 * len(names), paint, "Share of the photos by label")


def _heat_map(names: list[str], share: NDArray[np.float64]) -> Chart:
    """Draw shares as a map of squares."""

    def paint(canvas: "Canvas") -> None:
        axes, places = canvas.add_subplot(), np.arange(len(names))
        for row, column in np.argwhere(share > 0.005):  # paler squares could not be seen
            box = (column - 0.5, column + 0.5, column + 0.5, column - 0.5)
            axes.fill(box, (row - 0.5, row - 0.5, row + 0.5, row + 0.5), color=ACCENT, alpha=float(share[row, column]))
        short = shorten_all(names, letters_beside(canvas.get_figwidth(), 20))
        axes.set_xticks(places, short, rotation=90)
        axes.set_yticks(places, short)
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(-0.5, len(names) - 0.5)
        finish_axes(axes)

    return draw(7.0, paint, "How often labels occur together", phone_height=5.2)


def _sizes_painter(sizes: NDArray[np.int64]) -> Callable[["Canvas"], None]:
    """Return what draws each size once, larger where it is frequent."""

    def paint(canvas: "Canvas") -> None:
        axes = canvas.add_subplot()
        places, counts = np.unique(sizes, axis=0, return_counts=True)
        axes.scatter(places[:, 0], places[:, 1], s=8 + 120 * counts / counts.max(), color=ACCENT, alpha=0.5)
        axes.set_xlabel("width")
        axes.set_ylabel("height")
        finish_axes(axes, grid="both")

    return paint


def _values_painter(histograms: NDArray[np.float64]) -> Callable[["Canvas"], None]:
    """Return what draws the histograms of gray and the three colors."""

    def paint(canvas: "Canvas") -> None:
        axes = canvas.add_subplot()
        colors = (INK, BAD, GOOD, ACCENT)
        for name, values, color in zip(("gray", "red", "green", "blue"), histograms, colors, strict=True):
            axes.plot(np.arange(256), np.maximum(values, 1e-6), color=color, label=name)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_minor_formatter(lambda value, _: "")
        axes.set_xlabel("value")
        axes.legend(ncols=4, frameon=False)
        finish_axes(axes, grid="y")

    return paint


def hash_data(manifest: Manifest) -> str:
    """Hash what a data set holds: ids, sizes of the photos, labels, splits and groups.

    Parameters
    ----------
    manifest : Manifest
        The data set.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    columns = (manifest.ids, manifest.split, manifest.groups)
    names = [None if column is None else [str(value) for value in column] for column in columns]
    digest = hashlib.sha256(json.dumps([*names, list(manifest.vocabulary.names)]).encode())
    digest.update(np.ascontiguousarray(manifest.photos.sizes).tobytes())
    digest.update(np.ascontiguousarray(manifest.y_true).tobytes())
    return digest.hexdigest()


def write_description(
    report: Report,
    folder: "Path | OutputFolder",
    options: Mapping[str, Any] | None = None,
    *,
    overwrite: bool = False,
    also: Callable[["OutputFolder"], None] | None = None,
) -> None:
    """Write the report as one HTML page and as Markdown.

    Parameters
    ----------
    report : Report
        As `describe_data` made it.
    folder : Path or OutputFolder
        Made if it is absent; gets ``report.html``, ``report.md`` and, last, ``manifest.json``.
    options : mapping, optional
        How it was made, for the manifest.
    overwrite : bool, default=False
        Replace an earlier description; nothing else is ever replaced.
    also : callable, optional
        Writes further files into the claimed folder.
    """
    from experiments.reports.report_files import write_report
    from experiments.reports.result_manifest import build_manifest, claimed, commit_result

    with claimed(folder, "data describe", overwrite=overwrite) as output:
        write_report(report, output)
        if also is not None:
            also(output)
        commit_result(output, build_manifest("data describe", {}, options or {}))
