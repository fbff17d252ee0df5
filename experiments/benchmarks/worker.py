"""The process in which one job is measured: read a request, prepare, call, time, describe, answer.

Preparing (loading data) is outside the clock. The first call counts the imports and compilation that it causes; then
come the repeats, and the cheapest one is the job's cost. CPU seconds include those of child processes.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacking.process.memory import read_kernel_size

QUICK_JOB = 1.0  # CPU seconds up to which a job is repeated in full
SLOW_JOB = 20.0  # CPU seconds from which the first call has to do
FEW_REPEATS = 1  # of jobs between the two; all three limits are choices that keep a run within minutes


@dataclass(frozen=True)
class Job:
    """What is measured.

    Parameters
    ----------
    run : callable
        Does the job and returns its result; it imports what it needs itself, so that the first call counts it.
    describe : callable
        Turns the result into JSON-able values, outside the clock.
    """

    run: Callable[[], Any]
    describe: Callable[[Any], dict[str, Any]]


def time_job(job: Job, repeats: int) -> dict[str, Any]:
    """Call a job and time it.

    Parameters
    ----------
    job : Job
        The job.
    repeats : int
        Calls after the first for a quick job; slow ones are called less often.

    Returns
    -------
    dict
        Costs, and what the job describes about its last result.
    """
    base = memory_gib("VmRSS")
    first_cpu, first_wall, result = _time_call(job.run)
    calls = [(first_cpu, first_wall)]
    if repeats and first_cpu < SLOW_JOB and _compile_at_once():
        job.run()  # compiles what the first call has left to numpy, outside the clock
    while len(calls) <= repeats and calls[-1][0] < SLOW_JOB:
        if calls[-1][0] >= QUICK_JOB and len(calls) > FEW_REPEATS:
            break
        cpu, wall, result = _time_call(job.run)
        calls.append((cpu, wall))
    warm = calls[1:] or calls
    peak = memory_gib("VmHWM")
    return {
        "cpu_seconds": min(cpu for cpu, _ in warm),
        "wall_seconds": min(wall for _, wall in warm),
        "first_call_seconds": first_cpu,
        "first_call_wall_seconds": first_wall,
        "n_calls": len(calls),
        "base_gib": base,
        "peak_gib": peak,
        **job.describe(result),
    }


def _compile_at_once() -> bool:
    """Let labelstack's loops be compiled at their next call, however little there is to do."""
    compiling = sys.modules.get("stacking.kernels.compiling")
    if compiling is not None:
        compiling.Kernel.is_compiled_at_once = True
    return compiling is not None


def child_seconds() -> float:
    """Count the CPU seconds of ended children and living descendants.

    Returns
    -------
    float
        Seconds since this process began.
    """
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return ended.ru_utime + ended.ru_stime + _living_descendants()


def memory_gib(field: str) -> float | None:
    """Read a memory figure of this process.

    Parameters
    ----------
    field : {"VmRSS", "VmHWM"}
        Resident memory now, or at its peak.

    Returns
    -------
    float or None
        In GiB; None where the system does not tell.
    """
    size = read_kernel_size("/proc/self/status", field)
    return None if size is None else size / 2**30


def main() -> None:
    """Answer the request on standard input."""
    request = json.loads(sys.stdin.read())
    try:
        module, _, name = request["job"].partition(":")
        job = getattr(importlib.import_module(module), name)(**request["arguments"])
        answer = time_job(job, request["repeats"])
    except Exception as error:
        traceback.print_exc()
        answer = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
    Path(request["answer"]).write_text(json.dumps(answer, default=float), encoding="utf-8")


def _time_call(run: Callable[[], Any]) -> tuple[float, float, Any]:
    """Return CPU seconds, wall seconds and the result of one call; looking for children is outside the clock."""
    children = child_seconds()
    wall, cpu = time.perf_counter(), time.process_time()
    result = run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu + child_seconds() - children, wall, result


def _living_descendants() -> float:
    """Sum the CPU seconds of the processes that this one started and that still run."""
    folder = Path("/proc")
    if not (folder / "self").exists():
        return 0.0
    parents, spent = {}, {}
    for path in folder.glob("[0-9]*/stat"):
        try:
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        pid = int(path.parent.name)
        parents[pid], spent[pid] = int(fields[1]), int(fields[11]) + int(fields[12])
    ticks = 0
    for pid in parents:
        above = parents[pid]
        while above in parents and above != os.getpid():
            above = parents[above]
        ticks += spent[pid] if above == os.getpid() else 0
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
