"""Sheets of drawn photos for committed results."""

import io

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from experiments.benchmarks.picture_sheets import GAP, SIDE, histogram_sheet, map_sheet, photo_sheet
from experiments.fashionblocks import synthesize


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocks")
    synthesize(folder, n_train=2, n_validation=0, n_test=8, size=48)
    return folder


def test_sheets_show_six_photos_side_by_side(data, tmp_path):
    sheets = [Image.open(io.BytesIO(draw(data))).convert("RGB") for draw in (photo_sheet, histogram_sheet)]
    for sheet in sheets:
        assert sheet.width == 6 * (SIDE + GAP) + GAP and sheet.height > SIDE + 2 * GAP
        for place in range(6):
            left = GAP + place * (SIDE + GAP)
            assert np.asarray(sheet.crop((left, GAP, left + SIDE, GAP + SIDE))).std() > 1
    assert photo_sheet(data, "gender:female") != photo_sheet(data, "gender:male")
    (tmp_path / "pictures").mkdir()
    for number in range(7):
        Image.new("RGB", (20, 20), (30 * number, 0, 0)).save(tmp_path / "pictures" / f"{number}-label.png")
    maps = Image.open(io.BytesIO(map_sheet(tmp_path)))
    assert maps.height > 2 * SIDE  # seven pictures need a second row
