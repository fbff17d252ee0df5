"""Ids and labels come out as they went in, through every writer and back in; a submission holds label ids."""

import csv
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from base_models.photos.vocabulary import Vocabulary
from base_models.runs.inference import RunNames
from experiments.labeling.label_table import LabelTarget, check_run, ids_in_order, label_samples
from experiments.submission import choose_label_texts, write_labels_csv
from stacking import PredictionSet, StackingEnsemble, load_predictions, save_predictions
from stacking.ensemble.seen_samples import find_seen, hash_ids
from stacking.files.atomic_files import OutputRefusedError
from stacking.files.csv_cells import to_csv
from stacking.predictions import align_predictions

IDS = [
    *(
        "007",
        "7",
        "1e5",
        "0x10",
        "True",
        "NA",
        "null",
        "nan",
        "None",
        "=1+1",
        "+5",
        "-3",
        "@x",
        "'a",
        '"b"',
        "a,b",
        "a;b",
    ),
    *("a|b", "a\tb", "a\nb", "a\rb", "é", "日本", " lead", "trail ", "a b", "\ufeffc", "p1/view1", "1.0", "[1]"),
]
LABELS = ["label", "id", "nan", "None", "+size", "=x()", "long sleeve", "a,b", "c;d", "[e]", "7", "it's", '"q"', "ü"]


@pytest.fixture
def predictions(rng):
    y_true = (rng.random((len(IDS), len(LABELS))) < 0.5).astype(np.uint8)
    return PredictionSet(np.clip(0.8 * y_true + 0.1, 0, 1)[None], IDS, ["a"], LABELS, y_true=y_true)


def test_predicted_labels_are_a_truth(predictions, tmp_path):
    path = tmp_path / "p.csv"
    write_labels_csv(path, IDS, LABELS, predictions.y_true.astype(bool))
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows[1:]] == IDS and all(len(row) == 2 for row in rows)
    bundle = save_predictions(predictions, tmp_path / "p.npz")
    read = load_predictions(bundle, truth=path)
    assert read.ids.tolist() == IDS and np.array_equal(read.y_true, predictions.y_true)
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    assert frame["id"].tolist() == IDS


@pytest.mark.parametrize("form", ["p.npz", "store", "p.csv", "p.tsv", "p.parquet"])
def test_ids_and_labels_survive_every_form(predictions, tmp_path, form):
    if form.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    path = tmp_path / form
    frame = pd.DataFrame(predictions.to_array()[0], index=pd.Index(IDS, name="key"), columns=LABELS)
    if form == "p.parquet":
        frame.to_parquet(path)
    elif form.startswith("p.") and form != "p.npz":
        frame.to_csv(path, sep="\t" if form == "p.tsv" else ",", lineterminator="\n")
        if form == "p.csv":  # pandas does not quote a lone carriage return
            path.write_text(to_csv([["key", *LABELS], *([name, *row] for name, row in frame.iterrows())]), newline="")
        else:
            frame = frame.drop(index=["a\rb"])
            frame.to_csv(path, sep="\t", lineterminator="\n")
    else:
        save_predictions(predictions, path)
    read = load_predictions(models=[path])
    assert read.ids.tolist() == frame.index.tolist() and list(read.labels) == LABELS
    np.testing.assert_array_equal(read.to_array()[0], frame.to_numpy(np.float32))


@pytest.mark.parametrize("suffix", ["txt", "json", "csv", "npy"])
def test_id_lists_keep_what_they_can_hold(tmp_path, suffix):
    ids = [name for name in IDS if suffix in ("csv", "json", "npy") or not set(name) & set("\n\r")]
    path = tmp_path / f"ids.{suffix}"
    if suffix == "txt":
        path.write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")
    elif suffix == "json":
        path.write_text(json.dumps(ids))
    elif suffix == "csv":
        path.write_text(to_csv([["id"], *([name] for name in ids)]), encoding="utf-8", newline="")
    else:
        np.save(path, np.array(ids))
    frame = pd.DataFrame(np.full((len(ids), 1), 0.5), index=ids, columns=["x"])
    assert load_predictions(models=[("a", frame)], ids=path).ids.tolist() == ids


