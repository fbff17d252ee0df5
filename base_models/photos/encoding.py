"""Pictures as the bytes of a file, for reports, made-up photos and clean copies."""

import io
from typing import Any

from PIL import Image


def encode_picture(picture: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    """Encode a picture in memory.

    Parameters
    ----------
    picture : PIL.Image.Image
        The picture.
    form : str, default="JPEG"
        Name of the format in Pillow.
    **options
        As Pillow takes them, such as ``quality=85``.

    Returns
    -------
    bytes
        The content of the file.
    """
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()
