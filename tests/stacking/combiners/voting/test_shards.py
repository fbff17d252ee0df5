"""Weights searched on shards of the rows are those of all rows in one process, to the last bit."""

import importlib.util
import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from stacking import PredictionSet, SoftVoting, WeightedVoting, load_predictions, save_predictions
from stacking.combiners.voting.shards import fit_on_shards
from stacking.testing import make_gated

EDGES = [0, 90, 100, 400]


def make_set(seed=0, **changes):
    gated = make_gated(EDGES[-1], 12)
    rng = np.random.default_rng(seed)
    scores = np.concatenate([gated.to_array(), rng.random((1, *gated.to_array().shape[1:])).astype(np.float32)])
    return PredictionSet(scores, y_true=gated.y_true, **changes)


def shards_of(predictions, edges=EDGES):
    return [predictions.subset(samples=np.arange(*edges[k : k + 2])) for k in range(len(edges) - 1)]


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mean": "geometric"},
        {"max_members": 2},
        {"optimizer": "hill-climbing", "optimizer_options": {"max_evaluations": 150}},
        {"optimizer": "random-search", "optimizer_options": {"max_evaluations": 60}, "start": "greedy"},
    ],
)
def test_shards_give_the_weights_of_all_rows(settings):
    predictions = make_set()
    settings = dict(settings)
    options = settings.pop("optimizer_options", None)
    whole = WeightedVoting(max_rows=None, random_state=3, optimizer_options=options, **settings).fit(predictions)
    parts = fit_on_shards(
        WeightedVoting(max_rows=None, random_state=3, optimizer_options=options, **settings), shards_of(predictions)
    )
    np.testing.assert_array_equal(parts.weights_, whole.weights_)
    assert (parts.loss_, parts.n_evaluations_, parts.n_tuning_rows_) == (whole.loss_, whole.n_evaluations_, 400)
    np.testing.assert_array_equal(parts.predict_proba(predictions), whole.predict_proba(predictions))


def test_what_does_not_count_and_labels_that_a_model_leaves_out(rng):
    covers = np.ones((make_set().n_models, 12), dtype=bool)
    covers[1, 3:5] = False
    scores = make_set().to_array().copy()
    scores[1, :, 3:5] = np.nan
    known = rng.random(scores.shape[1:]) < 0.8
    weight = rng.integers(0, 4, len(known)).astype(float)  # whole numbers add up exactly
    predictions = PredictionSet(scores, y_true=make_set().y_true, y_known=known, sample_weight=weight, covers=covers)
    whole = WeightedVoting(max_rows=None).fit(predictions)
    parts = fit_on_shards(WeightedVoting(max_rows=None), shards_of(predictions))
    np.testing.assert_array_equal(parts.weights_, whole.weights_)
    assert parts.loss_ == pytest.approx(whole.loss_, rel=1e-12)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"objective": "log-loss"}, "objective must be 'micro-f1-best' on shards: got 'log-loss'"),
        ({"weights_per": "label"}, "weights_per must be 'model' on shards"),
        ({"max_rows": 10}, "max_rows must be None on shards"),
        ({"start": "convex"}, "'convex' needs the log loss"),
        ({"start": "best"}, "start must be one of"),
    ],
)
def test_what_shards_cannot_give_is_said(settings, match):
    with pytest.raises(ValueError, match=match):
        fit_on_shards(WeightedVoting(**{"max_rows": None, **settings}), shards_of(make_set()))


def test_shards_must_fit_together():
    with pytest.raises(ValueError, match="shards must hold at least one"):
        fit_on_shards(WeightedVoting(max_rows=None), [])
    parts = shards_of(make_set())
    parts[1] = parts[1].subset(labels=np.arange(12)[::-1])
    with pytest.raises(ValueError, match="shards must hold the same labels in the same order: number 1 differs"):
        fit_on_shards(WeightedVoting(max_rows=None), parts)


