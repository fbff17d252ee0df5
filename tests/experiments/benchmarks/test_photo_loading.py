"""The loading rows: every way serves photos, and absent packages are named."""

import pytest

from experiments.benchmarks import photo_loading
from experiments.benchmarks.processes import Plan


def test_without_torch_every_row_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(photo_loading.importlib.util, "find_spec", lambda name: None)
    rows = photo_loading.measure_loading(Plan(tmp_path, None))
    assert len(rows) == 4 * len(photo_loading.SIZES)
    assert all("torch absent" in row.trouble and not row.values for row in rows)


def test_every_way_is_timed_and_the_copy_is_the_measure(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from experiments.fashionblocks.synthesis import synthesize

    monkeypatch.setattr(photo_loading, "BATCH_SIZE", 4)
    monkeypatch.setattr(photo_loading, "N_DECODED", 4)
    synthesize(tmp_path / "photos", n_train=6, n_validation=0, n_test=0, size=48)
    job = photo_loading.all_ways(str(tmp_path / "photos"), str(tmp_path / "packed"), 32, 10 * 3 * 32**2, 2)
    values = job.describe(job.run())
    assert list(values) == [photo_loading.COPY, photo_loading.PACKED, photo_loading.KEPT, photo_loading.JPEG]
    assert all(found["photos_per_cpu_second"] > 0 and found["copy_share"] > 0 for found in values.values())
    assert values[photo_loading.COPY]["copy_share"] == 1
    assert values[photo_loading.JPEG]["copy_share"] < values[photo_loading.PACKED]["copy_share"]
    packed = values[photo_loading.PACKED]
    assert packed["low_share"] <= packed["copy_share"] <= packed["high_share"]
