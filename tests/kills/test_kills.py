"""The script that kills every command, on some of them and with few kills; `make kills` does the rest."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]
FEW = (
    "pack a store --overwrite", "pack --add --drop in place", "fit --overwrite", "predict --overwrite", "optimize",
    "data synthesize",
)  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_commands_survive_a_kill():
    only = [option for name in FEW for option in ("--only", name)]
    command = [sys.executable, "-W", "ignore", ROOT / "tests" / "kills" / "run.py", "--kills", "2", *only]
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("2 kills") == len(FEW), done.stdout
