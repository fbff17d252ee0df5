"""Validation of everything a caller or an objective hands to this package; errors say what to do."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from optimizers._simplex import FloatArray
from optimizers.registry import nearest_name

RandomState = int | np.random.Generator | None

_ON_SIMPLEX = 1e-6  # how far a caller's weights, such as printed ones, may be from the simplex; a choice, dimensionless


def check_positive_int(name: str, value: object, minimum: int = 1) -> int:
    """Return `value` as an int of at least `minimum`."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}: got {value!r}.")
    return int(value)


def check_number(name: str, value: object, *, low: float, high: float = np.inf, open_low: bool = False) -> float:
    """Return `value` as a finite float in [low, high], or (low, high] with `open_low`."""
    number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not number or not np.isfinite(value) or not low <= value <= high or (open_low and value == low):  # type: ignore[call-overload, operator]
        bracket = "(" if open_low else "["
        raise ValueError(f"{name} must be a finite number in {bracket}{low:g}, {high:g}]: got {value!r}.")
    return float(value)  # type: ignore[arg-type]


def check_random_state(random_state: RandomState) -> np.random.Generator:
    """Make a generator of a seed; a generator is used as it is."""
    seed = isinstance(random_state, int | np.integer) and not isinstance(random_state, bool) and random_state >= 0
    is_generator = isinstance(random_state, np.random.Generator | np.random.RandomState)
    if random_state is not None and not seed and not is_generator:
        raise ValueError(
            f"random_state must be a non-negative integer, a numpy.random.Generator or None: got {random_state!r}."
        )
    return np.random.default_rng(random_state)


def check_objective(objective: object) -> None:
    """Raise where the objective cannot be called."""
    if not callable(objective):
        raise TypeError(
            "objective must be callable, taking candidates (k, n_dimensions) and returning losses (k,): "
            f"got {type(objective).__name__}."
        )


def check_initial(initial: object, n_dimensions: int) -> FloatArray:
    """Return the caller's warm starts as a fresh array (k, n_dimensions) of weights on the simplex."""
    if initial is None:
        return np.empty((0, n_dimensions))
    starts = np.array(initial, dtype=np.float64, ndmin=2)
    if starts.ndim != 2 or starts.shape[1] != n_dimensions:
        raise ValueError(
            f"initial must have shape (k, {n_dimensions}), one weight per dimension: got shape {starts.shape}; "
            "stack warm starts as rows."
        )
    off = ~(np.isfinite(starts).all(axis=1) & (starts >= -_ON_SIMPLEX).all(axis=1))
    off |= ~(np.abs(starts.sum(axis=1) - 1.0) <= _ON_SIMPLEX)
    if off.any():
        row = int(np.argmax(off))
        raise ValueError(
            f"initial must hold weights that are not negative and sum to one: row {row} is {starts[row].tolist()}; "
            "divide weights by their sum."
        )
    starts = np.maximum(starts, 0.0)
    return starts / starts.sum(axis=1, keepdims=True)


def check_options(optimizer: str, options: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raise at the first option the optimizer does not take."""
    names = list(known)
    for option in options:
        if option not in names:
            near = nearest_name(option, names)
            takes = ", ".join(map(repr, sorted(names))) or "none"
            hint = f"did you mean {near!r}?" if near else f"choose one of {takes}."
            raise TypeError(f"optimizer {optimizer!r} takes no option {option!r}: {hint}")


def check_losses(losses: object, candidates: FloatArray) -> FloatArray:
    """Return an objective's answer as float64 (k,): +inf is allowed (never chosen), NaN and -inf are errors."""
    values = np.asarray(losses, dtype=np.float64)
    if values.shape != (len(candidates),):
        raise ValueError(
            "objective must return one loss per candidate, "
            f"shape ({len(candidates)},) for candidates {candidates.shape}: got shape {values.shape}."
        )
    bad = np.isnan(values) | (values == -np.inf)
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"objective must return finite losses, or +inf for a candidate that must not be chosen: got {values[row]} "
            f"for weights {candidates[row].tolist()}."
        )
    return values
