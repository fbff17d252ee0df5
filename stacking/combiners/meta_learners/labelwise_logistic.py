"""Logistic regression per label on the members' logits for that label (Wolpert 1992)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray, FloatArray
from stacking.combiners.meta_learners.batched_logistic import LogisticPenalty
from stacking.combiners.meta_learners.logit_stacker import LogitStacker, choose_penalty, cross_fit_logits, fit_on_logits
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.combiners.registry import register_method
from stacking.process.progress import steps


@register_method("logistic", "logistic regression per label on its own logits", kind="meta", cost=3.0)
class LabelwiseLogistic(LogitStacker):
    """Learn, label by label, how to weigh and shift the members' logits.

    Adapts each label to the frequency in the fitting rows (label shift), mixes the members and calibrates, and knows
    no other label. Labels with few positives are drawn to the coefficients pooled over all labels. Assumes that the
    log odds are linear in the members' logits.

    Parameters
    ----------
    penalty : float or "auto", default "auto"
        Strength of the draw to the pooled coefficients, dimensionless; ``"auto"`` takes the one of 1, 30, 1000
        with the lowest cross-fitted log loss.
    n_folds : int, default 3
        Folds for that choice.
    max_rows : int or None, default 100_000
        Fit on a random sample where there are more rows.
    random_state : int, Generator or None, default 0
        Draws the sample and the folds.

    Attributes
    ----------
    coefficients_ : ndarray of float64, shape (n_labels, n_models + 1)
        For logits, intercept last; 0 where a member does not cover the label.
    penalty_ : float
        The strength used.
    constant_labels_ : ndarray of bool, shape (n_labels,)
        Labels with one class in the fitting rows: they get the smoothed frequency, whatever the members say.
    n_rows_fitted_ : int
        Rows used.
    fallback_report_ : dict
        Shares of labels and of positives that got their frequency, in [0, 1].

    Notes
    -----
    O(n_samples · n_labels · n_models²) per Newton step; all labels at once. An absent member is guessed from the
    others.

    References
    ----------
    D. H. Wolpert, "Stacked generalization", Neural Networks 5, 1992.

    Examples
    --------
    >>> scores = [[[0.2], [0.7], [0.4], [0.9]]]
    >>> stacker = LabelwiseLogistic(penalty=1.0).fit(scores, [[0], [1], [0], [1]])
    >>> stacker.predict_proba(scores)[:, 0].argmax().item()
    3
    """

    method: ClassVar[str] = "logistic"

    penalty_: float

    def __init__(
        self,
        penalty: float | Literal["auto"] = "auto",
        n_folds: int = 3,
        max_rows: int | None = 100_000,
        random_state: int | np.random.Generator | None = 0,
    ) -> None:
        super().__init__(penalty, n_folds, max_rows, random_state)

    def _n_folds(self, strengths: tuple[float, ...]) -> int:
        """Return the folds to choose the penalty by, one where it is given."""
        return self.n_folds if len(strengths) > 1 else 1

    def _fit_rows(self, rows: TrainingRows, strengths: tuple[float, ...], *, wants_scores: bool) -> DoubleArray:
        """Choose the penalty; its held-out answers are those that are wanted, as nothing is added to the logits."""
        if len(strengths) == 1 or not rows.fold_masks:
            return super()._fit_rows(rows, strengths, wants_scores=wants_scores)
        with steps({"penalty": float(len(strengths) * len(rows.fold_masks)), "fit on all rows": 1.0}) as begin:
            begin("penalty")
            strength, held_out = choose_penalty(rows, strengths)
            begin("fit on all rows")
            self._fit_with(rows, strength, wants_scores=False)
        return held_out

    def _fit_stages(self, rows: TrainingRows, penalty: LogisticPenalty, *, wants_scores: bool) -> DoubleArray:
        """Fit the regressions on the logits alone, to which nothing is added; keep the strength."""
        self.penalty_ = penalty.strength
        with steps({"fit on all rows": 1.0, "held-out scores": float(wants_scores * len(rows.fold_masks))}) as begin:
            begin("fit on all rows")
            self.coefficients_ = fit_on_logits(rows, [], penalty)
            if not wants_scores:
                return np.empty((0, rows.y_true.shape[1]))
            begin("held-out scores")
            return cross_fit_logits(list(rows.logits), rows, rows.usable, penalty, start=self.coefficients_)

    def _features(self, logits: FloatArray) -> list[npt.NDArray[Any]]:
        """Add nothing."""
        return []
