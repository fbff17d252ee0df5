"""The scripts of examples/ that show the three uses of the package run, and stay short."""

import runpy
import sys
from pathlib import Path

import pytest

SCRIPTS = {
    "two_members": ("out", "32", "1"),
    "weight_study": ("300", "2"),
    "compare_two_runs": ("out",),
}
FOLDER = Path(__file__).parents[1] / "examples"


@pytest.mark.filterwarnings("ignore:.*left out:UserWarning")
@pytest.mark.filterwarnings("ignore:.*negative examples:UserWarning")
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_and_is_short(name, tmp_path, monkeypatch, capsys):
    script = FOLDER / f"{name}.py"
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 30
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(script), *SCRIPTS[name]])
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out
    assert {"two_members": "resnet", "weight_study": "greedy", "compare_two_runs": "monday/resnet"}[name] in said
