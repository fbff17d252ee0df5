"""A fit that is killed and started again repeats at most one label, and ends with what an uninterrupted one gives."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import stacking.combiners.meta_learners.trees.boosted_label as boosted_label
import stacking.combiners.meta_learners.trees.label_inputs as label_inputs
import stacking.combiners.meta_learners.trees.per_label_lightgbm as per_label_lightgbm
from stacking import PerLabelStacker, StackingEnsemble
from stacking.files.result_cache import cache_folder, cache_key, cached, caching
from stacking.files.run_lock import FolderInUseError
from stacking.folds import stratified_group_folds
from stacking.predictions import PredictionSet, load_predictions, pack_predictions, save_predictions
from stacking.testing import make_gated

N_LABELS = 6


def draw(n_samples=500, *, counted=False):
    """Labels that trees help, the last one too rare for trees."""
    rng = np.random.default_rng(9)  # weights with which trees still help all labels but the last
    shape = (n_samples, N_LABELS)
    metadata = {"y_known": rng.random(shape) < 0.9, "sample_weight": rng.integers(1, 3, n_samples)} if counted else {}
    gated = make_gated(n_samples, N_LABELS)
    y_true = gated.y_true.copy()
    y_true[:, -1] = np.arange(n_samples) == 3
    return PredictionSet(gated.to_array(), y_true=y_true, **metadata)


def state_of(stacker):
    values, arrays, texts = stacker._state()
    return values["fitted"], {name: array.tolist() for name, array in arrays.items() if name != "centers_"}, texts


def test_cached_results_are_the_same_and_are_not_computed_again(tmp_path, monkeypatch):
    predictions = draw()
    plain = PerLabelStacker().fit(predictions)
    grown = []
    original = boosted_label.boost_label
    monkeypatch.setattr(
        boosted_label, "boost_label", lambda *args, **kwargs: (grown.append(1), original(*args, **kwargs))[1]
    )
    for expected in (N_LABELS - 1, 0):
        grown.clear()
        with caching(tmp_path / "work"):
            kept = PerLabelStacker().fit(predictions)
        assert len(grown) == expected
        assert state_of(kept) == state_of(plain)
    with caching(tmp_path / "work"):
        PerLabelStacker(random_state=1).fit(predictions)
    assert len(grown) == N_LABELS - 1  # another seed is another fit
    assert cache_folder() is None


def test_a_piece_depends_on_all_that_it_is_made_of():
    array = np.arange(6.0)
    digests = {
        cache_key(array),
        cache_key(array.reshape(2, 3)),
        cache_key(array.astype(np.float32)),
        cache_key(array + 1),
        cache_key(array, None),
        cache_key(array, {"trees": 3}),
        cache_key(array, "a", "b"),
        cache_key(array, "ab"),
    }
    assert len(digests) == 8


def test_damage_and_a_second_run_are_refused(tmp_path):
    with caching(tmp_path):
        cached(cache_folder(), "piece", lambda: {"values": np.arange(3)})
        with pytest.raises(FolderInUseError, match="another run"), caching(tmp_path):
            pass
    path = tmp_path / "piece.npz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(ValueError, match=r"cached result .*piece\.npz must be whole: it cannot be read; delete it"):
        cached(tmp_path, "piece", dict)


@pytest.mark.parametrize("changed", ["truth", "scores", "weights"])
def test_a_folder_of_other_data_answers_nothing(tmp_path, changed):
    """What was kept of one fit is never taken for another whose truth, scores or weights differ."""
    first = draw()
    truth, scores = np.asarray(first.y_true), first.to_array()
    metadata = {"y_true": truth, "sample_weight": np.ones(len(truth))}
    other = PredictionSet(scores, **metadata)
    if changed == "truth":
        other = PredictionSet(scores, **metadata | {"y_true": np.roll(truth, 1, axis=0)})
    elif changed == "scores":
        other = PredictionSet(np.roll(scores, 1, axis=1), **metadata)
    else:
        other = PredictionSet(scores, **metadata | {"sample_weight": 1.0 + np.arange(len(truth)) % 3})
    with caching(tmp_path):
        PerLabelStacker(n_trees=10, n_folds=2).fit(first)
        PerLabelStacker(n_trees=10, n_folds=2).fit(PredictionSet(scores, **metadata))
        kept = PerLabelStacker(n_trees=10, n_folds=2).fit(other)
    assert state_of(kept) == state_of(PerLabelStacker(n_trees=10, n_folds=2).fit(other))


@pytest.mark.parametrize("counted", [False, True])
def test_rows_read_label_by_label_give_the_same_trees(tmp_path, monkeypatch, counted):
    """From a store with a by-label copy, as beyond 100,000 rows."""
    predictions = draw(counted=counted)
    folds = stratified_group_folds(predictions.y_true, 3)
    held, y_score = PerLabelStacker(max_rows=None).fit_out_of_fold(predictions, folds=folds)
    store = load_predictions(pack_predictions(predictions, tmp_path / "store", by_label=True))
    monkeypatch.setattr(per_label_lightgbm, "BASE_ROWS", 100)
    streamed, streamed_score = PerLabelStacker(max_rows=None).fit_out_of_fold(store, folds=folds)
    if not counted:  # weighted sums differ in their last digit
        assert state_of(streamed) == state_of(held)
    assert streamed.boosted_.tolist() == [True] * (N_LABELS - 1) + [False]
    np.testing.assert_allclose(streamed_score, y_score, atol=1e-6)
    np.testing.assert_allclose(streamed.centers_, held.centers_, atol=1e-6)
    monkeypatch.setattr(label_inputs, "BASE_ROWS", 300)  # the regressions on some of the rows
    sampled, sampled_score = PerLabelStacker(max_rows=None).fit_out_of_fold(store, folds=folds)
    assert sampled.boosted_.tolist() == held.boosted_.tolist()
    assert np.abs(sampled_score - y_score).mean() < 0.03
    assert (sampled_score != y_score).any()


@pytest.mark.slow
def test_a_killed_fit_repeats_at_most_one_label(tmp_path):
    """SIGKILL between labels or in one: what is kept is whole, stays, and is not computed again."""
    predictions = draw(4000)
    save_predictions(predictions, tmp_path / "predictions.npz")
    work = tmp_path / "work"
    command = [sys.executable, "-m", "experiments", "fit", "predictions.npz", "--method", "lightgbm", "--quiet"]
    command += ["--work", "work", "--out"]
    running = subprocess.Popen([*command, "killed"], cwd=tmp_path, env=os.environ)
    deadline = time.monotonic() + 120
    while len(list(work.glob("*.npz"))) < 8 and running.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("*.npz")}
    assert 8 <= len(kept) < 6 + N_LABELS - 1  # six regressions, then the labels that grow trees
    assert not (tmp_path / "killed" / "manifest.json").exists()
    subprocess.run([*command, "resumed"], cwd=tmp_path, check=True, timeout=120)
    after = {path.name: path.stat().st_mtime_ns for path in work.glob("*.npz")}
    assert len(after) == 6 + N_LABELS - 1
    assert {name: after[name] for name in kept} == kept
    ensemble = StackingEnsemble("lightgbm").fit(predictions)
    resumed = StackingEnsemble.load(tmp_path / "resumed")
    np.testing.assert_array_equal(resumed.predict_proba(predictions), ensemble.predict_proba(predictions))
    np.testing.assert_array_equal(resumed.thresholds_, ensemble.thresholds_)
