"""Copies are found, and photos that only look alike in gray are not taken for copies."""

import numpy as np
import pytest

from base_models.ingest.clean_photo import clean_photo
from base_models.ingest.duplicates import average_hash, find_duplicates
from base_models.ingest.options import IngestOptions

OPTIONS = IngestOptions(size=64)


@pytest.fixture
def find(encode):
    def _find(images, near=True, kinds=None):
        kinds = kinds or [{} for _ in images]
        photos = [clean_photo(encode(image, **kind), OPTIONS) for image, kind in zip(images, kinds, strict=True)]
        thumbnails = np.stack([np.frombuffer(p.thumbnail, np.uint8).reshape(16, 16, 3) for p in photos])
        aspects = np.array([photo.width / photo.height for photo in photos])
        return find_duplicates([photo.sha256 for photo in photos], thumbnails, aspects, near=near).tolist()

    return _find


def test_exact_copies_point_to_the_first(draw_garment, find):
    images = [draw_garment(0), draw_garment(1), draw_garment(0), draw_garment(0)]
    assert find(images) == [-1, -1, 0, 0]
    assert find(images, near=False) == [-1, -1, 0, 0]


def test_the_same_pixels_in_another_file_format_are_an_exact_copy(draw_garment, find):
    images = [draw_garment(0), draw_garment(0)]
    assert find(images, near=False, kinds=[{"kind": "PNG"}, {"kind": "BMP"}]) == [-1, 0]


@pytest.mark.parametrize("seed", range(12))
def test_resized_and_recompressed_copies(draw_garment, find, seed):
    image = draw_garment(seed, (300, 400))
    images = [draw_garment(100), image, image.resize((150, 200)), image]
    kinds = [{}, {"quality": 95}, {"quality": 90}, {"quality": 60}]
    assert find(images, kinds=kinds) == [-1, -1, 1, 1]
    assert find(images, kinds=kinds, near=False) == [-1, -1, -1, -1]


def test_the_same_cut_in_another_colour_is_no_copy(draw_garment, find):
    red, blue = (170, 60, 60), (60, 60, 170)  # equally bright
    images = [draw_garment(5, color=red), draw_garment(5, color=blue)]
    assert find(images) == [-1, -1]


def test_different_garments_are_no_copies(draw_garment, find):
    assert find([draw_garment(seed) for seed in range(60)]) == [-1] * 60


def test_a_stretched_photo_is_no_copy(draw_garment, find):
    image = draw_garment(2, (120, 120))
    assert find([image, image.resize((120, 180))]) == [-1, -1]


def test_average_hash_marks_the_cells_that_could_fall_either_way():
    thumbnail = np.full((16, 16, 3), 100, np.uint8)
    thumbnail[:8] = 200
    thumbnail[0:2, 0:2] = 150
    bits, uncertain = average_hash(thumbnail)
    assert bits.bit_count() in (31, 32)
    assert uncertain == [1 << 63]
