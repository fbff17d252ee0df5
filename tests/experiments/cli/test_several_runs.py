import json

import numpy as np
import pytest

import labelstack
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.predictions import PredictionSet, load_predictions, pack_predictions, save_predictions
from stacking.predictions.joining import join_predictions


@pytest.fixture
def runs(tmp_path, make_predictions):
    """Two runs on the same photos: other order, one photo and one label more in the second; two models called alike."""
    full, test = make_predictions(120), make_predictions(60, seed=1)
    rng = np.random.default_rng(7)
    order = rng.permutation(120)
    for name, models, rows in (("one", [0, 1], np.arange(119)), ("two", [0, 2], order)):
        for split, part, chosen in (("oof", full, rows), ("test", test, np.arange(60))):
            own = part.subset(models=[full.models[place] for place in models], samples=chosen)
            labels = list(own.labels) if name == "two" else list(own.labels)[:4]
            own = own.subset(labels=labels)
            pack_predictions(own, tmp_path / name / split)
        (tmp_path / name / "manifest.json").write_text("{}")
    return tmp_path / "one", tmp_path / "two"


def test_two_runs_are_compared_on_what_both_have(labelstack, runs, tmp_path):
    one, two = runs
    with pytest.warns(UserWarning, match="left out"):
        joined = join_predictions({"one": load_predictions(one / "oof"), "two": load_predictions(two / "oof")})
    assert joined.models == ("one/cnn/a", "cnn/b", "two/cnn/a", "specialist")
    assert (joined.n_samples, joined.n_labels) == (119, 4)
    assert (joined.model_scores("one/cnn/a") == joined.model_scores("two/cnn/a")).all()  # rows by id
    done = labelstack("compare", one, two, "--methods", "mean", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert "1 of 120 rows are not in every set" in done.stderr and "1 of 5 labels" in done.stderr
    rows = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["rows"]
    assert {row["method"] for row in rows} == {*joined.models, "mean"}
    scores = {row["method"]: row["score"] for row in rows}
    assert scores["one/cnn/a"] == scores["two/cnn/a"]
    assert "next:" not in done.stderr  # a store holds the same rows of all models
    done = labelstack("compare", two, two / "test", "--methods", "mean", "--out", tmp_path / "no")
    assert done.exit_code == 2 and "must share rows" in done.stderr


def test_runs_on_the_same_rows_are_packed_next(labelstack, bundle, make_predictions, tmp_path):
    other = save_predictions(make_predictions(), tmp_path / "other.npz")
    done = labelstack("compare", bundle, other, "--methods", "mean", "--out", tmp_path / "out")
    joining = next(line for line in done.stderr.splitlines() if line.startswith("next: labelstack pack"))
    assert labelstack(*joining.split()[2:-1], tmp_path / "joined").exit_code == 0
    assert load_predictions(tmp_path / "joined").n_models == 6


def test_two_runs_are_compared_on_their_test_splits_and_in_python(labelstack, runs, tmp_path):
    one, two = runs
    arguments = ["compare", one, two, "--holdout", one, "--holdout", two, "--methods", "mean,greedy"]
    done = labelstack(*arguments, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "out" / "leaderboard.json").read_text())["rows"]
    with pytest.warns(UserWarning, match="left out"):
        found = labelstack_compare([one, two], holdout=[one, two])
    assert [(row.method, row.score) for row in found.rows] == [(row["method"], row["score"]) for row in rows]
    wrong = labelstack("compare", one, two, "--holdout", one, "--out", tmp_path / "no")
    assert wrong.exit_code == 2 and "once per run or store: got 1 for 2" in wrong.stderr


def labelstack_compare(sets, **options):
    return labelstack.compare(sets, ["mean", "greedy"], progress=None, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"ids": [f"other{row}" for row in range(120)]}, "must share rows to be compared: 'a' and 'b' have none"),
        ({"labels": ["v", "w", "x", "y", "z"]}, "must share labels to be compared"),
        ({"y_true": "flipped"}, "must agree on the truth of a row: 'a' and 'b' differ in 1 rows"),
    ],
)
def test_runs_on_other_data_are_refused(make_predictions, change, words):
    full = make_predictions(120)
    metadata = {**full.metadata(), "groups": None}
    if "y_true" in change:
        metadata["y_true"] = full.y_true.copy()
        metadata["y_true"][3, 1] ^= 1
    ids, labels = change.get("ids", full.ids), change.get("labels", list(full.labels))
    other = PredictionSet(full.source, ids, list(full.models), labels, **metadata)
    with pytest.raises(ValueError, match=words):
        join_predictions({"a": full, "b": other})


