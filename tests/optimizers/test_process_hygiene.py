"""What a search must leave alone: the working directory, logging, the global generator, threads, start-up time."""

import json
import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import optimizers
from optimizers import minimize
from optimizers.testing import QuadraticObjective

ROOT = Path(optimizers.__file__).parents[1]


@pytest.fixture
def run_python():
    """Run code in a fresh interpreter that finds this checkout; the last line it prints is JSON."""

    def run(code, cwd, **environment):
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", code],
            cwd=cwd,
            env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1", **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return json.loads(done.stdout.splitlines()[-1])

    return run


PSO = """
import json, logging
import numpy as np
root = logging.getLogger()
root.addHandler(logging.NullHandler())
before = (list(root.handlers), root.level, logging.getLogger("mine").disabled)
from optimizers import minimize
first = minimize(lambda w: (w ** 2).sum(axis=1), 3, "pso", random_state=1, n_iterations=3)
minimize(lambda w: (w ** 2).sum(axis=1), 3, "pso", random_state=2, n_iterations=3)
same = before == (list(root.handlers), root.level, logging.getLogger("mine").disabled)
print(json.dumps({"same": same, "loss": first.loss}))
"""


def test_pso_leaves_no_file_and_no_logging_behind(run_python, tmp_path):
    assert run_python(PSO, tmp_path)["same"]
    assert list(tmp_path.iterdir()) == []


def test_pso_ignores_a_log_configuration_meant_for_others(run_python, tmp_path):
    config = tmp_path / "logging.yaml"
    config.write_text("version: 1\nroot: {level: DEBUG, handlers: []}\n")
    assert run_python(PSO, tmp_path, LOG_CFG=str(config))["same"]
    assert run_python(PSO, tmp_path, LOG_CFG=str(tmp_path))["same"]  # a folder: pyswarms itself would crash


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that not even root can write to")
def test_pso_works_in_a_read_only_folder(run_python):
    assert run_python(PSO, "/proc")["same"]


def test_pso_leaves_the_library_as_it_was(run_python, tmp_path):
    code = """
import json
from optimizers import minimize
minimize(lambda w: w[:, 0], 2, "pso", n_iterations=1)
from pyswarms.utils.reporter import Reporter, reporter
import pyswarms.utils.reporter.reporter as module
Reporter()
print(json.dumps([Reporter._setup_logger.__qualname__, module.Reporter is Reporter]))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert json.loads(done.stdout) == ["Reporter._setup_logger", True]
    assert (tmp_path / "report.log").exists()  # whoever constructs a Reporter gets what pyswarms documents


def test_import_loads_numpy_only(run_python, tmp_path):
    code = """
import json, sys
import optimizers
print(json.dumps(sorted({"scipy", "pyswarms", "cmaes", "sklearn", "pandas", "torch", "numba"} & set(sys.modules))))
"""
    assert run_python(code, tmp_path) == []


@pytest.mark.parametrize("bit_generator", [np.random.MT19937, np.random.PCG64])
def test_pso_gives_the_global_generator_back(bit_generator):
    original = np.random.get_bit_generator()
    state = np.random.get_state(legacy=False)  # noqa: NPY002
    try:
        np.random.set_bit_generator(bit_generator(5))
        np.random.standard_normal()  # noqa: NPY002 - caches the second Gaussian of a pair
        expected = repr(np.random.get_state(legacy=False))  # noqa: NPY002
        inside = []

        def objective(weights):
            inside.append(repr(np.random.get_state(legacy=False)))  # noqa: NPY002
            return weights[:, 0]

        minimize(objective, 3, "pso", random_state=0, n_iterations=3)
        assert set(inside) == {expected}
        assert repr(np.random.get_state(legacy=False)) == expected  # noqa: NPY002

        def failing(weights):
            inside.append(0)
            if len(inside) > 8:
                raise ValueError("broken")
            return weights[:, 0]

        with pytest.raises(ValueError, match="broken"):
            minimize(failing, 3, "pso", random_state=0)
        assert repr(np.random.get_state(legacy=False)) == expected  # noqa: NPY002
    finally:
        np.random.set_bit_generator(original)
        np.random.set_state(state)  # noqa: NPY002


def test_swarms_in_threads_agree_with_swarms_in_turn():
    def search(seed):
        return minimize(QuadraticObjective([0.5, 0.3, 0.2]), 3, "pso", random_state=seed, n_iterations=20).weights

    alone = [search(seed) for seed in range(6)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(search, range(6)))
    np.testing.assert_array_equal(together, alone)
    from pyswarms.utils.reporter import Reporter

    assert Reporter._setup_logger.__qualname__ == "Reporter._setup_logger"


def test_a_swarm_may_search_within_a_swarm():
    def nested(weights):
        inner = minimize(QuadraticObjective([0.5, 0.5]), 2, "pso", random_state=0, n_iterations=2, n_particles=3)
        return weights[:, 0] + inner.loss

    assert minimize(nested, 2, "pso", random_state=0, n_iterations=2, n_particles=3).loss < 1.0


def test_missing_pyswarms_is_one_sentence(monkeypatch):
    from optimizers import pso

    monkeypatch.setattr(pso, "_REPORTER", "nowhere")
    monkeypatch.setattr(pso.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ModuleNotFoundError,
        match=r"optimizer 'pso' needs .*: pip install 'labelstack\[search\]'\.",
    ):
        minimize(QuadraticObjective([0.5, 0.5]), 2, "pso")


def test_another_pyswarms_is_one_sentence(monkeypatch):
    from optimizers import pso

    monkeypatch.setattr(pso, "_REPORTER", "nowhere")
    monkeypatch.setattr(pso.importlib.util, "spec_from_file_location", lambda name, path: None)
    with pytest.raises(ModuleNotFoundError, match=r"optimizer 'pso' needs pyswarms 1\.3: .*reporter\.py is not there"):
        minimize(QuadraticObjective([0.5, 0.5]), 2, "pso")


def test_searches_are_silent(caplog, capsys):
    with caplog.at_level(logging.INFO):
        for name in optimizers.list_optimizers():
            minimize(QuadraticObjective([0.5, 0.3, 0.2]), 3, name, random_state=0, max_evaluations=60)
    assert caplog.records == []
    assert capsys.readouterr() == ("", "")
