import pickle
import warnings

import numpy as np
import pytest

from stacking.combiners.combiner import Combiner
from stacking.combiners.registry import create_method, list_methods
from stacking.predictions import as_prediction_set
from stacking.testing import check_combiner, list_combiner_checks, make_predictions

ORDER_MATTERS = {
    "auto",
    "hill-climbing",
    "lightgbm",
    "lightgbm-all-rows",
    "pso",
    "ridge-context",
    "label-context",
    "label-network",
    "logistic",
    "pair-lightgbm",
    "pair-blend",
    "convolutional",
}
OPTIONS = {
    "pso": {"optimizer_options": {"n_iterations": 5}},
    "auto": {"methods": ["mean", "logistic"], "n_splits": 2},
    "lightgbm": {"n_trees": 5, "n_folds": 2},
    "lightgbm-all-rows": {"n_trees": 5, "n_folds": 2},
    "pair-lightgbm": {"n_trees": 5, "n_folds": 2},
    "convolutional": {"n_epochs": 2, "n_hidden": 8},
    "label-network": {"n_epochs": 2, "n_networks": 1, "n_folds": 3},
    "pair-blend": {"methods": ["mean", "ridge-context"]},
}


@pytest.mark.parametrize("check", list_combiner_checks())
@pytest.mark.parametrize("name", list_methods())
def test_every_method_keeps_the_contract(name, check):
    def build():
        return create_method(name, random_state=0, **OPTIONS.get(name, {}))

    check_combiner(build, symmetric=name not in ORDER_MATTERS, only=check)


class Broken(Combiner):
    """A mean that can be told to break the contract in one way."""

    def __init__(self, fault="none"):
        self.fault = fault

    def fit(self, predictions, y_true=None, *, groups=None):
        # What `_fit` is given holds neither unknown truths nor rows of weight 0: only who goes round it can be wrong.
        self._raw = as_prediction_set(predictions, y_true)
        return super().fit(predictions, y_true, groups=groups)

    def _fit(self, predictions):
        raw = vars(self).pop("_raw", None)
        if self.fault in ("unknown cells", "weights"):
            predictions = raw
        truth = np.asarray(predictions.y_true)
        known, weight = np.ones(truth.shape), np.ones((len(truth), 1))
        if predictions.y_known is not None and self.fault != "unknown cells":
            known = np.asarray(predictions.y_known, dtype=float)
        if predictions.sample_weight is not None and self.fault != "weights":
            weight = predictions.sample_weight[:, None]
        self.level_ = (truth * known * weight).sum(axis=0) / (known * weight).sum(axis=0)
        if self.fault == "row order":
            self.level_ = truth[:20].mean(axis=0)
        if self.fault == "unpicklable":
            self.closure_ = lambda: None
        if self.fault == "parameters":
            self.fault = "changed"
        if self.fault == "global generator":
            np.random.seed(1)  # noqa: NPY002

    def _combine_block(self, scores, covers):
        score = np.nanmean(scores, axis=0)
        if self.fault == "input":
            scores[0, 0, 0] = 0.123
        if self.fault == "first model":
            score = np.where(np.isnan(scores[0]), score, scores[0])
        if self.fault == "first row":
            score = score - scores[:, :1].mean(axis=0) / 2
        if self.fault == "random":
            score = score + np.random.default_rng().random(score.shape)
        return (score + self.level_) / 2

    def predict_out_of_fold(self, predictions, *, folds):
        if self.fault == "leak":
            return self.fit(predictions).predict_proba(predictions)
        return super().predict_out_of_fold(predictions, folds=folds)


def test_the_suite_accepts_a_sound_combiner():
    check_combiner(Broken)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("parameters", "constructor parameters"),
        ("global generator", "global random generator"),
        ("input", "must not change the scores"),
        ("first model", "permute the result"),
        ("random", "repeat"),
        ("first row", "a row's score must be its own"),
        ("row order", "permuting samples must not change the fit"),
        ("leak", "must not see their rows"),
        ("unknown cells", "y_known False must not matter"),
        ("weights", "sample_weight 0 must not matter"),
    ],
)
def test_the_suite_catches(fault, message):
    with pytest.raises(AssertionError, match=message):
        check_combiner(lambda: Broken(fault))


def test_the_suite_catches_what_cannot_be_pickled():
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        check_combiner(lambda: Broken("unpicklable"), only="pickling")


def test_extra_members_and_labels_are_ignored_with_a_warning():
    few, many = make_predictions(2, 40, 3), make_predictions(3, 40, 4)
    combiner = create_method("mean").fit(few)
    with pytest.warns(UserWarning, match="not fitted; ignored") as caught:
        y_score = combiner.predict_proba(many)
    assert y_score.shape == (40, 3)
    assert {"'model2'", "'label3'"} <= {str(w.message).split(": ")[-1] for w in caught}


def test_an_array_of_another_shape_is_an_error():
    combiner = create_method("mean").fit(make_predictions(3, 40, 4))
    with pytest.raises(ValueError, match=r"must have shape \(3, n_samples, 4\) as fitted: got \(2, 40, 4\)"):
        combiner.predict_proba(np.zeros((2, 40, 4)))
    assert combiner.predict_proba(np.zeros((2, 40, 4)), without=["model1"]).shape == (40, 4)


def test_a_typing_error_gets_a_hint():
    combiner = create_method("mean").fit(make_predictions())
    with pytest.raises(ValueError, match="Did you mean 'model1'"):
        combiner.predict_proba(make_predictions(), without=["modle1"])


def test_groups_reach_the_fit():
    seen = []

    class Spy(Broken):
        def _fit(self, predictions):
            seen.append(predictions.groups)
            super()._fit(predictions)

    predictions = make_predictions(n_samples=10)
    Spy().fit(predictions, groups=np.arange(10) // 2)
    np.testing.assert_array_equal(seen[0], np.arange(10) // 2)


def test_no_warning_on_the_ordinary_path():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        create_method("mean").fit(make_predictions()).predict_proba(make_predictions())
