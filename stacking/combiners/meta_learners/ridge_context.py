"""Ridge over all labels, then logistic regression per label on own logits and the ridge's answer.

What a member says about *other* labels tells much about this one: labels depend on each other, and members confuse
them in the same way. The ridge gathers that into one number per label; the logistic regression weighs it against the
members' own logits. The ridge's answers for the fitting rows are cross-fitted, or the second stage would trust them
too much.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from stacking._earlier_names import Renamed
from stacking._typing import DoubleArray, FloatArray
from stacking.combiners.meta_learners.batched_logistic import LogisticPenalty
from stacking.combiners.meta_learners.blocked_stacker import BlockedStacker
from stacking.combiners.meta_learners.held_out_stages import FittedPass, fit_pass, with_answers
from stacking.combiners.meta_learners.logit_stacker import fit_on_logits
from stacking.combiners.meta_learners.pooled_logits import fit_pool_weights, pool_logits, read_pool_weights
from stacking.combiners.meta_learners.ridge_stage import FittedRidge, apply_ridge, fit_ridge_stage, ridge_bytes
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.combiners.registry import register_method
from stacking.combiners.shared_fits import shared_stage
from stacking.process.progress import steps

PENALTIES, MANY_ROWS = (10.0, 100.0, 300.0), 100
"""Candidates of ``penalty="auto"``, and the rows per coefficient of a label's own logits from which it is the first.
Chosen on generated sets of two seeds; on nine of two others (500 to 1,000 rows, 6 to 40 models) the choice was worth
.0085 of micro-F1 to `label-context` and .0082 to `ridge-context` over 10; five of real photos and of the simulated
contest (300 rows) keep to 10 or score the same."""


@register_method("ridge-context", "ridge over all labels, then logistic per label", kind="meta", cost=3.0)
class RidgeContext(BlockedStacker):
    """Weigh what the members say about a label against what they say about all labels.

    Best where rows are many compared to labels (a few times as many); each label takes the ridge strength that
    predicts its held-out rows best, so that a label to which no other is related falls back to its own logits.

    Parameters
    ----------
    penalty : float or "auto", default "auto"
        Strength of the draw of the logistic coefficients to the pooled ones; ``"auto"`` takes the one of `PENALTIES`
        with the lowest cross-fitted log loss on the members' own logits, and the first where rows are many.
    n_folds : int, default 5
        Inner folds for the ridge's held-out answers.
    max_rows : int or None, default 100_000
        Fit on a random sample where there are more rows.
    random_state : int, Generator or None, default 0
        Draws the sample and the folds.

    Attributes
    ----------
    pool_weights_ : ndarray of float64, shape (n_models,)
        Weights of the members in the pooled logits, on the simplex.
    ridge_ : ndarray of float64, shape (n_labels + 1, n_labels) or (n_labels + 1, n_samples + 1)
        Weights on the pooled logits, intercepts in the last row; with fewer rows than labels they lead to the rows.
    ridge_outputs_ : ndarray of float64, shape (0, n_labels) or (n_samples + 1, n_labels)
        Weights from there to the labels; empty where `ridge_` leads to them.
    coefficients_ : ndarray of float64, shape (n_labels, n_models + 2)
        Second stage: members' logits, the ridge's answer, intercept.
    constant_labels_ : ndarray of bool, shape (n_labels,)
        Labels with one class in the fitting rows: they get the smoothed frequency.
    n_rows_fitted_ : int
        Rows used.
    fallback_report_ : dict
        Shares of labels and of positives that got their frequency, in [0, 1].

    Notes
    -----
    O(n_samples · n_labels² + n_labels³ + n_samples · n_labels · n_models²), with fewer rows than labels
    O(n_samples² · n_labels + n_samples · n_labels · n_models²); memory O(n_models · n_samples · n_labels) and, with
    more rows than labels, O(n_folds · n_labels²). Above 1,500 labels block by block,
    linear in the labels: see `BlockedStacker`, whose attributes a fit then has.

    References
    ----------
    L. Breiman, J. H. Friedman, "Predicting multivariate responses in multiple linear regression", JRSS B 59, 1997.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y_true = rng.integers(0, 2, (60, 2))
    >>> RidgeContext().fit(rng.random((3, 60, 2)), y_true).ridge_.shape
    (3, 2)
    """

    method: ClassVar[str] = "ridge-context"

    pool_weights_: DoubleArray
    fusing_ = Renamed("pool_weights_")
    ridge_: DoubleArray
    ridge_outputs_: DoubleArray

    def __init__(
        self,
        penalty: float | Literal["auto"] = "auto",
        n_folds: int = 5,
        max_rows: int | None = 100_000,
        random_state: int | np.random.Generator | None = 0,
    ) -> None:
        super().__init__(penalty, n_folds, max_rows, random_state)

    def _fit_rows(self, rows: TrainingRows, strengths: tuple[float, ...], *, wants_scores: bool) -> DoubleArray:
        """Choose the penalty where rows are few, fit all stages."""
        if self.penalty == "auto":
            many = len(rows.y_true) >= MANY_ROWS * (len(rows.logits) + 1)
            strengths = PENALTIES[:1] if many or not rows.fold_masks else PENALTIES
        return super()._fit_rows(rows, strengths, wants_scores=wants_scores)

    def _fit_stages(self, rows: TrainingRows, penalty: LogisticPenalty, *, wants_scores: bool) -> DoubleArray:
        """Fit the ridge, then the regressions on its answers, which may not speak against their labels."""
        with steps({"ridge": 1.0, "regressions": 1.0 + wants_scores * len(rows.fold_masks)}) as begin:
            begin("ridge")
            context = self._fit_ridge(rows)[1].held_out
            begin("regressions")
            if not wants_scores:
                self.coefficients_ = fit_on_logits(rows, [context], with_answers(penalty, len(rows.logits), 1))
                return np.empty((0, rows.y_true.shape[1]))
            fitted = fit_first_pass(rows, context, penalty)
            self.coefficients_ = fitted.coefficients
            return fitted.held_out

    def _features(self, logits: FloatArray) -> list[npt.NDArray[Any]]:
        """Return the ridge's answers."""
        return [self._apply_ridge(logits)[1]]

    def _fit_ridge(self, rows: TrainingRows) -> tuple[DoubleArray, FittedRidge]:
        """Fit the ridge; return the pooled logits and what it was."""

        def fit() -> tuple[DoubleArray, DoubleArray, FittedRidge]:
            weights = fit_pool_weights(rows)
            pooled = pool_logits(rows.logits, rows.usable, weights)
            return weights, pooled, fit_ridge_stage(pooled, rows)

        self.pool_weights_, pooled, ridge = shared_stage(rows, "ridge", fit)
        self.ridge_, self.ridge_outputs_ = ridge.weights, ridge.outputs
        return pooled, ridge

    def _apply_ridge(self, logits: FloatArray) -> tuple[DoubleArray, DoubleArray]:
        """Return the pooled logits and the ridge's answers."""
        pooled = pool_logits(logits, self.covers_.T, self.pool_weights_)
        return pooled, apply_ridge(pooled, self.ridge_, self.ridge_outputs_)

    def _added_bytes(self, n_rows: int, n_labels: int) -> float:
        """Count the ridge's matrices."""
        return ridge_bytes(n_rows, n_labels, self.n_folds)

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild the stacker; earlier versions weighed all members alike and solved every ridge among the labels."""
        if "members" in values:
            return super()._from_state(values, arrays, texts)
        earlier = {"ridge_outputs_": np.empty((0, arrays["covers_"].shape[-1]))}
        return super()._from_state(values, {**earlier, **read_pool_weights(arrays)}, texts)


def fit_first_pass(rows: TrainingRows, context: DoubleArray, penalty: LogisticPenalty) -> FittedPass:
    """Fit each label's regression on its members' logits and the ridge's answer.

    Parameters
    ----------
    rows : TrainingRows
        Logits, truth, weights and folds.
    context : ndarray of float64, shape (n_samples, n_labels)
        The ridge's cross-fitted answers for these rows.
    penalty : LogisticPenalty
        Strength of the penalty.

    Returns
    -------
    FittedPass
        The fit and its held-out answers.
    """
    return shared_stage(rows, ("first pass", penalty), lambda: fit_pass(rows, [context], penalty))
