import os

import pytest

from experiments.estimates.doctor import Fact, as_text, disk, examine
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
