"""The canary of the stacking layer: a combiner that learns its rows by heart must score chance on those held out.

Labels are coin tosses and scores are noise, so a row's own truth, or its twin's, is all there is to know. Every way to
an estimate is walked with a combiner that remembers: cross-fitting, thresholds, the comparison, the ensemble's report,
the classifier's bases and final estimator. Each is also shown rows it has learned, or else it could not sing.
"""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from stacking import PredictionSet, StackingEnsemble, StackingMultilabelClassifier, compare
from stacking.combiners.classifier import ClassifierCombiner
from stacking.combiners.combiner import Combiner
from stacking.folds import stratified_group_folds
from stacking.metrics import micro_f1

N_SAMPLES, N_LABELS, N_MODELS = 240, 4, 3
N_DRAWS, LUCK = 1000, 0.999
SINGS = 0.95
LEARNED = []
"""What every `Memory` was fitted on, by this process: the bases' held-out scores on their way to the final fit."""


class Memory(Combiner):
    """Answer with the truth of the nearest row that was fitted: for a row it has seen, that row's own."""

    def _fit(self, predictions):
        LEARNED.append(predictions)
        self.rows_ = self._lay_out(predictions.to_array())
        self.truth_ = np.asarray(predictions.y_true, np.float32)

    def _combine_block(self, scores, covers):
        rows = self._lay_out(scores)
        distance = ((rows[:, None] - self.rows_[None]) ** 2).sum(axis=2)
        nearest = distance.argmin(axis=1)
        return 0.01 + 0.98 * self.truth_[nearest]

    @staticmethod
    def _lay_out(scores):
        return np.asarray(scores).transpose(1, 0, 2).reshape(scores.shape[1], -1)


def toss(rng, n_samples=N_SAMPLES):
    """Return noise for features, and coin tosses for truth that has nothing to do with it."""
    return rng.random((n_samples, 6)), (rng.random((n_samples, N_LABELS)) < 0.35).astype(np.uint8)


