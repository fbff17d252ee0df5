"""What ``make gpu`` says of missing packages and reads from pytest's report."""

from unittest.mock import MagicMock

import pytest

pytest.importorskip("torch")

from experiments.benchmarks import gpu, gpu_loops

REPORT = """<testsuites><testsuite>
<testcase name="good"><properties><property name="logits" value="1e-9"/><property name="same_bytes" value="True"/>
</properties></testcase>
<testcase name="bad"><properties><property name="logits" value="0.5"/></properties>
<failure message="AssertionError: logits">assert 0.5 &lt; 0.1</failure></testcase>
<testcase name="left"><skipped message="no card"/></testcase>
</testsuite></testsuites>"""


def test_missing_packages_are_named_with_the_command(monkeypatch):
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda name: None if name in ("iterstrat", "PIL") else 1)
    said = gpu._missing()
    assert "iterative-stratification, pillow are missing" in said or "pillow, iterative-stratification are" in said
    assert "pip install" in said
    monkeypatch.setattr(gpu.importlib.util, "find_spec", lambda _: 1)
    assert gpu._missing() == ""


def test_the_report_of_the_tests_is_counted(tmp_path):
    (tmp_path / "tests.xml").write_text(REPORT)
    found = gpu._read_tests(tmp_path / "tests.xml")
    assert (found["passed"], found["failed"], found["skipped"]) == (1, 1, 1)
    assert found["failures"][0]["test"] == "bad" and "logits" in found["failures"][0]["message"]
    assert found["relative_errors"] == {"logits": {"largest": 0.5, "test": "bad", "tests": 2}}


def test_loops_that_matter_come_first_and_all_limits_together_keep_six_minutes(tmp_path):
    names = list(gpu_loops.list_measurements(MagicMock(), tmp_path, quick=False))

    def first(words):
        return min(place for place, name in enumerate(names) if words in name)

    assert first("synthetic") == 0 and first("every kernel launched") == 1  # as the trial has it, then launched
    assert first("checkpoint") < first("loading") < first("decoded") < first("ours in float32")
    assert first("doctor") == len(names) - 1  # a whole run, which takes a slow machine most of the time
    assert sum("every kernel launched" in name for name in names) == 2 and len(set(names)) == len(names)
    assert sum(gpu.SECONDS.values()) <= 360