def test_no_shard_counts_twice_or_lacks_the_truth(tmp_path):
    parts = shards_of(make_set())
    save_predictions(parts[1], tmp_path / "first")
    for again in (parts[1], tmp_path / "first"):
        shards = [parts[0], tmp_path / "first", again]
        with pytest.raises(ValueError, match="number 2 has ids of number 1; 10 rows are there twice"):
            fit_on_shards(WeightedVoting(max_rows=None), shards)
    other = make_set().subset(samples=np.arange(250, 50, -1))  # in part, and in another order
    with pytest.raises(ValueError, match="number 1 has ids of number 0"):
        fit_on_shards(WeightedVoting(max_rows=None), [parts[2], other])
    bare = PredictionSet(parts[1].to_array(), ids=parts[1].ids, models=parts[1].models, labels=parts[1].labels)
    for shards in ([bare, parts[0]], [parts[0], bare]):
        with pytest.raises(ValueError, match=r"shards must carry the truth .* PredictionSet\(.* has none"):
            fit_on_shards(WeightedVoting(max_rows=None), shards)
    with pytest.raises(TypeError, match="shards must be a list of paths"):
        fit_on_shards(WeightedVoting(max_rows=None), str(tmp_path / "first"))
    with pytest.raises(TypeError, match="shards must be a list of paths or sets of predictions: got a generator"):
        fit_on_shards(WeightedVoting(max_rows=None), (part for part in parts))
    with pytest.raises(TypeError, match="voting must be a WeightedVoting, whose weights are searched: got SoftVoting"):
        fit_on_shards(SoftVoting(), parts)


def test_the_weights_of_one_shard_count_beside_those_of_another():
    """Where all rows of a shard weigh 9 they weigh nine times those of a shard without weights."""
    plain = make_set()
    weight = np.ones(plain.n_samples)
    for (start, stop), own in zip(pairwise(EDGES), (9.0, 2.0, 1.0), strict=True):
        weight[start:stop] = own
    labels = {"models": plain.models, "labels": plain.labels}
    weighted = PredictionSet(plain.to_array(), plain.ids, y_true=plain.y_true, sample_weight=weight, **labels)
    parts = shards_of(weighted)
    parts[2] = shards_of(plain)[2]
    settings = {"optimizer": "random-search", "max_rows": None}
    whole = WeightedVoting(**settings).fit(weighted)
    assert whole.loss_ != pytest.approx(WeightedVoting(**settings).fit(plain).loss_, rel=0.01)
    found = fit_on_shards(WeightedVoting(**settings), parts)
    np.testing.assert_array_equal(found.weights_, whole.weights_)
    assert found.loss_ == pytest.approx(whole.loss_, rel=1e-12)


@pytest.mark.network
def test_two_dask_workers_find_the_same_weights(tmp_path):
    if importlib.util.find_spec("distributed") is None:
        pytest.skip("distributed is not installed; pip install 'labelstack[dask]'")
    predictions = make_set()
    for number, shard in enumerate(shards_of(predictions)):
        save_predictions(shard, tmp_path / f"shard{number}")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TMPDIR": str(tmp_path)}
    command = [sys.executable, __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["weights"] == WeightedVoting(max_rows=None, random_state=0).fit(predictions).shared_weights_.tolist()
    assert answer["workers_with_shards"] == 2


def main(folder):
    """Fit on two Dask workers; print the weights and how many of them hold shards."""
    from distributed import Client, LocalCluster

    paths = [str(Path(folder) / f"shard{number}") for number in range(len(EDGES) - 1)]
    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": 0, "dashboard_address": None}
    with LocalCluster(**options, host="127.0.0.1", local_directory=folder) as cluster, Client(cluster) as client:
        voting = fit_on_shards(WeightedVoting(max_rows=None, random_state=0), paths, client)
        workers = sum(client.run(_has_numbers).values())
    assert load_predictions(paths[0]).n_models == len(voting.models_)
    print(json.dumps({"weights": voting.shared_weights_.tolist(), "workers_with_shards": workers}))


def _has_numbers():
    """Tell whether this process has loaded the objective, which nothing but a shard makes a worker do."""
    return "stacking.combiners.voting.objectives.pooled" in sys.modules


if __name__ == "__main__":
    main(sys.argv[1])
