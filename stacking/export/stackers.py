"""The stackers on logits, and those with a network, as programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stacking.combiners.meta_learners.blocked_stacker import BlockedStacker
from stacking.combiners.meta_learners.convolutional import ConvolutionalStacker
from stacking.combiners.meta_learners.dependency_network import LARGEST
from stacking.combiners.meta_learners.label_context import BELIEF_LIMIT, LabelContextStacker
from stacking.combiners.meta_learners.label_network import LabelNetworkStacker
from stacking.combiners.meta_learners.label_posterior import N_DISCARDED, N_SWEEPS
from stacking.combiners.meta_learners.labelwise_logistic import LabelwiseLogistic
from stacking.combiners.meta_learners.pooled_logits import pool_shares
from stacking.combiners.meta_learners.residual_network import SOFTNESS
from stacking.combiners.meta_learners.ridge_context import RidgeContext
from stacking.export.program import DOUBLE, FLOAT, Value, concatenate, logit, sigmoid, where
from stacking.export.translation import Given, translate, translates
from stacking.kernels.gibbs import SURELY_ABSENT


def filled_logits(given: Given, centers: Any, expected: Any) -> Value:
    """Turn scores into logits with absent members guessed, as `training_rows.fill_gaps` does.

    Parameters
    ----------
    given : Given
        Scores and what is there.
    centers : ndarray of float64, shape (n_models, n_labels)
        Each member's mean logit when fitted.
    expected : ndarray of bool, shape (n_models, n_labels)
        What was there when fitted.

    Returns
    -------
    Value
        Logits of type float32, shape (n_models, n_samples, n_labels).
    """
    here, middle = given.present, centers[:, None, :]
    logits = where(here, logit(given.scores), 0.0)
    deviation = where(here, logits.cast(DOUBLE) - middle, 0.0).sum(0)
    deviation = deviation / given.covers.cast(DOUBLE).sum(0).at_least(1.0)
    guess = (deviation + given.program.constant(middle, DOUBLE)).cast(FLOAT)
    return where(~here & expected[:, None, :], guess, logits)


def regression(members: Value, added: Sequence[Value], coefficients: Any) -> Value:
    """Apply one logistic regression per label, as `batched_logistic.apply_logistic` does.

    Parameters
    ----------
    members : Value
        Logits of type float64, shape (n_models, n_samples, n_labels).
    added : sequence of Value
        Further features of type float64, shape (n_samples, n_labels).
    coefficients : ndarray of float64, shape (n_labels, n_models + n_added + 1)
        Intercept last.

    Returns
    -------
    Value
        Logits of type float64, shape (n_samples, n_labels).
    """
    n_models = coefficients.shape[1] - len(added) - 1
    total = (members * coefficients[:, :n_models].T[:, None, :]).sum(0) + coefficients[:, -1]
    for place, feature in enumerate(added, start=n_models):
        total = total + feature * coefficients[:, place]
    return total


def pooled_logits(members: Value, covers: Any, weights: Any) -> Value:
    """Average logits over the members that a label may use, as `pooled_logits.pool_logits` does.

    Parameters
    ----------
    members : Value
        Logits of type float64, shape (n_models, n_samples, n_labels).
    covers : ndarray of bool, shape (n_models, n_labels)
        Which members count for which label.
    weights : ndarray of float64, shape (n_models,)
        Of the members.

    Returns
    -------
    Value
        The weighted mean, type float64, shape (n_samples, n_labels).
    """
    return (members * pool_shares(covers.T, weights).T[:, None, :]).sum(0)


@translates(LabelwiseLogistic)
def _logistic(given: Given, combiner: LabelwiseLogistic) -> Value:
    """Apply the regressions to the members' logits."""
    members = filled_logits(given, combiner.centers_, combiner.covers_).cast(DOUBLE)
    return sigmoid(regression(members, [], combiner.coefficients_)).cast(FLOAT)


def _in_blocks(given: Given, combiner: BlockedStacker) -> Value:
    """Ask the stacker of each block of labels, put the answers in the order of all."""
    answers, places = [], []
    for labels, targets, part in combiner.iter_blocks():
        own = Given(given.program, given.scores.take(labels, 2), given.covers.take(labels, 1))
        answers.append(translate(own, part).take(np.arange(len(targets)), 1))
        places.append(targets)
    return concatenate(answers, 1).take(np.argsort(np.concatenate(places)), 1)


def _ridge(combiner: RidgeContext, members: Value) -> tuple[Value, Value]:
    """Return the pooled logits and the ridge's answers."""
    pooled = pooled_logits(members, combiner.covers_, combiner.pool_weights_)
    answer = pooled @ combiner.ridge_[:-1] + combiner.ridge_[-1]
    return pooled, answer @ combiner.ridge_outputs_ if len(combiner.ridge_outputs_) else answer


@translates(RidgeContext)
def _ridge_context(given: Given, combiner: RidgeContext) -> Value:
    """Add the ridge's answers."""
    if combiner.blocks_:
        return _in_blocks(given, combiner)
    members = filled_logits(given, combiner.centers_, combiner.covers_).cast(DOUBLE)
    _, context = _ridge(combiner, members)
    return sigmoid(regression(members, [context], combiner.coefficients_)).cast(FLOAT)


@translates(LabelContextStacker)
def _label_context(given: Given, combiner: LabelContextStacker) -> Value:
    """Average the passes and the posterior."""
    if combiner.blocks_:
        return _in_blocks(given, combiner)
    return sigmoid(_label_context_logits(given, combiner)).cast(FLOAT)


