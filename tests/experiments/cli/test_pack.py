import csv

import numpy as np
import pytest

from stacking.predictions import PredictionSet, load_predictions, save_predictions
from stacking.predictions.forms.store_index import read_index


def write_tables(folder, predictions):
    """One CSV per model, the truth as a list of labels."""
    for number, model in enumerate(predictions.models):
        with (folder / f"m{number}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", *predictions.labels])
            for name, row in zip(predictions.ids, predictions.model_scores(model), strict=True):
                writer.writerow([name, *(repr(float(value)) for value in row)])
    with (folder / "truth.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "labels"])
        for name, row in zip(predictions.ids, predictions.y_true, strict=True):
            writer.writerow([name, "|".join(predictions.labels[i] for i in np.flatnonzero(row))])


def assert_same(first, second):
    assert first.models == second.models
    assert first.labels == second.labels
    assert first.ids.tolist() == second.ids.tolist()
    np.testing.assert_array_equal(first.y_true, second.y_true)
    np.testing.assert_allclose(first.to_array(), second.to_array(), atol=1e-7)


def test_bundle_to_store_and_back(labelstack, bundle, tmp_path):
    done = labelstack("pack", bundle, "--out", tmp_path / "store", "--by-label")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("3 models × 160 samples × 5 labels: ")
    assert (tmp_path / "store" / "by_label").is_dir()
    assert labelstack("pack", tmp_path / "store", "--out", tmp_path / "again.npz").exit_code == 0
    assert_same(load_predictions(bundle), load_predictions(tmp_path / "again.npz"))


def test_tables_with_truth(labelstack, make_predictions, tmp_path):
    predictions = make_predictions(40)
    write_tables(tmp_path, predictions)
    models = [f"--model=cnn/a={tmp_path / 'm0.csv'}", f"--model=cnn/b={tmp_path / 'm1.csv'}", "--model"]
    models.append(f"specialist={tmp_path / 'm2.csv'}")
    done = labelstack("pack", "--truth", tmp_path / "truth.csv", *models, "--out", tmp_path / "p.npz")
    assert done.exit_code == 0, done.output
    assert_same(load_predictions(tmp_path / "p.npz"), predictions)


def test_matrices_of_logits_with_name_lists(labelstack, make_predictions, tmp_path):
    predictions = make_predictions(40)
    scores = predictions.model_scores("cnn/a").astype(np.float64)
    np.save(tmp_path / "a.npy", np.log(scores / (1 - scores)))
    (tmp_path / "ids.txt").write_text("\n".join(predictions.ids) + "\n")
    (tmp_path / "labels.txt").write_text("\n".join(predictions.labels) + "\n")
    names = ["--ids", tmp_path / "ids.txt", "--labels", tmp_path / "labels.txt"]
    done = labelstack("pack", "--model", tmp_path / "a.npy", *names, "--from-logits", "--out", tmp_path / "p.npz")
    assert done.exit_code == 0, done.output
    packed = load_predictions(tmp_path / "p.npz")
    assert packed.models == ("a",)
    np.testing.assert_allclose(packed.model_scores("a"), scores, atol=1e-6)


@pytest.mark.parametrize("out", ["store", "other", "other.npz"])
def test_add_and_drop(labelstack, make_predictions, bundle, tmp_path, out):
    labelstack("pack", bundle, "--out", tmp_path / "store")
    extra = make_predictions().subset(models=["cnn/b"], samples=np.arange(160)[::-1])
    write_tables(tmp_path, extra)
    change = ["--add", f"new={tmp_path / 'm0.csv'}", "--drop", "cnn/a"]
    done = labelstack("pack", tmp_path / "store", *change, "--out", tmp_path / out)
    assert done.exit_code == 0, done.output
    packed = load_predictions(tmp_path / out)
    assert packed.models == ("cnn/b", "specialist", "new")
    np.testing.assert_allclose(packed.model_scores("new"), packed.model_scores("cnn/b"), atol=1e-7)
    untouched = ("cnn/b", "specialist", "new") if out == "store" else ("cnn/a", "cnn/b", "specialist")
    assert load_predictions(tmp_path / "store").models == untouched


def test_split_holds_back_whole_groups(labelstack, bundle, tmp_path):
    command = [
        "pack",
        bundle,
        "--split",
        "0.65",
        "--out",
        tmp_path / "a",
        "--rest-out",
        tmp_path / "b.npz",
        "--seed",
        3,
    ]
    done = labelstack(*command)
    assert done.exit_code == 0, done.output
    first, rest = load_predictions(tmp_path / "a"), load_predictions(tmp_path / "b.npz")
    assert abs(first.n_samples / 160 - 0.65) < 0.05
    assert first.n_samples + rest.n_samples == 160
    assert set(first.groups).isdisjoint(rest.groups)
    assert set(first.ids).isdisjoint(rest.ids)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--out", "{tmp}/s", "--split", "0.5"], "--split and --rest-out belong together"),
        (["--out", "{tmp}/s", "--split", "1.5", "--rest-out", "{tmp}/r"], "must lie between 0 and 1: got 1.5"),
        (["--out", "{tmp}/s", "--split", "0.5", "--rest-out", "{tmp}/s"], "--rest-out must differ from --out"),
        (["--out", "{tmp}/s", "--split", "0.5", "--rest-out", "{tmp}/s/r"], "--rest-out must not lie in --out"),
        (["--out", "{tmp}/s.npz", "--by-label"], "--by-label needs a store"),
        (["--out", "{tmp}/s", "--drop", "cnn/c"], "'cnn/c'"),
        (["--out", "{tmp}/s", "--model", "x.csv"], "not both"),
        (["--out", "{tmp}/s", "--add", "cnn/a={tmp}/one.npz"], "cnn/a"),
        (["--out", "{tmp}/s", "--drop", "cnn/a", "--drop", "cnn/b", "--drop", "specialist"], "at least one model"),
    ],
)
def test_contradictions_are_refused(labelstack, bundle, tmp_path, options, sentence):
    save_predictions(load_predictions(bundle).subset(models=["cnn/b"]), tmp_path / "one.npz")
    done = labelstack("pack", bundle, *(option.format(tmp=tmp_path) for option in options))
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda rows: rows[1:], "photo0-0000"),  # an id is missing
        (lambda rows: [*rows, rows[3]], "photo0-0003"),  # an id twice
        (lambda rows: [[rows[0][0], "nan", *rows[0][2:]], *rows[1:]], "photo0-0000"),  # NaN
        (lambda rows: [rows[0], [rows[1][0], "1.5", *rows[1][2:]], *rows[2:]], "1.5"),  # outside [0, 1]
        (lambda rows: [*rows, ["stranger", *rows[0][1:]]], "stranger"),
    ],
    ids=["missing", "twice", "nan", "range", "unknown"],
)
def test_a_damaged_model_is_named(labelstack, make_predictions, tmp_path, damage, sentence):
    predictions = make_predictions(30)
    write_tables(tmp_path, predictions)
    with (tmp_path / "m1.csv").open(newline="") as file:
        header, *rows = list(csv.reader(file))
    with (tmp_path / "m1.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *damage(rows)])
    models = ["--model", tmp_path / "m0.csv", "--model", tmp_path / "m1.csv"]
    done = labelstack("pack", "--truth", tmp_path / "truth.csv", *models, "--out", tmp_path / "store")
    assert done.exit_code == 2, done.output
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "store").exists()


