"""One photo from a stranger's bytes to a clean JPEG, with what is needed to recognize it again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageStat

from base_models.ingest.options import IngestOptions
from base_models.photos.decoding import MAX_BYTES, UnreadablePhotoError, decode_photo, letterbox
from base_models.photos.encoding import encode_picture

THUMBNAIL_SIDE = 16  # 768 bytes a photo in the ledger; the limits in `duplicates` were chosen for it
_LOOK_SIDE = 64  # a multiple of it, so that a cell of the thumbnail is the mean of whole pixels
_BLANK_DEVIATION = 2.0  # levels of a channel; a garment on one percent of a white photo has more


class BlankPhotoError(UnreadablePhotoError):
    """A photo of one color."""


@dataclass(frozen=True)
class CleanPhoto:
    """A photo as it will be read from now on.

    Parameters
    ----------
    jpeg : bytes
        8-bit RGB, without metadata.
    width, height : int
        Pixels of the original, turned upright.
    thumbnail : bytes
        RGB of 16 × 16 cells of the original, squeezed into a square.
    """

    jpeg: bytes
    width: int
    height: int
    thumbnail: bytes

    @property
    def sha256(self) -> str:
        """Return the hash of the JPEG; photos of equal pixels have equal hashes."""
        return hashlib.sha256(self.jpeg).hexdigest()


def read_source(path: Path) -> bytes:
    """Read a photo's file, and of one that is too large no more than shows it.

    Parameters
    ----------
    path : pathlib.Path
        The file.

    Returns
    -------
    bytes
        At most one byte more than a photo may have.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(MAX_BYTES + 1)


def clean_photo(data: bytes, options: IngestOptions) -> CleanPhoto:
    """Decode one photo, bring it into its final form, and look at it.

    Parameters
    ----------
    data : bytes
        The file's content.
    options : IngestOptions
        Size, shape, quality and the shortest side that is accepted.

    Returns
    -------
    CleanPhoto
        The JPEG and what it was made from.

    Raises
    ------
    BlankPhotoError
        If all pixels have nearly one color.
    UnreadablePhotoError
        If the photo cannot be decoded or is too small.

    Examples
    --------
    >>> photo = clean_photo(encode_picture(Image.linear_gradient("L"), "PNG"), IngestOptions(size=32))
    >>> photo.width, decode_photo(photo.jpeg).size, len(photo.thumbnail)
    (256, (32, 32), 768)
    """
    image = decode_photo(data)
    if min(image.size) < options.min_side:
        raise UnreadablePhotoError(
            f"photo: {image.width} × {image.height} pixels, the shorter side below {options.min_side}"
        )
    look = image.resize((_LOOK_SIDE, _LOOK_SIDE), Image.Resampling.BOX, reducing_gap=None)
    if max(ImageStat.Stat(look).stddev) < _BLANK_DEVIATION:
        raise BlankPhotoError("photo: one color all over")
    if options.shape == "letterbox":
        fitted = Image.fromarray(letterbox(image, options.size))
    else:
        fitted = image.copy()
        fitted.thumbnail((options.size, options.size), Image.Resampling.BICUBIC)
    data = encode_picture(fitted, quality=options.quality, optimize=True, exif=b"")
    thumbnail = look.resize((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.BOX)
    return CleanPhoto(data, image.width, image.height, np.asarray(thumbnail).tobytes())
