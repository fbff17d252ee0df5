"""What serving costs: requests per second and their times over the loopback, beside the plain function.

A server is a process of its own, as `labelstack serve` starts it with its defaults; its clients are threads of another
process on the same machine, so both share its processors. Each client keeps its connection and sends its next request
when the last is answered. Any answer but labels ends the measurement.
"""

from __future__ import annotations

import http.client
import io
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.datasets import load_split, prepare_workload
from experiments.benchmarks.processes import MeasurementFailedError, Plan, environment
from experiments.benchmarks.rows import Row
from stacking.files.ending import ending_with

METHODS = ("mean", "logistic")
WAYS = {1: ((1, "JSON"), (16, "JSON")), 100: ((1, "JSON"), (1, "a bundle"), (16, "a bundle"))}
"""How many clients send what, by rows of a request: a bundle spares writing and reading numbers as text."""
FITTED_ROWS = 2_000  # thresholds and weights do not change what an answer costs
N_BATCHES = 5  # each client asks about one after the other, again and again
SECONDS = 3.0  # of each row: hundreds of requests at the least; a choice
QUICK_SECONDS = 0.3
ANSWERED, PROCESSOR = 'labelstack_requests_total{page="/predict",status="200"}', "process_cpu_seconds_total"
PLAIN = "predict_proba and decide, in Python"


@dataclass(frozen=True)
class _Asked:
    """One method's ensemble and the rows it is asked about."""

    folder: Path
    ensemble: Any
    scores: Any

    def batches(self, n_rows: int) -> list[np.ndarray[Any, Any]]:
        """Cut the rows: (n_models, n_rows, n_labels) each."""
        return [self.scores[:, start : start + n_rows] for start in range(0, N_BATCHES * n_rows, n_rows)]

    def body(self, batch: np.ndarray[Any, Any], form: str) -> bytes:
        """Write a batch as a request."""
        if form != "JSON":
            file, ids = io.BytesIO(), [f"row {number}" for number in range(batch.shape[1])]
            np.savez(file, y_scores=batch, ids=ids, models=self.ensemble.models_, labels=self.ensemble.labels_)
            return file.getvalue()
        return json.dumps({"scores": dict(zip(self.ensemble.models_, batch.tolist(), strict=True))}).encode()


def measure_serving(plan: Plan) -> list[Row]:
    """Measure requests per second, the median and 99th percentile of their times, and CPU time a request.

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
    seconds = QUICK_SECONDS if plan.quick else SECONDS
    for method in METHODS:
        asked = _fit(plan, method)
        try:
            with _server(plan, asked.folder) as port:
                for n_rows, ways in WAYS.items():
                    job = f"label {n_rows} × {len(asked.ensemble.labels_)} by {method}, six members"
                    plan.say(f"{job}: the plain function")
                    rows.append(Row(job, PLAIN, True, values=_time_plain(asked, n_rows, seconds)))
                    for n_clients, form in ways:
                        system = f"labelstack serve, {n_clients} client{'s' if n_clients > 1 else ''}, {form}"
                        plan.say(f"{job}: {system}")
                        values = _time_server(port, asked, n_rows, (n_clients, form), seconds)
                        rows.append(Row(job, system, True, values=values))
        except (MeasurementFailedError, OSError) as error:
            rows.append(Row(f"label by {method}", "labelstack serve", True, trouble=f"not measured: {error}"))
    return rows


def _fit(plan: Plan, method: str) -> _Asked:
    """Fit one method on the first rows of the common workload."""
    from stacking import StackingEnsemble

    split = load_split(prepare_workload(plan))
    given = np.asarray(split.y_scores[:, :FITTED_ROWS]), np.asarray(split.y_true[:FITTED_ROWS])
    ensemble = StackingEnsemble(method, rule="single", random_state=0).fit(*given)
    folder = plan.scratch / f"served-{method}"
    ensemble.save(folder, overwrite=True)
    return _Asked(folder, ensemble, np.asarray(split.y_scores_test[:, : N_BATCHES * max(WAYS)]))


def _time_plain(asked: _Asked, n_rows: int, seconds: float) -> dict[str, Any]:
    """Time the plain function, call after call."""

    def call(batch: np.ndarray[Any, Any]) -> None:
        asked.ensemble.decide(asked.ensemble.predict_proba(batch, as_frame=False))

    batches = asked.batches(n_rows)
    for batch in batches:
        call(batch)
    began = time.process_time()
    times = _repeat(call, batches, seconds)
    return _summary(times, time.process_time() - began)


def _time_server(port: int, asked: _Asked, n_rows: int, way: tuple[int, str], seconds: float) -> dict[str, Any]:
    """Time a server with so many clients at once, which send such bodies."""
    n_clients, form = way
    bodies = [asked.body(batch, form) for batch in asked.batches(n_rows)]
    kind = "application/json" if form == "JSON" else "application/x-npz"

    def work(_: int) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def call(body: bytes) -> None:
            connection.request("POST", "/predict", body, {"Content-Type": kind})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status != 200:
                raise MeasurementFailedError(f"a request got status {answer.status}: {content[:200]!r}")

        call(bodies[0])
        times = _repeat(call, bodies, seconds)
        connection.close()
        return times

    with ThreadPoolExecutor(n_clients) as pool:
        before = _read_metrics(port)
        found = list(pool.map(work, range(n_clients)))
        after = _read_metrics(port)
    n_answered = after[ANSWERED] - before.get(ANSWERED, 0.0)
    each = (after[PROCESSOR] - before[PROCESSOR]) / n_answered
    times = [one for part in found for one in part]
    return _summary(times, each * len(times), n_clients)


def _read_metrics(port: int) -> dict[str, float]:
    """Read what the server counts of itself."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with closing(connection):
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


@contextmanager
def _server(plan: Plan, folder: Path) -> Iterator[int]:
    """Start a server and give its port."""
    cache = plan.scratch / "compiled"
    cache.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-P", "-m", "labelstack", "serve", str(folder), "--port", "0", "--json"]
    process = subprocess.Popen(
        command, env=environment(cache), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with ending_with(process.terminate, partial(process.communicate, timeout=120)):
        said = process.stdout.readline() if process.stdout is not None else ""
        if not said:
            raise MeasurementFailedError(f"the server did not start: {process.communicate()[1].strip()[-200:]}")
        yield int(json.loads(said)["url"].rpartition(":")[2])


def _repeat(call: Callable[[Any], None], given: list[Any], seconds: float) -> list[float]:
    """Call with one after the other until the time is over; return the seconds of each call."""
    times: list[float] = []
    ending = time.perf_counter() + seconds
    while not times or time.perf_counter() < ending:
        began = time.perf_counter()
        call(given[len(times) % len(given)])
        times.append(time.perf_counter() - began)
    return times


def _summary(times: list[float], cpu_seconds: float, n_clients: int = 1) -> dict[str, Any]:
    """Say how many requests a second were answered to so many clients that never rest, and what they took."""
    return {
        "requests_per_second": n_clients * len(times) / sum(times),
        "p50_milliseconds": 1e3 * float(np.percentile(times, 50)),
        "p99_milliseconds": 1e3 * float(np.percentile(times, 99)),
        "cpu_milliseconds_per_request": 1e3 * cpu_seconds / len(times),
    }
