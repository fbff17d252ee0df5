"""Several processes are measured beside one, and a model of shared batches beside four."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import experiments

ROOT = Path(experiments.__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_two_and_four_processes_are_held_against_one():
    pytest.importorskip("torch")
    pytest.importorskip("accelerate")
    words = ["--network", "test_resnet", "--size", "32", "--batch", "16", "--steps", "2"]
    command = [sys.executable, "-m", "experiments.benchmarks.several_processes", *words]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    alone = found["one"]["photos_per_second"]
    for count in (2, 4):
        for way in ("share every batch", "side by side"):
            several = found[f"{count} {way}"]
            assert several["times_one_process"] == pytest.approx(several["photos_per_second"] / alone)
            assert several["cpu_seconds_of_a_step"] > 0
    assert abs(found["model"]["error"]) < 10
