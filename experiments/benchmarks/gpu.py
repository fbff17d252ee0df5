"""``make gpu``: prove and measure the path over a CUDA device in minutes, and write one JSON and one Markdown file.

It runs the tests marked ``gpu``, then the loops of `experiments.benchmarks.gpu_loops`, each in a process of its own and
with a limit of time, so that neither a failed test nor a hanging one keeps the rest from being measured. What there is
after each step is on the disk. It needs Python, torch, torchvision and timm as they come on a machine with a card, and
the few packages that it names where they are missing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from stacking.files.versions import installed_versions
from stacking.process.processors import usable_processors

NEEDED = {
    "torch": "torch",
    "torchvision": "torchvision",
    "timm": "timm",
    "accelerate": "accelerate",
    "safetensors": "safetensors",
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "sklearn": "scikit-learn",
    "skimage": "scikit-image",
    "lightgbm": "lightgbm",
    "pyswarms": "pyswarms",
    "cmaes": "cmaes",
    "joblib": "joblib",
    "numba": "numba",
    "iterstrat": "iterative-stratification",
    "filelock": "filelock",
    "typer": "typer",
    "rich": "rich",
    "pydantic": "pydantic",
    "jinja2": "jinja2",
    "matplotlib": "matplotlib",
    "PIL": "pillow",
    "aiohttp": "aiohttp",
    "pytest": "pytest",
    "pytest_timeout": "pytest-timeout",
    "hypothesis": "hypothesis",
}
"""Module to distribution: everything that the tests and loops import."""

ROOT = Path(__file__).parents[2]
SECONDS = {"tests": 165.0, "loops": 185.0}  # together less than six minutes; the tests took an H200 130 s
SECONDS_BETWEEN_LINES = 15.0  # of progress
TEST_PROCESSES = 8  # each starts CUDA for itself and holds half a GiB of the card
FOREIGN_WARNINGS = ("DeprecationWarning", "FutureWarning", "PendingDeprecationWarning", "UserWarning")
"""Told, not raised: the versions of a strange machine are not those that the suite is kept clean with."""
RESULT, TABLE = "gpu.json", "gpu.md"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests and the loops, and write what came of them.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line; that of the process by default.

    Returns
    -------
    int
        0 when all tests passed and every loop was measured, 1 otherwise, 2 where it could not begin.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("gpu-run"), help="folder for gpu.json and gpu.md")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to try the command without a card")
    parser.add_argument("--quick", action="store_true", help="tiny loops, to see that every one runs")
    parser.add_argument("--only", choices=("tests", "loops"), help="one of the two parts")
    parser.add_argument("--seconds", type=float, help="limit of each part")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    trouble = _missing() or _no_device(options.device)
    if trouble:
        sys.stderr.write(trouble + "\n")
        return 2
    if options.worker is not None:
        return _measure(options.worker, options.device, quick=options.quick, seconds=options.seconds or 1e9)
    options.out.mkdir(parents=True, exist_ok=True)
    result: dict[str, Any] = {"machine": _machine(options.device), "seconds": {}}
    parts: dict[str, Callable[[], Any]] = {
        "tests": lambda: _run_tests(options, options.seconds or SECONDS["tests"]),
        "loops": lambda: _run_loops(options, options.seconds or SECONDS["loops"]),
    }
    for name, run in parts.items():
        if options.only in (None, name):
            started = time.monotonic()
            result[name] = run()
            result["seconds"][name] = round(time.monotonic() - started, 1)
            _write(options.out, result)
    sys.stdout.write((options.out / TABLE).read_text(encoding="utf-8"))
    return int(not _is_whole(result))


def _missing() -> str:
    """Say which packages are missing, in one sentence; nothing when all are here."""
    absent = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if not absent:
        return ""
    return (
        f"packages must be installed for make gpu: {', '.join(absent)} {'is' if len(absent) == 1 else 'are'} missing; "
        f"run {Path(sys.executable).name} -m pip install {' '.join(absent)}, or carry their wheels where there is no "
        "network."
    )


def _no_device(device: str) -> str:
    """Say that there is no card; nothing when there is."""
    import torch

    if device == "cpu" or torch.cuda.is_available():
        return ""
    return "device must be a card that torch can use: it finds none; try the command with --device cpu --quick."


def _machine(device: str) -> dict[str, Any]:
    """Describe the card, the driver and the versions."""
    import torch

    names = ("labelstack", *dict.fromkeys(NEEDED.values()))
    found: dict[str, Any] = {
        "device": device,
        "python": platform.python_version(),
        "processors": usable_processors(),
        "versions": installed_versions(names),
    }
    if device != "cpu":
        card = torch.cuda.get_device_properties(0)
        query = ["nvidia-smi", "--query-gpu=driver_version,power.limit", "--format=csv,noheader"]
        try:
            driver = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False).stdout.strip()
        except (OSError, subprocess.TimeoutExpired):
            driver = "unknown"
        found |= {
            "card": card.name,
            "memory_gib": round(card.total_memory / 2**30, 1),
            "capability": f"{card.major}.{card.minor}",
            "multiprocessors": card.multi_processor_count,
            "driver": driver,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
            "nccl": torch.distributed.is_nccl_available(),
        }
    return found


def _environment() -> dict[str, str]:
    """Let child processes find this checkout first and torch compute on few threads each."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH", "")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


