"""What all scores of a row say together about all its labels: a generative law, asked by Gibbs sampling.

The pooled logits z of a row are taken as normal around m + d ∘ y with one covariance C (linear discriminant analysis
over label vectors). Their evidence is then h·y + ½ yᵀ J y with h = d ∘ C⁻¹ (z − m) − ½ d² ∘ diag C⁻¹ and J = −diag(d)
C⁻¹ diag(d) off the diagonal. To h come what a label's own members say beyond their pooled logit, by logistic
regression: where a noise shared by several labels explains a high logit, the logit counts less. A dependency network
adds what the labels say about each other. Marginals come from Gibbs sampling (S. Geman, D. Geman, IEEE PAMI 6, 1984).
The law is right where members err by additive noise and badly wrong for some real networks, whose errors depend on the
labels; so it serves as one feature only, and only where held-out rows show that it helps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray
from stacking.combiners.meta_learners.batched_logistic import apply_logistic, fit_logistic
from stacking.combiners.meta_learners.dependency_network import DependencyNetwork
from stacking.combiners.meta_learners.logit_stacker import logit_penalty
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.links import logit

N_SWEEPS, N_DISCARDED = 150, 30
"""Sweeps of the sampler, and how many of the first are forgotten: 120 conditional probabilities are averaged."""

_PENALTY = 10.0
"""The default of the stackers on logits."""

_SURE_ENOUGH = 10.0
"""Weight of positives and negatives, as a sum of squares around the frequency, at which a label's own shift counts
half. The other half is the shift of a calibrated logit, its variance: for log odds with normal noise, d = σ²."""

_NEVER = -30.0
"""Log odds of a label without a positive."""


@dataclass(frozen=True)
class LabelPosterior:
    """A fitted law.

    Attributes
    ----------
    own : ndarray of float64, shape (n_labels, n_models + 1)
        Logistic regression of each label on its members' logits, intercept last: what its own scores say.
    pooled : ndarray of float64, shape (n_labels, 2)
        The same on the pooled logit: it gives z, in which all labels weigh the members alike.
    fields : ndarray of float64, shape (n_labels + 1, n_labels)
        From z to each label's log odds where all others are absent; constants in the last row.
    couplings : ndarray of float64, shape (n_labels, n_labels)
        What the presence of a label (row) adds to the log odds of the others; 0 on the diagonal.
    """

    own: DoubleArray
    pooled: DoubleArray
    fields: DoubleArray
    couplings: DoubleArray

    def log_odds(self, logits: npt.NDArray[np.floating], pooled: npt.NDArray[np.floating]) -> DoubleArray:
        """Sample the labels of each row; give their marginal log odds.

        Parameters
        ----------
        logits : ndarray, shape (n_models, n_samples, n_labels)
            The members' logits.
        pooled : ndarray, shape (n_samples, n_labels)
            Their weighted mean.

        Returns
        -------
        ndarray of float64, shape (n_samples, n_labels)
            Within ±11.5, a probability of 1e-5 from either end.
        """
        from stacking.kernels.gibbs import gibbs_marginals

        z = apply_logistic([pooled], self.pooled)
        fields = z @ self.fields[:-1] + self.fields[-1] + (apply_logistic(list(logits), self.own) - z)
        marginals = np.empty(fields.shape, np.float32)
        couplings = np.ascontiguousarray(self.couplings, dtype=np.float32)
        gibbs_marginals(np.ascontiguousarray(fields, np.float32), couplings, N_SWEEPS, N_DISCARDED, marginals)
        return logit(np.clip(marginals, 1e-5, 1.0 - 1e-5)).astype(np.float64)


def fit_label_posterior(
    rows: TrainingRows, pooled: DoubleArray, network: DependencyNetwork, *, start: LabelPosterior | None = None
) -> LabelPosterior:
    """Estimate the law of the logits given the labels.

    Parameters
    ----------
    rows : TrainingRows
        Logits, truth and weights.
    pooled : ndarray of float64, shape (n_samples, n_labels)
        Pooled logits.
    network : DependencyNetwork
        Fitted on the same rows.
    start : LabelPosterior, optional
        Of nearly the same rows: where its regressions begin.

    Returns
    -------
    LabelPosterior
        O(n_samples · n_labels² + n_labels³).

    References
    ----------
    J. Schäfer, K. Strimmer, "A shrinkage approach to large-scale covariance matrix estimation", Statistical
    Applications in Genetics and Molecular Biology 4, 2005: the covariance.
    """
    truth = rows.y_true
    penalty = logit_penalty(_PENALTY, len(rows.logits))
    own = fit_logistic(
        list(rows.logits),
        truth,
        weight=rows.weight,
        usable=rows.usable,
        penalty=penalty,
        start=None if start is None else start.own,
    )
    alone = fit_logistic(
        [pooled],
        truth,
        weight=rows.weight,
        penalty=logit_penalty(_PENALTY, 1),
        start=None if start is None else start.pooled,
    )
    z = apply_logistic([pooled], alone)
    weight = np.ones_like(z) if rows.weight is None else rows.weight
    total = np.maximum(weight.sum(axis=0), 1e-12)
    means, share = (weight * z).sum(axis=0) / total, (weight * truth).sum(axis=0) / total
    centered, truth = z - means, truth - share
    size = np.maximum((weight * truth**2).sum(axis=0), 1e-9)
    shift = (weight * centered * truth).sum(axis=0) / size
    variance = (weight * (centered - truth * shift) ** 2).sum(axis=0) / total + 1e-6
    trust = size / (size + _SURE_ENOUGH)
    shift = trust * shift + (1.0 - trust) * variance
    precision = np.linalg.inv(_shrunk_covariance((centered - truth * shift) * np.sqrt(weight), total))
    base = means - share * shift
    fields = precision * shift
    level = network.weights[-1] - base @ fields - 0.5 * shift**2 * np.diag(precision)
    couplings = network.weights[:-1] - shift[:, None] * fields
    np.fill_diagonal(couplings, 0.0)
    fields[:, rows.one_class], couplings[:, rows.one_class] = 0.0, 0.0
    level[rows.one_class] = np.where(share[rows.one_class] > 0.5, -_NEVER, _NEVER)
    return LabelPosterior(own, alone, np.concatenate([fields, level[None]]), couplings)


def _shrunk_covariance(residuals: DoubleArray, total: DoubleArray) -> DoubleArray:
    """Return the covariance, its correlations drawn to 0 as far as they are noise (Schäfer & Strimmer, eq. 8)."""
    n = max(float(total.max()), 2.0)
    scales = np.sqrt((residuals**2).sum(axis=0) / total) + 1e-6
    units = residuals / scales
    correlations = units.T @ units / n
    squares = units**2
    noise = (squares.T @ squares / n - correlations**2) / n
    others = ~np.eye(len(correlations), dtype=bool)
    share = float(np.clip(noise[others].sum() / max((correlations[others] ** 2).sum(), 1e-12), 0.0, 1.0))
    shrunk = (1.0 - share) * correlations
    np.fill_diagonal(shrunk, 1.0)
    return np.asarray(shrunk * np.outer(scales, scales))
