import numpy as np
import pytest
from sklearn.metrics import average_precision_score

import labelstack as ls
from experiments.fashionblocks.scores import MODELS, example_scores, write_scores


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    write_scores(folder, 300, 150, random_state=0)
    return folder


@pytest.mark.parametrize(("name", "n_samples"), [("scores", 300), ("new-scores", 150)])
def test_the_tables_are_read_as_a_users(folder, name, n_samples):
    given = ls.load(*(folder / name / f"{model}.csv" for model in MODELS), truth=folder / name / "labels.csv")
    assert given.models == tuple(MODELS) and given.n_samples == n_samples
    assert set(np.unique(given.y_true)) == {0, 1}


def test_each_model_ranks_the_labels_that_it_sees_best(folder):
    where = folder / "scores"
    given = ls.load(*(where / f"{model}.csv" for model in MODELS), truth=where / "labels.csv")
    y_true = np.asarray(given.y_true)
    for model, groups in MODELS.items():
        seen = [label.partition(":")[0] in groups for label in given.labels] & y_true.any(axis=0)
        precision = {
            other: average_precision_score(y_true[:, seen], given.model_scores(other)[:, seen]) for other in MODELS
        }
        assert max(precision, key=precision.__getitem__) == model


def test_the_same_seed_writes_the_same_files_and_another_seed_others(folder, tmp_path):
    write_scores(tmp_path, 300, 150, random_state=0)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.csv"))
    assert len(files) == 8
    assert all((folder / path).read_bytes() == (tmp_path / path).read_bytes() for path in files)
    write_scores(tmp_path, 300, 150, random_state=1)
    assert all((folder / path).read_bytes() != (tmp_path / path).read_bytes() for path in files)


def test_example_scores_are_a_set_that_everything_takes():
    scores = example_scores(50)
    assert scores.models == tuple(MODELS) and scores.y_true.shape == (50, 22)
    assert set(scores.label_groups) == {group for groups in MODELS.values() for group in groups}
    assert scores.fingerprint == example_scores(50).fingerprint != example_scores(50, random_state=1).fingerprint
    with pytest.raises(ValueError, match="n_samples must be at least 1: got 0"):
        example_scores(0)
