import os
from types import SimpleNamespace

import pytest

from experiments.estimates.doctor import Fact, as_text, devices, disk, examine, name_device
from stacking.files.versions import installed_versions


def test_examine_covers_the_machine(tmp_path):
    topics = [fact.topic for fact in examine(tmp_path)]
    for topic in ("python", "packages", "processors", "devices", "memory", "disk"):
        assert topic in topics


def test_versions_name_numpy():
    import numpy as np

    assert installed_versions(["numpy", "no-such-package"]) == {"numpy": np.__version__}


def test_disk_looks_at_the_nearest_existing_folder(tmp_path):
    fact = disk(tmp_path / "run" / "deep")
    assert str(tmp_path.resolve()) in fact.finding
    assert "GiB free" in fact.finding


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_disk_notices_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written" in disk(tmp_path).trouble


def test_as_text_shows_trouble():
    assert as_text([Fact("a", "b"), Fact("c", "d", "e")]) == ["a: b", "c: d", "  ! e"]


def test_a_card_is_named_with_its_memory_and_driver(monkeypatch):
    torch = pytest.importorskip("torch")
    card = SimpleNamespace(name="NVIDIA H200", total_memory=140 * 2**30)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: card)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch._C, "_cuda_getDriverVersion", lambda: 13010, raising=False)
    found = devices().finding
    assert "cuda:0 NVIDIA H200 140 GiB, cuda:1 NVIDIA H200 140 GiB, torch for CUDA 13.0, driver for CUDA 13.1" in found
    assert name_device("cuda:1") == "NVIDIA H200 (cuda:1)" and name_device("cpu") == "this CPU"
    monkeypatch.delattr(torch._C, "_cuda_getDriverVersion")
    assert devices().finding.endswith("torch for CUDA 13.0")
