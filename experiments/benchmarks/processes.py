"""Run each measurement in a process of its own, with one thread, and bring back what it cost."""

from __future__ import annotations

import json
import math
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacking.process.child_processes import module_command, module_environment

ONE_THREAD = {
    name: "1"
    for name in (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
    )
}
ROOT = Path(__file__).parents[2]
BUDGET_SPENT = "the budget of time was spent"


@dataclass(frozen=True)
class Plan:
    """Where the benchmark works and how thoroughly.

    Parameters
    ----------
    scratch : Path
        Folder for workloads, stores and compiled code; some 30 GB for the scaling part.
    shared_data : Path or None
        Folder of the measuring data; rows that need it are skipped without it.
    quick : bool, default=False
        Whether to take small sizes and single calls, to see that every row runs; goals are then not judged.
    repeats : int, default=7
        Calls after the first, of which the cheapest counts; fewer for jobs that take a second or more.
    timeout : float, default=3600.0
        Seconds after which a measurement is given up.
    deadline : float, default=inf
        Reading of ``time.monotonic()`` after which nothing is started and what runs is given up.
    say : callable
        Takes a line of progress.
    """

    scratch: Path
    shared_data: Path | None
    quick: bool = False
    repeats: int = 7
    timeout: float = 3600.0
    deadline: float = math.inf
    say: Callable[[str], None] = field(default=lambda line: None)

    def seconds_left(self) -> float:
        """Count the seconds that a measurement may take.

        Returns
        -------
        float
            The time limit of one, or what is left of the budget.

        Raises
        ------
        MeasurementFailedError
            If nothing is left.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise MeasurementFailedError(BUDGET_SPENT)
        return min(self.timeout, left)

    @property
    def n_samples(self) -> int:
        """Count the rows of the common workload: 10,000, or 1,000 in a quick run."""
        return 1_000 if self.quick else 10_000

    def data(self, *parts: str) -> Path | None:
        """Find a file of the measuring data.

        Parameters
        ----------
        *parts : str
            Its path inside the folder.

        Returns
        -------
        Path or None
            None where it is absent.
        """
        if self.shared_data is None:
            return None
        path = self.shared_data.joinpath(*parts)
        return path if path.exists() else None


class MeasurementFailedError(RuntimeError):
    """A measurement ended without a result; the message says why."""


def measure(plan: Plan, job: str, arguments: dict[str, Any] | None = None, *, compiles: bool = False) -> dict[str, Any]:
    """Measure one job in a process of its own.

    Parameters
    ----------
    plan : Plan
        Repeats, time limit and scratch folder.
    job : str
        ``module:function`` of a function that returns a `Job`.
    arguments : dict, optional
        Its keyword arguments, JSON-able.
    compiles : bool, default=False
        Whether the job compiles code: it is then called once more, before, with nothing cached.

    Returns
    -------
    dict
        ``cpu_seconds``, ``wall_seconds``, ``first_call_seconds``, ``peak_gib``, ``base_gib``, ``n_calls``, what the job
        describes, and ``compiling_seconds`` where asked.

    Raises
    ------
    MeasurementFailedError
        If the job raised, crashed or ran out of time.
    """
    plan.say(f"{job} {json.dumps(arguments or {}, default=str)}")
    if not compiles:
        shared = plan.scratch / "compiled"
        shared.mkdir(parents=True, exist_ok=True)
        return _run_worker(plan, job, arguments or {}, plan.repeats, shared)
    plan.scratch.mkdir(parents=True, exist_ok=True)
    cache = Path(tempfile.mkdtemp(prefix="compiled-", dir=plan.scratch))
    try:
        first = _run_worker(plan, job, arguments or {}, 0, cache)
        values = _run_worker(plan, job, arguments or {}, plan.repeats, cache)
        return {**values, "compiling_seconds": first["first_call_seconds"]}
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def environment(cache: Path) -> dict[str, str]:
    """Return the environment of a measurement: one thread, and a place of its own for compiled code.

    Parameters
    ----------
    cache : Path
        Folder for compiled code.

    Returns
    -------
    dict of str to str
        The variables.
    """
    return module_environment({**ONE_THREAD, "NUMBA_CACHE_DIR": str(cache)})


def _run_worker(plan: Plan, job: str, arguments: dict[str, Any], repeats: int, cache: Path) -> dict[str, Any]:
    """Start the worker, wait for it, read its answer."""
    seconds = plan.seconds_left()
    answer = cache / f"answer-{secrets.token_hex(4)}.json"
    request = {
        "job": job,
        "arguments": arguments,
        "repeats": 0 if plan.quick else repeats,
        "answer": str(answer),
    }
    try:
        ended = subprocess.run(
            module_command("experiments.benchmarks.worker"),
            input=json.dumps(request, default=str),
            env=environment(cache),
            cwd=plan.scratch,  # some peers write logs where they run
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        reason = f"gave up after {seconds:.0f} s"
        raise MeasurementFailedError(reason if seconds == plan.timeout else f"{reason}: {BUDGET_SPENT}") from error
    if not answer.exists():
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        raise MeasurementFailedError(f"ended with code {ended.returncode}: {last}")
    values: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    answer.unlink()
    if "error" in values:
        raise MeasurementFailedError(values["error"])
    return values
