"""What becomes of one photo."""

import io

import numpy as np
import pytest
from PIL import Image

from base_models.ingest.clean_photo import BlankPhotoError, clean_photo
from base_models.ingest.options import IngestOptions
from base_models.photos.decoding import UnreadablePhotoError

SMALL = IngestOptions(size=64)


def opened(photo):
    return Image.open(io.BytesIO(photo.jpeg))


def test_letterbox_is_a_white_square(draw_garment, encode):
    photo = clean_photo(encode(draw_garment(1, (60, 120), (20, 20, 20))), SMALL)
    image = opened(photo)
    assert (image.size, image.mode, image.format) == ((64, 64), "RGB", "JPEG")
    assert np.asarray(image)[:, :10].min() > 245
    assert (photo.width, photo.height) == (60, 120)


@pytest.mark.parametrize(("size", "expected"), [((60, 120), (32, 64)), ((30, 40), (30, 40))])
def test_keep_shrinks_and_never_enlarges(draw_garment, encode, size, expected):
    photo = clean_photo(encode(draw_garment(1, size)), IngestOptions(size=64, shape="keep"))
    assert opened(photo).size == expected


def test_metadata_is_left_behind(draw_garment, encode):
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "camera of a private person"
    photo = clean_photo(encode(draw_garment(1, (90, 120)), exif=exif), IngestOptions(shape="keep"))
    assert b"camera" not in photo.jpeg
    assert not opened(photo).getexif()
    assert opened(photo).size == (120, 90)


@pytest.mark.parametrize("color", ["white", "black", (200, 30, 30)])
def test_one_color_is_blank(encode, color):
    with pytest.raises(BlankPhotoError, match="one color all over"):
        clean_photo(encode(Image.new("RGB", (80, 80), color)), SMALL)


def test_a_white_garment_on_white_is_not_blank(encode):
    image = Image.new("RGB", (400, 400), "white")
    image.paste((225, 225, 222), (150, 100, 250, 300))
    assert clean_photo(encode(image), SMALL).width == 400


def test_too_small_a_photo(encode):
    with pytest.raises(UnreadablePhotoError, match="the shorter side below 16"):
        clean_photo(encode(Image.linear_gradient("L").resize((15, 90))), SMALL)


def test_the_result_is_the_same_every_time(draw_garment, encode):
    data = encode(draw_garment(3), "PNG")
    assert clean_photo(data, SMALL).sha256 == clean_photo(data, SMALL).sha256


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"shape": "round"}, "shape must be 'letterbox' or 'keep'"),
        ({"size": 4}, "size must be from 8 to 8192"),
        ({"quality": 100}, "quality must be from 1 to 95"),
        ({"workers": 0}, "workers must be from 1"),
        ({"memory_bytes": 10}, "memory_bytes must be at least 64 MiB"),
        ({"seconds": 0.0}, "seconds must be above 0"),
    ],
)
def test_options_are_checked(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        IngestOptions(**wrong)
