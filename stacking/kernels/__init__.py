"""Compiled loops: all that numba touches, one stage a file."""

from stacking.kernels.numba_settings import load_numba

load_numba()
