"""`import labelstack as ls`: which names there are, what the import costs, and the verbs on plain arrays."""

import ast
import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import labelstack as ls

HOUSE = Path(ls.__file__).parents[1]


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(7)
    y_true = (rng.random((240, 4)) < 0.4).astype(np.uint8)
    y_scores = np.clip(0.3 + 0.35 * y_true + 0.2 * rng.normal(size=(3, 240, 4)), 0, 1)
    return ls.load(y_scores, truth=y_true)


def fresh(code):
    environment = {**os.environ, "PYTHONPATH": str(HOUSE), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_the_verbs_and_the_main_classes_are_there():
    verbs = {"check", "compare", "evaluate", "fit", "load", "load_ensemble", "predict", "report"}
    classes = {"Comparison", "Evaluation", "PredictionSet", "StackingEnsemble", "StackingMultilabelClassifier"}
    assert verbs | classes <= set(ls.__all__)
    assert set(ls.__all__) <= set(dir(ls))
    assert ls.__version__ == importlib.metadata.version("labelstack")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = ls.nothing


def test_what_editors_read_is_what_is_loaded():
    tree = ast.parse((HOUSE / "labelstack" / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If))
    homes = {
        name.name: node.module for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for name in node.names
    }
    del homes["Any"]
    assert homes == ls._HOMES
    assert sorted(homes) == ls.__all__


def test_the_import_loads_no_room_and_takes_less_than_30_ms():
    code = "import sys, time; t = time.process_time(); import labelstack; print(time.process_time() - t, *sys.modules)"
    runs = [fresh(code) for _ in range(3)]
    assert not {"numpy", "stacking", "optimizers", "experiments", "base_models", "typing"} & set(runs[0])
    assert min(float(run[0]) for run in runs) <= 0.03


def test_the_verbs_in_their_order(scores, tmp_path):
    found = ls.compare(scores, ["mean", "greedy"], n_bootstrap=50)
    assert ls.report(found, tmp_path / "report") == tmp_path / "report" / "report.html"
    assert (tmp_path / "report" / "leaderboard.json").exists()
    half = np.arange(scores.n_samples) < 160
    ensemble = ls.fit(scores.subset(samples=half), "greedy")
    ensemble.save(tmp_path / "ensemble")
    new = scores.subset(samples=~half)
    y_pred = np.asarray(ls.predict(tmp_path / "ensemble", new))
    np.testing.assert_array_equal(y_pred, ls.load_ensemble(tmp_path / "ensemble").predict(new))
    with pytest.raises(ValueError, match=r"must hold scores: it holds a result; labelstack.load_ensemble opens"):
        ls.load(tmp_path / "ensemble")
    held_out = ls.evaluate(ensemble, new, n_bootstrap=50)
    assert held_out.table.set_index("method")["score"]["ensemble"] == pytest.approx(ls.micro_f1(new.y_true, y_pred))
    assert held_out.verdict().startswith("The ensemble scores")
    assert ls.report(held_out, tmp_path / "evaluation").read_text().startswith("<!DOCTYPE html>")


def test_verbs_load_what_they_are_given(scores):
    y_scores, y_true = scores.to_array(), scores.y_true
    ensemble = ls.fit(y_scores, "mean", truth=y_true)
    np.testing.assert_array_equal(ls.predict(ensemble, y_scores), ls.fit(scores, "mean").predict(scores))
    half = ls.fit(y_scores[:, :120], "greedy", truth=y_true[:120])
    held_out = ls.evaluate(half, y_scores[:, 120:], truth=y_true[120:], n_bootstrap=20)
    wanted = ls.micro_f1(y_true[120:], half.predict(y_scores[:, 120:]))
    assert held_out.table.set_index("method")["score"]["ensemble"] == pytest.approx(wanted)
    found = ls.compare(y_scores, ["mean"], truth=y_true, holdout=None, n_bootstrap=20)
    assert found.row("mean").score == ls.compare(scores, ["mean"], n_bootstrap=20).row("mean").score


def test_check_takes_what_load_takes(scores, tmp_path):
    def of_scale(report):
        return [one.member for one in report.of_severity("red") if one.check == "scale"]

    assert of_scale(ls.check(scores)) == []
    frames = {name: pd.DataFrame(scores.model_scores(name), scores.ids, scores.labels) for name in scores.models}
    truth = pd.DataFrame(scores.y_true, scores.ids, scores.labels)
    assert of_scale(ls.check(frames, truth=truth)) == []
    frames["model1"] = 100 * frames["model1"]
    for name, frame in frames.items():
        frame.to_csv(tmp_path / f"{name}.csv", index_label="id")
    truth.to_csv(tmp_path / "truth.csv", index_label="id")
    for given in (frames, str(tmp_path / "model*.csv"), [tmp_path / f"{name}.csv" for name in frames]):
        found = ls.check(given, truth=tmp_path / "truth.csv")
        assert of_scale(found) == ["model1"] and not found.is_clean
        assert "Mend this before a fit" in found._repr_html_() and "model1" in found._repr_html_()


def test_an_ensemble_of_another_kind_is_refused(scores):
    with pytest.raises(TypeError, match=r"must come from labelstack.fit or labelstack.load_ensemble: got Soft"):
        ls.predict(ls.SoftVoting(), scores)
    with pytest.raises(ValueError, match="not fitted"):
        ls.evaluate(ls.StackingEnsemble(), scores)


def test_a_report_of_something_else_is_refused(scores, tmp_path):
    with pytest.raises(TypeError, match=r"or be the folder of a training run: got PredictionSet"):
        ls.report(scores, tmp_path)


@pytest.mark.parametrize("verb", [ls.fit, ls.compare])
@pytest.mark.parametrize("form", [np.asarray, pd.DataFrame, lambda _: Path("truth.csv")])
def test_a_truth_where_the_method_stands_is_sent_to_its_name(verb, form):
    with pytest.raises(TypeError, match=r"the truth is given by name, as truth="):
        verb(np.full((2, 4, 2), 0.5), form([[1, 0]] * 4))
