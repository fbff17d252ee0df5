"""Linear regressions between labels: what the scores of all labels say about one.

Two regressions, both in closed form from one matrix of cross products and for all labels at once. The *ridge*
predicts each label's truth from the pooled logits of all labels. The *joint* regression works on pooled logits M and
truths Y together: the inverse Ω of their joint covariance holds every conditional regression (the Gaussian graphical
model: Lauritzen, "Graphical Models", 1996, prop. 5.2: the regression of variable i on all others has coefficients
−Ω_ij/Ω_ii). From it come, for label l, how far its own logit departs from what the other logits and truths explain,
and how likely the label is given the other labels' logits and truths. At prediction the unknown truths are replaced
by probabilities (mean field).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stacking._typing import DoubleArray


@dataclass(frozen=True)
class Moments:
    """First and second moments of rows; those of disjoint rows add up.

    Attributes
    ----------
    total : float
        Sum of the row weights.
    sums : ndarray of float64, shape (n_columns,)
        Weighted column sums.
    products : ndarray of float64, shape (n_columns, n_columns)
        Weighted cross products.
    """

    total: float
    sums: DoubleArray
    products: DoubleArray

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.total + other.total, self.sums + other.sums, self.products + other.products)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.total - other.total, self.sums - other.sums, self.products - other.products)

    @property
    def means(self) -> DoubleArray:
        """Return the weighted column means."""
        return self.sums / max(self.total, 1e-12)

    @property
    def scales(self) -> DoubleArray:
        """Return the columns' standard deviations, 1 for constant columns."""
        # One positive in a million rows is a variance of 1e-6; below 1e-12 there is rounding only.
        variance = np.diag(self.products) / max(self.total, 1e-12) - self.means**2
        return np.where(variance > 1e-12, np.sqrt(np.maximum(variance, 1e-12)), 1.0)

    def standardized(self) -> DoubleArray:
        """Give the cross products of centered columns of unit spread; a constant column is all 0.

        Returns
        -------
        ndarray of float64, shape (n_columns, n_columns)
            The diagonal is the total weight.
        """
        centered = self.products - np.outer(self.sums, self.means)
        variance = np.diag(self.products) / max(self.total, 1e-12) - self.means**2
        centered /= np.outer(self.scales, self.scales)
        constant = variance <= 1e-12
        centered[constant] = 0.0
        centered[:, constant] = 0.0
        return centered


def measure_moments(columns: DoubleArray, row_weight: DoubleArray | None = None) -> Moments:
    """Sum up rows.

    Parameters
    ----------
    columns : ndarray of float64, shape (n_samples, n_columns)
        The rows.
    row_weight : ndarray of float64, shape (n_samples,), optional
        Weights of the rows.

    Returns
    -------
    Moments
        Additive over disjoint rows. O(n_samples · n_columns²).
    """
    if row_weight is None:
        return Moments(float(len(columns)), columns.sum(axis=0), columns.T @ columns)
    weighted = columns * row_weight[:, None]
    return Moments(float(row_weight.sum()), weighted.sum(axis=0), weighted.T @ columns)


def ridge_weights(moments: Moments, n_inputs: int, strengths: tuple[float, ...]) -> DoubleArray:
    """Solve ridge regressions of the last columns on the first, for several strengths at the cost of one.

    Parameters
    ----------
    moments : Moments
        Of the inputs followed by the targets.
    n_inputs : int
        How many columns are inputs.
    strengths : tuple of float
        Ridge strengths λ on standardized inputs.

    Returns
    -------
    ndarray of float64, shape (n_strengths, n_inputs, n_targets)
        Weights for standardized inputs and targets.
    """
    products = moments.standardized()
    values, vectors = np.linalg.eigh(products[:n_inputs, :n_inputs])
    # X'X = V diag(values) V': one decomposition serves every strength. Rounding may leave an eigenvalue below 0.
    turned = vectors.T @ products[:n_inputs, n_inputs:]
    return np.stack([vectors @ (turned / (np.maximum(values, 0.0) + s)[:, None]) for s in strengths])


