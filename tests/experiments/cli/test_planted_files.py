"""Nothing in the working directory is run: not by a command, not by a process that it starts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import experiments
from stacking.process.child_processes import module_command, module_environment

ROOT = Path(experiments.__file__).parents[1]
MODULES = (
    "json", "random", "csv", "hashlib", "numpy", "scipy", "pandas", "sklearn", "joblib", "lightgbm", "numba", "torch",
    "timm", "typer", "rich", "pydantic", "jinja2", "matplotlib", "filelock", "pyswarms", "sqlite3", "selectors",
    "multiprocessing", "base64", "sitecustomize", "usercustomize", "stacking", "optimizers", "base_models",
    "experiments", "pickle", "queue", "yaml", "threading",
)  # fmt: skip
PACKAGES = ("PIL", "encodings", "email", "concurrent", "importlib", "aiohttp", "iterstrat", "safetensors", "skimage")
PLANTED = "import pathlib\npathlib.Path({mark!r}).write_text(__name__)\nraise ImportError('a planted file was run')\n"


@pytest.fixture
def planted(tmp_path):
    """A working directory full of traps, and the file that appears when one is sprung."""
    place, mark = tmp_path / "downloads", tmp_path / "sprung"
    text = PLANTED.format(mark=str(mark))
    for name in PACKAGES:
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text(text)
    for name in MODULES:
        (place / f"{name}.py").write_text(text)
    compiled = place / "compiled"
    compiled.mkdir()
    (place / ".numba_config.yaml").write_text(f"cache_dir: {compiled}\ndisable_jit: 1\n")
    (place / "matplotlibrc").write_text("text.usetex: True\nbackend: module://json\n")
    evil = place / "evil-1.0.dist-info"
    evil.mkdir()
    (evil / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (evil / "entry_points.txt").write_text("[pydantic]\nevil = json\n")
    yield place
    assert not mark.exists(), f"{mark.read_text()} was run"
    assert not list(compiled.iterdir())


def run(folder, command, seconds=240):
    """Run the command as a user does, in a folder."""
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    start = "import sys; sys.path.insert(0, sys.argv.pop(1)); from experiments.cli import main; main()"
    command = [sys.executable, "-P", "-c", start, ROOT, *command]
    return subprocess.run(
        [str(part) for part in command], cwd=folder, env=variables, capture_output=True, text=True, timeout=seconds
    )


def succeeds(folder, *command):
    done = run(folder, command)
    assert done.returncode == 0, (command, done.stderr)
    return done


def test_commands_on_predictions(planted, make_predictions):
    from stacking.predictions import save_predictions

    save_predictions(make_predictions(120), planted / "p.npz")
    save_predictions(make_predictions(40, seed=1), planted / "new.npz")
    succeeds(planted, "pack", "p.npz", "--out", "store", "--by-label")
    succeeds(planted, "fit", "store", "--out", "e", "--method", "lightgbm")
    succeeds(planted, "compare", "p.npz", "--methods", "mean,greedy", "--folds", "2", "--out", "c")
    succeeds(planted, "predict", "e", "new.npz", "--out", "labels.csv", "--scores-out", "scores.npz")
    succeeds(planted, "evaluate", "e", "new.npz", "--out", "v")
    succeeds(planted, "optimize", "p.npz", "--optimizer", "pso", "--out", "w")
    assert "<svg" in (planted / "w" / "history.svg").read_text()


def test_commands_on_photos(planted):
    pytest.importorskip("torch")
    from base_models.testing import write_tiny_photos

    succeeds(
        planted, "data", "synthesize", "--out", "blocks", "--n-train", "24", "--n-validation", "0", "--n-test", "8"
    )
    succeeds(planted, "data", "ingest", "blocks/photos", "--out", "clean", "--workers", "2", "--size", "64")
    write_tiny_photos(planted / "photos", 16, 4)
    (planted / "recipe.toml").write_text(
        'name = "t"\nn_threads = 1\nn_workers = 1\ncache = "none"\n[data]\nformat = "folder"\nroot = "photos"\n'
        'split_column = "split"\n[folds]\nn_folds = 2\n[training]\nepochs = 1\nbatch_size = 6\n'
        '[[members]]\nname = "m"\nnetwork = "test_resnet"\nsize = 32\n'
    )
    succeeds(planted, "data", "describe", "recipe.toml", "--out", "d")
    succeeds(planted, "train", "recipe.toml", "--out", "run", "--device", "cpu")
    succeeds(planted, "explain", "run", "--images", "clean/photos", "--out", "x", "--top", "1", "--device", "cpu")
    succeeds(planted, "ablation", "run", "--baseline", "m", "--out", "a")
    succeeds(planted, "doctor")


@pytest.mark.parametrize("names", [("json", "numpy", "random", "PIL", "typer", "stacking", "optimizers", "joblib")])
def test_python_m_experiments(planted, make_predictions, names):
    """What Python itself imports before the package can only be kept out by ``python -P``."""
    from stacking.predictions import save_predictions

    for path in planted.iterdir():
        if path.suffix == ".py" and path.stem not in names:
            path.unlink()
    for name in set(PACKAGES) - set(names):
        (planted / name / "__init__.py").unlink()
        (planted / name).rmdir()
    save_predictions(make_predictions(60), planted / "p.npz")
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "experiments", "fit", "p.npz", "--method", "mean", "--out", "e"]
    done = subprocess.run(command, cwd=planted, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


JOBS = """
import sys
sys.path[:] = [sys.argv[1], *[part for part in sys.path if part]]
import joblib
import numpy as np
from stacking import StackingEnsemble
if __name__ == "__main__":
    rng = np.random.default_rng(0)
    y_true = (rng.random((90, 3)) < 0.4).astype(np.uint8)
    y_scores = np.clip(y_true * 0.5 + rng.random((2, 90, 3)) / 2, 0, 1)
    with joblib.parallel_config(backend=sys.argv[2], n_jobs=2):
        StackingEnsemble("convex").fit(y_scores, y_true)
    print("fitted")
"""


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_workers_of_joblib_in_a_script_of_the_users_own(planted, tmp_path, backend):
    script = tmp_path / "script.py"
    script.write_text(JOBS)
    variables = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONSAFEPATH")}
    command = [sys.executable, script, ROOT, backend]
    done = subprocess.run(command, cwd=planted, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip() == "fitted", done.stderr


def test_a_module_of_ours_is_found_and_nothing_in_relative_folders(planted, monkeypatch):
    monkeypatch.chdir(planted)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["", ".", str(planted.parent / "elsewhere")]))
    variables = module_environment({"OMP_NUM_THREADS": "1"})
    assert variables["PYTHONPATH"].split(os.pathsep) == [str(ROOT), str(planted.parent / "elsewhere")]
    command = [*module_command("experiments"), "--version"]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("labelstack "), done.stderr


def test_settings_of_numba_and_matplotlib_are_not_read(planted, monkeypatch):
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from stacking.kernels.numba_settings import load_numba\n"
        "load_numba()\n"
        "import numba.core.config as config\n"
        "config.reload_config()\n"
        "print(config.DISABLE_JIT, config.CACHE_DIR)\n"
        "from stacking.report.figures import search_figure\n"
        "print(search_figure({'pso': [(1, 0.5), (2, 0.4)]}, loss='log-loss')[:4])\n"
    )
    variables = {key: value for key, value in os.environ.items() if not key.startswith(("NUMBA_", "PYTHONPATH"))}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=planted, env=variables, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.split() == ["0", "<svg"], done.stdout + done.stderr
