"""The cards of ensembles and runs: what they say is so, whatever the names hold; a README.md of the user's stays."""

import json
import re
import shlex

import numpy as np
import pytest
from typer.main import get_command

from experiments.cli import app
from stacking import PredictionSet, StackingEnsemble
from stacking.decision_rules import tune_thresholds
from stacking.ensemble.card import describe_ensemble, measure_figures
from stacking.metrics import micro_f1
from stacking.predictions import load_predictions
from stacking.report.writing import write_score


def head_of(card):
    top = card.split("---\n")[1]
    return {line.partition(": ")[0]: json.loads(line.partition(": ")[2]) for line in top.splitlines()}


@pytest.fixture
def fitted(make_predictions):
    predictions = make_predictions(200)
    scores = predictions.to_array().copy()
    scores[2, :, :3], scores[:2, :, 4] = np.nan, np.nan  # the specialist alone answers the last label
    truth = predictions.y_true.copy()
    truth[:, 3] = 0
    given = PredictionSet(scores, predictions.ids, predictions.models, predictions.labels, y_true=truth)
    ensemble, tuned_on = StackingEnsemble("mean", rule="cross-validated").fit_out_of_fold(given)
    return ensemble, tuned_on


def test_a_card_says_what_it_is_worth_and_when_it_fails(fitted):
    ensemble, tuned_on = fitted
    figures = measure_figures(ensemble, tuned_on, try_without_members=True)
    assert figures.value == pytest.approx(ensemble.report_.estimate, abs=1e-12)
    assert figures.low < figures.value < figures.high
    assert figures.without["specialist"] is None  # a label is left to nobody then
    predictions = tuned_on.predictions
    whole = micro_f1(predictions.y_true, ensemble.predict(predictions, as_frame=False))
    less = micro_f1(predictions.y_true, ensemble.predict(predictions, without=["cnn/a"], as_frame=False))
    assert figures.without["cnn/a"] == pytest.approx(less - whole)
    ensemble.figures_ = figures
    card = describe_ensemble(ensemble)
    result = head_of(card)["model-index"][0]["results"][0]
    assert result["metrics"][0]["value"] == round(figures.value, 4)
    assert "Without a positive among the fitted samples, so nothing is known of: neck:v." in card
    assert "Answered by one member only, which must not be missing: rare:thing." in card
    assert "With fewer than 20 positives" in card and ensemble.fingerprint in card


def test_a_card_says_what_each_member_is_worth_alone(fitted, make_predictions):
    ensemble, tuned_on = fitted
    ensemble.figures_ = measure_figures(ensemble, tuned_on, try_without_members=True)
    card = describe_ensemble(ensemble)
    given, folds = tuned_on.predictions, tuned_on.folds
    for place, name in enumerate(given.models):
        covered = np.flatnonzero(given.covers[place])
        y_score, y_true = given.model_scores(name)[:, covered], given.y_true[:, covered]
        decided = np.zeros(y_true.shape, bool)
        for fold in np.unique(folds):
            others = folds != fold
            decided[~others] = y_score[~others] >= tune_thresholds(y_score[others], y_true[others], "single")
        expected = micro_f1(y_true, decided)
        assert ensemble.figures_.alone[name] == pytest.approx(expected, abs=1e-12)
        row = next(line for line in card.splitlines() if line.startswith(f"| {name.replace('_', chr(92) + '_')}"))
        assert f"| {write_score(expected)} |" in row
    loss, tuned_on = StackingEnsemble("mean", metric="log-loss").fit_out_of_fold(make_predictions(120))
    loss.figures_ = measure_figures(loss, tuned_on, try_without_members=True)
    card = describe_ensemble(loss)
    assert "own log loss on the same samples and the labels that it answers." in card
    assert re.search(r"Held out: log loss \S+ .*\(lower is better\) on \d+ samples", card)


def test_the_day_of_a_fit_is_told_where_the_environment_says_it(bundle, tmp_path, monkeypatch):
    given = load_predictions(bundle)
    assert " by labelstack." in describe_ensemble(StackingEnsemble("mean").fit(given))
    for odd in ("", "soon", "9" * 30):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", odd)
        assert StackingEnsemble("mean").fit(given).figures_.date is None
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1795824000")
    ensemble = StackingEnsemble("mean").fit(given)
    ensemble.save(tmp_path / "saved")
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    card = describe_ensemble(StackingEnsemble.load(tmp_path / "saved"))
    assert " samples by labelstack on 2026-11-28." in card and card == describe_ensemble(ensemble)


def test_a_reader_who_knows_nothing_is_told_what_the_words_mean(fitted):
    card = describe_ensemble(fitted[0])
    assert "Micro-F1 counts right and wrong labels" in card
    assert "labelstack methods, rules and metrics explain them" in card


def test_a_label_is_among_the_best_or_the_worst_not_both():
    rng = np.random.default_rng(0)
    truth = (rng.random((120, 30)) < 0.4).astype(np.uint8)
    truth[:, 15:] = 0  # half of the labels has no positive
    scores = np.clip(0.5 * truth + 0.5 * rng.random((1, *truth.shape)), 0, 1)
    labels = [f"label{place:02}" for place in range(30)]
    given = PredictionSet(scores, [f"row{row}" for row in range(120)], ["only"], labels, y_true=truth)
    ensemble, tuned_on = StackingEnsemble("mean", rule="single").fit_out_of_fold(given)
    ensemble.figures_ = measure_figures(ensemble, tuned_on)
    card = describe_ensemble(ensemble)
    assert "# Ensemble of 1 model for 30 labels" in card
    assert "The 12 best." in card and "The 3 worst that have positives." in card
    assert sum(line.startswith("| label") for line in card.splitlines()) == 2 + 15


