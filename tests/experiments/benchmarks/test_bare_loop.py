"""The bare rows: both loops train on the same photos, and an absent package is named."""

import importlib.util
import json

import pytest

from experiments.benchmarks import bare_loop
from experiments.benchmarks.processes import Plan


def test_an_absent_package_is_named_and_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = bare_loop.measure_bare_loops(Plan(tmp_path, None))
    assert len(rows) == 2 * len(bare_loop.NETWORKS) * len(bare_loop.SIZES) and not list(tmp_path.iterdir())
    assert {row.trouble for row in rows} == {"not measured: torch absent; pip install 'labelstack[train]'"}


def test_both_loops_train_the_same_network_on_the_same_photos(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")

    from experiments.fashionblocks.synthesis import synthesize

    folder = synthesize(tmp_path / "blocks", n_train=8, n_validation=0, n_test=0, size=48)
    monkeypatch.setattr(bare_loop, "BATCH_SIZE", 8)
    stepped = []
    real = torch.optim.AdamW.step
    monkeypatch.setattr(torch.optim.AdamW, "step", lambda self, *given: (stepped.append(self), real(self, *given))[1])
    threads = torch.get_num_threads()
    try:
        job = bare_loop.both_loops(str(folder), str(tmp_path / "packed"), "test_resnet", 48, 2, 2)
        values = job.describe(job.run())
    finally:
        torch.set_num_threads(threads)
    assert len(stepped) == 2 * 3 * 2 and len(set(map(id, stepped))) == 2
    assert values[bare_loop.OURS]["bare_share"] > 0 and json.dumps(values)
    ours = values[bare_loop.OURS]
    assert ours["low_share"] <= ours["bare_share"] <= ours["high_share"]
    assert values[bare_loop.BARE]["cpu_milliseconds_per_image"] > 0