def _run_tests(options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Run the tests marked ``gpu`` (on a CPU, their lines that need no card) and count them."""
    report, log = options.out / "tests.xml", options.out / "tests.log"
    report.unlink(missing_ok=True)
    marker = ["-m", "gpu"] if options.device != "cpu" else ["-m", "not gpu"]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rfE",
        "--timeout=100",
        f"--session-timeout={seconds - 25:.0f}",
        "-p",
        "no:cacheprovider",
        *(part for kind in FOREIGN_WARNINGS for part in ("-W", f"default::{kind}")),
        *marker,
    ]
    command += [str(ROOT / "tests" / "gpu"), f"--junitxml={report}", "--durations=15", f"--rootdir={ROOT}"]
    environment = {**_environment(), "OMP_NUM_THREADS": "2"}
    if importlib.util.find_spec("xdist") and (os.cpu_count() or 1) >= 2 * TEST_PROCESSES:
        command += ["-n", str(TEST_PROCESSES), "--dist", "worksteal"]
    with log.open("w", encoding="utf-8") as file:
        ended = _limited(command, environment, file, seconds, log)
    counts = _read_tests(report) if report.is_file() else {"trouble": "no report was written"}
    if ended != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
        counts |= {"exit": ended, "last_lines": lines[-40:]}
    return counts


def _read_tests(report: Path) -> dict[str, Any]:
    """Read counts, failures and recorded errors from pytest's own report."""
    cases = list(ElementTree.parse(report).iter("testcase"))  # our own file  # our own test report  # nosec B314
    failures: list[dict[str, str]] = []
    errors: dict[str, dict[str, Any]] = {}
    skipped = 0
    for case in cases:
        name = str(case.get("name"))
        skipped += case.find("skipped") is not None
        for kind in ("failure", "error"):
            found = case.find(kind)
            if found is not None:
                failures.append(
                    {"test": name, "message": f"{found.get('message')}"[:600], "end": f"{found.text}"[-900:]}
                )
        for entry in case.iter("property"):
            errors.setdefault(str(entry.get("name")), {})[name] = entry.get("value")
    worst = {}
    for name, values in errors.items():
        numbers = {test: float(value) for test, value in values.items() if value not in ("True", "False", None)}
        if numbers:
            test = max(numbers, key=lambda key: numbers[key])
            worst[name] = {"largest": numbers[test], "test": test, "tests": len(numbers)}
    n_failed = len({failure["test"] for failure in failures})
    return {
        "passed": len(cases) - n_failed - skipped,
        "failed": n_failed,
        "skipped": skipped,
        "failures": failures,
        "relative_errors": worst,
        "properties": errors,
    }


def _run_loops(options: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """Measure the loops in a process that may be stopped; what it has written until then counts."""
    found = (options.out / "loops.json").resolve()  # after every loop, should this machine go away
    found.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "experiments.benchmarks.gpu", "--device", options.device]
        command += ["--worker", str(found), "--seconds", str(seconds - 15), *(["--quick"] if options.quick else [])]
        log, environment = options.out / "loops.log", {**_environment(), "TMPDIR": scratch}
        with log.open("w", encoding="utf-8") as file:
            ended = _limited(command, environment, file, seconds, log)
        measured: dict[str, Any] = json.loads(found.read_text(encoding="utf-8")) if found.is_file() else {}
    if ended != 0:
        lines = (options.out / "loops.log").read_text(encoding="utf-8", errors="replace").splitlines()
        measured |= {"exit": ended, "last_lines": lines[-30:]}
    return measured


def _limited(command: list[str], environment: dict[str, str], file: Any, seconds: float, log: Path) -> int:
    """Run a command for at most so long, and say now and then how far it is; −9 says that it was stopped."""
    started = time.monotonic()
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT, start_new_session=True
    ) as process:
        while (left := started + seconds - time.monotonic()) > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return process.wait(timeout=min(left, SECONDS_BETWEEN_LINES))
            lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
            last = next((line for line in reversed(lines) if line.strip()), "")
            sys.stderr.write(f"{time.monotonic() - started:4.0f} s: {last[-160:]}\n")
            sys.stderr.flush()
        os.killpg(process.pid, signal.SIGKILL)  # with whatever it has started
        return -9


