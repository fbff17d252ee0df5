"""Photos with their histograms below: how many pixels have each value, in gray and in the three colors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base_models.manifest import Manifest
from base_models.photos.encoding import encode_picture
from stacking.report import ImageGrid, Paragraph, Photo, Section

SIDE = 144  # pixels; this and the height decide only how it looks
HEIGHT = 56
GRAY, PAPER = (90, 96, 105), (253, 253, 252)  # near the report's muted text, and its paper
BANDS = ((181, 73, 58), (59, 132, 104), (43, 106, 153))  # red, green, blue as the report's charts have them


def photo_histograms_section(manifest: Manifest, rows: NDArray[np.int64]) -> Section:
    """Show photos, each above its histogram of gray and its histogram of red, green and blue.

    Parameters
    ----------
    manifest : Manifest
        Gives the photos.
    rows : ndarray of int64
        Which; those that cannot be read are left out.

    Returns
    -------
    Section
        A grid.
    """
    photos = [Photo(draw_with_histograms(photo), str(manifest.ids[row])) for row, photo in manifest.iter_readable(rows)]
    if not photos:
        return Section("Light and color of photos", [Paragraph("No photo of this choice can be read.", role="note")])
    caption = (
        "Below each photo how many of its pixels have each value from 0, left, to 255, right: gray, then red, green "
        "and blue. Heights are square roots, so that a white background leaves room for the rest."
    )
    return Section("Light and color of photos", [ImageGrid(photos, caption)])


def draw_with_histograms(photo: Image.Image) -> bytes:
    """Draw a photo with two histograms below.

    Parameters
    ----------
    photo : PIL.Image.Image
        Mode RGB.

    Returns
    -------
    bytes
        A PNG picture, 144 pixels wide.
    """
    small = photo.copy()
    small.thumbnail((SIDE, SIDE))
    sheet = Image.new("RGB", (SIDE, SIDE + 2 * (HEIGHT + 4)), PAPER)
    sheet.paste(small, ((SIDE - small.width) // 2, (SIDE - small.height) // 2))
    gray = _panel([photo.convert("L").histogram()], [GRAY])
    colors = _panel([band.histogram() for band in photo.split()], list(BANDS))
    for number, panel in enumerate((gray, colors)):
        sheet.paste(Image.fromarray(panel), (0, SIDE + 4 + number * (HEIGHT + 4)))
    return encode_picture(sheet, "PNG", optimize=True)


def _panel(histograms: list[list[int]], colors: list[tuple[int, int, int]]) -> NDArray[np.uint8]:
    """Draw areas over one another, each half transparent: (HEIGHT, SIDE, 3)."""
    counts = np.sqrt(np.array(histograms, np.float64))
    bins = np.arange(256) * SIDE // 256
    columns = np.zeros((len(counts), SIDE))
    for values, column in zip(counts, columns, strict=True):
        np.maximum.at(column, bins, values)
    heights = np.rint(columns / counts.max() * HEIGHT)
    pixels = np.full((HEIGHT, SIDE, 3), PAPER, np.float64)
    above = np.arange(HEIGHT, 0, -1)[:, None]  # height of each line of pixels, from the top
    share = 1.0 if len(counts) == 1 else 0.5
    for column, color in zip(heights, colors, strict=True):
        inside = above <= column
        pixels[inside] = (1 - share) * pixels[inside] + share * np.array(color)
    return pixels.round().astype(np.uint8)
