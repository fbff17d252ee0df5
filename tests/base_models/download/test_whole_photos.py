"""Photos that end early are told without decoding them."""

import io

import pytest
from PIL import Image

from base_models.download.whole_photos import is_whole_photo


def encoded(kind, **options):
    file = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((64, 48)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_cut_is_found_in_every_format(kind, cut):
    data = encoded(kind)
    assert is_whole_photo(data)
    assert not is_whole_photo(data[:-cut])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP"])
def test_bytes_after_the_end_do_no_harm(kind):
    assert is_whole_photo(encoded(kind) + b"appended by a camera")


def test_progressive_jpeg_and_its_cut():
    data = encoded("JPEG", progressive=True)
    assert is_whole_photo(data)
    assert not is_whole_photo(data[: len(data) // 2])


def test_the_end_of_a_thumbnail_is_not_the_end_of_the_photo():
    data = encoded("JPEG")
    thumbnail = b"\xff\xd8small\xff\xd9"
    segment = b"\xff\xe1" + (2 + len(thumbnail)).to_bytes(2, "big") + thumbnail
    whole = data[:2] + segment + data[2:]
    assert is_whole_photo(whole)
    assert not is_whole_photo(whole[:-60])


@pytest.mark.parametrize("data", [b"", b"<html>", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x10broken"])
def test_what_is_no_photo_is_not_whole(data):
    assert not is_whole_photo(data)
