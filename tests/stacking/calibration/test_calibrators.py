import numpy as np
import pytest
from sklearn.base import clone
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from stacking.calibration import IsotonicCalibration, PlattScaling, PriorShift, TemperatureScaling
from stacking.links import logit
from stacking.metrics import log_loss


def calibrators(n_labels):
    return [
        PriorShift(np.full(n_labels, 0.3)),
        TemperatureScaling(),
        TemperatureScaling(per_label=True),
        PlattScaling(),
        IsotonicCalibration(min_positives=10),
    ]


@pytest.fixture
def shifted(rng):
    """True probabilities, the scores of a model trained where the labels were rarer, and the truth."""
    logits = rng.normal(-1.0, 2.0, (4000, 3))
    chance = 1 / (1 + np.exp(-logits))
    y_true = (rng.random(chance.shape) < chance).astype(np.uint8)
    return chance, logits, y_true


@pytest.mark.parametrize("which", range(1, 5))
def test_lowers_the_log_loss_of_overconfident_scores(shifted, which):
    _, logits, y_true = shifted
    scores = 1 / (1 + np.exp(-(2.5 * logits - 0.7)))
    calibrator = calibrators(3)[which]
    before = scores.copy()
    calibrated = clone(calibrator).fit(scores[:2000], y_true[:2000]).transform(scores[2000:])
    assert calibrated.dtype == np.float32
    assert log_loss(y_true[2000:], calibrated) < log_loss(y_true[2000:], scores[2000:]) - 0.01
    np.testing.assert_array_equal(scores, before)


def test_prior_shift_recovers_the_posterior(rng):
    old, new = np.array([0.1, 0.5]), np.array([0.4, 0.2])
    y_true = (rng.random((20000, 2)) < new).astype(np.uint8)
    x = rng.normal(2.0 * y_true, 1.0)
    evidence = 2.0 * x - 2.0
    scores = 1 / (1 + np.exp(-(evidence + np.log(old / (1 - old)))))
    right = 1 / (1 + np.exp(-(evidence + np.log(new / (1 - new)))))
    np.testing.assert_allclose(PriorShift(old, new).fit(scores).transform(scores), right, atol=1e-5)
    unsupervised = PriorShift(old).fit(scores)
    np.testing.assert_allclose(unsupervised.target_frequency_, new, atol=0.015)
    np.testing.assert_allclose(PriorShift(old).fit(scores, y_true).target_frequency_, y_true.mean(axis=0), atol=1e-3)


def test_prior_shift_keeps_certainty():
    scores = [[0.0, 1.0], [1.0, 0.0]]
    np.testing.assert_array_equal(PriorShift([0.1, 0.1], [0.9, 0.9]).fit(scores).transform(scores), scores)


def test_temperature_is_found(shifted):
    _, logits, y_true = shifted
    scores = 1 / (1 + np.exp(-3.0 * logits))
    assert TemperatureScaling().fit(scores, y_true).temperature_ == pytest.approx(3.0, rel=0.05)
    assert TemperatureScaling(per_label=True).fit(scores, y_true).temperature_ == pytest.approx(3.0, rel=0.12)


def test_platt_equals_scikit_learn_without_penalty(shifted):
    _, logits, y_true = shifted
    scores = (1 / (1 + np.exp(-(1.5 * logits + 0.4)))).astype(np.float32)
    fitted = PlattScaling(penalty=1e-9).fit(scores, y_true)
    for label in range(3):
        reference = LogisticRegression(C=np.inf, tol=1e-10).fit(logit(scores[:, [label]]), y_true[:, label])
        assert fitted.coefficients_[label, 0] == pytest.approx(reference.coef_[0, 0], rel=1e-3)
        assert fitted.coefficients_[label, 1] == pytest.approx(reference.intercept_[0], abs=1e-3)


def test_isotonic_equals_scikit_learn(shifted):
    chance, _, y_true = shifted
    chance = chance.astype(np.float32).astype(np.float64)
    fitted = IsotonicCalibration().fit(chance, y_true)
    reference = IsotonicRegression().fit(chance[:, 1], y_true[:, 1]).predict(chance[:, 1])
    np.testing.assert_allclose(fitted.transform(chance)[:, 1], reference, atol=1e-6)


@pytest.mark.parametrize("which", range(5))
@pytest.mark.parametrize("value", [0, 1])
def test_one_class_and_constant_scores_stay_finite(which, value):
    scores, y_true = np.full((30, 2), 0.25), np.full((30, 2), value)
    calibrated = calibrators(2)[which].fit(scores, y_true).transform(scores)
    assert np.isfinite(calibrated).all()
    assert calibrated.min() >= 0
    assert calibrated.max() <= 1


def test_unknown_cells_do_not_count(shifted, rng):
    chance, _, y_true = shifted
    known = rng.random(y_true.shape) < 0.7
    spoiled = np.where(known, y_true, 1 - y_true)
    for calibrator in calibrators(3):
        right = clone(calibrator).fit(chance, y_true, y_known=known).transform(chance)
        np.testing.assert_array_equal(clone(calibrator).fit(chance, spoiled, y_known=known).transform(chance), right)


def test_errors_name_the_argument(shifted):
    chance, _, y_true = shifted
    with pytest.raises(ValueError, match="y_true must be given"):
        PlattScaling().fit(chance)
    with pytest.raises(ValueError, match="must have 3 labels as fitted: got 2"):
        PlattScaling().fit(chance, y_true).transform(chance[:, :2])
    with pytest.raises(ValueError, match="train_frequency must hold one value per label"):
        PriorShift([0.1]).fit(chance)
    with pytest.raises(ValueError, match="target_frequency must be shares"):
        PriorShift([0.1] * 3, [2.0] * 3).fit(chance)
    with pytest.raises(ValueError, match="penalty must be positive"):
        PlattScaling(penalty=0.0).fit(chance, y_true)
