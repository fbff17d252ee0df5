"""The blender's path from plain files of two models, as a new user walks it in a fresh folder."""

import csv
import json

import numpy as np
import pandas as pd
import pytest

import labelstack as ls
from stacking import StackingEnsemble, load_predictions, micro_f1

LABELS = ["dress", "skirt", "red", "blue", "sleeve:long"]
ANSWERED = ["blue", "sleeve:long", "dress"]
N_OLD, N_NEW = 160, 80


def write_part(folder, end, ids, y_true, rng):
    """Write a float16 matrix, shuffled logits of a model of some labels, and the truth in three forms."""
    logits = (y_true * 2.0 - 1) * 1.4 + rng.normal(size=(2, *y_true.shape))
    np.save(folder / f"resnet{end}.npy", np.asfortranarray(1 / (1 + np.exp(-logits[0])), dtype=">f2"))
    (folder / f"ids{end}.txt").write_text("\n".join(ids) + "\n\n")
    frame = pd.DataFrame(logits[1], index=pd.Index(ids, name="photo"), columns=LABELS)[ANSWERED]
    frame.iloc[rng.permutation(len(ids))].to_csv(folder / f"specialist{end}.csv")
    np.save(folder / f"truth{end}.npy", y_true)
    names = ["|".join(np.array(LABELS)[row.astype(bool)]) for row in y_true]
    pd.DataFrame({"id": ids, "labels": names}).to_csv(folder / f"truth{end}.csv", index=False)
    numbers = [" ".join(str(label + 1) for label in np.flatnonzero(row)) for row in y_true]
    pd.DataFrame({"image": ids, "labelIds": numbers}).to_csv(folder / f"contest{end}.csv", index=False)


@pytest.fixture
def fresh(tmp_path, monkeypatch):
    """A folder with rows to fit on and new rows; the commands run in it."""
    rng = np.random.default_rng(0)
    common = rng.normal(size=(N_OLD + N_NEW, 1))
    y_true = (common + rng.normal(size=(N_OLD + N_NEW, 5)) > [0, 0.3, 0.6, 0.9, 1.2]).astype(np.uint8)
    ids = [f"{number:05d}" for number in range(N_OLD + N_NEW)]
    write_part(tmp_path, "", ids[:N_OLD], y_true[:N_OLD], rng)
    write_part(tmp_path, "-new", ids[N_OLD:], y_true[N_OLD:], rng)
    (tmp_path / "labels.txt").write_text("\n".join(LABELS) + "\n")
    pd.DataFrame({"labelId": range(1, 6), "labelName": LABELS}).to_csv(tmp_path / "labels.csv", index=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def members(end=""):
    """The options that name two models, one of them of logits."""
    models = ["--model", f"resnet=resnet{end}.npy", "--model", f"specialist=specialist{end}.csv"]
    return [*models, "--logits-of", "specialist", "--ids", f"ids{end}.txt", "--labels", "labels.txt"]


def done(result, *words):
    assert result.exit_code == 0, result.output
    for word in words:
        assert word in result.stdout
    return result


def test_pack_compare_fit_predict_evaluate_optimize(labelstack, fresh):
    done(labelstack("pack", "--truth", "truth.csv", *members(), "--out", "p.npz"), "2 models × 160 samples × 5 labels")
    packed = load_predictions("p.npz")
    assert packed.covers.tolist() == [[True] * 5, [True, False, False, True, True]]
    np.testing.assert_array_equal(packed.y_true, np.load("truth.npy"))
    done(labelstack("compare", "p.npz", "--methods", "mean,ridge-context", "--folds", 3, "--out", "c"), "ridge-context")
    done(labelstack("optimize", "p.npz", "--out", "w"), "specialist")
    done(labelstack("fit", "p.npz", "--method", "ridge-context", "--out", "e"), "ensemble: e")
    done(labelstack("predict", "e", *members("-new"), "--out", "new.csv", "--scores-out", "new.npz"), "80 samples")
    with (fresh / "new.csv").open(newline="") as file:
        rows = {row["id"]: row["labels"].split("|") for row in csv.DictReader(file)}
    y_pred = np.array([[label in rows[name] for label in LABELS] for name in load_predictions("new.npz").ids])
    found = micro_f1(np.load("truth-new.npy"), y_pred)
    done(labelstack("evaluate", "e", "--truth", "truth-new.csv", *members("-new"), "--out", "v"), "ensemble")
    board = {row["method"]: row["score"] for row in json.loads((fresh / "v" / "leaderboard.json").read_text())["rows"]}
    assert board["ensemble"] == pytest.approx(found)
    assert board["ensemble"] > board["specialist"]
    alone = ["--model", "resnet=resnet-new.npy", "--ids", "ids-new.txt", "--labels", "labels.txt"]
    missing = labelstack("predict", "e", *alone, "--out", "alone.csv")
    assert missing.exit_code == 2
    assert "'specialist' is missing (got 'resnet')" in missing.stderr
    assert "--without specialist" in missing.stderr
    done(labelstack("predict", "e", *alone, "--without", "specialist", "--out", "alone.csv"), "80 samples")


@pytest.mark.parametrize(
    ("truth", "labels"), [("truth.npy", "labels.txt"), ("truth.csv", "labels.txt"), ("contest.csv", "labels.csv")]
)
def test_every_form_of_truth_is_the_same_truth(labelstack, fresh, truth, labels):
    command = ["--model", "resnet.npy", "--ids", "ids.txt", "--labels", labels, "--truth", truth, "--out", "p.npz"]
    done(labelstack("pack", *command))
    np.testing.assert_array_equal(load_predictions("p.npz").y_true, np.load("truth.npy"))


def test_the_same_path_from_python(fresh):
    scores = pd.DataFrame(np.load("resnet.npy"), index=(fresh / "ids.txt").read_text().split(), columns=LABELS)
    truth = pd.DataFrame(np.load("truth.npy"), index=scores.index, columns=LABELS)
    learned = load_predictions(
        models=[("resnet", scores), ("specialist", "specialist.csv")], truth=truth[::-1], from_logits=["specialist"]
    )
    ensemble = StackingEnsemble("logistic", random_state=0).fit(learned)
    new = load_predictions(
        models=["resnet-new.npy", "specialist-new.csv"],
        ids="ids-new.txt",
        labels="labels.txt",
        from_logits=["specialist-new"],
    )
    with pytest.raises(ValueError, match=r"'resnet' is missing \(got 'resnet-new', 'specialist-new'\)"):
        ensemble.predict(new)
    named = load_predictions(
        models=[("resnet", "resnet-new.npy"), ("specialist", "specialist-new.csv")],
        ids="ids-new.txt",
        labels="labels.txt",
        from_logits=["specialist"],
    )
    assert micro_f1(np.load("truth-new.npy"), ensemble.predict(named)) > 0.7


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["fit", "p.npz", "--method", "mean", "--out", "labels.txt"], "--out must be a folder: 'labels.txt' is a file"),
        (["fit", "p.npz", "--method", "mean", "--out", "."], "out must be a new or empty folder"),
        (["compare", "p.npz", "--out", "labels.txt"], "--out must be a folder"),
        (["optimize", "p.npz", "--out", "labels.txt"], "--out must be a folder"),
        (["compare", "blind.npz", "--out", "c"], "--truth must be given to compare methods, or"),
        (["fit", "blind.npz", "--out", "e"], "--truth must be given to fit an ensemble, or"),
        (["pack", "p.npz", "--from-logits", "--logits-of", "a", "--out", "q.npz"], "not both"),
        (["pack", "--model", "resnet.npy", "--out", "q.npz"], "as --ids and --labels"),
    ],
)
def test_contradictions_are_refused_before_any_work(labelstack, fresh, monkeypatch, command, sentence):
    done(labelstack("pack", "--truth", "truth.csv", *members(), "--out", "p.npz"))
    done(labelstack("pack", *members(), "--out", "blind.npz"))
    monkeypatch.setattr("stacking.combiners.combiner.Combiner.fit", None)  # calling it would be an internal failure
    before = sorted(path.name for path in fresh.iterdir())
    refused = labelstack(*command)
    assert refused.exit_code == 2, refused.output
    assert sentence in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert sorted(path.name for path in fresh.iterdir()) == before


