"""The serving part starts servers, asks them, and gives figures for all ways and sizes."""

import pytest

pytest.importorskip("starlette")

from experiments.benchmarks import serving
from experiments.benchmarks.processes import Plan


def test_every_row_has_figures(tmp_path, monkeypatch):
    monkeypatch.setattr(serving, "METHODS", ("mean",))
    monkeypatch.setattr(serving, "WAYS", {2: ((2, "a bundle"),)})
    rows = serving.measure_serving(Plan(tmp_path, None, quick=True))
    assert [row.system for row in rows] == [
        serving.PLAIN, "labelstack serve, 2 clients, a bundle",
    ]  # fmt: skip
    for row in rows:
        assert not row.trouble
        assert row.values["requests_per_second"] > 1
        assert 0 < row.values["p50_milliseconds"] <= row.values["p99_milliseconds"]
