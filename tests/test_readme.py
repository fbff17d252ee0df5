"""What the README tells people to type exists: every command and option is parsed, every Python block runs."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

README = (Path(__file__).parents[1] / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def commands():
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [line.split("  #")[0].strip() for line in lines if line.startswith("labelstack ")]


def test_the_readme_shows_every_command_of_the_prediction_path():
    shown = {shlex.split(command)[1] for command in commands()}
    assert {"pack", "compare", "fit", "predict", "evaluate", "optimize", "train", "doctor"} <= shown


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_readme_is_understood(line):
    from experiments.cli import app

    words = shlex.split(line)[1:]
    command = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options
    path = shlex.split(line)[1:2]
    assert CliRunner().invoke(app, [*path, "--help"]).exit_code == 0


@pytest.mark.parametrize("block", blocks("python"))
def test_a_python_block_of_the_readme_runs(block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("target", re.findall(r"^make (\S+)", "\n".join(blocks("bash")), flags=re.MULTILINE))
def test_a_make_target_of_the_readme_exists(target):
    assert re.search(rf"^{target}:.*## ", (Path(__file__).parents[1] / "Makefile").read_text(), flags=re.MULTILINE)
