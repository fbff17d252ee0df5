"""Fits that several methods have in common, made once: ``auto`` races what a comparison also scores by itself.

Fitting is deterministic (same seed, same result), so a fit that was made on the very same rows and folds with the same
parameters may stand for the next one, bit for bit; and so may a stage that the fits of several methods begin with.
Clocks run as if nothing were shared: what is recalled still counts the seconds that it took, so that every method's
cost is its own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sklearn.base import BaseEstimator

from stacking._typing import FloatArray, IndexArray
from stacking.process.memory import available_memory

if TYPE_CHECKING:
    from stacking.predictions import PredictionSet

MEMORY_SHARE = 0.25
"""Most of the available memory that fits may take together; what does not fit in is fitted again."""

Stage = TypeVar("Stage")

Fit = tuple[Any, FloatArray]
"""A fitted combiner and its held-out scores."""


@dataclass
class _Saving:
    """The seconds that recalling results has saved.

    Attributes
    ----------
    saved_cpu, saved_wall : float
        Seconds that recalled results took when they were made.
    """

    saved_cpu: float = field(default=0.0, kw_only=True)
    saved_wall: float = field(default=0.0, kw_only=True)

    def credit(self, cpu: float, wall: float) -> None:
        """Count a result that was recalled.

        Parameters
        ----------
        cpu, wall : float
            Seconds that it took when it was made.
        """
        self.saved_cpu += cpu
        self.saved_wall += wall


@dataclass
class SharedFits(_Saving):
    """Fits made so far, and the seconds that recalling them has saved.

    Attributes
    ----------
    wanted : frozenset
        Classes with their parameters that will be asked for more than once.
    room : float
        Bytes of held-out scores that may still be kept.
    fits : dict
        By class and parameters, predictions and folds: the fit and the CPU and wall seconds that it took.
    """

    wanted: frozenset[tuple[type, str]]
    room: float
    fits: dict[tuple[Any, ...], tuple[PredictionSet, Fit, float, float]] = field(default_factory=dict)

    def recall(
        self, combiner: BaseEstimator, predictions: PredictionSet, folds: IndexArray, fit: Callable[[], Fit]
    ) -> Fit:
        """Return an equal fit made before, or make it.

        Parameters
        ----------
        combiner : Combiner
            Unfitted.
        predictions : PredictionSet
            What it is fitted on.
        folds : ndarray of int, shape (n_samples,)
            The fold each row is held out in.
        fit : callable
            Makes the fit.

        Returns
        -------
        tuple of Combiner and ndarray of float32, shape (n_samples, n_labels)
            The fitted combiner with its held-out scores; not to be changed.
        """
        identity = _identify(combiner)
        if identity not in self.wanted:
            return fit()
        key = (*identity, id(predictions), folds.tobytes())
        if key in self.fits:
            _, made, cpu, wall = self.fits[key]
            self.credit(cpu, wall)
            return made
        cpu, wall = cpu_clock(), wall_clock()
        made = fit()
        if made[1].nbytes <= self.room:
            self.room -= made[1].nbytes
            # The predictions are kept too, so that no others can get their id.
            self.fits[key] = (predictions, made, cpu_clock() - cpu, wall_clock() - wall)
        return made


_SHARED: ContextVar[SharedFits | None] = ContextVar("stacking_shared_fits", default=None)


@contextmanager
def share_fits(combiners: Iterable[BaseEstimator]) -> Iterator[None]:
    """Make the fits of some combiners once for each set of rows and folds in this block.

    Parameters
    ----------
    combiners : iterable of Combiner
        Unfitted; none shares nothing, as is right under a time limit, where fits depend on how long others take.

    Yields
    ------
    None
        While fits are shared.
    """
    wanted = frozenset(identity for combiner in combiners if (identity := _identify(combiner)) is not None)
    available = available_memory()
    room = float("inf") if available is None else MEMORY_SHARE * available
    token = _SHARED.set(SharedFits(wanted, room) if wanted else None)
    try:
        yield
    finally:
        _SHARED.reset(token)


def shared_fits() -> SharedFits | None:
    """Return the fits of the block that this code runs in, if any.

    Returns
    -------
    SharedFits or None
        None outside of `share_fits`.
    """
    return _SHARED.get()


@dataclass
class _SharedStages(_Saving):
    """Stages made so far, by what they are made of; each may be what a further one is made of."""

    owners: dict[int, Any]
    made: dict[tuple[int, Hashable], tuple[Any, float, float]] = field(default_factory=dict)


_STAGES: ContextVar[_SharedStages | None] = ContextVar("stacking_shared_stages", default=None)


@contextmanager
def share_stages(predictions: PredictionSet) -> Iterator[None]:
    """Make once, in this block, what fits on these predictions have in common.

    Parameters
    ----------
    predictions : PredictionSet
        What is made of others, such as a part of their labels, is not shared.

    Yields
    ------
    None
        While stages are shared.
    """
    token = _STAGES.set(_SharedStages({id(predictions): predictions}))
    try:
        yield
    finally:
        _STAGES.reset(token)


def shared_stage(owner: object, name: Hashable, make: Callable[[], Stage]) -> Stage:
    """Return what an earlier fit has made of the same thing, or make it.

    Parameters
    ----------
    owner : object
        All that the stage is made of: the predictions of the block, or a stage that was made of them.
    name : hashable
        Of the stage, with every setting that changes it.
    make : callable
        Makes it.

    Returns
    -------
    object
        Not to be changed. Made anew outside of `share_stages` and for any other owner.
    """
    shared = _STAGES.get()
    if shared is None or id(owner) not in shared.owners:
        return make()
    key = (id(owner), name)
    if key in shared.made:
        made, cpu, wall = shared.made[key]
        shared.credit(cpu, wall)
        return cast("Stage", made)
    cpu, wall = cpu_clock(), wall_clock()
    made = make()
    shared.made[key] = (made, cpu_clock() - cpu, wall_clock() - wall)
    shared.owners[id(made)] = made
    return made


def cpu_clock() -> float:
    """Read the CPU seconds of this process and its finished children, with those that recalled results took.

    Returns
    -------
    float
        Seconds; only differences mean anything.
    """
    times = os.times()
    spent = time.process_time() + times.children_user + times.children_system
    return spent + sum(saving.saved_cpu for saving in _savings())


def wall_clock() -> float:
    """Read the wall clock, with the seconds that recalled results took.

    Returns
    -------
    float
        Seconds; only differences mean anything.
    """
    return time.monotonic() + sum(saving.saved_wall for saving in _savings())


def _savings() -> list[_Saving]:
    """Return what the blocks that this code runs in have saved."""
    return [saving for saving in (_SHARED.get(), _STAGES.get()) if saving is not None]


def _identify(combiner: BaseEstimator) -> tuple[type, str] | None:
    """Return what tells equal combiners; None where a parameter is no plain value, such as a generator."""
    parameters = combiner.get_params(deep=False)
    if not all(isinstance(value, str | int | float | bool | type(None)) for value in parameters.values()):
        return None
    return type(combiner), repr(sorted(parameters.items()))