@translates(LabelNetworkStacker)
def _label_network(given: Given, combiner: LabelNetworkStacker) -> Value:
    """Correct label context's answers, as `ResidualNetwork.correct` does."""
    if combiner.blocks_:
        return _in_blocks(given, combiner)
    beliefs = _label_context_logits(given, combiner)
    if len(combiner.correction_hidden_bias_):
        chances = sigmoid(beliefs)
        odds = (chances + SOFTNESS) / (1.0 - chances + SOFTNESS)
        inputs = (odds.log() * 0.5).cast(FLOAT)
        units = (inputs @ combiner.correction_hidden_ + combiner.correction_hidden_bias_).at_least(0.0)
        correction = units @ combiner.correction_output_ + combiner.correction_output_bias_
        beliefs = beliefs + correction.cast(DOUBLE)
    return sigmoid(beliefs).cast(FLOAT)


def _label_context_logits(given: Given, combiner: LabelContextStacker) -> Value:
    """Go through the stages and passes of `LabelContextStacker._answer`."""
    members = filled_logits(given, combiner.centers_, combiner.covers_).cast(DOUBLE)
    pooled, context = _ridge(combiner, members)
    always = [context]
    beliefs = regression(members, always, combiner.first_coefficients_)
    if len(combiner.posterior_own_):
        always.append(_posterior(combiner, members, pooled))
    answers = []
    for coefficients in (*combiner.pass_coefficients_, combiner.coefficients_):
        added = [*always, *_neighbors(combiner, pooled, beliefs), beliefs.clip(-BELIEF_LIMIT, BELIEF_LIMIT)]
        beliefs = regression(members, added[: coefficients.shape[1] - 1 - len(combiner.covers_)], coefficients)
        answers.append(beliefs)
    answers += always[1:]
    first, *others = (
        answer * shares for answer, shares in zip(answers, combiner.answer_shares_, strict=False) if shares.any()
    )
    return sum(others, start=first)


def _neighbors(combiner: LabelContextStacker, pooled: Value, beliefs: Value) -> list[Value]:
    """Ask the joint regression and the dependency network."""
    n_labels = len(combiner.labels_)
    (means, scales), chances = combiner.moments_, sigmoid(beliefs)
    logits = (pooled - means[:n_labels]) / scales[:n_labels]
    truths = (chances - means[n_labels:]) / scales[n_labels:]
    to_logit, to_truth = combiner.to_logit_, combiner.to_truth_
    found = [
        logits - logits @ to_logit[:n_labels] - truths @ to_logit[n_labels:],
        logits @ to_truth[:n_labels],
        truths @ to_truth[n_labels:],
    ]
    if len(combiner.network_):
        found.append((chances @ combiner.network_[:-1] + combiner.network_[-1]).clip(-LARGEST, LARGEST))
    return found


def _posterior(combiner: LabelContextStacker, members: Value, pooled: Value) -> Value:
    """Ask the generative posterior, as `LabelPosterior.log_odds` does."""
    z = pooled * combiner.posterior_pooled_[:, 0] + combiner.posterior_pooled_[:, 1]
    own = regression(members, [], combiner.posterior_own_)
    fields = z @ combiner.posterior_fields_[:-1] + combiner.posterior_fields_[-1] + (own - z)
    program = members.program
    marginals = program.add(
        "GibbsMarginals",
        [fields.cast(FLOAT), program.constant(combiner.posterior_couplings_, FLOAT)],
        FLOAT,
        n_sweeps=N_SWEEPS,
        n_discarded=N_DISCARDED,
        surely_absent=float(SURELY_ABSENT),
        n_labels=len(combiner.labels_),
    )
    return logit(marginals.clip(1e-5, 1.0 - 1e-5)).cast(DOUBLE)


@translates(ConvolutionalStacker)
def _convolutional(given: Given, combiner: ConvolutionalStacker) -> Value:
    """Correct the mean logit by the net, its convolutions as products of matrices."""
    logits = filled_logits(given, combiner.centers_, combiner.covers_)
    covers = combiner.covers_
    answer = (logits.cast(DOUBLE) * (covers / np.maximum(covers.sum(axis=0), 1))[:, None, :]).sum(0)
    weights = combiner._weights
    if not weights:
        return sigmoid(answer).cast(FLOAT)
    n_models, n_labels = covers.shape
    scaled = (logits - combiner.centers_[:, None, :]) / np.float32(combiner.scale_)
    here = given.program.constant(covers[:, None, :], "bool")
    signal = where(here, scaled, 0.0).transpose(1, 0, 2).expand(1)  # (n_rows, n_channels, n_positions, n_labels)
    layers = [(weights[f"layer{k}/weight"], weights[f"layer{k}/bias"]) for k in range(len(weights) // 2)]
    n_positions = n_models
    for weight, bias in layers[:-2]:
        n_out, n_in, height, _ = weight.shape
        n_positions -= height - 1
        mixed = None
        for first in range(height):
            window = signal.take(np.arange(first, first + n_positions), axis=2).reshape(0, n_in, -1)
            part = given.program.constant(weight[:, :, first, 0], FLOAT) @ window
            mixed = part if mixed is None else mixed + part
        if mixed is not None:
            signal = (mixed + bias[:, None]).at_least(0.0).reshape(0, n_out, n_positions, n_labels)
    flat = (signal.sum(2) / float(n_positions)).reshape(0, -1)
    (hidden, hidden_bias), (output, output_bias) = layers[-2:]
    dense = (flat @ hidden.T + hidden_bias).at_least(0.0)
    return sigmoid(answer + (dense @ output.T + output_bias).cast(DOUBLE)).cast(FLOAT)