@dataclass(frozen=True)
class JointRegression:
    """Conditional regressions among pooled logits and truths, for standardized columns.

    Attributes
    ----------
    to_truth : ndarray of float64, shape (2 · n_labels, n_labels)
        Weights that predict truth l from all logits (upper half) and the other truths (lower half).
    to_logit : ndarray of float64, shape (2 · n_labels, n_labels)
        Weights that predict logit l from the other logits and the other truths.
    """

    to_truth: DoubleArray
    to_logit: DoubleArray

    def features(self, logits: DoubleArray, truths: DoubleArray) -> tuple[DoubleArray, DoubleArray, DoubleArray]:
        """Give what a label's context says, for standardized columns.

        Parameters
        ----------
        logits : ndarray of float64, shape (n_samples, n_labels)
            Standardized pooled logits.
        truths : ndarray of float64, shape (n_samples, n_labels)
            Standardized truths or probabilities.

        Returns
        -------
        surprise : ndarray of float64, shape (n_samples, n_labels)
            Own logit minus what its context explains of it.
        from_logits, from_truths : ndarray of float64, shape (n_samples, n_labels)
            The two parts of the prediction of the own truth.
        """
        n_labels = logits.shape[1]
        surprise = logits - logits @ self.to_logit[:n_labels] - truths @ self.to_logit[n_labels:]
        return (surprise, *self.answers(logits, truths))

    def answers(self, logits: DoubleArray, truths: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
        """Give the two parts of the prediction of the own truth alone, at half the cost of `features`.

        Parameters
        ----------
        logits, truths : ndarray of float64, shape (n_samples, n_labels)
            As for `features`.

        Returns
        -------
        from_logits, from_truths : ndarray of float64, shape (n_samples, n_labels)
            What other labels' logits and truths say.
        """
        n_labels = logits.shape[1]
        return logits @ self.to_truth[:n_labels], truths @ self.to_truth[n_labels:]


def joint_regression(moments: Moments, n_labels: int, strength: float, truth_strength: float) -> JointRegression:
    """Regress every logit and every truth on all others.

    Parameters
    ----------
    moments : Moments
        Of the pooled logits followed by the truths.
    n_labels : int
        Number of labels; there are twice as many columns.
    strength, truth_strength : float
        Ridge strengths on the logits' and on the truths' diagonal.

    Returns
    -------
    JointRegression
        O(n_labels³).
    """
    joint = moments.standardized()
    joint[np.diag_indices(2 * n_labels)] += np.repeat([strength, truth_strength], n_labels)
    precision = np.linalg.inv(joint)
    labels = np.arange(n_labels)
    to_truth = -precision[:, n_labels:] / np.diag(precision)[n_labels:]
    to_truth[n_labels + labels, labels] = 0.0
    to_logit = -precision[:, :n_labels] / np.diag(precision)[:n_labels]
    to_logit[labels, labels] = 0.0
    to_logit[n_labels + labels, labels] = 0.0
    return JointRegression(to_truth, to_logit)


def held_out_fit(predicted: DoubleArray, truth: DoubleArray, weight: DoubleArray | None = None) -> DoubleArray:
    """Measure how well predictions of any scale follow the truth, label by label.

    Parameters
    ----------
    predicted, truth : ndarray of float64, shape (n_samples, n_labels)
        Held-out predictions and the truth.
    weight : ndarray of float64, shape (n_samples, n_labels), optional
        Cell weights; 0 leaves a cell out.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        Correlations, 0 where either is constant.
    """
    if weight is None:
        a, b = predicted - predicted.mean(axis=0), truth - truth.mean(axis=0)
    else:
        total = np.maximum(weight.sum(axis=0), 1e-12)
        root = np.sqrt(weight)
        a = (predicted - (predicted * weight).sum(axis=0) / total) * root
        b = (truth - (truth * weight).sum(axis=0) / total) * root
    size = np.sqrt((a * a).sum(axis=0) * (b * b).sum(axis=0))
    return np.divide((a * b).sum(axis=0), size, out=np.zeros(len(size)), where=size > 1e-12)
