"""What can be reached on a generated set: the score of who knows the law that it was drawn from.

The true logits of a row are normal, and each member saw them with normal errors. So the logits given all scores of the
row are normal again (Bayes), and the mean of their sigmoid is the probability of each label. No method that must learn
the law from the rows comes above it but by chance.
"""

from __future__ import annotations

import numpy as np

from experiments.benchmarks.references import best_single_threshold, micro_f1
from experiments.benchmarks.unseen import Generated
from stacking._typing import DoubleArray

N_NODES = 21
"""Nodes of the quadrature (Gauss, Hermite): a choice; with as many again no probability moves by 1e-6."""


def exact_probabilities(drawn: Generated) -> DoubleArray:
    """Give each label's probability from all scores of its row, by the law that they were drawn from.

    Parameters
    ----------
    drawn : Generated
        The set and its law.

    Returns
    -------
    ndarray of float64, shape (n_samples, n_labels)
        Of all rows, those to tune on first.
    """
    covers = ~np.isnan(drawn.split.y_scores[: len(drawn.witnesses), 0])
    weights = covers / np.array([[variance] for _, variance in drawn.witnesses])
    saw = np.einsum("ml,mnl->nl", weights / weights.sum(axis=0), np.array([one for one, _ in drawn.witnesses]))
    error = np.diag(drawn.shared_variance + 1.0 / weights.sum(axis=0))
    gain = np.linalg.solve(drawn.covariance + error, drawn.covariance).T
    means = drawn.bias + (saw - drawn.bias) @ gain.T
    spread = np.sqrt(np.diag(drawn.covariance - gain @ drawn.covariance))
    nodes, shares = np.polynomial.hermite_e.hermegauss(N_NODES)
    chances = [1.0 / (1.0 + np.exp(-(means + node * spread))) for node in nodes]
    return np.tensordot(shares / shares.sum(), np.array(chances), axes=1)


def attainable_micro_f1(drawn: Generated) -> float:
    """Score these probabilities with one threshold, tuned on the rows to tune on.

    Parameters
    ----------
    drawn : Generated
        The set and its law.

    Returns
    -------
    float
        Held-out micro-F1.
    """
    split, chances = drawn.split, exact_probabilities(drawn)
    n_tune = len(split.y_true)
    cut = best_single_threshold(chances[:n_tune], split.y_true)
    return micro_f1(split.y_true_test, chances[n_tune:] >= cut)
