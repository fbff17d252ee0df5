"""Whether a photo's bytes reach to its end, told by its container without decoding it.

A server that closes the connection early, or a file that was cut when it was uploaded, gives a photo whose lower half
is missing. Every format says where it ends; this looks there. What lies inside is for the ingest to find out.
"""

from __future__ import annotations

from base_models.photos.decoding import photo_format

_START_OF_SCAN, _END_OF_IMAGE = 0xDA, b"\xff\xd9"
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def is_whole_photo(data: bytes) -> bool:
    r"""Tell whether a photo ends where its format says it must.

    Parameters
    ----------
    data : bytes
        The file's content.

    Returns
    -------
    bool
        False if the end is missing, or the bytes are no photo. Bytes after the end do no harm.

    Examples
    --------
    >>> is_whole_photo(b"RIFF" + (4).to_bytes(4, "little") + b"WEBP"), is_whole_photo(b"RIFF\x09\0\0\0WEBP")
    (True, False)
    """
    kind = photo_format(data)
    if kind == "JPEG":
        return _ends_like_jpeg(data)
    if kind == "PNG":
        return data.rfind(b"IEND\xaeB`\x82") > 0
    if kind == "GIF":
        return data.rstrip(b"\0").endswith(b";")
    if kind == "WEBP":
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return kind == "BMP" and len(data) >= int.from_bytes(data[2:6], "little") > 0


def _ends_like_jpeg(data: bytes) -> bool:
    """Walk the segments up to the picture data and look for the end marker after them (not in a thumbnail)."""
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            return False
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in _STANDALONE:
            place += 2
        elif marker == _START_OF_SCAN:
            return data.find(_END_OF_IMAGE, place) > 0
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return False