def test_folds_are_kept_only_where_the_runs_agree(make_predictions):
    one = make_predictions(120, folds=np.arange(120) % 3)
    other = make_predictions(120, folds=np.arange(120) // 40)
    assert join_predictions({"a": one, "b": one}).folds is not None
    assert join_predictions({"a": one, "b": other}).folds is None


def test_rules_are_rows_with_paired_limits(labelstack, bundle, tmp_path):
    done = labelstack(
        "compare", bundle, "--methods", "mean", "--rules", "half,single,cyclic", "--out", tmp_path / "out"
    )
    assert done.exit_code == 0, done.output
    rows = {row["method"]: row for row in json.loads((tmp_path / "out" / "leaderboard.json").read_text())["rows"]}
    for rule in ("half", "single", "cyclic"):
        row = rows[f"mean + {rule}"]
        assert row["rule"] == rule and row["kind"] == "vote"
        assert row["vs_mean_low"] <= row["vs_mean"] <= row["vs_mean_high"]
    single = labelstack_compare_rules(bundle, "single")
    assert rows["mean + single"]["score"] == pytest.approx(single)
    wrong = labelstack("compare", bundle, "--rules", "sinlge", "--out", tmp_path / "no")
    assert wrong.exit_code == 2 and "Did you mean 'single'" in wrong.stderr
    assert "--rules must be names among 'auto', " in wrong.stderr


def test_rules_may_have_several_options(labelstack, bundle, tmp_path):
    rules = "cost:fp=1,fn=5, half,own-f1:fbr=0.2,below=never"
    done = labelstack("compare", bundle, "--methods", "mean", "--rules", rules, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    rows = {row["method"] for row in json.loads((tmp_path / "out" / "leaderboard.json").read_text())["rows"]}
    assert {"mean + cost:fp=1,fn=5", "mean + half", "mean + own-f1:fbr=0.2,below=never"} <= rows
    wrong = labelstack("compare", bundle, "--rules", "cost:fp=1,fx=5", "--out", tmp_path / "no")
    assert wrong.exit_code == 2 and "must be those of rule 'cost' (fp, fn): got 'fx'" in wrong.stderr


def labelstack_compare_rules(bundle, rule):
    found = labelstack.compare(bundle, ["mean"], rule=rule, progress=None)
    return next(row.score for row in found.rows if row.method == "mean")


def test_a_saved_ensemble_is_a_row_on_rows_that_it_has_not_seen(labelstack, bundle, held_back, tmp_path):
    fitted = StackingEnsemble("greedy").fit(load_predictions(bundle))
    fitted.save(tmp_path / "mine")
    arguments = ["compare", bundle, "--methods", "mean,greedy", "--ensemble", tmp_path / "mine"]
    done = labelstack(*arguments, "--holdout", held_back, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.output
    rows = {row["method"]: row for row in json.loads((tmp_path / "out" / "leaderboard.json").read_text())["rows"]}
    assert rows["mine"]["kind"] == "saved"
    held = load_predictions(held_back)
    decided = fitted.predict(held)
    hits = (decided & (held.y_true == 1)).sum()
    assert rows["mine"]["score"] == pytest.approx(2 * hits / (decided.sum() + held.y_true.sum()))
    assert rows["mine"]["score"] == rows["greedy"]["score"]  # the same fit, made anew
    seen = labelstack(*arguments, "--out", tmp_path / "no")
    assert seen.exit_code == 2 and "'mine' was fitted on 160 of the 160 rows that are scored" in seen.stderr


def test_a_saved_ensemble_answers_in_its_own_order(bundle, held_back):
    """Its labels stand in another order than those of the comparison."""
    given, held = load_predictions(bundle), load_predictions(held_back)
    turned = list(given.labels)[::-1]
    options = {"holdout": held, "n_bootstrap": 10}
    from stacking.comparison import compare

    straight = compare(given, ["mean"], ensembles={"mine": StackingEnsemble("mean").fit(given)}, **options)
    fitted = StackingEnsemble("mean").fit(given.subset(labels=turned))
    other = compare(given, ["mean"], ensembles={"mine": fitted}, **options)
    for rows in zip(straight.rows, other.rows, strict=True):
        assert rows[0].score == pytest.approx(rows[1].score) and rows[0].method == rows[1].method
    own = {row.method: row.score for row in other.rows}
    assert own["mine"] == own["mean"]


def test_pack_adds_a_store_of_several_models(labelstack, runs, tmp_path):
    _, two = runs
    with_new = save_predictions(load_predictions(two / "oof").subset(models=["specialist"]), tmp_path / "base.npz")
    done = labelstack("pack", with_new, "--add", two, "--out", tmp_path / "joined")
    assert done.exit_code == 0, done.output
    assert load_predictions(tmp_path / "joined").models == ("specialist", "cnn/a", "two/specialist")
    done = labelstack("pack", with_new, "--add", f"late={two / 'oof'}", "--out", tmp_path / "named")
    assert load_predictions(tmp_path / "named").models == ("specialist", "late/cnn/a", "late/specialist")
