"""How much a cross-validated score owes to what was fitted: the part of its error that no resample of rows knows.

A bootstrap of the scored rows takes the decisions as given. On other rows other weights, thresholds and another
decision rule would have been fitted as well, and the score of what is fitted on all rows differs from the mean of the
folds'. Errors of folds are therefore not independent, and limits from rows alone are too narrow where a fit is unsteady
(Nadeau and Bengio; Bates, Hastie and Tibshirani).

Nested cross-validation holds the measure of it already. The inner folds of outer fold k are the whole procedure, choice
of the rule included, on the data without that fold. On the rows that both score, the difference D_k to the whole
procedure is free of the rows' own noise: what is left comes from the fits. This is the delete-a-group jackknife, whose
variance (K − 1)/K · Σ (D_k − mean D)² is on average not too small (Efron and Stein). A draw of the bootstrap gets
Σ z_k · sqrt((K − 1)/K) · (D_k − mean D) with the same standard normal z_k for all methods, so that differences stay
paired: two methods that move together owe their difference little.

References
----------
C. Nadeau and Y. Bengio, "Inference for the generalization error", Machine Learning 52, 2003.
S. Bates, T. Hastie, R. Tibshirani, "Cross-validation: what does it estimate and how well does it do it?", Journal of
the American Statistical Association 119, 2024.
B. Efron and C. Stein, "The jackknife estimate of variance", Annals of Statistics 9(3), 1981.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from optimizers._checks import check_random_state
from stacking._typing import DoubleArray
from stacking.metrics.counts import f1_score


def fit_deviations(scores_without: Sequence[float | None], fold_counts: npt.ArrayLike) -> DoubleArray:
    """Measure how the fits of each outer fold move a nested score.

    Parameters
    ----------
    scores_without : sequence of float or None, length n_folds
        Cross-fitted micro-F1 of the same procedure on the data without each outer fold; None where nothing could be
        held out there.
    fold_counts : array of shape (n_folds, 3)
        True positives, predicted positives and positives of the procedure in each outer fold.

    Returns
    -------
    ndarray of float64, shape (n_folds,)
        What each fold adds to the error, in micro-F1: the root of their sum of squares is its standard error, that of
        the rows aside. All 0 for fewer than two folds (a holdout, whose score is that of the very fit), and where a
        cross-fitted score is missing.

    Examples
    --------
    >>> fit_deviations([0.8, 0.9], [[4, 5, 5], [4, 5, 5]]).round(3).tolist()
    [-0.035, 0.035]
    """
    counts = np.asarray(fold_counts, dtype=np.float64)
    others = counts.sum(axis=0) - counts
    return deviations_of(scores_without, f1_score(others[:, 0], others[:, 1], others[:, 2]))


def deviations_of(scores_without: Sequence[float | None], scores_of_others: npt.ArrayLike) -> DoubleArray:
    """Measure the same by any metric.

    Parameters
    ----------
    scores_without : sequence of float or None, length n_folds
        As `fit_deviations` takes it.
    scores_of_others : array of shape (n_folds,)
        What the procedure scores on the rows outside each outer fold.

    Returns
    -------
    ndarray of float64, shape (n_folds,)
        As `fit_deviations` returns it.
    """
    n_folds = len(scores_without)
    if n_folds < 2 or any(score is None for score in scores_without):
        return np.zeros(n_folds)
    moved = np.asarray(scores_without, dtype=np.float64) - np.asarray(scores_of_others, dtype=np.float64)
    return np.asarray(np.sqrt((n_folds - 1) / n_folds) * (moved - moved.mean()))


def draw_fit_errors(deviations: npt.ArrayLike, *, n_bootstrap: int = 1000, random_state: int = 0) -> DoubleArray:
    """Draw what the fits add to the error of scores, all scores by the same draws.

    Parameters
    ----------
    deviations : array of shape (n_scores, n_folds)
        Of `fit_deviations`, on the same folds.
    n_bootstrap : int, default=1000
        Number of draws.
    random_state : int, default=0
        Seed.

    Returns
    -------
    ndarray of float64, shape (n_scores, n_bootstrap)
        To be added to each score's bootstrap draws.
    """
    moved = np.asarray(deviations, dtype=np.float64)
    draws: DoubleArray = check_random_state(random_state).standard_normal((n_bootstrap, moved.shape[1]))
    return moved @ draws.T