def test_truth_of_other_photos_is_refused(labelstack, bundle, tmp_path):
    (tmp_path / "truth.csv").write_text("id,labels\nelse,color:red\n")
    done = labelstack("pack", bundle, "--truth", tmp_path / "truth.csv", "--out", tmp_path / "s")
    assert done.exit_code == 2, done.output
    assert "truth" in done.stderr


def test_a_store_is_not_replaced_by_accident(labelstack, bundle, tmp_path, make_predictions):
    assert labelstack("pack", bundle, "--out", tmp_path / "store").exit_code == 0
    save_predictions(make_predictions(60), tmp_path / "other.npz")
    done = labelstack("pack", tmp_path / "other.npz", "--out", tmp_path / "store")
    assert done.exit_code == 2
    assert load_predictions(tmp_path / "store").n_samples == 160
    assert labelstack("pack", tmp_path / "other.npz", "--out", tmp_path / "store", "--overwrite").exit_code == 0
    assert load_predictions(tmp_path / "store").n_samples == 60


def test_missing_files_are_named(labelstack, tmp_path):
    done = labelstack("pack", tmp_path / "nothing.npz", "--out", tmp_path / "s")
    assert done.exit_code == 2
    assert "nothing.npz" in done.stderr
    done = labelstack("pack", "--out", tmp_path / "s")
    assert done.exit_code == 2
    assert "predictions are missing" in done.stderr


IN_PLACE = {
    "truth": (["--truth", "flipped.csv"], {"y_true"}),
    "truth and --overwrite": (["--truth", "flipped.csv", "--overwrite"], {"y_true"}),
    "ids of labels": (["--labels", "numbered.csv"], {"label_ids"}),
    "order of labels": (["--labels", "reversed.txt"], {"labels"}),
    "order of ids": (["--ids", "reversed-ids.txt"], {"ids"}),
    "truth and models": (["--truth", "flipped.csv", "--drop", "cnn/a", "--by-label"], {"y_true", "models"}),
    "nothing new": (["--truth", "same.csv", "--labels", "same.txt", "--seed", "3"], set()),
}  # fmt: skip


