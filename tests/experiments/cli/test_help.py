import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import experiments
from experiments.cli import app

ROOT = Path(experiments.__file__).parents[1]


def commands(command, path=()):
    for name, child in getattr(command, "commands", {}).items():
        if hasattr(child, "commands"):
            yield from commands(child, (*path, name))
        else:
            yield (*path, name), child


ALL = dict(commands(get_command(app)))


def test_every_command_of_the_design_is_there():
    names = {" ".join(path) for path in ALL}
    assert names == {
        "ablation",
        "check",
        "compare",
        "data describe",
        "data download",
        "data ingest",
        "data pack-photos",
        "data synthesize",
        "demo",
        "doctor",
        "evaluate",
        "explain",
        "export",
        "fit",
        "init",
        "keys",
        "learning-rate",
        "methods",
        "metrics",
        "networks",
        "optimizers",
        "optimize",
        "pack",
        "predict",
        "push",
        "recipes",
        "report",
        "rules",
        "serve",
        "suspects",
        "train",
    }


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_help_says_what_it_does_and_shows_an_example(labelstack, path):
    done = labelstack(*path, "--help")
    assert done.exit_code == 0
    assert f"Example: labelstack {' '.join(path)}" in " ".join(done.stdout.split())
    assert ALL[path].help


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_option_is_explained(path):
    for parameter in ALL[path].params:
        assert getattr(parameter, "help", None), f"{' '.join(path)}: {parameter.name}"


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_how_much_a_command_says_is_told_last(path):
    names = [parameter.name for parameter in ALL[path].params]
    of_console = [name for name in ("quiet", "verbose", "as_json") if name in names]
    assert names[len(names) - len(of_console) :] == of_console
    assert ("quiet" in names) == ("verbose" in names)


def test_examples_name_real_options():
    for path, command in ALL.items():
        options = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in command.epilog.split() if word.startswith("--")} <= options, path


def test_unknown_command_and_option_are_bad_input(labelstack):
    assert labelstack("stak").exit_code == 2
    assert labelstack("fit", "--metod", "auto").exit_code == 2
    assert labelstack("fit", "predictions.npz").exit_code == 2  # no --out


def test_help_is_quick():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}

    def cpu_seconds(code):
        command = [sys.executable, "-c", f"{code}\nimport time; print(time.process_time())"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
        return float(done.stdout.split()[-1])

    started = time.monotonic()
    lines = ["import sys; sys.argv = ['labelstack', '--help']", "from experiments.cli import main"]
    call = "\n".join([*lines, "try: main()", "except SystemExit: pass"])
    spent = min(cpu_seconds(call) for _ in range(3))
    assert spent < 0.5, f"--help took {spent:.2f} CPU s ({time.monotonic() - started:.1f} s for three)"


def test_version(labelstack):
    done = labelstack("--version")
    assert done.exit_code == 0
    assert done.stdout.startswith("labelstack ")


@pytest.mark.parametrize("path", [(), ("data",)])
def test_no_command_is_described_in_half_a_sentence(path):
    listed = CliRunner().invoke(app, [*path, "--help"], prog_name="labelstack").output.split("Commands:")[1]
    assert "..." not in listed
    assert all(line.endswith(".") for line in re.split(r"\n  (?=\w)", listed.split("\n\n")[0].strip()))