def test_where_nothing_could_be_held_out_the_card_says_so(make_predictions):
    one = make_predictions(40, groups=np.zeros(40, int))
    card = describe_ensemble(StackingEnsemble("mean").fit(one))
    assert "nothing could be held out" in card and "model-index" not in head_of(card)


def test_an_ensemble_that_python_saves_has_the_card_too_and_keeps_it(labelstack, bundle, tmp_path):
    ensemble = StackingEnsemble("greedy").fit(load_predictions(bundle))
    ensemble.save(tmp_path / "saved")
    card = (tmp_path / "saved" / "README.md").read_text()
    assert card == describe_ensemble(ensemble)
    again = StackingEnsemble.load(tmp_path / "saved")
    again.save(tmp_path / "again")
    assert (tmp_path / "again" / "README.md").read_text() == card
    assert labelstack("fit", bundle, "--method", "greedy", "--out", tmp_path / "fitted").exit_code == 0
    fitted = (tmp_path / "fitted" / "README.md").read_text()
    assert head_of(fitted) == head_of(card) and "if it is missing" in fitted  # which fit alone measures
    reloaded = StackingEnsemble.load(tmp_path / "fitted")
    assert describe_ensemble(reloaded) == fitted


def test_an_ensemble_of_an_earlier_version_gets_a_card_of_what_is_known(bundle, tmp_path):
    StackingEnsemble("greedy").fit(load_predictions(bundle)).save(tmp_path / "saved")
    manifest = json.loads((tmp_path / "saved" / "manifest.json").read_text())
    del manifest["description"]["figures"]
    (tmp_path / "saved" / "manifest.json").write_text(json.dumps(manifest))
    ensemble = StackingEnsemble.load(tmp_path / "saved")
    card = describe_ensemble(ensemble)
    assert ensemble.figures_ is None and head_of(card)["model-index"]
    assert "color:red" in card and "threshold" in card and "positives" not in card


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("f1", [0.5]),
        ("positives", ["a"] * 5),
        ("value", "<b>"),
        ("without", {"x": 0.1}),
        ("without", 3),
        ("low", [1]),
        ("alone", {"x": 0.1}),
        ("alone", {"cnn/a": "<b>"}),
        ("date", "<b>"),
        ("date", 7),
    ],
)
def test_figures_that_a_stranger_changed_are_refused(bundle, tmp_path, key, value):
    StackingEnsemble("greedy").fit(load_predictions(bundle)).save(tmp_path / "saved")
    manifest = json.loads((tmp_path / "saved" / "manifest.json").read_text())
    manifest["description"]["figures"][key] = value
    (tmp_path / "saved" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="is damaged"):
        StackingEnsemble.load(tmp_path / "saved")


def test_the_command_of_a_card_is_understood(labelstack, bundle, tmp_path):
    assert labelstack("fit", bundle, "--method", "greedy", "--out", tmp_path / "e").exit_code == 0
    card = (tmp_path / "e" / "README.md").read_text()
    command = next(line for line in card.splitlines() if line.startswith("labelstack predict"))
    words = shlex.split(command.replace("FOLDER", str(tmp_path / "e")))[2:]
    get_command(app).commands["predict"].make_context("predict", words)
    code = card.split("```\n")[1]
    compile(code, "card", "exec")
    assert len(code.splitlines()) == 3


def test_names_that_look_like_markup_stay_names(make_predictions):
    given = make_predictions(120)
    labels = ["<script>x</script>", "a|b", "---", "# x", "[l](http://x)"]
    hostile = PredictionSet(given.to_array(), given.ids, ["m|1", "<b>", "---"], labels, y_true=given.y_true)
    card = describe_ensemble(StackingEnsemble("mean").fit(hostile))
    outside = "".join(part for place, part in enumerate(card.split("```")) if place % 2 == 0)
    assert "<script>" not in outside and "<b>" not in outside and "[l](" not in outside
    assert card.count("\n---\n") == 1  # the end of the head


def test_a_run_has_a_card_and_a_readme_of_the_users_stays(tmp_path):
    pytest.importorskip("torch")
    from base_models import run_training
    from base_models.testing import tiny_recipe, write_tiny_photos
    from experiments.publishing.run_card import write_run_card

    recipe = tiny_recipe(write_tiny_photos(tmp_path / "photos"))
    recipe = tiny_recipe(recipe.data, members=recipe.members[:1], derived=())
    run = run_training(recipe, tmp_path / "run", device="cpu")
    assert write_run_card(run) and write_run_card(run)
    card = (run / "README.md").read_text()
    found = head_of(card)
    assert found["pipeline_tag"] == "image-classification" and found["model-index"]
    test = load_predictions(run / "test")
    held_out = load_predictions(run / "oof")
    threshold = tune_thresholds(held_out.to_array()[0], held_out.y_true, "single")
    tested = micro_f1(test.y_true, test.to_array()[0] >= threshold)
    row = next(line for line in card.splitlines() if line.startswith("| whole |"))
    assert row.endswith(f"| {write_score(tested)} |")
    assert ": 1 member for " in card and "Micro-F1 counts right and wrong labels" in card
    assert "test\\_resnet" in card and "labelstack fit RUN/oof --out ensemble" in card and "place:top" in card
    (run / "README.md").write_text("# mine")
    assert not write_run_card(run) and (run / "README.md").read_text() == "# mine"
