"""Compiled loops: all that numba touches, one stage a file."""
