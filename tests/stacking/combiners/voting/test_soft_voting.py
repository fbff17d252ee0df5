"""Plain means: values by hand, coverage, properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import expit, logit
from sklearn.base import clone

from stacking.combiners.voting import SoftVoting
from stacking.combiners.voting.means import covered_weights, list_means
from stacking.predictions import PredictionSet

MEANS = list_means()


@pytest.fixture
def y_scores(rng):
    return rng.uniform(0.01, 0.99, (3, 40, 5)).astype(np.float32)


def fit_predict(y_scores, **parameters):
    return SoftVoting(**parameters).fit(y_scores).predict_proba(y_scores)


def test_means_by_hand(y_scores):
    wide = y_scores.astype(float)
    expected = {
        "arithmetic": wide.mean(axis=0),
        "geometric": expit(logit(wide).mean(axis=0)),
        "harmonic": 3 / (1 / wide).sum(axis=0),
        "majority": (wide >= 0.5).mean(axis=0),
    }
    for mean, values in expected.items():
        np.testing.assert_allclose(fit_predict(y_scores, mean=mean), values, atol=2e-6)


def test_weights_by_hand(y_scores):
    wide = y_scores.astype(float)
    shared = np.array([0.5, 0.2, 0.3])
    np.testing.assert_allclose(fit_predict(y_scores, weights=shared), np.tensordot(shared, wide, 1), atol=1e-6)
    per_label = np.random.default_rng(0).dirichlet(np.ones(3), 5).T
    expected = expit((per_label[:, None] * logit(wide)).sum(axis=0))
    np.testing.assert_allclose(fit_predict(y_scores, mean="geometric", weights=per_label), expected, atol=2e-6)


def test_harmonic_mean_is_zero_where_a_member_says_zero():
    assert fit_predict([[[0.0, 0.5]], [[0.9, 0.5]]], mean="harmonic").tolist() == [[0.0, 0.5]]


@pytest.mark.parametrize("mean", ["arithmetic", "geometric", "harmonic", "majority"])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_extreme_scores_stay_in_the_unit_interval(mean, value):
    with np.errstate(all="raise", under="ignore"):
        score = fit_predict(np.full((2, 3, 2), value), mean=mean)
    np.testing.assert_allclose(score, value, atol=1e-6)


def test_ranks_do_not_see_a_monotone_distortion_of_one_member(y_scores):
    distorted = y_scores.copy()
    distorted[1] = distorted[1] ** 3
    np.testing.assert_allclose(fit_predict(distorted, mean="rank"), fit_predict(y_scores, mean="rank"), atol=0.02)
    order = np.argsort(np.argsort(y_scores.reshape(3, -1), axis=1), axis=1) / y_scores[0].size
    np.testing.assert_allclose(fit_predict(y_scores, mean="rank"), order.mean(axis=0).reshape(40, 5), atol=0.02)


def test_ranks_refer_to_the_fitted_rows(y_scores):
    voting = SoftVoting("rank").fit(y_scores)
    whole = voting.predict_proba(y_scores)
    np.testing.assert_array_equal(voting.predict_proba(y_scores[:, 5:9]), whole[5:9])


@pytest.fixture
def with_gaps(y_scores):
    """Model 1 answers labels 0 and 1 only, model 2 all but label 0."""
    covers = np.ones((3, 5), dtype=bool)
    covers[1, 2:] = False
    covers[2, 0] = False
    gappy = np.where(covers[:, None, :], y_scores, np.nan).astype(np.float32)
    return gappy, covers


@pytest.mark.parametrize("mean", MEANS)
def test_coverage_is_renormalized_per_label(with_gaps, mean):
    gappy, covers = with_gaps
    voting = SoftVoting(mean, weights=[0.5, 0.2, 0.3]).fit(PredictionSet(gappy, covers=covers))
    np.testing.assert_allclose(voting.weights_.sum(axis=0), 1.0)
    np.testing.assert_array_equal(voting.weights_ > 0, covers)
    score = voting.predict_proba(PredictionSet(gappy, covers=covers))
    assert np.isfinite(score).all()
    if mean != "rank":  # its ranks pool the labels a model answers
        for label in range(5):
            answering = covers[:, label]
            weights = np.array([0.5, 0.2, 0.3])[answering]
            alone = fit_predict(gappy[answering][:, :, [label]], mean=mean, weights=weights / weights.sum())
            np.testing.assert_allclose(score[:, [label]], alone, atol=1e-6)


def test_a_label_that_nobody_covers_is_named(with_gaps):
    gappy, covers = with_gaps
    gappy[:, :, 3] = np.nan
    covers[:, 3] = False
    with pytest.raises(ValueError, match=r"'label3'.*covered by none"):
        SoftVoting().fit(PredictionSet(gappy, covers=covers))


def test_a_label_left_bare_at_prediction_is_named(with_gaps):
    gappy, covers = with_gaps
    predictions = PredictionSet(gappy, covers=covers)
    voting = SoftVoting().fit(predictions)
    with pytest.raises(ValueError, match="no member is left for label 'label2'"):
        voting.predict_proba(predictions, without=["model0", "model2"])


def test_leaving_a_member_out_renormalizes(y_scores):
    voting = SoftVoting(weights=[0.5, 0.2, 0.3]).fit(y_scores)
    expected = (0.5 * y_scores[0] + 0.3 * y_scores[2]) / 0.8
    np.testing.assert_allclose(voting.predict_proba(y_scores, without=["model1"]), expected, atol=1e-6)


def test_zero_weight_on_all_covering_models_means_equal_shares():
    covers = np.array([[True, True], [False, True], [True, True]])
    shares = covered_weights(np.array([0.0, 1.0, 0.0]), covers)
    np.testing.assert_allclose(shares, [[0.5, 0.0], [0.0, 1.0], [0.5, 0.0]])
    nobody = covered_weights(np.array([1.0]), np.array([[False]]))
    np.testing.assert_array_equal(nobody, [[0.0]])


blocks = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3)),
    elements=st.floats(0, 1, width=32),
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(blocks, st.sampled_from(["arithmetic", "geometric", "harmonic"]), st.integers(0, 100))
def test_a_blend_lies_between_its_members(y_scores, mean, seed):
    weights = np.random.default_rng(seed).dirichlet(np.ones(len(y_scores)))
    score = fit_predict(y_scores, mean=mean, weights=weights)
    assert (score >= y_scores.min(axis=0) - 1e-5).all()
    assert (score <= y_scores.max(axis=0) + 1e-5).all()


@settings(max_examples=60, deadline=None, derandomize=True)
@given(blocks, st.sampled_from(MEANS), st.integers(0, 100))
def test_permuting_permutes(y_scores, mean, seed):
    rng = np.random.default_rng(seed)
    models, samples, labels = (rng.permutation(n) for n in y_scores.shape)
    weights = rng.dirichlet(np.ones(len(y_scores)), y_scores.shape[2]).T
    expected = fit_predict(y_scores, mean=mean, weights=weights)
    moved = y_scores[models][:, samples][:, :, labels]
    got = fit_predict(moved, mean=mean, weights=weights[models][:, labels])
    np.testing.assert_allclose(got, expected[samples][:, labels], atol=1e-5)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mean": "arithmetik"}, "mean must be one of .*Did you mean 'arithmetic'"),
        ({"weights": [0.5, 0.5]}, "weights must hold one value per model"),
        ({"weights": [0.5, 0.5, 0.5]}, "weights must sum to 1"),
        ({"weights": np.ones((3, 2)) / 3}, "weights must have one column per label"),
    ],
)
def test_wrong_parameters_are_named_at_fit(y_scores, parameters, message):
    voting = clone(SoftVoting(**parameters))
    with pytest.raises(ValueError, match=message):
        voting.fit(y_scores)