def _measure(out: Path, device: str, *, quick: bool, seconds: float) -> int:
    """Measure every loop, the most wanted first, and write after each."""
    from experiments.benchmarks.contest_photos import write_photos
    from experiments.benchmarks.gpu_loops import LoopBench, list_measurements

    end = time.monotonic() + seconds
    measured: dict[str, dict[str, Any]] = {}
    scratch = Path(tempfile.gettempdir())
    photos = write_photos(scratch / "photos", 64 if quick else 2048)
    bench = LoopBench(photos, device, n_turns=1 if quick else 3)
    for name, measure in list_measurements(bench, scratch, quick=quick).items():
        started = time.monotonic()
        if started > end:
            measured[name] = {"trouble": "the limit of time was reached"}
        else:
            try:
                measured[name] = measure()
            except Exception as error:  # one loop that fails must not keep the others from being measured
                measured[name] = {"trouble": f"{type(error).__name__}: {error}"[:600]}
            measured[name] = {**measured[name], "seconds": round(time.monotonic() - started, 2)}
        sys.stdout.write(f"{name}: {measured[name]}\n")
        sys.stdout.flush()
        out.write_text(json.dumps(measured), encoding="utf-8")
    return 0


def _write(out: Path, result: dict[str, Any]) -> None:
    """Write the result as JSON and Markdown."""
    (out / RESULT).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (out / TABLE).write_text("\n".join(_as_markdown(result)) + "\n", encoding="utf-8")


def _as_markdown(result: dict[str, Any]) -> list[str]:
    """Lay the result out for readers."""
    machine = result["machine"]
    card = f"{machine.get('card', 'CPU')}, {machine['processors']} processors, Python {machine['python']}"
    versions = ", ".join(f"{name} {machine['versions'].get(name)}" for name in ("torch", "timm", "torchvision"))
    lines = ["# The path over the device", "", f"{card}, driver {machine.get('driver', '-')}; {versions}", ""]
    tests = result.get("tests")
    if tests:
        counts = ", ".join(f"{tests[kind]} {kind}" for kind in ("passed", "failed", "skipped") if kind in tests)
        lines += ["## Tests", "", f"{counts or tests.get('trouble')} in {result['seconds'].get('tests', 0)} s", ""]
        lines += [f"- **{failure['test']}**: {failure['message'][:300]}" for failure in tests.get("failures", [])]
        lines += [
            f"- largest relative error of {name}: {worst['largest']:.2g} ({worst['test']}; {worst['tests']} tests)"
            for name, worst in tests.get("relative_errors", {}).items()
        ]
        lines.append("")
    if result.get("loops"):
        lines += ["## Loops", "", "| what | result |", "|---|---|"]
        for name, values in result["loops"].items():
            if isinstance(values, dict):
                described = "; ".join(f"{key} {_number(value)}" for key, value in values.items() if key != "seconds")
                lines.append(f"| {name} | {described} |")
            elif name == "exit":
                lines.append(f"| ended with | {values} |")
    return lines


def _number(value: object) -> str:
    """Write a figure with as many digits as it deserves."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _is_whole(result: dict[str, Any]) -> bool:
    """Tell whether every test passed and every loop was measured."""
    tests, loops = result.get("tests", {"failed": 0}), result.get("loops", {})
    return (
        tests.get("failed") == 0
        and not tests.get("exit")
        and "exit" not in loops
        and not any("trouble" in values for values in loops.values() if isinstance(values, dict))
    )


if __name__ == "__main__":
    sys.exit(main())
