"""Twins in numpy of the loops that a first small fit runs, bit for bit; `stacking.kernels.compiling` says when they run.

A twin has the name and the arguments of its loop and makes every sum in the same order: ``cumsum`` adds one number after
the other, ``sum`` does not. Logarithms are those of ``math``, which are the compiled ones; numpy's differ in the last bit.
"""
