"""Learning rates as pure functions of the step, so that a resumed run needs no scheduler state.

One-cycle follows Smith and Topin, Super-Convergence, 2018 (with cosine legs, as in fastai and torch); cosine restarts
follow Loshchilov and Hutter, SGDR, ICLR 2017, eq. 5. The plateau schedule needs the validation scores so far, which the
history holds, and reduces as torch's ``ReduceLROnPlateau`` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

START = 1 / 25
END = 1e-4


def learning_rate_factor(
    step: int,
    n_steps: int,
    schedule: str = "one-cycle",
    *,
    warmup: float = 0.25,
    first_cycle: int = 0,
    cycle_factor: float = 1.0,
) -> float:
    """Return the factor on the peak learning rate at a step.

    Parameters
    ----------
    step : int
        Number of the step, from 0.
    n_steps : int
        Number of all steps.
    schedule : {"one-cycle", "cosine", "constant", "plateau"}
        Shape. One-cycle rises from 1/25 over the warm-up and falls to 1e-4; cosine restarts; constant and plateau stay
        after the warm-up, and :func:`plateau_reduction` tells what becomes of the latter.
    warmup : float
        Share of ``n_steps`` over which the rate rises, in [0, 1).
    first_cycle : int
        Steps of the first cosine cycle; 0 takes all.
    cycle_factor : float
        Growth of the cycles, at least 1.

    Returns
    -------
    float
        In (0, 1].

    Examples
    --------
    >>> [round(learning_rate_factor(s, 100), 3) for s in (0, 25, 99)]
    [0.04, 1.0, 0.001]
    """
    n_warm = round(warmup * n_steps)
    if schedule == "one-cycle":
        if step < n_warm:
            return _cosine_leg(START, 1.0, step / max(1, n_warm))
        return _cosine_leg(1.0, END, (step - n_warm) / max(1, n_steps - n_warm))
    if step < n_warm:
        return (step + 1) / (n_warm + 1)
    if schedule in ("constant", "plateau"):
        return 1.0
    if schedule == "cosine":
        position, length = step - n_warm, first_cycle or max(1, n_steps - n_warm)
        while position >= length:
            position, length = position - length, max(1, round(length * cycle_factor))
        return _cosine_leg(1.0, END, position / length)
    raise ValueError(f"schedule must be one of one-cycle, cosine, constant, plateau: got {schedule!r}.")


def plateau_reduction(scores: Sequence[float], patience: int, factor: float) -> float:
    """Return what is left of the learning rate after epochs whose scores did not improve.

    Parameters
    ----------
    scores : sequence of float
        Validation score of every finished epoch, higher is better.
    patience : int
        Epochs without a better score that are borne; the next one reduces the rate.
    factor : float
        Factor of each reduction, in (0, 1).

    Returns
    -------
    float
        A power of `factor`.

    Examples
    --------
    >>> plateau_reduction([0.4, 0.5, 0.5, 0.3], patience=1, factor=0.5)
    0.5
    """
    best, n_bad, reduction = -math.inf, 0, 1.0
    for score in scores:
        best, n_bad = (score, 0) if score > best else (best, n_bad + 1)
        if n_bad > patience:
            reduction, n_bad = reduction * factor, 0
    return reduction


def _cosine_leg(start: float, end: float, share: float) -> float:
    """Go from start to end along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
