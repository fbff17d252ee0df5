"""How the loops of this room are compiled: by numba, on first use, cached on disk."""

# mypy: ignore-errors

from stacking.kernels.numba_settings import load_numba

load_numba()

from numba import njit  # noqa: E402 - after the settings are safe


def _compile(kernel, **options):
    """Compile on first use, cached on disk; where nothing can be written, for this process only."""
    if not __name__.startswith("stacking."):  # under its second name (`labelstack._rooms`)
        # What numba caches imports the module by the name it was compiled under; the file is named by this.
        kernel.__qualname__ = f"renamed.{kernel.__qualname__}"
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


def fusing(kernel):
    """Compile with sums in any order, products fused into sums, and reciprocals in place of divisions."""
    return _compile(kernel, fastmath={"reassoc", "nsz", "contract", "arcp"})
