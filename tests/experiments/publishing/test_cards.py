"""The cards of ensembles and runs: what they say is so, whatever the names hold; a README.md of the user's stays."""

import json
import shlex

import numpy as np
import pytest
from typer.main import get_command

from experiments.cli import app
from experiments.publishing.ensemble_card import measure_for_card, write_ensemble_card
from stacking import PredictionSet, StackingEnsemble
from stacking.metrics import micro_f1


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
    figures = measure_for_card(ensemble, tuned_on)
    assert figures.value == pytest.approx(ensemble.report_.estimate, abs=1e-12)
    assert figures.low < figures.value < figures.high
    assert figures.without["specialist"] is None  # a label is left to nobody then
    predictions = tuned_on.predictions
    whole = micro_f1(predictions.y_true, ensemble.predict(predictions, as_frame=False))
    less = micro_f1(predictions.y_true, ensemble.predict(predictions, without=["cnn/a"], as_frame=False))
    assert figures.without["cnn/a"] == pytest.approx(less - whole)
    card = write_ensemble_card(ensemble, figures, {"inputs": {"predictions": "0" * 64}, "options": {}, "versions": {}})
    result = head_of(card)["model-index"][0]["results"][0]
    assert result["metrics"][0]["value"] == round(figures.value, 4)
    assert "Without a positive among the fitted samples, so nothing is known of: neck:v." in card
    assert "Answered by one member only, which must not be missing: rare:thing." in card
    assert "With fewer than 20 positives" in card and ensemble.fingerprint in card


def test_where_nothing_could_be_held_out_the_card_says_so(make_predictions):
    one = make_predictions(40, groups=np.zeros(40, int))
    ensemble, tuned_on = StackingEnsemble("mean").fit_out_of_fold(one)
    card = write_ensemble_card(ensemble, measure_for_card(ensemble, tuned_on), {"inputs": {}})
    assert "nothing could be held out" in card and "model-index" not in head_of(card)


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
    ensemble, tuned_on = StackingEnsemble("mean").fit_out_of_fold(hostile)
    card = write_ensemble_card(ensemble, measure_for_card(ensemble, tuned_on), {"inputs": {}})
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
    assert "test\\_resnet" in card and "labelstack fit RUN/oof --out ensemble" in card and "place:top" in card
    (run / "README.md").write_text("# mine")
    assert not write_run_card(run) and (run / "README.md").read_text() == "# mine"
