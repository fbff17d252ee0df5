"""The ONNX graph of an ensemble under onnxruntime: the same probabilities on every method, the same decisions."""

import json

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from stacking import StackingEnsemble  # noqa: E402
from stacking.decision_rules import ImageRules  # noqa: E402
from stacking.export import onnx_graph, writing  # noqa: E402
from stacking.export.onnx_graph import build_onnx  # noqa: E402
from stacking.export.predictor import build_program  # noqa: E402
from stacking.files.atomic_files import OutputRefusedError  # noqa: E402


def run(ensemble, scores):
    session = runtime.InferenceSession(build_onnx(build_program(ensemble)), providers=["CPUExecutionProvider"])
    return session.run(["probabilities", "decisions"], {"scores": scores})


def assert_equal(ensemble, predictions, without=()):
    scores = predictions.to_array().copy()
    for name in without:
        scores[predictions.models.index(name)] = np.nan
    found, decided = run(ensemble, scores)
    expected = ensemble.predict_proba(predictions, without=without, as_frame=False)
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    certain = np.abs(expected - ensemble.thresholds_) > 1e-5
    assert (decided == ensemble.predict(predictions, without=without, as_frame=False))[certain].all()


def test_every_method_gives_the_same(ensembles, unseen, method):
    assert_equal(ensembles(method), unseen)
    assert_equal(ensembles(method), unseen, without=["cnn/b"])
    assert_equal(ensembles(method), unseen.subset(samples=[7]))


def test_auto_is_carried_through_its_line(ensembles):
    """What the comparison above is about: an average that is left as it is would not show it."""
    assert abs(ensembles("auto").combiner_.line_[0] - 1.0) > 1e-3


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ({"top_k": 2}, "auto"),
        ({"min_labels": 1, "max_labels": 2, "exclusive_groups": ["color"], "min_per_group": {"sleeve": 1}}, "auto"),
        ({}, "samples-f1:beta=2"),
        ({"max_labels": 1}, "samples-f1"),
    ],
)
def test_every_rule_decides_the_same(fitting, unseen, rules, rule):
    ensemble = StackingEnsemble("greedy", rule=rule, image_rules=ImageRules(**rules), n_splits=2).fit(fitting)
    assert (run(ensemble, unseen.to_array())[1] == ensemble.predict(unseen, as_frame=False)).all()


def test_the_posterior_of_label_context_gives_the_same():
    rng = np.random.default_rng(0)
    n_samples, n_labels = 1300, 40
    garment = rng.random((n_samples, n_labels // 4)) < 0.3
    y_true = (np.repeat(garment, 4, axis=1) & (rng.random((n_samples, n_labels)) < 0.8)).astype(np.uint8)
    shared = rng.normal(size=(n_samples, n_labels))  # noise that all members have: what the posterior is good at
    noise = shared + rng.normal(size=(3, n_samples, n_labels))
    y_scores = (1 / (1 + np.exp(1.0 - 2.0 * y_true - noise))).astype(np.float32)
    ensemble = StackingEnsemble("label-context", n_splits=2).fit(y_scores, y_true)
    assert len(ensemble.combiner_.posterior_own_), "the test is about the posterior, which was left out"
    scores = y_scores[:, :80]
    expected = ensemble.predict_proba(scores)
    np.testing.assert_allclose(run(ensemble, scores)[0], expected, atol=1e-5)


def test_a_row_that_lacks_a_score_answers_nothing_and_harms_no_other(ensembles, unseen):
    scores, ensemble = unseen.to_array().copy(), ensembles("label-context")
    scores[0, 3, 1], scores[1, 5, 2], scores[0, 6, 0] = np.nan, 1.5, -0.1
    found, decided = run(ensemble, scores)
    broken = np.zeros(150, bool)
    broken[[3, 5, 6]] = True
    assert np.isnan(found[broken]).all() and not decided[broken].any()
    np.testing.assert_allclose(found[~broken], ensemble.predict_proba(unseen, as_frame=False)[~broken], atol=1e-5)
    scores[:, :, 4] = np.nan  # a label that nobody answers
    found, decided = run(ensemble, scores)
    assert np.isnan(found).all() and not decided.any()


def test_the_file_says_what_it_is(ensembles, tmp_path):
    ensemble = ensembles("greedy")
    assert writing.export_onnx(ensemble, tmp_path / "e.onnx")
    model = onnx.load(tmp_path / "e.onnx")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["labels"]) == list(ensemble.labels_) and json.loads(facts["models"]) == list(
        ensemble.models_
    )
    assert facts["method"] == "greedy" and facts["ensemble"] == ensemble.fingerprint
    assert "labelstack" in json.loads(facts["versions"])
    assert np.array(json.loads(facts["thresholds"]), float).tolist() == ensemble.thresholds_.tolist()
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 18, "ai.onnx.ml": 3}
    shape = [size.dim_param or size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    assert shape == [4, "n_samples", 5]


def test_only_a_file_of_ours_is_replaced_and_only_when_asked(ensembles, tmp_path):
    place = tmp_path / "e.onnx"
    assert writing.export_onnx(ensembles("mean"), place)
    assert not writing.export_onnx(ensembles("mean"), place)
    with pytest.raises(OutputRefusedError, match="is there already"):
        writing.export_onnx(ensembles("geometric"), place)
    assert writing.export_onnx(ensembles("geometric"), place, overwrite=True)
    place.write_bytes(b"mine")
    with pytest.raises(OutputRefusedError, match="is no file that labelstack exported"):
        writing.export_onnx(ensembles("mean"), place, overwrite=True)
    assert place.read_bytes() == b"mine"
    with pytest.raises(ValueError, match=r"ends in \.onnx: got"):
        writing.export_onnx(ensembles("mean"), tmp_path / "e.pb")


def test_what_is_too_large_for_one_file_is_refused(ensembles, monkeypatch):
    monkeypatch.setattr(onnx_graph, "LARGEST_FILE", 100)
    with pytest.raises(ValueError, match=r"must fit in one ONNX file of 2 GiB: .* --numpy"):
        build_onnx(build_program(ensembles("logistic")))
