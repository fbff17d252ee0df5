"""
Particle swarm optimization with a global best, through the library pyswarms.

Each particle remembers its own best point and is drawn to it and to the swarm's best point:
v ← w·v + c1·r1·(own best − x) + c2·r2·(global best − x), x ← x + v, with r1, r2 uniform in [0, 1]. The defaults
are the constriction coefficients of Clerc and Kennedy. Particles fly in free space and are judged at their projections.

What pyswarms changes in its process is undone here. It draws from numpy's global generator: that one is lent a private
bit generator and given back, also while the objective runs. And at import and at every construction it opens
`report.log` in the working directory and reconfigures the root logger: that is switched off.

References
----------
J. Kennedy, R. Eberhart, "Particle swarm optimization", ICNN 1995.
M. Clerc, J. Kennedy, "The particle swarm: explosion, stability, and convergence", IEEE Trans. Evol. Comp. 6(1), 2002
(w = .7298, c1 = c2 = 1.49618).
A. Engelbrecht, "Particle swarm optimization: velocity initialization", IEEE CEC 2012.
L. J. V. Miranda, "PySwarms: a research toolkit for particle swarm optimization in Python", JOSS 3(21), 2018.
"""

import importlib.util
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.random import mtrand

from optimizers._checks import check_number, check_positive_int
from optimizers._simplex import FloatArray
from optimizers.registry import register_optimizer
from optimizers.search import Search

_REPORTER = "pyswarms.utils.reporter.reporter"
_IN_PYSWARMS = threading.Lock()  # the global generator can be lent to one search at a time


@register_optimizer(
    "pso",
    evaluations=lambda _, options: options["n_particles"] * (options["n_iterations"] + 1),
    requires="pyswarms",
)
def pso(
    search: Search,
    *,
    n_particles: int = 15,
    n_iterations: int = 100,
    inertia: float = 0.7298,
    cognitive: float = 1.49618,
    social: float = 1.49618,
) -> str:
    """
    Fly a swarm whose first positions are the best starts and random points; the whole swarm is one batch.

    Parameters
    ----------
    search : Search
        The running search.
    n_particles : int, default 15
        Size of the swarm; with `n_iterations` 1,500 evaluations, as the other searches have.
    n_iterations : int, default 100
        Moves of the swarm; every position is evaluated, the last one too.
    inertia : float, default 0.7298
        The w of the velocity update, dimensionless; this and the next two from Clerc and Kennedy.
    cognitive : float, default 1.49618
        The c1, pull of a particle's own best, dimensionless.
    social : float, default 1.49618
        The c2, pull of the swarm's best, dimensionless.

    Returns
    -------
    str
        Why the search ended.

    Notes
    -----
    n_particles × (n_iterations + 1) evaluations after the starts. Searches in several threads take turns inside
    pyswarms and evaluate their objectives in parallel; other threads that draw from the global generator should not
    count on it meanwhile.
    """
    check_positive_int("n_particles", n_particles)
    check_positive_int("n_iterations", n_iterations)
    options = {
        "w": check_number("inertia", inertia, low=0.0, high=2.0),
        "c1": check_number("cognitive", cognitive, low=0.0, high=4.0),
        "c2": check_number("social", social, low=0.0, high=4.0),
    }
    starts, losses = search.evaluate_starts()
    positions = _first_positions(search, starts[np.argsort(losses, kind="stable")], n_particles)
    loan = _GlobalGeneratorLoan(int(search.rng.integers(2**32)))

    def loss_of_swarm(swarm: FloatArray) -> FloatArray:
        with loan.returned():
            return search.evaluate_projected(swarm)

    with loan.taken():
        with _silent_reporter():  # Reporters are constructed here, none in optimize
            from pyswarms.single.global_best import GlobalBestPSO

            swarm = GlobalBestPSO(n_particles, search.n_dimensions, options, init_pos=positions)
        swarm.swarm.velocity = np.zeros_like(positions)  # Engelbrecht 2012: particles that start at rest roam less
        swarm.optimize(loss_of_swarm, iters=n_iterations, verbose=False)
    search.evaluate_projected(swarm.swarm.position)  # pyswarms leaves its last move unjudged
    return f"moved {n_particles} particles {n_iterations} times"


def _first_positions(search: Search, best_first: FloatArray, n_particles: int) -> FloatArray:
    """Fill at most half the swarm with the best starts and the rest with random weights, so that it can spread."""
    warm = best_first[: (n_particles + 1) // 2]
    spread = search.rng.dirichlet(np.ones(search.n_dimensions), size=n_particles - len(warm))
    return np.concatenate([warm, spread])


class _GlobalGeneratorLoan:
    """Numpy's global generator, running on a private bit generator while it is taken."""

    def __init__(self, seed: int) -> None:
        self._private = np.random.MT19937(seed)
        self._users: tuple[Any, Any] | None = None

    @contextmanager
    def taken(self) -> Iterator[None]:
        self._take()
        try:
            yield
        finally:
            self._give_back()

    @contextmanager
    def returned(self) -> Iterator[None]:
        self._give_back()
        try:
            yield
        finally:
            self._take()

    def _take(self) -> None:
        _IN_PYSWARMS.acquire()
        self._users = mtrand.get_bit_generator(), mtrand.get_state(legacy=False)
        mtrand.set_bit_generator(self._private)

    def _give_back(self) -> None:
        if self._users is not None:
            bit_generator, state = self._users
            mtrand.set_bit_generator(bit_generator)
            mtrand.set_state(state)  # swapping bit generators drops a cached Gaussian
            self._users = None
            _IN_PYSWARMS.release()


@contextmanager
def _silent_reporter() -> Iterator[None]:
    """Keep pyswarms from opening report.log and configuring logging, for this construction only; holds the lock."""
    reporter = _load_reporter_class()
    configure = reporter._setup_logger
    reporter._setup_logger = lambda self, path=None: None
    try:
        yield
    finally:
        reporter._setup_logger = configure


def _load_reporter_class() -> Any:
    """Load the Reporter before the rest of pyswarms, whose modules construct one while they are imported."""
    if _REPORTER not in sys.modules:
        package = importlib.util.find_spec("pyswarms")
        if package is None or not package.submodule_search_locations:
            raise ModuleNotFoundError(
                "optimizer 'pso' needs the library pyswarms, which is not installed: pip install 'labelstack[search]'.",
                name="pyswarms",
            )
        path = Path(package.submodule_search_locations[0], "utils", "reporter", "reporter.py")
        spec = importlib.util.spec_from_file_location(_REPORTER, path)
        if spec is None or spec.loader is None:
            raise ModuleNotFoundError(f"optimizer 'pso' needs pyswarms 1.3: {path} is not there; reinstall pyswarms.")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[_REPORTER] = module
    return sys.modules[_REPORTER].Reporter
