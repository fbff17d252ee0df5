"""Label rows teach label-context where they help, and never a row by its own truth."""

import numpy as np
import pandas as pd
import pytest

from stacking import PredictionSet, StackingEnsemble, StackingMultilabelClassifier, compare
from stacking.combiners.meta_learners import LabelContextStacker
from stacking.links import sigmoid
from stacking.metrics import log_loss

N_LABELS = 12


def exclusive(rng, n_rows):
    """Truth of which every second label excludes its neighbor."""
    truth = (rng.random((n_rows, N_LABELS)) < 0.4).astype(np.uint8)
    truth[:, 1::2] &= 1 - truth[:, ::2]
    return truth


def seen(rng, truth, **names):
    logits = 2.0 * truth - 1.0 + 1.5 * rng.normal(size=(3, *truth.shape))
    return PredictionSet(sigmoid(logits).astype(np.float32), y_true=truth, **names)


def test_they_lower_the_log_loss_of_new_rows(rng):
    few, test = seen(rng, exclusive(rng, 100)), seen(rng, exclusive(rng, 1000))
    alone = LabelContextStacker().fit(few)
    taught = LabelContextStacker().fit(few.with_label_rows(exclusive(rng, 1000)))
    assert (alone.n_label_rows_, taught.n_label_rows_) == (0, 1000)
    assert "1,000 label rows" in taught.notes_[-1]
    losses = [log_loss(test.y_true, one.predict_proba(test)) for one in (alone, taught)]
    assert losses[1] < 0.99 * losses[0]


def test_rows_of_another_world_are_left_out(rng):
    few = seen(rng, exclusive(rng, 300))
    wrong = exclusive(rng, 1000)
    wrong[:, 1::2] = wrong[:, ::2]  # there, neighbors come together
    stacker = LabelContextStacker().fit(few.with_label_rows(wrong))
    assert stacker.n_label_rows_ == 0
    assert "left out" in stacker.notes_[-1]
    np.testing.assert_array_equal(stacker.predict_proba(few), LabelContextStacker().fit(few).predict_proba(few))


def test_unknown_cells_of_label_rows_teach_nothing(rng):
    few, more = seen(rng, exclusive(rng, 60)), exclusive(rng, 500)
    known = rng.random(more.shape) < 0.7
    lied = np.where(known, more, 1 - more)
    answers = [
        LabelContextStacker().fit(few.with_label_rows(one, y_known=known)).predict_proba(few) for one in (more, lied)
    ]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-6)


def test_held_out_scores_are_those_of_rows_that_taught_nothing(rng):
    """Where the scored rows stand among the label rows as well, they are left out: nothing is learned from a copy."""
    ids = [f"photo{row}" for row in range(150)]
    truth = rng.integers(0, 2, (150, N_LABELS)).astype(np.uint8)
    coin = seen(rng, truth, ids=ids)
    others = rng.integers(0, 2, (100, N_LABELS)).astype(np.uint8)
    folds = np.arange(150) % 5
    plain = LabelContextStacker().fit_out_of_fold(coin.with_label_rows(others), folds=folds)[1]
    with pytest.warns(UserWarning, match="150 of 250"):
        copied = coin.with_label_rows(
            np.concatenate([truth, others]), ids=[*ids, *(f"other{row}" for row in range(100))]
        )
    np.testing.assert_array_equal(LabelContextStacker().fit_out_of_fold(copied, folds=folds)[1], plain)


def test_a_saved_ensemble_answers_the_same_and_knows_what_it_has_seen(rng, tmp_path):
    few = seen(rng, exclusive(rng, 60), ids=[f"a{row}" for row in range(60)])
    more = pd.DataFrame(exclusive(rng, 500), index=[f"b{row}" for row in range(500)], columns=few.labels)
    ensemble = StackingEnsemble("label-context").fit(few, label_rows=more)
    assert ensemble.has_seen(["a3", "b7", "c1"]).tolist() == [True, True, False]
    ensemble.save(tmp_path / "e")
    again = StackingEnsemble.load(tmp_path / "e")
    assert again.combiner_.n_label_rows_ == ensemble.combiner_.n_label_rows_
    np.testing.assert_array_equal(again.predict_proba(few), ensemble.predict_proba(few))


def test_what_learns_nothing_from_them_is_refused(rng):
    few = seen(rng, exclusive(rng, 40))
    with pytest.raises(ValueError, match=r"label-context, auto and label-network only: got 'mean'"):
        StackingEnsemble("mean").fit(few, label_rows=exclusive(rng, 50))
    with pytest.raises(ValueError, match=r"label-context, auto and label-network only: got 'mean'"):
        compare(few, ["mean", "geometric"], label_rows=exclusive(rng, 50))


def test_a_comparison_fits_with_them_and_not_with_rows_of_the_holdout(rng):
    few = seen(rng, exclusive(rng, 60), ids=[f"a{row}" for row in range(60)])
    test = seen(rng, exclusive(rng, 100), ids=[f"t{row}" for row in range(100)])
    more = pd.DataFrame(exclusive(rng, 300), index=[f"t{row}" for row in range(300)], columns=few.labels)
    options = {"n_bootstrap": 20}
    with pytest.warns(UserWarning, match="100 of 300"):
        taught = compare(few, ["label-context"], holdout=test, label_rows=more, **options)
    others = compare(few, ["label-context"], holdout=test, label_rows=more.iloc[100:], **options)
    assert taught.results["label-context"].counts["chosen"].micro_f1(test.truth) == others.results[
        "label-context"
    ].counts["chosen"].micro_f1(test.truth)


def test_a_classifier_takes_targets_without_features(rng):
    from sklearn.linear_model import LogisticRegression

    truth = exclusive(rng, 80)
    frame = pd.DataFrame(
        truth, columns=[f"label{place}" for place in range(N_LABELS)], index=[f"r{row}" for row in range(80)]
    )
    features = pd.DataFrame(truth[:, :3] + rng.normal(size=(80, 3)), columns=list("abc"), index=frame.index)
    more = pd.DataFrame(exclusive(rng, 400), columns=frame.columns, index=[f"r{row}" for row in range(70, 470)])
    stack = StackingMultilabelClassifier(
        [("logistic", LogisticRegression())], StackingEnsemble("label-context"), n_splits=2
    )
    with pytest.warns(UserWarning, match="10 of 400"):
        stack.fit(features, frame, label_rows=more)
    assert stack.final_estimator_.combiner_.n_label_rows_ in (0, 390)
    with pytest.raises(ValueError, match="label-context, auto and label-network only"):
        StackingMultilabelClassifier([("logistic", LogisticRegression())], StackingEnsemble("mean")).fit(
            features, frame, label_rows=more
        )
