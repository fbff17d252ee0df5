import os
import subprocess
import sys
from pathlib import Path

import pytest

import experiments

HOUSE = Path(experiments.__file__).parents[1]


def run(command, folder, pythonpath):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(str(path) for path in pythonpath)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def shadow(folder, name, kind):
    if kind == "file":
        (folder / f"{name}.py").write_text("raise RuntimeError('the wrong module was imported')\n")
    elif kind == "package":
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError('the wrong module was imported')\n")


@pytest.mark.parametrize("kind", ["file", "package"])
@pytest.mark.parametrize("name", ["optimizers", "stacking", "base_models"])
def test_module_run_in_a_folder_that_hides_a_package(tmp_path, name, kind):
    shadow(tmp_path, name, kind)
    done = run([sys.executable, "-m", "experiments", "doctor", "--help"], tmp_path, [HOUSE])
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


def test_path_variable_hides_a_package_from_the_console_entry(tmp_path):
    shadow(tmp_path, "optimizers", "file")
    code = "import sys; sys.argv = ['labelstack', 'doctor']; from experiments.cli import main; main()"
    done = run([sys.executable, "-c", code], tmp_path.parent, [tmp_path, HOUSE])
    assert done.returncode == 2
    assert "hides labelstack's own package 'optimizers'" in done.stderr


def test_folder_without_shadow_is_fine(tmp_path):
    code = "from experiments.shadowing import check_shadowing; check_shadowing()"
    (tmp_path / "my_optimizers.py").write_text("")
    done = run([sys.executable, "-c", code], tmp_path, [HOUSE])
    assert done.returncode == 0, done.stderr


def test_the_installed_command_does_not_look_into_the_working_directory(tmp_path):
    command = Path(sys.executable).parent / "labelstack"
    if not command.exists():
        pytest.skip("the console script is not installed")
    for name in ("optimizers", "experiments", "stacking"):
        shadow(tmp_path, name, "file")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [str(command), "--version"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
