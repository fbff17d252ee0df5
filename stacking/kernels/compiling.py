"""How the loops of this room are compiled: by numba, on first use, cached on disk."""

# mypy: ignore-errors

from numba import njit


def _compile(kernel, **options):
    """Compile on first use, cached on disk; where nothing can be written, for this process only."""
    try:
        return njit(cache=True, nogil=True, **options)(kernel)
    except RuntimeError:  # numba: "no locator available"
        return njit(nogil=True, **options)(kernel)


def compiled(kernel):
    """Compile with exact IEEE arithmetic: sums are made in the order written."""
    return _compile(kernel)


def reassociating(kernel):
    """Compile with sums in any order, which lets them run in parallel lanes."""
    return _compile(kernel, fastmath={"reassoc", "nsz"})
