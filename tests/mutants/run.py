"""Break important lines one at a time and require that the tests named for each notice.

Run by ``make mutants``. Works on a copy of the tree in a temporary folder, so neither the checkout nor anything that
imports it is touched. A mutant whose source line has changed, a test that fails on the unbroken tree, and a test run
that breaks off are errors, not kills. The exit status is 0 only if every mutant was killed.
"""

import argparse
import contextlib
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import NoReturn

import pytest
from catalog import MUTANTS
from mutant import Mutant

LIBRARIES = (
    "sklearn.model_selection",
    "lightgbm",
    "numba",
    "hypothesis",
    "torch",
    "torchvision",
    "timm",
    "aiohttp",
    "PIL",
)
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 300  # for the tests of one mutant; one that makes them wait for ever is killed as well
FAILED, PASSED = 1, 0  # pytest's exit statuses; all others say that the tests could not run


def import_libraries() -> None:
    """Import what most tests need; one thread each, and no compiled file of one mutant is ever taken for another's."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):  # an extra that is not installed; its tests skip
            importlib.import_module(name)


def copy_tree(folder: Path) -> None:
    """Copy what git knows of the working tree, as it is now."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    for name in listed.stdout.decode().split("\0"):
        source, target = ROOT / name, folder / name
        if name and source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def run_tests(folder: Path, tests: tuple[str, ...], seconds: float = SECONDS) -> tuple[int | None, str]:
    """Run tests in the copy; return pytest's exit status (None when time ran out) and the end of what it said.

    A child of this process does it, so that the libraries (and nothing of the project) are imported once for all.
    """
    said = folder / ".said"
    child = os.fork()
    if not child:
        _run_in_child(folder, said, tests)
    deadline = time.monotonic() + seconds
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None, f"no end after {seconds:.0f} s"
        time.sleep(0.05)
    return os.waitstatus_to_exitcode(done[1]), "\n".join(said.read_text(errors="replace").strip().splitlines()[-25:])


def _run_in_child(folder: Path, said: Path, tests: tuple[str, ...]) -> NoReturn:
    """Run tests in this process, whose only end is the exit status: nothing of the parent's is cleaned up here."""
    status = 70
    try:
        os.setpgid(0, 0)
        with said.open("wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        os.chdir(folder)
        os.environ["PYTHONPATH"] = sys.path[0] = str(folder)
        options = ["-x", "-q", "--tb=short", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        for plugin in ("cacheprovider", "unraisableexception"):  # what a broken line leaves open says nothing more
            options += ["-p", f"no:{plugin}"]
        status = int(pytest.main([*options, *tests]))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def try_mutant(mutant: Mutant, folder: Path) -> tuple[str, str]:
    """Break one line, run its tests, mend it; return the verdict and what pytest said."""
    path = folder / mutant.file
    whole = path.read_text(encoding="utf-8")
    path.write_text(mutant.apply(whole), encoding="utf-8")
    try:
        status, said = run_tests(folder, mutant.tests)
    finally:
        path.write_text(whole, encoding="utf-8")
    if status in (FAILED, None):
        return "killed", said
    return ("SURVIVED" if status == PASSED else "BROKEN"), said


def check_isolation(folder: Path) -> None:
    """Refuse to go on if the tests would import another tree than the copy."""
    (folder / "test_where.py").write_text(
        "import base_models, experiments, optimizers, stacking\nfrom pathlib import Path\n\n\ndef test_where():\n"
        "    for package in (base_models, experiments, optimizers, stacking):\n"
        "        assert Path(package.__file__).is_relative_to(Path(__file__).parent)\n"
    )
    status, said = run_tests(folder, ("test_where.py",))
    if status != PASSED:
        raise SystemExit(f"the tests must import the copy in {folder}:\n{said}")


def main() -> int:
    """Try the chosen mutants and print one line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("only", nargs="*", help="words; mutants whose name holds one of them (all by default)")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    arguments = parser.parse_args()
    chosen = [m for m in MUTANTS if not arguments.only or any(word in m.name for word in arguments.only)]
    if arguments.list:
        print("\n".join(mutant.name for mutant in chosen))
        return 0
    started, verdicts = time.monotonic(), []
    import_libraries()
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folder = Path(name).resolve()
        os.environ["NUMBA_CACHE_DIR"] = str(folder / ".numba")
        copy_tree(folder)
        check_isolation(folder)
        for mutant in chosen:
            mutant.apply((folder / mutant.file).read_text(encoding="utf-8"))  # all lines are there, before any test
        everything = tuple(dict.fromkeys(test for mutant in chosen for test in mutant.tests))
        status, said = run_tests(folder, everything, SECONDS * len(chosen))
        if status != PASSED:
            print(said)
            raise SystemExit("the tests must pass on the unbroken tree before mutants mean anything.")
        print(
            f"{len(chosen)} mutants; their tests pass on the unbroken tree ({time.monotonic() - started:.0f} s)",
            flush=True,
        )
        for mutant in chosen:
            started = time.monotonic()
            verdict, said = try_mutant(mutant, folder)
            verdicts.append(verdict)
            print(f"{verdict:8} {time.monotonic() - started:4.0f} s  {mutant.name}  ({mutant.file})", flush=True)
            if verdict != "killed":
                print(said, flush=True)
    n_killed = verdicts.count("killed")
    print(f"{n_killed} of {len(verdicts)} mutants killed in {(time.monotonic() - started) / 60:.1f} minutes")
    return 0 if n_killed == len(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
