"""Sheets of pictures for committed results: photos with labels or histograms, and maps of where labels are seen."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from base_models.photos.encoding import encode_picture
from experiments.reports.photo_histograms import draw_with_histograms
from stacking.report.figures.canvas import shorten

N_PHOTOS = 6  # side by side: as many as a page has room for
SIDE, GAP, LINE = 144, 12, 13  # pixels
PAPER, INK = (253, 253, 252), (34, 39, 46)
MOST_LABELS = 9  # lines below a photo; a choice, which only decides how it looks


def photo_sheet(data: Path, label: str = "") -> bytes:
    """Show photos of a data set, each above its labels.

    Parameters
    ----------
    data : Path
        As `labelstack data synthesize` wrote it.
    label : str, default=""
        Show photos of this label only.

    Returns
    -------
    bytes
        PNG.
    """
    photos = _photos(data, label)
    pictures = [Image.open(path).convert("RGB").resize((SIDE, SIDE)) for path, _ in photos]
    return _sheet(pictures, [labels for _, labels in photos])


def histogram_sheet(data: Path) -> bytes:
    """Show the same photos, each above its histograms of gray and of the three colors.

    Parameters
    ----------
    data : Path
        As `labelstack data synthesize` wrote it.

    Returns
    -------
    bytes
        PNG.
    """
    drawn = [draw_with_histograms(Image.open(path).convert("RGB").resize((SIDE, SIDE))) for path, _ in _photos(data)]
    return _sheet([Image.open(io.BytesIO(picture)) for picture in drawn], [[] for _ in drawn])


def map_sheet(explanation: Path) -> bytes:
    """Show the pictures of an explanation, a row of photos per place among the asked labels.

    Parameters
    ----------
    explanation : Path
        As `labelstack explain` wrote it.

    Returns
    -------
    bytes
        PNG.
    """
    paths = sorted((explanation / "pictures").rglob("*.*"))[: 3 * N_PHOTOS]
    return _sheet(
        [Image.open(path).convert("RGB").resize((SIDE, SIDE)) for path in paths],
        [[path.stem.rpartition("__")[2].replace("_", ":")] for path in paths],
    )


def _photos(data: Path, label: str = "") -> list[tuple[Path, list[str]]]:
    """Return the first test photos of a data set, or of a label of it, and their labels."""
    with (data / "labels.csv").open(newline="", encoding="utf-8") as file:
        names = {row["labelId"]: row["name"] for row in csv.DictReader(file)}
    content = json.loads((data / "test.json").read_text(encoding="utf-8"))
    photos = [
        (data / "photos" / "test" / f"{entry['imageId']}.jpg", [names[place] for place in entry["labelId"]])
        for entry in content["annotations"]
    ]
    return [(path, labels) for path, labels in photos if not label or label in labels][:N_PHOTOS]


def _sheet(pictures: Sequence[Image.Image], texts: Sequence[Sequence[str]]) -> bytes:
    """Lay pictures out in rows of six, lines of text below each."""
    height = max(picture.height for picture in pictures) + LINE * min(MOST_LABELS, max(map(len, texts))) + GAP
    n_rows = -(-len(pictures) // N_PHOTOS)
    sheet = Image.new("RGB", (N_PHOTOS * (SIDE + GAP) + GAP, n_rows * height + GAP), PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for number, (picture, lines) in enumerate(zip(pictures, texts, strict=True)):
        left, top = GAP + number % N_PHOTOS * (SIDE + GAP), GAP + number // N_PHOTOS * height
        sheet.paste(picture, (left, top))
        for line, text in enumerate(lines[:MOST_LABELS]):
            pen.text((left, top + picture.height + 2 + LINE * line), shorten(text, 24), INK, font)
    return encode_picture(sheet.quantize(128), "PNG", optimize=True)
