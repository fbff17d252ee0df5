import csv
import json

import numpy as np
import pytest

from stacking.ensemble.ensemble import StackingEnsemble
from stacking.predictions import PredictionSet, load_predictions

IDS = ("66", "105", "3", "14", "228")


@pytest.fixture
def ensemble(tmp_path, bundle):
    given = load_predictions(bundle)
    with_ids = PredictionSet(
        given.source, given.ids, list(given.models), list(given.labels), **{**given.metadata(), "label_ids": IDS}
    )
    StackingEnsemble("mean").fit(with_ids).save(tmp_path / "ensemble")
    return tmp_path / "ensemble"


@pytest.fixture
def new(held_back):
    return load_predictions(held_back)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def write(path, *rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def wanted_ids(new):
    """Most of the predicted samples, backwards, and three that nobody predicted."""
    return ["gone-1", *new.ids.tolist()[:0:-1], "gone-2", "gone-3"]


def test_a_submission_has_the_rows_and_header_of_the_sample(labelstack, ensemble, held_back, new, tmp_path):
    sample = write(tmp_path / "sample.csv", ("Photo", "Tags"), *((name, "1 2") for name in wanted_ids(new)))
    arguments = ["predict", ensemble, held_back, "--format", "submission", "--like", sample]
    done = labelstack(*arguments, "--out", tmp_path / "s.csv")
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "s.csv")
    assert rows[0] == ["Photo", "Tags"] and [row[0] for row in rows[1:]] == wanted_ids(new)
    decided = StackingEnsemble.load(ensemble).predict(new)
    expected = {
        name: " ".join(IDS[place] for place in np.flatnonzero(row)) for name, row in zip(new.ids, decided, strict=True)
    }
    assert all(labels == expected.get(name, "") for name, labels in rows[1:])
    assert "filled: 3 of 102 ids have no prediction, such as 'gone-1', 'gone-2', 'gone-3'" in done.stdout
    assert f"left out: 1 predicted samples are not asked for, such as {str(new.ids[0])!r}" in done.stdout
    again = labelstack(*arguments, "--out", tmp_path / "s.csv")
    assert again.exit_code == 0 and "is there already" in again.stdout
    sample.write_text(sample.read_text().replace("gone-2", "gone-4"))
    assert labelstack(*arguments, "--out", tmp_path / "s.csv").exit_code == 2  # another result


@pytest.mark.parametrize("kind", ["txt", "csv"])
def test_a_list_of_ids_gives_the_rows(labelstack, ensemble, held_back, new, tmp_path, kind):
    lines = (["id"] if kind == "csv" else []) + wanted_ids(new)
    (tmp_path / f"ids.{kind}").write_text("\n".join(lines) + "\n")
    done = labelstack(
        "predict", ensemble, held_back, "--format", "submission", "--ids", tmp_path / f"ids.{kind}", "--json",
        "--out", tmp_path / "s.csv",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "s.csv")
    assert rows[0] == ["image_id", "label_id"] and [row[0] for row in rows[1:]] == wanted_ids(new)
    said = json.loads(done.stdout)
    assert (said["n_rows"], len(said["filled"]), len(said["left_out"])) == (102, 3, 1)


@pytest.mark.parametrize("by", ["ids", "names"])
def test_a_wide_sample_gets_probabilities(labelstack, ensemble, held_back, new, tmp_path, by):
    fitted = StackingEnsemble.load(ensemble)
    order = [3, 0, 4, 1, 2]
    columns = [(IDS if by == "ids" else fitted.labels_)[place] for place in order]
    sample = write(tmp_path / "wide.csv", ("row", *columns), *((name, *[0.5] * 5) for name in wanted_ids(new)))
    done = labelstack(
        "predict", ensemble, held_back, "--format", "submission", "--like", sample, "--out", tmp_path / "s.csv"
    )
    assert done.exit_code == 0, done.output
    rows = rows_of(tmp_path / "s.csv")
    assert rows[0] == ["row", *columns] and [row[0] for row in rows[1:]] == wanted_ids(new)
    scores = fitted.predict_proba(new)[:, order]
    found = np.array([row[1:] for row in rows[2:-2]], dtype=float)
    assert np.allclose(found, scores[:0:-1], atol=1e-6)
    assert rows[1][1:] == ["0"] * 5


@pytest.mark.parametrize(
    ("header", "ids", "words"),
    [
        (("id", "66", "105", "3", "14", "229"), ["a"], "columns that are no label, such as '229'"),
        (("id", "66", "105", "3", "14"), ["a"], "no column for labels, such as 'rare:thing'"),
        (("id", "labels"), ["a", "a"], "'a'"),
        (("id", "labels"), ["a", "b"], "must be among those that are predicted"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused(labelstack, ensemble, held_back, tmp_path, header, ids, words):
    sample = write(tmp_path / "sample.csv", header, *((name, *["0"] * (len(header) - 1)) for name in ids))
    done = labelstack(
        "predict", ensemble, held_back, "--format", "submission", "--like", sample, "--out", tmp_path / "s.csv"
    )
    assert done.exit_code == 2 and words in done.stderr, done.stderr
    assert not (tmp_path / "s.csv").exists()


def test_like_is_for_submissions(labelstack, ensemble, held_back, tmp_path):
    done = labelstack("predict", ensemble, held_back, "--like", held_back, "--out", tmp_path / "s.csv")
    assert done.exit_code == 2 and "--like is for --format submission" in done.stderr
