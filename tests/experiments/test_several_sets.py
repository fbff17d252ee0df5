"""Several sets in Python: what is taken for a set of predictions, and what for the scores of one model."""

import numpy as np

import labelstack as ls
from experiments.several_sets import are_sets


def test_bundles_are_compared_together_like_stores(tmp_path):
    scores = ls.example_scores(120)
    turned = scores.subset(labels=list(scores.labels)[::-1])
    paths = [tmp_path / "first.npz", tmp_path / "other.npz", tmp_path / "store"]
    for path, part in zip(paths, (scores, turned, scores), strict=True):
        ls.save_predictions(part, path)
    table = ls.compare([str(path) for path in paths], ["mean"], n_splits=2, n_bootstrap=20).table
    shape = table[table.method.str.endswith("/shape")]
    assert set(shape.method) == {"first/shape", "other/shape", "store/shape"}
    assert shape.score.nunique() == 1
    np.savez(tmp_path / "matrix.npz", scores=np.zeros((3, 2)))
    assert are_sets(paths)
    assert not are_sets([paths[0], tmp_path / "matrix.npz"])
    assert not are_sets([paths[0]])
