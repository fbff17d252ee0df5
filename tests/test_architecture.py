"""The habits of the house, held by tests: public names, documentation, file sizes, packaging."""

import importlib
import os
import pkgutil
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("optimizers", "stacking", "base_models", "experiments", "labelstack")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_are_sorted_documented_and_real(package):
    module = importlib.import_module(package)
    names = getattr(module, "__all__", [])
    assert names == sorted(names)
    for name in names:
        assert getattr(module, name).__doc__, f"{package}.{name} has no docstring"


def test_the_names_that_outside_code_relies_on():
    import base_models
    import optimizers
    import stacking

    assert {
        "PerLabelStacker",
        "PredictionSet",
        "SoftVoting",
        "StackingEnsemble",
        "StackingMultilabelClassifier",
        "WeightedVoting",
        "compare",
        "load_predictions",
        "micro_f1",
        "save_predictions",
        "tune_thresholds",
    } <= set(stacking.__all__)
    assert {"list_optimizers", "minimize"} <= set(optimizers.__all__)
    assert {"predict", "train_member", "train_out_of_fold"} <= set(base_models.__all__)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_source_file_says_what_it_is_and_stays_readable(path):
    text = path.read_text()
    assert text.lstrip().startswith(('"""', 'r"""')), "a module opens with what it is"
    assert len(text.splitlines()) <= 600
    assert path.name not in {"utils.py", "helpers.py", "misc.py", "common.py"}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_imports(package):
    root = importlib.import_module(package)
    for module in pkgutil.walk_packages(root.__path__, prefix=f"{package}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def test_py_typed_is_packaged_with_each_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").exists()
        assert "py.typed" in settings[package]


def test_make_help_lists_the_commands():
    output = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"make (\S+)", output) == [
        "help",
        "setup",
        "demo",
        "test",
        "test-fast",
        "fuzz",
        "mutants",
        "kills",
        "coverage",
        "check",
        "package",
        "audit",
        "site",
        "site-links",
        "format",
        "bench",
        "seeds",
        "contest-walk",
        "gpu",
        "clean",
    ]


def test_the_demo_is_installed_without_the_developers_tools_and_setup_serves_it_too(tmp_path):
    def planned(target):
        call = ["make", "--no-print-directory", "-n", target, f"VENV={tmp_path}"]
        return subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=True).stdout

    demo, setup = planned("demo"), planned("setup")
    assert "-e '.[train]'" in demo and "dev" not in re.findall(r"-e '\.\[(.*)\]'", demo)
    assert demo.splitlines()[-1].endswith(f" {tmp_path}/bin/labelstack demo --out demo-run")
    assert re.findall(r"-e '\.\[(.*)\]'", setup) == ["dev"]
    for name in re.findall(r"touch (.*)", setup)[0].split():
        Path(name).touch()
    assert "pip install" not in planned("demo")  # a developer's environment has all of it


@pytest.mark.parametrize("reachable", [True, False])
def test_the_cpu_build_of_torch_is_asked_for_only_where_its_index_answers(tmp_path, reachable):
    (tmp_path / "bin").mkdir()
    log, python, uname = tmp_path / "log", tmp_path / "bin" / "python", tmp_path / "bin" / "uname"
    python.write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then exit {0 if reachable else 1}; fi\necho "$@" >> {log}\n')
    uname.write_text("#!/bin/sh\necho Linux\n")
    for program in (python, uname):
        program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    stamp = tmp_path / ".installed-demo"
    subprocess.run(
        ["make", "--no-print-directory", str(stamp), f"VENV={tmp_path}"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )
    asked = reachable and not Path("/dev/nvidiactl").exists()
    assert ("--extra-index-url https://download.pytorch.org/whl/cpu" in log.read_text()) == asked
    (installed,) = log.read_text().splitlines()
    assert installed.endswith("-e .[train]") and stamp.exists()


def test_no_path_of_a_private_machine_is_committed():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout.split()
    for name in listed:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".json"} and path.exists() and path != Path(__file__):
            text = path.read_text()
            assert "/home/" not in text, name
            assert "/root/" not in text, name


def test_the_map_names_only_what_exists():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:optimizers|stacking|base_models|experiments|tests)/[\w./]*)`", text))
    assert len(named) > 30
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("package", ["stacking", "base_models", "experiments"])
def test_few_files_lie_loose(package):
    loose = sorted(path.name for path in (ROOT / package).glob("*.py"))
    assert len(loose) <= 12, loose