@pytest.mark.parametrize("suffix", [".npz", ".csv", ".parquet", ".feather"])
def test_scores_that_are_written_can_be_read_back_whatever_labels_are_called(predictions, tmp_path, suffix):
    ensemble = StackingEnsemble("mean").fit(predictions)
    target = LabelTarget(tmp_path / "labels.csv", tmp_path / f"scores{suffix}")
    label_samples(ensemble, predictions, target, {})
    read = load_predictions(models=[target.scores_out])
    assert read.ids.tolist() == IDS and list(read.labels) == LABELS
    np.testing.assert_array_equal(read.to_array()[0], ensemble.predict_proba(predictions))


def test_which_samples_were_seen_goes_by_the_very_id():
    fitted = np.sort(hash_ids(IDS))
    assert find_seen(IDS, fitted).all()
    assert not find_seen(["07", "100000", "16", "true", "lead", "trail", "'=1+1", "view1", "a"], fitted).any()


def test_ids_that_programs_have_changed_are_explained(predictions, tmp_path):
    changed = {"007": "07", " lead": "lead", "1.0": "1", "=1+1": "'=1+1", "p1/view1": "p1/view1.jpg", "NA": "na"}
    words = (
        "zeros in front",
        "spaces around",
        "a fraction of zero",
        "an apostrophe",
        "folder or suffix",
        "capital letters",
    )
    for (old, new), word in zip(changed.items(), words, strict=True):
        path = tmp_path / f"{word}.csv"
        write_labels_csv(path, [new], ["x"], np.ones((1, 1), bool))
        frame = pd.DataFrame([[0.5]], index=[old], columns=["x"])
        with pytest.raises(ValueError, match=f"differ by {word}"):
            load_predictions(models=[("a", frame)], truth=path)


@pytest.fixture
def with_ids(rng):
    y_true = (rng.random((60, 3)) < 0.4).astype(np.uint8)
    scores = np.clip(y_true * 0.6 + rng.random((2, 60, 3)) * 0.4, 0, 1)
    return PredictionSet(
        scores, [f"p{row}" for row in range(60)], ["a", "b"], ["long sleeve", "blue", "green"], y_true=y_true,
        label_ids=["66", "105", "7"],
    )  # fmt: skip


def test_label_ids_are_kept_everywhere(with_ids, tmp_path):
    ids = ("66", "105", "7")
    assert with_ids.subset(labels=["green", "blue"]).label_ids == ("7", "105")
    assert with_ids.subset(samples=[1, 2]).label_ids == ids == with_ids.with_groups(np.arange(60)).label_ids
    for form in ("p.npz", "store"):
        read = load_predictions(save_predictions(with_ids, tmp_path / form))
        assert read.label_ids == ids and read.fingerprint == with_ids.fingerprint
    plain = PredictionSet(with_ids.to_array(), with_ids.ids, ["c", "d"], with_ids.labels)
    assert align_predictions([plain, with_ids.subset(labels=["green", "blue", "long sleeve"])]).label_ids == ids
    ensemble = StackingEnsemble("mean").fit(with_ids)
    ensemble.save(tmp_path / "ensemble")
    assert ensemble.label_ids_ == StackingEnsemble.load(tmp_path / "ensemble").label_ids_ == ids
    label_samples(ensemble, with_ids, LabelTarget(tmp_path / "s.csv", tmp_path / "s.npz", "submission"), {})
    assert load_predictions(tmp_path / "s.npz").label_ids == ids
    with pytest.raises(ValueError, match="label_ids must hold 3 names"):
        PredictionSet(with_ids.to_array(), labels=with_ids.labels, label_ids=["1"])
    with pytest.raises(ValueError, match="label_ids must be unique: got '1' 2 times"):
        PredictionSet(with_ids.to_array(), labels=with_ids.labels, label_ids=["1", "1", "2"])
    assert Vocabulary(("red",)).own_ids is None and Vocabulary(("red",), ids=("7",)).own_ids == ("7",)


def test_a_store_with_label_ids_reads_a_truth_of_ids(with_ids, tmp_path):
    store = save_predictions(with_ids, tmp_path / "store")
    rows = [" ".join(np.array(with_ids.label_ids)[row == 1]) for row in with_ids.y_true]
    (tmp_path / "t.csv").write_text(to_csv([["id", "labels"], *zip(with_ids.ids, rows, strict=True)]))
    assert np.array_equal(load_predictions(store, truth=tmp_path / "t.csv").y_true, with_ids.y_true)


