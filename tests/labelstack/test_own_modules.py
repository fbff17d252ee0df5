"""A user's own module of the name of one of our packages is neither broken by labelstack nor breaks it."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import labelstack

HOUSE = Path(labelstack.__file__).parents[1]
ROOMS = ("optimizers", "stacking", "base_models", "experiments")


def run(command, folder, pythonpath=()):
    path = os.pathsep.join(str(part) for part in (*pythonpath, HOUSE))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def put(folder, name, kind):
    """Write a module of the user's own."""
    content = f"OWNER = 'the user of {name}'\n"
    if kind == "file":
        (folder / f"{name}.py").write_text(content)
    else:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(content)


SCRIPT = """
import pickle
import sys
import warnings

warnings.simplefilter("error")
FIRST, NAMES = sys.argv[1] == "theirs", sys.argv[2].split(",")
if FIRST:
    theirs = {name: __import__(name) for name in NAMES}
import labelstack as ls
import numpy as np

rng = np.random.default_rng(0)
y_true = (rng.random((60, 3)) < 0.4).astype(np.uint8)
scores = ls.load(np.clip(0.3 + 0.4 * y_true + 0.2 * rng.normal(size=(2, 60, 3)), 0, 1), truth=y_true)
ensemble = ls.fit(scores, "greedy")
for name in NAMES:
    assert __import__(name).OWNER == f"the user of {name}", name
y_pred = ls.predict(ensemble, scores)
assert (pickle.loads(pickle.dumps(ensemble)).predict(scores) == y_pred).all()
ensemble.save("ensemble")
assert (ls.predict("ensemble", scores) == y_pred).all()
found = ls.compare(scores, ["mean", "greedy"], n_bootstrap=20)
assert ls.report(found, "report").exists()
if __name__ == "__main__" and FIRST:
    from sklearn.linear_model import LogisticRegression

    X = rng.normal(size=(60, 3))
    bases = [("a", LogisticRegression()), ("b", LogisticRegression(C=0.1))]
    stack = ls.StackingMultilabelClassifier(bases, "mean", n_jobs=2).fit(X, y_true)  # in other processes
    print(stack.predict(X).shape)
"""


@pytest.mark.parametrize(
    ("first", "kinds"),
    [
        ("theirs", {"stacking": "package"}),
        ("ours", {"optimizers": "file", "experiments": "package"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_both_work_in_one_program(tmp_path, first, kinds):
    for name, kind in kinds.items():
        put(tmp_path, name, kind)
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run([sys.executable, "script.py", first, ",".join(kinds)], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ("(60, 3)" if first == "theirs" else "")


def test_only_what_imports_the_hidden_package_has_a_second_name(tmp_path):
    put(tmp_path, "base_models", "file")
    code = """
    import labelstack as ls, stacking
    assert ls.StackingEnsemble is stacking.StackingEnsemble
    from labelstack._rooms import find_renamed
    print(*sorted(find_renamed()))
    print(ls.evaluate.__module__)
    """
    done = run([sys.executable, "-c", textwrap.dedent(code)], tmp_path)
    assert done.stdout.split() == ["base_models", "experiments", "labelstack._rooms.experiments.verbs"], done.stderr


def test_nothing_has_a_second_name_where_nothing_is_hidden(tmp_path):
    (tmp_path / "my_stacking.py").write_text("")
    (tmp_path / "experiments").mkdir()  # a folder of results is no package
    code = """
    import labelstack as ls, stacking, sys
    assert ls.StackingEnsemble is stacking.StackingEnsemble
    assert ls.evaluate.__module__ == "experiments.verbs"
    print([name for name in sys.modules if name.startswith("labelstack._rooms.")])
    """
    done = run([sys.executable, "-c", textwrap.dedent(code)], tmp_path)
    assert done.stdout.split() == ["[]"], done.stderr


@pytest.mark.parametrize(
    ("how", "kind", "names"),
    [
        ("working folder", "package", ROOMS),
        ("search path", "file", ROOMS),
        ("search path", "package", ["stacking"]),
        ("search path", "file", ["experiments"]),
    ],
)
def test_the_command_does_not_mind(tmp_path, how, kind, names):
    for name in names:
        put(tmp_path, name, kind)
    (tmp_path / "elsewhere").mkdir()
    folder, path = (tmp_path, []) if how == "working folder" else (tmp_path / "elsewhere", [tmp_path])
    done = run([sys.executable, "-m", "labelstack", "fit", "absent.npz", "--out", "ensemble"], folder, path)
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip() == "labelstack: absent.npz must be a file or folder of predictions: it does not exist."


def test_the_command_has_its_earlier_name_for_one_more_version(tmp_path):
    put(tmp_path, "stacking", "file")
    done = run([sys.executable, "-m", "experiments", "--version"], tmp_path)
    assert done.returncode == 0 and done.stdout.startswith("labelstack "), done.stderr


def test_our_modules_import_ours_in_every_way(tmp_path):
    """`import a.b`, `import a.b as c`, `from a import b` and `from a.b import c` of modules under their second name."""
    put(tmp_path, "optimizers", "file")
    code = """
    from labelstack import _rooms

    ours = _rooms.load("stacking")
    space = {"__builtins__": _rooms._our_builtins(), "__name__": "labelstack._rooms.stacking.made_up"}
    exec("import stacking.links", space)
    assert space["stacking"] is ours and space["stacking"].links
    exec("import stacking.links as links; from stacking import links as again; from stacking.links import logit", space)
    assert space["links"] is space["again"] is ours.links and space["logit"] is ours.links.logit
    exec("import math; from os import path", space)
    import math, os, optimizers
    assert space["math"] is math and space["path"] is os.path
    print(optimizers.OWNER)
    """
    done = run([sys.executable, "-c", textwrap.dedent(code)], tmp_path)
    assert done.stdout.strip() == "the user of optimizers", done.stderr


def test_the_installed_command_does_not_look_into_the_working_directory(tmp_path):
    command = Path(sys.executable).parent / "labelstack"
    if not command.exists():
        pytest.skip("the console script is not installed")
    for name in ROOMS:
        put(tmp_path, name, "file")
    done = run([str(command), "--version"], tmp_path)
    assert done.returncode == 0, done.stderr
