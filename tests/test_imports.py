"""What an import must not load: heavy packages that most users of a room do not need, or do not have."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "torchvision", "timm", "lightgbm", "numba", "matplotlib"]


def loaded_by(statement):
    code = f"import sys; {statement}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("package", ["stacking", "optimizers"])
def test_import_loads_nothing_heavy(package):
    assert loaded_by(f"import {package}") & set(HEAVY) == set()


def test_importing_optimizers_does_not_open_report_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "pyswarms" not in loaded_by("import optimizers")
    assert list(tmp_path.iterdir()) == []


def test_importing_the_command_line_loads_no_arrays():
    loaded = loaded_by("import experiments.cli")
    assert loaded & {*HEAVY, "numpy", "scipy", "sklearn", "pydantic", "stacking", "base_models", "optimizers"} == set()


WITHOUT_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "torchvision", "timm", "safetensors", "accelerate"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def test_predictions_are_fitted_where_torch_is_not_installed(tmp_path):
    code = f"""{WITHOUT_TORCH}
import numpy as np
from stacking import PredictionSet, save_predictions
from experiments.cli import main
rng = np.random.default_rng(0)
y_true = (rng.random((60, 3)) < 0.4).astype(np.uint8)
scores = np.clip(0.3 + 0.4 * y_true + 0.2 * rng.normal(size=(2, 60, 3)), 0, 1)
save_predictions(PredictionSet(scores, y_true=y_true), "p.npz")
sys.argv = ["labelstack", "fit", "p.npz", "--method", "mean", "--out", "e"]
try:
    main()
except SystemExit as done:
    print("exit", done.code)
sys.argv = ["labelstack", "predict", "e", "--run", ".", "--images", ".", "--out", "l.csv"]
main()
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200)
    assert "exit 0" in done.stdout, done.stderr
    assert done.returncode == 2, done.stderr
    assert "labelstack: this needs the package 'torch': install it with pip install 'labelstack[train]'." in done.stderr


def test_import_of_stacking_is_about_as_fast_as_scikit_learn():
    code = "import time; t = time.process_time(); import {}; print(time.process_time() - t)"

    def cpu_seconds(package):
        command = [sys.executable, "-c", code.format(package)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        runs = [subprocess.run(command, env=environment, capture_output=True, text=True, check=True) for _ in range(3)]
        return min(float(run.stdout) for run in runs)

    ours, theirs = cpu_seconds("stacking"), cpu_seconds("sklearn.ensemble")
    assert ours <= 1.2 * theirs + 0.05, f"import stacking took {ours:.2f} s, import sklearn.ensemble {theirs:.2f} s"
