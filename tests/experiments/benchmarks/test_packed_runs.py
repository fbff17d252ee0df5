"""The packed rows: two whole runs that must write the same scores."""

import importlib.util

import pytest

from experiments.benchmarks import packed_runs
from experiments.benchmarks.processes import MeasurementFailedError, Plan


def test_an_absent_package_is_named_and_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = packed_runs.measure_packed_runs(Plan(tmp_path, None))
    assert len(rows) == 2 * len(packed_runs.NETWORKS) and not list(tmp_path.iterdir())
    assert {row.trouble for row in rows} == {"not measured: torch absent; pip install 'labelstack[train]'"}


def test_packed_and_decoded_photos_give_the_same_scores(tmp_path):
    pytest.importorskip("torch")
    from experiments.fashionblocks.synthesis import synthesize

    folder = synthesize(tmp_path / "blocks", n_train=32, n_validation=0, n_test=0, size=64)
    jobs = {
        packed: packed_runs.whole_run(str(folder), "test_resnet", str(tmp_path / f"run-{packed}"), packed)
        for packed in (True, False)
    }
    found = {packed: job.describe(job.run())["scores"] for packed, job in jobs.items()}
    assert found[True] == found[False]
    assert (tmp_path / "run-True" / "photos").is_dir() and not (tmp_path / "run-False" / "photos").exists()


def test_other_scores_are_no_measurement(tmp_path, monkeypatch):
    values = iter([{"scores": "a", "cpu_seconds": 2.0}, {"scores": "b", "cpu_seconds": 1.0}])
    monkeypatch.setattr(packed_runs, "measure", lambda *_: next(values))
    with pytest.raises(MeasurementFailedError, match="different scores"):
        packed_runs._measure_pair(Plan(tmp_path, None), [], {})
