"""
One running search: the only way from a method to the objective.

A method proposes batches of weights; this object evaluates them, counts them, keeps the best, writes the history,
honors the budget and the caller's callback. So no method can lose its best iterate or miscount, and the file of each
method shows its published algorithm only.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from optimizers._checks import check_losses
from optimizers._simplex import FloatArray, default_starts, project_to_simplex

Objective = Callable[[FloatArray], FloatArray]
Callback = Callable[[int, float], bool | None]
_T = TypeVar("_T")

NOT_ALLOWED = 1e100  # stands for +inf inside the methods, whose sums and differences it survives


class SearchStopped(Exception):
    """Leave a method early: the budget is spent or the callback has asked to stop."""


@dataclass(frozen=True)
class SearchSetup:
    """
    Say where a search starts and when it must stop.

    Parameters
    ----------
    initial : ndarray of shape (k, n_dimensions)
        Warm starts on the simplex; k may be 0.
    use_default_starts : bool, default True
        Whether uniform weights and every single member are starts too.
    max_evaluations : int or None, default None
        Most candidates that may be evaluated; None leaves it to the method.
    callback : callable or None, default None
        Called after every batch with the number of evaluations and the best loss; a true answer stops the search.
    """

    initial: FloatArray
    use_default_starts: bool = True
    max_evaluations: int | None = None
    callback: Callback | None = None


class Search:
    """
    Evaluate candidates for a method, and remember the best one.

    Parameters
    ----------
    objective : callable
        Takes candidates (k, n_dimensions) on the simplex, returns losses (k,).
    n_dimensions : int
        Number of weights.
    rng : numpy.random.Generator
        The only source of randomness a method may use.
    setup : SearchSetup
        Warm starts, budget and callback.

    Attributes
    ----------
    best_weights : ndarray of shape (n_dimensions,)
        The best candidate so far; the first one seen among equals.
    best_loss : float
        Its loss.
    n_evaluations : int
        Candidates evaluated so far.
    history : list of (int, float)
        Evaluations and best loss after every batch.
    """

    def __init__(
        self, objective: Objective, n_dimensions: int, rng: np.random.Generator, setup: SearchSetup | None = None
    ) -> None:
        self.n_dimensions = n_dimensions
        self.rng = rng
        self.n_evaluations = 0
        self.best_loss = math.inf
        self.best_weights: FloatArray = np.full(n_dimensions, 1.0 / n_dimensions)
        self.history: list[tuple[int, float]] = []
        self.failure: Exception | None = None
        self._objective = objective
        self._setup = setup or SearchSetup(initial=np.empty((0, n_dimensions)))

    def evaluate_starts(self, max_members: int | None = None) -> tuple[FloatArray, FloatArray]:
        """
        Evaluate the starting candidates in one batch; a method calls this first.

        Parameters
        ----------
        max_members : int or None, default None
            Leaves out starts with more weights above zero than this.

        Returns
        -------
        starts : ndarray of shape (k, n_dimensions)
            Uniform, the singles, then the caller's; the latter only, if so asked.
        losses : ndarray of shape (k,)
            Their losses.

        Raises
        ------
        ValueError
            If the budget does not cover the starts.
        """
        starts = self._setup.initial
        if self._setup.use_default_starts:
            starts = np.concatenate([default_starts(self.n_dimensions), starts])
        if max_members is not None:
            starts = starts[np.count_nonzero(starts, axis=1) <= max_members]
        budget = self._setup.max_evaluations
        if budget is not None and len(starts) > budget:
            raise ValueError(
                f"max_evaluations must cover the {len(starts)} starting candidates (uniform, each single member, "
                f"initial): got {budget}; raise it, or pass use_default_starts=False with your own initial."
            )
        return starts, self.evaluate(starts)

    def evaluate(self, candidates: FloatArray) -> FloatArray:
        """
        Score a batch of weights and keep the best.

        Parameters
        ----------
        candidates : ndarray of shape (k, n_dimensions)
            Weights on the simplex.

        Returns
        -------
        ndarray of shape (k,)
            Losses, always finite: +inf from the objective becomes a number larger than any other.

        Raises
        ------
        ValueError
            If a candidate is off the simplex, or the objective's answer is NaN, -inf or of another shape.
        SearchStopped
            If the budget is spent or the callback asks to stop; let it pass.
        """
        candidates = np.ascontiguousarray(candidates, dtype=np.float64)
        self._check_on_simplex(candidates)
        if len(candidates) == 0:
            return np.empty(0)
        batch = candidates[: self._room()]
        losses = self._call(lambda: check_losses(self._objective(batch.copy()), batch))
        losses = np.minimum(losses, NOT_ALLOWED)
        self._record(batch, losses)
        if len(batch) < len(candidates):
            raise SearchStopped("max_evaluations reached")
        return losses

    def evaluate_projected(self, points: FloatArray) -> FloatArray:
        """
        Score free points at their Euclidean projections onto the simplex.

        Parameters
        ----------
        points : ndarray of shape (k, n_dimensions)
            Any finite numbers.

        Returns
        -------
        ndarray of shape (k,)
            Losses of the projections.
        """
        return self.evaluate(project_to_simplex(points))

    def value_and_gradient(self, weights: FloatArray) -> tuple[float, FloatArray]:
        """
        Ask the objective for the loss and its gradient at one candidate; counts as one evaluation.

        Parameters
        ----------
        weights : ndarray of shape (n_dimensions,)
            A point on the simplex.

        Returns
        -------
        value : float
            The loss.
        gradient : ndarray of shape (n_dimensions,)
            Its partial derivatives.

        Raises
        ------
        TypeError
            If the objective offers no `value_and_gradient`.
        ValueError
            If the gradient is not finite or has another shape.
        """
        self._check_on_simplex(weights[None])
        self._room()
        answer = getattr(self._objective, "value_and_gradient", None)
        if not callable(answer):
            raise TypeError(
                "objective must offer value_and_gradient(weights) -> (loss, gradient) for this optimizer: "
                f"{type(self._objective).__name__} does not; add it, or choose an optimizer without, such as 'cma-es'."
            )
        value, gradient = self._call(lambda: answer(weights.copy()))
        losses = np.minimum(check_losses(np.reshape(value, (1,)), weights[None]), NOT_ALLOWED)
        slope = np.asarray(gradient, dtype=np.float64)
        if slope.shape != (self.n_dimensions,) or not np.isfinite(slope).all():
            raise ValueError(
                f"objective.value_and_gradient must return a finite gradient of shape ({self.n_dimensions},): "
                f"got {slope.tolist()} for weights {weights.tolist()}."
            )
        self._record(weights[None], losses)
        return float(losses[0]), slope

    def found_allowed(self) -> bool:
        """
        Tell whether any candidate so far had a finite loss.

        Returns
        -------
        bool
            False while every loss was +inf.
        """
        return self.best_loss < NOT_ALLOWED

    def _room(self) -> int | None:
        """Tell how many candidates the budget still allows; None is no limit."""
        if self._setup.max_evaluations is None:
            return None
        room = self._setup.max_evaluations - self.n_evaluations
        if room <= 0:
            raise SearchStopped("max_evaluations reached")
        return room

    def _call(self, question: Callable[[], _T]) -> _T:
        """Ask the objective; an error of its own is kept, since some libraries wrap what passes through them."""
        try:
            return question()
        except Exception as error:
            self.failure = error
            raise

    def _record(self, batch: FloatArray, losses: FloatArray) -> None:
        """Count a batch, keep its best candidate if it beats the incumbent, tell the callback."""
        self.n_evaluations += len(batch)
        winner = int(np.argmin(losses))
        if losses[winner] < self.best_loss:
            self.best_loss = float(losses[winner])
            self.best_weights = batch[winner].copy()
        shown = self.best_loss if self.found_allowed() else math.inf
        self.history.append((self.n_evaluations, shown))
        callback = self._setup.callback
        if callback is not None and self._call(lambda: callback(self.n_evaluations, shown)):
            raise SearchStopped("stopped by the callback")

    def _check_on_simplex(self, candidates: FloatArray) -> None:
        """Hold methods, those registered from outside included, to the simplex."""
        if candidates.ndim != 2 or candidates.shape[1] != self.n_dimensions:
            raise ValueError(
                f"candidates must have shape (k, {self.n_dimensions}): the optimizer proposed shape {candidates.shape}."
            )
        sums = candidates.sum(axis=1)
        # 1e-9 is for the rounding of a sum; a caller's own weights (`_checks`) may have been printed and read again.
        if not ((candidates >= 0.0).all() and (np.abs(sums - 1.0) <= 1e-9).all()):
            raise ValueError(
                "candidates must be on the simplex: the optimizer proposed weights that are negative, not finite or do "
                "not sum to one; propose free points through evaluate_projected."
            )
