"""What serving costs: requests per second and their times over the loopback, beside the plain function.

A server is a process of its own, as `labelstack serve` starts it with its defaults; its clients are threads of another
process on the same machine, so both share its processors. Each client keeps its connection and sends its next request
when the last is answered. Any answer but labels ends the measurement.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.datasets import load_split, prepare_workload
from experiments.benchmarks.processes import MeasurementFailedError, Plan, environment
from experiments.benchmarks.rows import Row

METHODS = ("mean", "logistic")
BATCHES = (1, 100)
CLIENTS = (1, 16)
FITTED_ROWS = 2_000  # thresholds and weights do not change what an answer costs
SECONDS = 5.0  # of each row: hundreds of requests at the least; a choice
QUICK_SECONDS = 0.3
PLAIN = "predict_proba and decide, in Python"


@dataclass(frozen=True)
class _Asked:
    """One method's ensemble and the rows it is asked about."""

    folder: Path
    ensemble: Any
    scores: Any

    def batches(self, n_rows: int) -> list[np.ndarray[Any, Any]]:
        """Cut the rows: (n_models, n_rows, n_labels) each."""
        return [self.scores[:, start : start + n_rows] for start in range(0, 20 * n_rows, n_rows)]

    def body(self, batch: np.ndarray[Any, Any]) -> bytes:
        """Write a batch as a request."""
        return json.dumps({"scores": dict(zip(self.ensemble.models_, batch.tolist(), strict=True))}).encode()


def measure_serving(plan: Plan) -> list[Row]:
    """Measure requests per second and the median and 99th percentile of their times.

    Parameters
    ----------
    plan : Plan
        Scratch folder; a quick run takes moments.

    Returns
    -------
    list of Row
        The plain function, one client and many clients, for every method and size of a request.
    """
    rows = []
    for method in METHODS:
        asked = _fit(plan, method)
        for n_rows in BATCHES:
            job = f"label {n_rows} × 228 by {method}, six members"
            plan.say(f"{job}: the plain function")
            seconds = QUICK_SECONDS if plan.quick else SECONDS
            rows.append(Row(job, PLAIN, True, values=_time_plain(asked, n_rows, seconds)))
            for n_clients in CLIENTS:
                plan.say(f"{job}: {n_clients} clients")
                system = f"labelstack serve, {n_clients} client{'s' if n_clients > 1 else ''}, JSON"
                try:
                    values = _time_server(plan, asked, n_rows, n_clients, seconds)
                    rows.append(Row(job, system, True, values=values))
                except (MeasurementFailedError, OSError) as error:
                    rows.append(Row(job, system, True, trouble=f"not measured: {error}"))
    return rows


def _fit(plan: Plan, method: str) -> _Asked:
    """Fit one method on the first rows of the common workload."""
    from stacking import StackingEnsemble

    split = load_split(prepare_workload(plan))
    given = np.asarray(split.y_scores[:, :FITTED_ROWS]), np.asarray(split.y_true[:FITTED_ROWS])
    ensemble = StackingEnsemble(method, rule="single", random_state=0).fit(*given)
    folder = plan.scratch / f"served-{method}"
    ensemble.save(folder, overwrite=True)
    return _Asked(folder, ensemble, np.asarray(split.y_scores_test[:, : 20 * max(BATCHES)]))


def _time_plain(asked: _Asked, n_rows: int, seconds: float) -> dict[str, Any]:
    """Time the plain function, call after call."""

    def call(batch: np.ndarray[Any, Any]) -> None:
        asked.ensemble.decide(asked.ensemble.predict_proba(batch, as_frame=False))

    return _summary(_repeat(call, asked.batches(n_rows), seconds))


def _time_server(plan: Plan, asked: _Asked, n_rows: int, n_clients: int, seconds: float) -> dict[str, Any]:
    """Time a server with so many clients at once."""
    bodies = [asked.body(batch) for batch in asked.batches(n_rows)]
    with _server(plan, asked.folder) as port, ThreadPoolExecutor(n_clients) as pool:

        def work(_: int) -> list[float]:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

            def call(body: bytes) -> None:
                connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                content = answer.read()
                if answer.status != 200:
                    raise MeasurementFailedError(f"a request got status {answer.status}: {content[:200]!r}")

            times = _repeat(call, bodies, seconds)
            connection.close()
            return times

        found = list(pool.map(work, range(n_clients)))
        return _summary([one for times in found for one in times], n_clients)


@contextmanager
def _server(plan: Plan, folder: Path) -> Iterator[int]:
    """Start a server and give its port."""
    cache = plan.scratch / "compiled"
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "labelstack", "serve", str(folder), "--port", "0", "--json"]
    process = subprocess.Popen(
        command, env=environment(cache), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        said = process.stdout.readline() if process.stdout is not None else ""
        if not said:
            raise MeasurementFailedError(f"the server did not start: {process.communicate()[1].strip()[-200:]}")
        yield int(json.loads(said)["url"].rpartition(":")[2])
    finally:
        process.terminate()
        process.communicate(timeout=120)


def _repeat(call: Callable[[Any], None], given: list[Any], seconds: float) -> list[float]:
    """Call one after the other until the time is over; the first round, which warms up, does not count."""
    for one in given:
        call(one)
    times: list[float] = []
    ending = time.perf_counter() + seconds
    while not times or time.perf_counter() < ending:
        began = time.perf_counter()
        call(given[len(times) % len(given)])
        times.append(time.perf_counter() - began)
    return times


def _summary(times: list[float], n_clients: int = 1) -> dict[str, Any]:
    """Say how many requests a second were answered to so many clients that never rest, and how long they took."""
    return {
        "requests_per_second": n_clients * len(times) / sum(times),
        "p50_milliseconds": 1e3 * float(np.percentile(times, 50)),
        "p99_milliseconds": 1e3 * float(np.percentile(times, 99)),
    }
