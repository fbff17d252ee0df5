"""Starting other processes without running what lies in the working directory.

Python puts the working directory first on the search path of ``python -m`` and ``python -c``, which is how joblib,
multiprocessing and torch start theirs. A file ``json.py`` or ``random.py`` in a folder of downloads would then be run.
``PYTHONSAFEPATH`` forbids it; the path of a worker is the one of its parent all the same, so a user's own modules are
found wherever the parent finds them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_VARIABLE = "PYTHONSAFEPATH"


@contextmanager
def safe_path() -> Iterator[None]:
    """Let every process that is started in this block leave the working directory out of its search path.

    Yields
    ------
    None
        While the environment says so.

    Examples
    --------
    >>> with safe_path():
    ...     os.environ["PYTHONSAFEPATH"]
    '1'
    """
    before = os.environ.get(_VARIABLE)
    os.environ[_VARIABLE] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_VARIABLE, None)
        else:
            os.environ[_VARIABLE] = before


def run_parallel(jobs: Iterable[Any], n_jobs: int | None = None) -> list[Any]:
    """Run delayed calls as joblib's current backend does, in safely started processes.

    Parameters
    ----------
    jobs : iterable of joblib.delayed calls
        What to run; taken one after the other.
    n_jobs : int, optional
        As joblib has it; by default what `joblib.parallel_config` says, else one.

    Returns
    -------
    list
        The answers, in the order of the jobs.
    """
    from joblib import Parallel

    with safe_path():
        return list(Parallel(n_jobs=n_jobs)(jobs))


def end_with_parent(parent: int) -> None:
    """Let the system end this process at once when the one that started it ends, however that ends.

    Parameters
    ----------
    parent : int
        Its process number.

    Notes
    -----
    Linux alone does that (``prctl``); elsewhere a process must watch its standard input. To be called early: a parent
    that has ended before is noticed, and ends this process too.
    """
    if sys.platform.startswith("linux"):
        import ctypes
        import signal

        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, int(signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def module_command(module: str) -> list[str]:
    """Return the command that runs a module of ours in a process of its own.

    Parameters
    ----------
    module : str
        Its full name.

    Returns
    -------
    list of str
        For `subprocess`, with `module_environment`.

    Examples
    --------
    >>> module_command("base_models.ingest.decoder")[1:]
    ['-P', '-m', 'base_models.ingest.decoder']
    """
    return [sys.executable, "-P", "-m", module]


def module_environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment in which our packages are found, and nothing in the working directory is.

    Parameters
    ----------
    changes : mapping of str to str, optional
        More variables.

    Returns
    -------
    dict of str to str
        The present environment; from ``PYTHONPATH`` only absolute folders are kept.
    """
    home = str(Path(__file__).resolve().parents[2])
    given = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join([home, *(part for part in given if Path(part).is_absolute())])
    return {**os.environ, **(changes or {}), "PYTHONPATH": path, _VARIABLE: "1"}