@pytest.mark.parametrize("asked", IN_PLACE)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_in_place_every_option_is_heeded_and_asking_again_changes_nothing(
    labelstack, make_predictions, tmp_path, monkeypatch, asked, dtype
):
    monkeypatch.chdir(tmp_path)
    before = make_predictions(40)
    save_predictions(before, "store", dtype=dtype)
    for name, truth in (("same", before.y_true), ("flipped", 1 - before.y_true)):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [["id", *before.labels], *([i, *row] for i, row in zip(before.ids, truth, strict=True))]
            )
    numbered = [f"{10 + number},{name}" for number, name in enumerate(before.labels)]
    (tmp_path / "numbered.csv").write_text("\n".join(["labelId,labelName", *numbered]) + "\n")
    (tmp_path / "same.txt").write_text("\n".join(before.labels) + "\n")
    (tmp_path / "reversed.txt").write_text("\n".join(before.labels[::-1]) + "\n")
    (tmp_path / "reversed-ids.txt").write_text("\n".join(before.ids[::-1]) + "\n")
    options, changed = IN_PLACE[asked]
    expected = load_predictions(
        "store",
        truth=tmp_path / "flipped.csv" if "y_true" in changed else None,
        labels=next((option for option in options if option in ("numbered.csv", "reversed.txt")), None),
        ids="reversed-ids.txt" if "ids" in changed else None,
    ).in_memory()
    if "models" in changed:
        expected = expected.subset(models=["cnn/b", "specialist"])
    for _ in range(2):
        done = labelstack("pack", "store", *options, "--out", "store")
        assert done.exit_code == 0, done.output
        after = load_predictions("store", verify=True)
        assert after.fingerprint == expected.fingerprint
        assert read_index(tmp_path / "store").dtype == dtype
    said = {name: getattr(before, name) for name in ("y_true", "label_ids", "labels", "ids", "models")}
    differs = {name for name, old in said.items() if not np.array_equal(np.array(old), np.array(getattr(after, name)))}
    assert changed <= differs <= changed | ({"y_true"} if "labels" in changed or "ids" in changed else set())
    assert bool(read_index(tmp_path / "store").by_label) == ("--by-label" in options)


@pytest.mark.filterwarnings("ignore:.*unknown keys")
@pytest.mark.parametrize("out", ["store", "bundle.npz"])
@pytest.mark.parametrize("key", ["label_ids", "label_groups", "extras", "folds"])
def test_what_differs_in_one_fact_only_is_not_taken_for_the_same(labelstack, make_predictions, tmp_path, out, key):
    one = make_predictions(40)
    values = {"label_ids": list("56789"), "label_groups": list("aabbb"), "extras": {"note": [1]}, "folds": [0] * 40}
    kept = [1] if key == "extras" else values[key]
    other = PredictionSet(one.to_array(), one.ids, one.models, one.labels, **(one.metadata() | {key: values[key]}))
    save_predictions(one, tmp_path / "one.npz")
    save_predictions(other, tmp_path / "other.npz")
    assert labelstack("pack", tmp_path / "one.npz", "--out", tmp_path / out).exit_code == 0
    refused = labelstack("pack", tmp_path / "other.npz", "--out", tmp_path / out)
    assert refused.exit_code == 2, refused.output
    assert labelstack("pack", tmp_path / "other.npz", "--overwrite", "--out", tmp_path / out).exit_code == 0
    found = load_predictions(tmp_path / out)
    assert np.array_equal(found.extras["note"] if key == "extras" else getattr(found, key), kept)


@pytest.mark.parametrize("options", [[], ["--by-label"], ["--overwrite"], ["--drop", "cnn/a"]], ids=str)
@pytest.mark.parametrize("source", ["p.npz", "store"])
def test_a_link_to_a_store_is_refused_whatever_the_store_holds(labelstack, bundle, tmp_path, options, source):
    """Also where these very predictions are in it, or where it is the store that is read."""
    labelstack("pack", bundle, "--out", tmp_path / "store")
    labelstack("pack", bundle, "--out", tmp_path / "p.npz")
    (tmp_path / "link").symlink_to("store")
    before = {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
    done = labelstack("pack", tmp_path / source, *options, "--out", tmp_path / "link")
    assert done.exit_code == 2 and "link is a link to store" in done.stderr
    assert before == {path: path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file()}
