"""Photos as bytes become RGB pictures here, and only here.

Photos come from strangers: wrong extensions, cut files, decompression bombs, 16 bits, transparency, sideways cameras.
:func:`decode_photo` looks at the first bytes itself and lets Pillow open only that one of five formats, refuses by the
header what would be too large to decode, and brings everything else to 8-bit RGB. Pillow's loaders for other formats,
where its faults were found, are never reached.
"""

from __future__ import annotations

import io
import math
import re
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

# Choices: a single photo within both takes 20 MB as a file and 150 MB as RGB, and most cameras stay below.
MAX_BYTES = 20_000_000
MAX_PIXELS = 50_000_000
DECODING_VERSION = 1  # of `decode_photo` and `letterbox` together; raised whenever they give another pixel
PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp"})

MAX_SCANS = 100
"""Progressive JPEGs of cameras and the web have at most a dozen scans; each is a pass over the whole picture."""
MAX_SCANNED_PIXELS = 20 * MAX_PIXELS
"""Scans times pixels: decoding takes about 10 ns for each, so at most about ten seconds."""

_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""A marker within coded data, where 0xFF is stuffed with 0 and restart markers may stand."""
_WHITE = (255, 255, 255)  # the ground of what is transparent, as the letterbox has it
_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N", "I")


class UnreadablePhotoError(ValueError):
    """Say which photo cannot be read, and why; it is recorded and never ends a run."""


def decode_photo(data: bytes, *, name: str = "photo", at_least: int = 0) -> Image.Image:
    """Decode one photo to 8-bit RGB.

    The first frame of an animation is taken, 16-bit values are scaled (Pillow alone would clip them to white),
    transparency is laid on white, and the picture is turned as its EXIF orientation says.

    Parameters
    ----------
    data : bytes
        The file's content; at most ``MAX_BYTES`` bytes and, by its header, ``MAX_PIXELS`` pixels.
    name : str, default="photo"
        What to call the photo in errors.
    at_least : int, default=0
        Longest side that is needed, in pixels: a JPEG is then decoded straight at a half, a quarter or an eighth of its
        size, whichever is the smallest that is not below; 0 decodes it whole.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, fully loaded.

    Raises
    ------
    UnreadablePhotoError
        If the photo is empty, cut, damaged, too large, or none of JPEG, PNG, WebP, GIF and BMP.
    RuntimeError
        If another library has set ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES``, which would let cut photos pass.

    Examples
    --------
    >>> file = io.BytesIO()
    >>> Image.new("LA", (3, 2), (0, 0)).save(file, "PNG")
    >>> decode_photo(file.getvalue()).getpixel((0, 0))
    (255, 255, 255)
    """
    if ImageFile.LOAD_TRUNCATED_IMAGES:
        raise RuntimeError(
            "PIL.ImageFile.LOAD_TRUNCATED_IMAGES must be False, so that cut photos are found: another library set it "
            "to True; set it back before photos are read."
        )
    if not data:
        raise UnreadablePhotoError(f"{name}: the file is empty")
    if len(data) > MAX_BYTES:
        raise UnreadablePhotoError(f"{name}: {len(data):,} bytes are more than the limit of {MAX_BYTES:,}")
    kind = photo_format(data)
    if kind is None:
        raise UnreadablePhotoError(f"{name}: neither JPEG, PNG, WebP, GIF nor BMP (it starts with {data[:8]!r})")
    try:
        with _open(data, kind) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UnreadablePhotoError(
                    f"{name}: {image.width} × {image.height} pixels are more than the limit of {MAX_PIXELS:,}"
                )
            if kind == "JPEG":
                _check_scans(data, image.width * image.height, name)
                if at_least:
                    _draft(image, at_least)
            image.load()
            return _to_rgb(_turned(image))
    except UnreadablePhotoError:
        raise
    except Exception as error:  # a hostile file makes decoders raise anything; the reason is kept
        raise UnreadablePhotoError(f"{name}: {kind} cannot be decoded ({type(error).__name__}: {error})") from error


def letterbox(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Fit a picture into a square with white bars, keeping its proportions.

    Parameters
    ----------
    image : PIL.Image.Image
        Mode RGB.
    size : int
        Side of the square in pixels.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        The picture, centered; smaller pictures are enlarged.

    Examples
    --------
    >>> square = letterbox(Image.new("RGB", (20, 40)), 8)
    >>> square.shape, square[0, :, 0].tolist()
    ((8, 8, 3), [255, 255, 0, 0, 0, 0, 255, 255])
    """
    scale = size / max(image.width, image.height)
    fitted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if fitted != image.size:
        # Pillow's documentation: from a gap of 3 on, hardly distinguishable from resampling in one step
        image = image.resize(fitted, Image.Resampling.BICUBIC, reducing_gap=3.0)
    canvas = np.full((size, size, 3), 255, dtype=np.uint8)
    left, top = (size - fitted[0]) // 2, (size - fitted[1]) // 2
    canvas[top : top + fitted[1], left : left + fitted[0]] = np.asarray(image)
    return canvas