def test_groups_are_a_column_of_a_table(labelstack, fresh):
    ids = (fresh / "ids.txt").read_text().split()
    sellers = [f"{place // 4:03d}" for place in range(len(ids))]
    rows = "".join(f"{name},shop,{seller}\n" for name, seller in zip(reversed(ids), reversed(sellers), strict=True))
    (fresh / "photos.csv").write_text("id,kind,seller\n" + rows)
    given = ["--truth", "truth.csv", *members(), "--groups", "photos.csv:seller"]
    done(labelstack("pack", *given, "--out", "g.npz"))
    packed = load_predictions("g.npz")
    assert dict(zip(packed.ids, packed.groups, strict=True)) == dict(zip(ids, sellers, strict=True))
    out = labelstack("compare", *given, "--methods", "mean", "--folds", "2", "--out", "c")
    assert "--groups photos.csv:seller" in done(out).stderr  # in the command that follows
    assert labelstack("pack", "g.npz", "--groups", "photos.csv:seller", "--out", "photos.csv").exit_code == 2


@pytest.mark.parametrize("zipped", ["scores/vit.b16.csv.gz", "scores/vit.b16.CSV.GZ"])
def test_a_gzipped_table_names_its_model_as_the_plain_one_does(labelstack, tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scores").mkdir()
    rng = np.random.default_rng(0)
    y_true = rng.integers(0, 2, (40, 2))
    index = pd.Index([f"photo{row}" for row in range(40)], name="id")
    scores = pd.DataFrame(y_true * 0.4 + 0.6 * rng.random((40, 2)), index=index, columns=["a", "b"])
    pd.DataFrame(y_true, index=index, columns=["a", "b"]).to_csv("truth.csv")
    scores.to_csv(zipped, compression="gzip")
    scores.to_csv("scores/vit.b16.csv")
    done(labelstack("fit", "--truth", "truth.csv", "--model", zipped, "--method", "mean", "--out", "e"))
    assert StackingEnsemble.load("e").models_ == ls.load(zipped).models == ("vit.b16",)
    done(labelstack("predict", "e", "--model", "scores/vit.b16.csv", "--out", "labels.csv"), "40 samples")
    done(labelstack("pack", "--truth", "truth.csv", "--model", f"cnn={zipped}", "--out", "p.npz"))
    done(labelstack("pack", "p.npz", "--add", zipped, "--out", "q.npz"))
    assert load_predictions("q.npz").models == ("cnn", "vit.b16")
    findings = ls.check([zipped], truth="truth.csv").findings
    assert {finding.member for finding in findings} <= {"", "vit.b16"}
