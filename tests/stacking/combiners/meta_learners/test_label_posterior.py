"""The sampler's marginals are those of the law, and the law is found where it holds."""

import itertools

import numpy as np
import pytest

from stacking.combiners.meta_learners.dependency_network import fit_dependency_network
from stacking.combiners.meta_learners.label_posterior import fit_label_posterior
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.kernels.gibbs import gibbs_marginals
from stacking.links import sigmoid
from stacking.metrics import log_loss


def test_marginals_are_those_of_all_label_sets(rng):
    couplings = rng.normal(0, 1.0, (5, 5))
    couplings = np.tril(couplings, -1) + np.tril(couplings, -1).T
    fields = rng.normal(0, 1.5, (6, 5))
    sets = np.array(list(itertools.product([0, 1], repeat=5)))
    energy = fields @ sets.T + 0.5 * np.einsum("si,ij,sj->s", sets, couplings, sets)
    share = np.exp(energy) / np.exp(energy).sum(axis=1, keepdims=True)
    found = np.empty((6, 5), np.float32)
    gibbs_marginals(fields.astype(np.float32), couplings.astype(np.float32), 8000, 200, found)
    np.testing.assert_allclose(found, share @ sets, atol=0.02)
    alone = np.empty((1, 5), np.float32)
    gibbs_marginals(fields[3:4].astype(np.float32), couplings.astype(np.float32), 8000, 200, alone)
    np.testing.assert_array_equal(alone[0], found[3])


def simulate(rng, n_samples, n_labels=10):
    """Labels of one truth, seen through noise that all labels of a row share."""
    truth = (rng.random((n_samples, n_labels)) < 0.3).astype(float)
    shared = 1.5 * rng.normal(size=(n_samples, 1))
    logits = 2.0 * truth - 2.0 + shared + 0.7 * rng.normal(size=(2, n_samples, n_labels))
    return TrainingRows(
        logits.astype(np.float32), truth, None, np.ones((n_labels, 2), bool), np.zeros(n_samples, np.intp)
    )


@pytest.mark.parametrize("weighted", [False, True])
def test_noise_that_labels_share_is_seen_through(rng, weighted):
    rows, test = simulate(rng, 1500), simulate(rng, 1500)
    rows.y_true[:, 0] = 0.0
    if weighted:
        rows = TrainingRows(
            rows.logits, rows.y_true, rng.choice([0.0, 1.0, 2.0], rows.y_true.shape), rows.usable, rows.folds
        )
    pooled = rows.logits.mean(axis=0, dtype=np.float64)
    posterior = fit_label_posterior(rows, pooled, fit_dependency_network(rows.y_true, rows.weight, 3.0))
    log_odds = posterior.log_odds(test.logits, test.logits.mean(axis=0, dtype=np.float64))
    assert sigmoid(log_odds[:, 0]).max() < 0.01
    own = sigmoid(posterior.own[:, -1] + np.einsum("mnl,lm->nl", test.logits, posterior.own[:, :-1]))
    truth = test.y_true[:, 1:].astype(np.uint8)
    assert log_loss(truth, sigmoid(log_odds[:, 1:])) < log_loss(truth, own[:, 1:]) - 0.1