def noise_of(rng, y_true, *, twins=False):
    """Wrap noise as the scores of members; with `twins` every second row is the one before, hardly changed."""
    scores = rng.uniform(0.02, 0.98, (N_MODELS, *y_true.shape)).astype(np.float32)
    if twins:
        y_true[1::2], scores[:, 1::2] = y_true[::2], scores[:, ::2]
        scores = np.clip(scores + rng.uniform(-1e-3, 1e-3, scores.shape), 0, 1).astype(np.float32)
    return PredictionSet(scores, y_true=y_true, groups=np.arange(len(y_true)) // 2 if twins else None)


def luck(y_true, y_pred, groups=None):
    """Return the micro-F1 that these decisions reach on random truth, once in a thousand; twins stay together."""
    rng, hits = np.random.default_rng(0), []
    names, first, place = np.unique(
        np.arange(len(y_true)) if groups is None else groups, return_index=True, return_inverse=True
    )
    for _ in range(N_DRAWS):
        mixed = first[rng.permutation(len(names))][place]  # every row of a group takes the truth of another group
        hits.append(np.count_nonzero(y_true[mixed] & y_pred))
    return float(2 * np.quantile(hits, LUCK) / (y_true.sum() + y_pred.sum()))


def constant(y_true):
    """Return the micro-F1 of whoever knows the labels' frequency alone and always fires."""
    return 2 * y_true.mean() / (1 + y_true.mean())


@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("build", [Memory, lambda: ClassifierCombiner(DecisionTreeClassifier(random_state=0))])
def test_cross_fitted_scores_of_a_memory_are_chance(build, twins, rng):
    predictions = noise_of(rng, toss(rng)[1], twins=twins)
    y_true = np.asarray(predictions.y_true)
    folds = stratified_group_folds(y_true, 4, groups=predictions.groups)
    combiner, y_score = build().fit_out_of_fold(predictions, folds=folds)
    y_pred = y_score >= 0.5
    assert micro_f1(y_true, y_pred) <= luck(y_true, y_pred, predictions.groups)
    assert roc_auc_score(y_true.ravel(), combiner.predict_proba(predictions).ravel()) > SINGS


def test_twins_of_no_group_would_give_the_leak_away(rng):
    twins = noise_of(rng, toss(rng)[1], twins=True)
    alone = PredictionSet(twins.to_array(), y_true=twins.y_true)
    y_score = Memory().predict_out_of_fold(alone, folds=stratified_group_folds(alone.y_true, 4))
    assert roc_auc_score(np.ravel(twins.y_true), y_score.ravel()) > 0.7


@pytest.mark.parametrize("twins", [False, True])
def test_a_comparison_of_memories_finds_chance(twins, rng):
    predictions = noise_of(rng, toss(rng)[1], twins=twins)
    y_true = np.asarray(predictions.y_true)
    found = compare(predictions, {"memory": Memory()}, n_splits=3, n_bootstrap=50)
    row, y_pred = found.row("memory"), found.kept["memory"].y_score >= 0.5
    assert max(row.score, row.score_single, row.score_per_label) < constant(y_true) + 0.05
    assert micro_f1(y_true, y_pred) <= luck(y_true, y_pred, predictions.groups)
    new = noise_of(rng, toss(rng)[1])
    new = PredictionSet(new.to_array(), y_true=new.y_true, ids=[f"new{i}" for i in range(N_SAMPLES)])
    row = compare(predictions, {"memory": Memory()}, holdout=new, n_splits=3, n_bootstrap=50).row("memory")
    assert max(row.score, row.score_single, row.score_per_label) < constant(np.asarray(new.y_true)) + 0.05
    seen = PredictionSet(predictions.to_array(), y_true=y_true, ids=[f"new{i}" for i in range(N_SAMPLES)])
    found = compare(predictions, {"memory": Memory()}, holdout=seen, n_splits=3, n_bootstrap=50)
    assert roc_auc_score(y_true.ravel(), found.kept["memory"].y_score.ravel()) > SINGS


@pytest.mark.parametrize("twins", [False, True])
def test_an_ensemble_reports_what_its_memory_is_worth_on_new_rows(twins, rng, monkeypatch):
    monkeypatch.setattr("stacking.ensemble.ensemble.create_method", lambda *_, **__: Memory())
    predictions = noise_of(rng, toss(rng)[1], twins=twins)
    ensemble = StackingEnsemble("mean", n_splits=3).fit(predictions)
    y_true = np.asarray(predictions.y_true)
    assert ensemble.report_["cross_fitted_micro_f1"] < constant(y_true) + 0.05
    assert max(ensemble.report_["rules"].values()) < constant(y_true) + 0.05
    assert roc_auc_score(y_true.ravel(), ensemble.predict_proba(predictions).ravel()) > SINGS


@pytest.mark.parametrize("twins", [False, True])
def test_bases_that_remember_hand_on_chance(twins, rng):
    features, y_true = toss(rng)
    groups = None
    if twins:
        features[1::2], y_true[1::2] = features[::2] + rng.uniform(-1e-6, 1e-6, (N_SAMPLES // 2, 6)), y_true[::2]
        groups = np.arange(N_SAMPLES) // 2
    bases = [("neighbor", KNeighborsClassifier(1)), ("tree", DecisionTreeClassifier(random_state=0))]
    LEARNED.clear()
    stack = StackingMultilabelClassifier(bases, Memory(), n_splits=3).fit(features, y_true, groups=groups)
    handed_on = LEARNED[0].to_array()
    for scores in handed_on:
        y_pred = scores >= 0.5
        assert micro_f1(y_true, y_pred) <= luck(y_true, y_pred, groups)
    for fitted in stack.estimators_:
        assert roc_auc_score(y_true.ravel(), np.ravel(fitted.predict_proba(features))) > SINGS


def test_thresholds_tuned_on_a_memory_promise_nothing(rng):
    """A stack whose bases and final estimator remember everything decides new rows no better than luck."""
    features, y_true = toss(rng)
    bases = [("neighbor", KNeighborsClassifier(1))]
    stack = StackingMultilabelClassifier(bases, Memory(), n_splits=3).fit(features, y_true)
    new, truth = toss(rng)
    y_pred = stack.predict(new).astype(bool)
    assert micro_f1(truth, y_pred) <= max(luck(truth, y_pred), constant(truth) + 0.02)