def photo_format(data: bytes) -> str | None:
    """Name a photo's format by its first bytes.

    Parameters
    ----------
    data : bytes
        The file's content, or at least its first 12 bytes.

    Returns
    -------
    str or None
        ``JPEG``, ``PNG``, ``GIF``, ``WEBP`` or ``BMP``, as Pillow calls them; None for anything else.
    """
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    if data.startswith(b"BM"):
        return "BMP"
    return None


def _open(data: bytes, kind: str) -> Image.Image:
    """Read a photo's header; Pillow would warn of large pictures that are refused for their pixels in the next line."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return Image.open(io.BytesIO(data), formats=(kind,))


def _check_scans(data: bytes, n_pixels: int, name: str) -> None:
    """Refuse a JPEG of so many scans that decoding it would take minutes."""
    most = min(MAX_SCANS, MAX_SCANNED_PIXELS // max(1, n_pixels))
    if data.count(b"\xff\xda") <= most:  # counts thumbnails too, in no time
        return
    n_scans = _count_scans(data)
    if n_scans > most:
        raise UnreadablePhotoError(
            f"{name}: {n_scans} scans of {n_pixels:,} pixels are more than the limits of {MAX_SCANS} and of "
            f"{MAX_SCANNED_PIXELS:,} pixels in all"
        )


def _count_scans(data: bytes) -> int:
    """Count the scans of a JPEG without decoding: segments are stepped over, so those of a thumbnail do not count."""
    n_scans, place = 0, 2
    while True:
        found = _MARKER.search(data, place)
        if found is None:
            return n_scans
        marker, place = found.group(1)[0], found.end()
        if marker == 0xD9:  # the end of the image
            return n_scans
        if marker == 0x01 or marker == 0xD8:  # markers without a segment
            continue
        n_scans += marker == 0xDA
        place += int.from_bytes(data[place : place + 2], "big")


def _draft(image: Image.Image, at_least: int) -> None:
    """Let libjpeg shrink a photo while decoding it, which spares most of the work; sides are rounded up."""
    scale = at_least / max(image.size)
    image.draft(None, (max(1, math.ceil(image.width * scale)), max(1, math.ceil(image.height * scale))))


def _turned(image: Image.Image) -> Image.Image:
    """Turn the picture as its EXIF orientation says; damaged EXIF turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # broken metadata is no reason to lose a whole photo
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    """Bring any mode to RGB: 16 bits scaled, transparency on white."""
    if image.mode in _SIXTEEN_BIT:
        values = np.asarray(image).astype(np.int64)
        # 65,535 = 257 · 255; 128 rounds to the nearest
        image = Image.fromarray(np.clip((values + 128) // 257, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (*_WHITE, 255))
        image = Image.alpha_composite(canvas, image)
    return image if image.mode == "RGB" else image.convert("RGB")
