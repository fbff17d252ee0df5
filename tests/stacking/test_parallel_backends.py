"""Labels and folds run wherever `joblib.parallel_config` says, with results identical to a serial run.

Dask and Ray are tried in a process of their own, so that their event loops, child processes and warnings stay out of
the suite. By hand, on as many labels as wanted: ``python tests/stacking/test_parallel_backends.py dask 228``.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib._parallel_backends import ThreadingBackend
from sklearn.linear_model import LogisticRegression

from stacking import PerLabelStacker, StackingMultilabelClassifier
from stacking.combiners.meta_learners import LabelwiseLogistic
from stacking.files.result_cache import caching
from stacking.testing import make_gated


def fitted_state(stacker):
    """Everything that is saved of a fitted stacker, comparable with ==."""
    values, arrays, texts = stacker._state()
    return values["fitted"], {name: array.tolist() for name, array in arrays.items()}, texts


class CountingBackend(ThreadingBackend):
    submitted = 0

    def submit(self, func, callback=None):
        type(self).submitted += 1
        return super().submit(func, callback)

    def apply_async(self, func, callback=None):  # what joblib calls before 1.5
        type(self).submitted += 1
        return super().apply_async(func, callback)


@pytest.fixture
def counting():
    joblib.register_parallel_backend("counting", CountingBackend)
    CountingBackend.submitted = 0
    yield CountingBackend
    joblib.parallel.BACKENDS.pop("counting")


def test_labels_run_on_the_backend_of_the_caller(counting):
    predictions = make_gated(300, 3)
    serial = PerLabelStacker(n_trees=5, n_folds=2).fit(predictions)
    assert counting.submitted == 0
    with joblib.parallel_config(backend="counting", n_jobs=2):
        parallel = PerLabelStacker(n_trees=5, n_folds=2).fit(predictions)
    assert counting.submitted > 0
    assert parallel.boosted_.any()
    assert fitted_state(parallel) == fitted_state(serial)


def test_folds_run_on_the_backend_of_the_caller(counting):
    predictions = make_gated(300, 3)
    folds = np.arange(300) % 3
    sampled = LabelwiseLogistic(max_rows=150)  # a clone for each fold; on all rows it keeps what its inner folds answer
    serial = sampled.predict_out_of_fold(predictions, folds=folds)
    assert counting.submitted == 0
    with joblib.parallel_config(backend="counting", n_jobs=2):
        parallel = sampled.predict_out_of_fold(predictions, folds=folds)
    assert counting.submitted > 0
    np.testing.assert_array_equal(parallel, serial)


def test_base_estimators_run_on_the_backend_of_the_caller(counting, rng):
    x = rng.normal(size=(80, 4))
    y = (x[:, :2] > 0).astype(int)
    stack = StackingMultilabelClassifier([("line", LogisticRegression())], n_splits=2)
    serial = stack.fit(x, y).predict_proba(x)
    with joblib.parallel_config(backend="counting", n_jobs=2):
        parallel = stack.fit(x, y).predict_proba(x)
    assert counting.submitted > 0
    np.testing.assert_array_equal(parallel, serial)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("backend", ["dask", "ray"])
def test_two_workers_fit_the_same_models(backend, tmp_path):
    package = {"dask": "distributed", "ray": "ray"}[backend]
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed; pip install 'labelstack[{backend}]'")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, __file__, backend, "24"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["boosted"] > 0
    assert answer["workers"] > 0, "no worker did any of the work"
    assert answer["same_models"] and answer["same_scores"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the kernel's list of processes")
def test_a_killed_worker_is_named_and_the_labels_that_are_done_are_kept(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    command = [sys.executable, __file__, "killed", "24"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["error"] == "TerminatedWorkerError", "the death of the worker must not be hidden by another error"
    assert answer["kept"] >= 7
    assert answer["computed_again"] == 0 and answer["same_models"]


def kill_a_worker(folder):
    """Wait for the regressions of three folds and all rows and some labels, then end a process that fits the others."""
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*.npz"))) < 7 and time.monotonic() < deadline:
        time.sleep(0.002)
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = stat.read_text().rpartition(")")
            command = (stat.parent / "cmdline").read_text()
            if int(rest.split()[1]) == os.getpid() and "loky" in command and "tracker" not in command:
                os.kill(int(name.split()[0]), signal.SIGKILL)
                return


def lose_a_worker(n_labels):
    """Fit on two processes of which one is killed, then go on in one; print what came out as one line of JSON."""
    predictions = make_gated(2000, n_labels)
    folds = np.arange(predictions.n_samples) % 3
    folder, error = Path("pieces").absolute(), ""
    folder.mkdir()
    watcher = threading.Thread(target=kill_a_worker, args=(folder,))
    watcher.start()
    try:
        with caching(folder), joblib.parallel_config(backend="loky", n_jobs=2):
            PerLabelStacker(n_trees=60).fit_out_of_fold(predictions, folds=folds)
    except Exception as raised:
        error = type(raised).__name__
    watcher.join()
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
    with caching(folder):
        resumed, _ = PerLabelStacker(n_trees=60).fit_out_of_fold(predictions, folds=folds)
    serial, _ = PerLabelStacker(n_trees=60).fit_out_of_fold(predictions, folds=folds)
    again = sum(path.stat().st_mtime_ns != then for path, then in kept.items())
    same = fitted_state(resumed) == fitted_state(serial)
    print(json.dumps({"error": error, "kept": len(kept), "computed_again": again, "same_models": same}))


@contextmanager
def two_dask_workers():
    """Start a cluster on the loopback interface; yield a function that counts the workers that fitted something."""
    from distributed import Client, LocalCluster

    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(**options, host="127.0.0.1", local_directory=folder) as cluster,
        Client(cluster) as client,
    ):
        yield lambda: sum(client.run(_has_fitted).values())


@contextmanager
def two_ray_workers():
    """The same with Ray; its workers are not asked, its backend runs nothing in the caller."""
    import ray
    from ray.util.joblib import register_ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    register_ray()
    try:
        yield lambda: 2
    finally:
        ray.shutdown()


def _has_fitted():
    """Tell whether this process has loaded LightGBM, which nothing but a fit does."""
    return "lightgbm" in sys.modules


def main(backend, n_labels):
    """Fit serially and on the backend, print what came out as one line of JSON."""
    predictions = make_gated(n_labels=n_labels)
    folds = np.arange(predictions.n_samples) % 3
    started = time.perf_counter()
    serial = PerLabelStacker(n_trees=8, n_folds=2).fit(predictions)
    serial_scores = LabelwiseLogistic().predict_out_of_fold(predictions, folds=folds)
    serial_seconds = time.perf_counter() - started
    workers = {"dask": two_dask_workers, "ray": two_ray_workers}[backend]
    with workers() as count_workers, joblib.parallel_config(backend=backend):
        started = time.perf_counter()
        parallel = PerLabelStacker(n_trees=8, n_folds=2).fit(predictions)
        scores = LabelwiseLogistic().predict_out_of_fold(predictions, folds=folds)
        seconds = time.perf_counter() - started
        n_workers = count_workers()
    answer = {
        "boosted": int(parallel.boosted_.sum()),
        "workers": n_workers,
        "same_models": fitted_state(parallel) == fitted_state(serial),
        "same_scores": bool(np.array_equal(scores, serial_scores)),
        "serial_seconds": round(serial_seconds, 2),
        "parallel_seconds": round(seconds, 2),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    if sys.argv[1] == "killed":
        lose_a_worker(int(sys.argv[2]))
    else:
        main(sys.argv[1], int(sys.argv[2]))
