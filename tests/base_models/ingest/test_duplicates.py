"""Copies are found, and photos that only look alike in gray are not taken for copies."""

import numpy as np
import pytest

from base_models.ingest import duplicates
from base_models.ingest.clean_photo import clean_photo
from base_models.ingest.duplicates import find_duplicates
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


def test_the_same_cut_in_another_color_is_no_copy(draw_garment, find):
    red, blue = (170, 60, 60), (60, 60, 170)  # equally bright
    images = [draw_garment(5, color=red), draw_garment(5, color=blue)]
    assert find(images) == [-1, -1]


def test_different_garments_are_no_copies(draw_garment, find):
    assert find([draw_garment(seed) for seed in range(60)]) == [-1] * 60


def test_a_stretched_photo_is_no_copy(draw_garment, find):
    image = draw_garment(2, (120, 120))
    assert find([image, image.resize((120, 180))]) == [-1, -1]


def one_cut(rng, n_photos):
    """Draw photos of a few cuts on white in a few colors, each with a print of its own."""
    cuts = np.zeros((6, 16, 16), bool)
    for number, cut in enumerate(cuts):
        cut[3 - number % 3 : 12 + number // 2, 5 - number % 4 : 11 + number % 4] = True
    colors = np.array([[30, 30, 40], [200, 30, 40], [240, 240, 235]])[rng.integers(0, 3, n_photos)]
    prints = rng.normal(0, 14, (n_photos, 8, 8, 3)).repeat(2, 1).repeat(2, 2)
    garments = np.clip(colors[:, None, None] + prints, 0, 255)
    return np.where(cuts[rng.integers(0, 6, n_photos)][..., None], garments, 255).astype(np.uint8)


def compare_all(hashes, thumbnails, aspects):
    """Find the originals as the rule says, each photo with every earlier one."""
    original, values = np.full(len(hashes), -1), thumbnails.reshape(len(hashes), -1).astype(int)
    for row in range(len(hashes)):
        for other in np.flatnonzero(original[:row] < 0):
            difference = np.abs(values[row] - values[other])
            alike = difference.max() <= 20 and difference.mean() <= 1.5
            if hashes[row] == hashes[other] or (alike and abs(aspects[other] / aspects[row] - 1) < 0.03):
                original[row] = other
                break
    return original


def test_the_search_finds_what_comparing_all_pairs_finds(rng):
    thumbnails = one_cut(rng, 500)
    sources = rng.integers(0, 400, 100)
    thumbnails[400:] = np.clip(thumbnails[sources].astype(int) + rng.integers(-3, 4, (100, 16, 16, 3)), 0, 255)
    hashes = [str(n) for n in range(500)]
    hashes[350:360] = hashes[:10]
    thumbnails[350:360] = thumbnails[:10]
    aspects = rng.choice([0.75, 0.76, 1.0], 500)
    found = find_duplicates(hashes, thumbnails, aspects)
    assert found.tolist() == compare_all(hashes, thumbnails, aspects).tolist()
    assert 40 < (found >= 0).sum() < 110


def test_an_exact_copy_of_a_near_copy_points_to_the_first(rng):
    thumbnails = one_cut(rng, 1).repeat(3, axis=0)
    thumbnails[1:, 4, 4] += 3
    assert find_duplicates(["a", "b", "b"], thumbnails, np.ones(3)).tolist() == [-1, 0, 0]


def test_photos_of_one_cut_are_not_all_compared(rng, monkeypatch):
    def comparisons(n_photos):
        compared = []
        first_match = duplicates._first_match
        with monkeypatch.context() as patched:
            patched.setattr(duplicates, "_first_match", lambda *a: compared.append(len(a[1])) or first_match(*a))
            find_duplicates([str(n) for n in range(n_photos)], one_cut(rng, n_photos), np.ones(n_photos))
        return sum(compared)

    few, many = comparisons(800), comparisons(3200)
    assert many < 10 * few  # all pairs: 16 times as many
    assert many < 0.1 * 3200**2 / 2


def test_photos_that_differ_in_one_place_only_do_not_divide_for_ever():
    thumbnails = np.full((400, 16, 16, 3), 255, np.uint8)
    for row in range(400):
        thumbnails[row, row // 20 % 16, row % 16] = 0 if row < 256 else 100
    assert len(find_duplicates([str(n) for n in range(400)], thumbnails, np.ones(400))) == 400
