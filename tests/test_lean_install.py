"""The predictions side works with the core dependencies alone: no charts, no particle swarms, no recipes."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

# Modules of every package that an extra brings and that the core dependencies do not bring along.
ABSENT = ["matplotlib", "pyswarms", "cmaes", "PIL", "torch", "torchvision", "timm", "safetensors", "aiohttp", "pyarrow"]
CODE = f"""
from importlib.machinery import PathFinder
find = PathFinder.find_spec
def find_installed(name, path=None, target=None):
    return None if name.partition(".")[0] in {ABSENT!r} else find(name, path, target)
PathFinder.find_spec = find_installed
from experiments.cli import main
main()
"""
MEMBERS = [part for name in ("one", "two", "three") for part in ("--model", f"{name}.csv")]


def labelstack(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command where the optional packages cannot be imported."""
    return subprocess.run([sys.executable, "-c", CODE, *arguments], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three members' scores and the truth as CSV files, packed by the command."""
    folder, rng = tmp_path_factory.mktemp("lean"), np.random.default_rng(0)
    index = pd.Index([f"photo{number}" for number in range(240)], name="id")
    y_true = pd.DataFrame((rng.random((240, 4)) < 0.3).astype(int), index, list("abcd"))
    y_true.to_csv(folder / "labels.csv")
    for member, noise in {"one": 0.8, "two": 1.0, "three": 1.3}.items():
        logits = 3 * y_true - 2 + rng.normal(scale=noise, size=y_true.shape)
        (1 / (1 + np.exp(-logits))).to_csv(folder / f"{member}.csv")
    done = labelstack(folder, "pack", *MEMBERS, "--truth", "labels.csv", "--out", "packed")
    assert done.returncode == 0, done.stderr
    return folder


def test_compare_leaves_out_what_is_not_installed_and_says_so_in_place_of_charts(folder):
    done = labelstack(folder, "compare", "packed", "--out", "report")
    assert done.returncode == 0, done.stderr
    assert "greedy" in done.stdout and "pso" not in done.stdout
    page = (folder / "report" / "report.html").read_text()
    assert "labelstack[report]" in page


def test_fit_and_predict(folder):
    assert labelstack(folder, "fit", "packed", "--method", "greedy", "--out", "ensemble").returncode == 0
    done = labelstack(folder, "predict", "ensemble", "packed", "--out", "labels-out.csv")
    assert done.returncode == 0, done.stderr


def test_a_particle_swarm_names_its_extra(folder):
    done = labelstack(folder, "fit", "packed", "--method", "pso", "--out", "swarm")
    assert done.returncode == 2 and "pip install 'labelstack[search]'" in done.stderr
    assert "Traceback" not in done.stderr and not (folder / "swarm").exists()


def test_training_names_its_extra(folder):
    (folder / "recipe.toml").write_text("[data]\n")
    done = labelstack(folder, "train", "recipe.toml", "--out", "run")
    assert done.returncode == 2 and "pip install 'labelstack[train]'" in done.stderr


def test_the_demo_of_predictions_runs_every_command_that_it_shows_and_names_the_next(folder):
    done = labelstack(folder, "demo", "--predictions", "--out", "demo")
    assert done.returncode == 0, done.stderr
    shown = [line.split()[2] for line in done.stdout.splitlines() if line.startswith("$ labelstack ")]
    assert shown == ["check", "compare", "fit", "evaluate"]
    for said in ("0 red", "constant answer: .", "method auto, decision rule", "thresholds.html"):
        assert said in done.stdout
    scores = re.findall(r"^(ensemble|mean|shape|texture|overall) .*?(\.\d{3}) ", done.stdout, flags=re.MULTILINE)
    new = {name: float(score) for name, score in scores[-5:]}  # the table of the last command: on new garments
    assert len(new) == 5 and new["ensemble"] == max(new.values())
    assert re.findall("next: labelstack (.*)", done.stderr)[-1].startswith("fit --truth TRUTH.csv --model A.csv")
    for result in ("comparison", "ensemble", "evaluation"):
        assert (folder / "demo" / result / "report.html").is_file()
    again = labelstack(folder, "demo", "--predictions", "--out", "demo")
    assert again.returncode == 0 and again.stdout.count("is there already") == 3
