"""How the loops of this room are run: by numpy while there is little to do, compiled by numba once there is more.

To compile a loop takes half a second to three, in a fresh environment ten
seconds for a first small fit; numpy gives the same answers for a few thousand cells in milliseconds. So a loop that has a twin in ``stacking/kernels/in_numpy`` is
first answered by that. **Both give the same bits**, so that it does not matter to any result which of them ran, nor
that the clock decides. A loop without a twin is compiled at its first call, as is one that is called with large arrays.

This module loads no numba before a loop is compiled.
"""

# mypy: ignore-errors

import functools
import importlib.util
import threading
import time

import numpy as np

PATIENCE = 1.0
"""CPU seconds that a loop's twin may take altogether before the loop is compiled: about what compiling takes, so that
both together take at most twice the shorter way. Only speed depends on this and the next four."""

LONG_PATIENCE = 4.0
"""The same for the loops that take that long to compile."""

PATIENCE_WHERE_CACHED = 0.03
"""The same where the loop has been compiled by an earlier process: about what reading the code from the disk takes."""

PATIENCE_WITHOUT_NUMBA = 0.3
"""Seconds that all twins may take before numba is loaded to look what has been compiled: about what that takes."""

MOST_NUMBERS = 2**24
"""Numbers of the largest array that a twin is called with: it makes copies, where the loop makes none."""

_LOCK = threading.RLock()


class NeedsCompiled(Exception):
    """Raised by a twin, before it has changed anything, where it cannot give the same bits as the loop."""


class Kernel:
    """A loop on plain arrays, answered by its twin in numpy until compiling it is worth while.

    Parameters
    ----------
    loop : function
        What numba compiles.
    patience : float, default `PATIENCE`
        CPU seconds that its twin may take.
    **options : object
        Options of ``numba.njit``.
    """

    seconds_of_all = 0.0

    def __init__(self, loop, patience=PATIENCE, **options):
        functools.update_wrapper(self, loop)
        self._loop, self._options, self._patience = loop, options, patience
        self._seconds = 0.0
        self._is_cached = None
        self._compiled = None

    def __call__(self, *given):
        """Answer, by whichever way."""
        if self._compiled is None:
            if self.twin is not None and self._is_patient(given):
                began = time.thread_time()
                try:
                    return self.twin(*given)
                except NeedsCompiled:
                    pass
                finally:
                    passed = time.thread_time() - began
                    self._seconds += passed
                    Kernel.seconds_of_all += passed
            self._compiled = self.dispatcher
        return self._compiled(*given)

    @functools.cached_property
    def twin(self):
        """The function of this name in the module of this name in ``in_numpy``; None where there is none."""
        package, _, module = self._loop.__globals__["__name__"].rpartition(".")
        name = f"{package}.in_numpy.{module}"
        if not package or importlib.util.find_spec(name) is None:
            return None
        return getattr(importlib.import_module(name), self.__name__, None)

    @functools.cached_property
    def dispatcher(self):
        """What numba makes of the loop: compiled at its first call, cached on disk."""
        with _LOCK:
            space = self._loop.__globals__
            for name, value in list(space.items()):
                # A loop calls helpers, and numba must see them as its own.
                if isinstance(value, Kernel) and (name.startswith("_") or value._loop.__globals__ is not space):
                    space[name] = value.dispatcher if value is not self else value._dispatch()
            return self._dispatch()

    def _dispatch(self):
        """Hand the loop to numba; where nothing can be written, it is compiled for this process only."""
        from stacking.kernels.numba_settings import load_numba

        load_numba()
        from numba import njit

        if not __name__.startswith("stacking."):  # under its second name (`labelstack._rooms`)
            # What numba caches imports the module by the name it was compiled under; the file is named by this.
            if not self._loop.__qualname__.startswith("renamed."):
                self._loop.__qualname__ = f"renamed.{self._loop.__qualname__}"
        try:
            return njit(cache=True, nogil=True, **self._options)(self._loop)
        except RuntimeError:  # numba: "no locator available"
            return njit(nogil=True, **self._options)(self._loop)

    def _is_patient(self, given):
        """Say whether the twin should answer once more."""
        if max(map(_size, given), default=0) > MOST_NUMBERS:
            return False
        if self._seconds < PATIENCE_WHERE_CACHED or Kernel.seconds_of_all < PATIENCE_WITHOUT_NUMBA:
            return True
        if self._is_cached is None:
            self._is_cached = _has_code(self.dispatcher, given)
        return not self._is_cached and self._seconds < self._patience


def _size(value):
    """Count the numbers of an array, or of the largest of several."""
    if isinstance(value, tuple):
        return max(map(_size, value), default=0)
    return value.size if isinstance(value, np.ndarray) else 1


def _has_code(dispatcher, given):
    """Say whether code for such arguments lies on the disk; numba has no public way to ask without compiling."""
    try:
        cache = dispatcher._cache
        key = cache._index_key(tuple(map(dispatcher.typeof_pyval, given)), dispatcher.targetctx.codegen())
        return key in cache._cache_file._load_index()
    except (AttributeError, OSError):
        return False


def compiled(kernel):
    """Compile with exact IEEE arithmetic: sums are made in the order written."""
    return Kernel(kernel)


def compiled_late(kernel):
    """Compile the same way, but with more patience: for loops that take seconds to compile."""
    return Kernel(kernel, LONG_PATIENCE)


def fusing(kernel):
    """Compile with sums in any order, products fused into sums, and reciprocals in place of divisions."""
    return Kernel(kernel, fastmath={"reassoc", "nsz", "contract", "arcp"})