@pytest.mark.parametrize("where", ["pack", "predict"])
def test_a_submission_holds_label_ids(labelstack, with_ids, tmp_path, where):
    (tmp_path / "labels.csv").write_text("labelId,labelName\n66,long sleeve\n105,blue\n7,green\n")
    np.savez(tmp_path / "p.npz", y_scores=with_ids.to_array(), ids=with_ids.ids, models=list(with_ids.models),
             labels=list(with_ids.labels), y_true=with_ids.y_true)  # fmt: skip
    labels = ["--labels", tmp_path / "labels.csv"]
    done = labelstack("pack", tmp_path / "p.npz", *(labels if where == "pack" else []), "--out", tmp_path / "store")
    assert done.exit_code == 0, done.output
    done = labelstack("fit", tmp_path / "store", "--method", "mean", "--out", tmp_path / "ensemble")
    assert done.exit_code == 0, done.output
    command = [
        "predict",
        tmp_path / "ensemble",
        tmp_path / "store",
        "--format",
        "submission",
        "--out",
        tmp_path / "s.csv",
    ]
    if where == "predict":
        done = labelstack(*command)
        assert done.exit_code == 2 and "or give the table of labels with their ids (--labels)" in done.stderr
        assert not (tmp_path / "s.csv").exists()
    done = labelstack(*command, *(labels if where == "predict" else []))
    assert done.exit_code == 0, done.output
    frame = pd.read_csv(tmp_path / "s.csv", dtype=str, keep_default_na=False)
    assert list(frame) == ["image_id", "label_id"]
    assert set(" ".join(frame["label_id"]).split()) == {"66", "105", "7"}


def test_names_in_a_submission_are_said_aloud():
    with pytest.warns(UserWarning, match="a submission holds label ids, and the ensemble knows none"):
        assert choose_label_texts(["red", "blue"], None, "submission") == ("red", "blue")
    assert choose_label_texts(["7", "9"], None, "submission") == ("7", "9")
    assert choose_label_texts(["red", "blue"], ["7", "9"], "submission") == ("7", "9")
    assert choose_label_texts(["red", "blue"], ["7", "9"], "labels") == ("red", "blue")
    with pytest.raises(ValueError, match=r"must not hold '\|' in the form 'labels'"):
        choose_label_texts(["a|b"], None, "labels")
    assert ids_in_order(["a", "b"], ["b"], ["1"]) is None


def test_a_run_of_other_members_is_refused_before_photos_are_scored(with_ids, monkeypatch, tmp_path):
    ensemble = StackingEnsemble("mean").fit(with_ids)
    names = RunNames(("a",), with_ids.labels, None)
    monkeypatch.setattr("base_models.runs.inference.read_run_names", lambda run: names)
    with pytest.raises(ValueError, match="predictions must hold every fitted member: 'b' is missing"):
        check_run(ensemble, tmp_path)
    assert check_run(ensemble, tmp_path, ["b"]) is None
    with pytest.raises(ValueError, match="without must name fitted members: got 'c'"):
        check_run(ensemble, tmp_path, ["c"])
    names = RunNames(("a", "b", "c"), ("blue", "green"), None)
    with pytest.raises(ValueError, match="predictions must hold every fitted label: 'long sleeve' is missing"):
        check_run(ensemble, tmp_path)


def _label(ensemble, samples, target):
    manifest = {"command": "predict", "method": ensemble.method}
    if not target.holds(manifest):
        label_samples(ensemble, samples, target, manifest)
    return target.scores_out.read_bytes()


def test_a_labeling_killed_between_its_names_is_finished_by_the_same_command(with_ids, tmp_path):
    """The manifest has its new name, the table of scores still the old one: it is ours by what it was to replace."""
    earlier, later = (StackingEnsemble(method).fit(with_ids) for method in ("mean", "geometric"))
    target = LabelTarget(tmp_path / "s.csv", tmp_path / "scores.csv")
    again = replace(target, overwrite=True)
    old, new = _label(earlier, with_ids, target), _label(later, with_ids, again)
    assert new != old
    target.scores_out.write_bytes(old)  # as a kill before the last renaming leaves it
    assert _label(later, with_ids, again) == new
    target.scores_out.write_bytes(b"the user's own")
    with pytest.raises(OutputRefusedError, match=r"scores\.csv is no file that labelstack wrote"):
        _label(later, with_ids, again)
    assert target.scores_out.read_bytes() == b"the user's own"
