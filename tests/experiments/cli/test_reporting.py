import logging
import os
import pty
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

import experiments
from experiments.cli import reporting
from experiments.cli.reporting import Reporter, session

ROOT = Path(experiments.__file__).parents[1]


class Clock:
    """A clock that a test sets; stands in for the time module's."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(reporting.time, "monotonic", clock.monotonic)
    return clock


def test_plain_lines_are_rare_and_carry_an_estimate(capsys, clock):
    with Reporter().progress("packing") as progress:
        for done in range(1, 21):
            clock.now = float(done)
            progress(done, 20, f"model {done}")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "model 5: 5 of 20, about 0:00:15 left",
        "model 10: 10 of 20, about 0:00:10 left",
        "model 15: 15 of 20, about 0:00:05 left",
        "model 20: 20 of 20, about 0:00:00 left",
    ]


def test_plain_lines_write_a_million_in_full(capsys, clock):
    with Reporter().progress("fetching") as progress:
        clock.now = 100.0
        progress(10_000, 1_014_544, "fetching photos")
    assert capsys.readouterr().err == "fetching photos: 10,000 of 1,014,544, about 2:47:25 left\n"


def test_training_events_say_where_and_how_long(capsys, clock):
    from base_models.training.progress import TrainingEvent

    with Reporter().training() as progress:
        clock.now = 6.0
        progress(TrainingEvent("step", "resnet", 0, 5, 2, 4, 10, 40, 120.0, seconds_left=294.0))
        progress(TrainingEvent("step", "resnet", 0, 5, 2, 4, 11, 40, 120.0))  # too soon
    expected = "resnet, fold 1/5, epoch 2/4, step 10/40, 120 images/s, 2%, about 0:04:54 left\n"
    assert capsys.readouterr().err == expected


def test_quiet_gives_no_callback():
    with Reporter(quiet=True).progress("packing") as progress:
        assert progress is None
    with Reporter(quiet=True).training() as progress:
        assert progress is None


def test_log_lines_and_warnings_are_plain_and_restored(capsys):
    logger = logging.getLogger("stacking.some.module")
    with session():
        logger.info("fold %d is done", 1)
        warnings.warn("a label is\n never positive", stacklevel=1)
    with session(quiet=True):
        logger.info("hidden")
    assert capsys.readouterr().err.splitlines() == ["fold 1 is done", "warning: a label is never positive"]
    assert logging.getLogger("stacking").handlers == []
    assert logging.getLogger("stacking").level == logging.NOTSET


def test_a_bar_on_a_terminal(tmp_path):
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "experiments", "data", "synthesize", "--out", str(tmp_path / "d")]
    sizes = ["--n-train", "6", "--n-validation", "0", "--n-test", "0", "--size", "32"]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [*command, *sizes], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=follower, timeout=120, check=False
    )
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    assert done.returncode == 0, shown
    assert "drawing photos" in shown
    assert "6 of 6" in shown  # as in a log; a share of the whole is written in percent
    assert done.stdout.decode().startswith("6 photos: ")


def test_a_bar_says_share_time_left_and_what_is_done_on_a_line_of_80():
    leader, follower = pty.openpty()
    code = "\n".join(
        [
            "import time",
            "from experiments.cli.reporting import Reporter",
            "with Reporter().progress('comparing') as tell:",
            "    time.sleep(0.3)",
            "    tell(0.25, 1.0, 'label-context, fold 2/5: label-context: held-out scores: fold 3/5')",
            "    time.sleep(0.3)",
        ]
    )
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, stderr=follower, timeout=120, check=True)
    os.close(follower)
    shown = os.read(leader, 100_000).decode()
    os.close(leader)
    line = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.replace("\n", "\r"))
    last = next(part for part in reversed(line.split("\r")) if "25%" in part).rstrip()
    assert "25%, about 0:00:01 left label-context, fold" in last
    assert last.endswith("…")
    assert sum(sign in "━╺╸" for sign in last) == 16
    assert len(last) <= 80
