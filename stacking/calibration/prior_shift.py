"""Prior shift: correct scores of models trained on other label frequencies than those they now meet.

Assumes that the photos *of* a label look the same in both worlds and only its frequency differs. Then Bayes' rule
moves every odds by one factor per label. The new frequency is given, counted on annotated rows, or found without any
truth by expectation maximisation (Saerens, Latinne & Decaestecker, 2002).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from stacking._typing import DoubleArray
from stacking.calibration.calibrator import Calibrator
from stacking.named_arrays import AxisNames, align_by_name


class PriorShift(Calibrator):
    """Move each label's odds from the training frequency to the target's.

    Parameters
    ----------
    train_frequency : array of shape (n_labels,)
        Share of positives in the data the models were trained on, in [0, 1].
    target_frequency : array of shape (n_labels,), optional
        Share of positives where the scores will be used. By default it is counted on `y_true` if that is given to
        ``fit``, and otherwise estimated from the scores.
    n_iterations : int, default 200
        Most EM steps of that estimate.

    Attributes
    ----------
    target_frequency_ : ndarray of float64, shape (n_labels,)
        The frequency in force.
    shift_ : ndarray of float64, shape (n_labels,)
        What is added to each label's logits.

    Notes
    -----
    p′ = p·r / (p·r + (1 − p)·s) with r = π′/π and s = (1 − π′)/(1 − π). EM repeats π′ ← mean of p′, which climbs the
    likelihood of the unlabelled scores. It trusts the scores to be calibrated for `train_frequency`. Scores 0 and 1
    stay.

    References
    ----------
    M. Saerens, P. Latinne, C. Decaestecker, "Adjusting the outputs of a classifier to new a priori probabilities: a
    simple procedure", Neural Computation 14, 2002, equations 2.4 and 2.9.

    Examples
    --------
    >>> shift = PriorShift([0.5], target_frequency=[0.2]).fit([[0.5], [0.9]])
    >>> shift.transform([[0.5]]).round(2).tolist()
    [[0.20000000298023224]]
    """

    requires_truth = False

    target_frequency_: DoubleArray
    shift_: DoubleArray

    def __init__(self, train_frequency: Any, target_frequency: Any = None, n_iterations: int = 200) -> None:
        self.train_frequency = train_frequency
        self.target_frequency = target_frequency
        self.n_iterations = n_iterations

    def _fit(self, y_score: DoubleArray, y_true: DoubleArray | None, weight: DoubleArray) -> None:
        """Settle the target frequency."""
        old = self._check_frequency("train_frequency")
        total = weight.sum(axis=0)
        if self.target_frequency is not None:
            new = self._check_frequency("target_frequency")
        elif y_true is not None:
            new = ((y_true * weight).sum(axis=0) + 0.5) / (total + 1.0)
        else:
            new = _estimate_frequency(y_score, weight, old, self.n_iterations)
        self.target_frequency_ = new
        self.shift_ = np.log(new) - np.log1p(-new) - np.log(old) + np.log1p(-old)

    def _check_frequency(self, name: str) -> DoubleArray:
        """Return a parameter's frequencies in the order of the fitted labels, moved by 1e-6 where they are 0 or 1."""
        fitted = None if self.labels_ is None else AxisNames.of(self.labels_)
        (values,) = align_by_name({"label": ("the scores", fitted)}, **{name: getattr(self, name)})
        frequency = np.asarray(values, dtype=np.float64)
        if frequency.shape != (self.n_labels_,):
            raise ValueError(
                f"{name} must hold one value per label: got shape {frequency.shape} for {self.n_labels_} labels."
            )
        if not (frequency.min() >= 0 and frequency.max() <= 1):
            raise ValueError(f"{name} must be shares in [0, 1]: got {frequency.min()} to {frequency.max()}.")
        return np.clip(frequency, 1e-6, 1 - 1e-6)

    def _transform(self, y_score: DoubleArray) -> DoubleArray:
        """Multiply the odds."""
        return _shift_odds(y_score, self.shift_)


def _shift_odds(y_score: DoubleArray, shift: DoubleArray) -> DoubleArray:
    """Add `shift` to the logits of scores that may be 0 or 1."""
    raised = y_score * np.exp(shift)
    return np.divide(raised, raised + 1.0 - y_score, out=np.zeros_like(y_score), where=raised + 1.0 - y_score > 0)


def _estimate_frequency(y_score: DoubleArray, weight: DoubleArray, old: DoubleArray, n_iterations: int) -> DoubleArray:
    """Estimate the frequencies by EM, all labels at once."""
    total = np.maximum(weight.sum(axis=0), 1e-12)
    new = old.copy()
    for _ in range(n_iterations):
        shift = np.log(new) - np.log1p(-new) - np.log(old) + np.log1p(-old)
        found = np.clip((_shift_odds(y_score, shift) * weight).sum(axis=0) / total, 1e-6, 1 - 1e-6)
        moved = np.abs(found - new).max()
        new = found
        if moved < 1e-7:
            break
    return new
