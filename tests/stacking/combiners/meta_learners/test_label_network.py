import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble
from stacking.combiners.auto.race import AutoCombiner
from stacking.combiners.meta_learners import LabelContextStacker, LabelNetworkStacker
from stacking.combiners.meta_learners.residual_network import (
    NetworkSettings,
    ResidualNetwork,
    _averaged,
    _forward,
    soften,
    train_networks,
)
from stacking.export import reader
from stacking.export.onnx_graph import build_onnx
from stacking.export.predictor import build_program
from stacking.export.writing import export_numpy
from stacking.folds import deal_folds
from stacking.metrics import log_loss
from stacking.testing import make_predictions

torch = pytest.importorskip("torch")
ROOT = Path(__file__).parents[4]
TINY = NetworkSettings(2, 5, 32, 0.01, 0.3, 0.4, "cpu", 7)


def draw_exclusive(n_samples, seed, **metadata):
    """Label 2 is there if exactly one of the others is: no member sees it, no weighted sum of the others tells it."""
    rng = np.random.default_rng(seed)
    y_true = (rng.random((n_samples, 3)) < 0.5).astype(np.uint8)
    y_true[:, 2] = y_true[:, 0] ^ y_true[:, 1]
    logits = rng.normal(size=(2, n_samples, 3)) * (1.0, 1.0, 0.1)
    logits[:, :, :2] += 4.0 * (y_true[:, :2] - 0.5)
    return PredictionSet((1 / (1 + np.exp(-logits))).astype(np.float32), y_true=y_true, **metadata)


@pytest.fixture(scope="module")
def fitting():
    return draw_exclusive(600, 0)


@pytest.fixture(scope="module")
def unseen():
    return draw_exclusive(400, 1)


@pytest.fixture(scope="module")
def fitted(fitting):
    folds = deal_folds(fitting.truth, 4, random_state=0)
    return LabelNetworkStacker(n_networks=2).fit_out_of_fold(fitting, folds=folds)


def loss_of_third(predictions, y_score):
    return log_loss(predictions.y_true[:, [2]], y_score[:, [2]])


def test_it_learns_what_no_weighted_sum_tells_and_its_held_out_scores_say_so(fitting, unseen, fitted):
    network, held_out = fitted
    alone = LabelContextStacker().fit(fitting)
    assert loss_of_third(unseen, alone.predict_proba(unseen)) > 0.65
    reached = loss_of_third(unseen, network.predict_proba(unseen))
    assert reached < 0.25
    assert loss_of_third(fitting, held_out) == pytest.approx(reached, abs=0.1)
    assert network.n_epochs_ > 1 and network.share_ > 0.5
    assert "held-out log loss -" in network.notes_[-1]


def test_where_a_network_does_not_help_the_answers_are_label_contexts(unseen):
    predictions = make_predictions(n_samples=200)
    folds = deal_folds(predictions.truth, 4, random_state=0)
    ours, held_out = LabelNetworkStacker(n_networks=1, n_epochs=4).fit_out_of_fold(predictions, folds=folds)
    theirs, expected = LabelContextStacker().fit_out_of_fold(predictions, folds=folds)
    assert (ours.n_epochs_, ours.share_) == (0, 0.0)
    assert "label-network kept no network: held-out log loss" in ours.notes_[-1]
    np.testing.assert_array_equal(held_out, expected)
    np.testing.assert_array_equal(ours.predict_proba(predictions), theirs.predict_proba(predictions))


def test_networks_begin_at_no_correction_and_repeat_for_a_seed(rng):
    beliefs, y_true = rng.normal(size=(90, 4)), (rng.random((90, 4)) < 0.4).astype(float)
    assert not np.any(ResidualNetwork.empty(4).correct(beliefs))
    still = next(train_networks(beliefs, y_true, None, replace(TINY, learning_rate=0.0)))
    assert not np.any(still.correct(beliefs)) and np.any(still.hidden)
    first, again = (next(train_networks(beliefs, y_true, None, TINY)).correct(beliefs) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    other = next(train_networks(beliefs, y_true, None, replace(TINY, seed=8))).correct(beliefs)
    assert np.any(other != first)


def test_the_average_of_networks_is_one_wider_network(rng):
    beliefs = rng.normal(size=(11, 4))
    parameters = [torch.randn(shape) for shape in ((2, 4, 5), (2, 1, 5), (2, 5, 4), (2, 1, 4))]
    middle = soften(beliefs).mean(axis=0)
    still = NetworkSettings(2, 5, 32, 0.01, 0.0, 0.0, "cpu", 7)
    inputs = torch.from_numpy(soften(beliefs) - middle)
    expected = _forward(inputs, parameters, still, torch.Generator()).mean(dim=0).numpy()
    np.testing.assert_allclose(_averaged(parameters, middle).correct(beliefs), expected, atol=1e-5)


def test_cells_of_weight_0_teach_nothing(rng):
    beliefs, y_true = rng.normal(size=(90, 4)), (rng.random((90, 4)) < 0.4).astype(float)
    weight = np.ones((90, 4))
    weight[:, 1], weight[:50, 2] = 0.0, 0.0
    lied = np.where(weight > 0, y_true, 1 - y_true)
    answers = [next(train_networks(beliefs, truth, weight, TINY)).correct(beliefs) for truth in (y_true, lied)]
    np.testing.assert_array_equal(*answers)
    assert not np.any(answers[0][:, 1])


def test_a_label_with_one_class_keeps_its_frequency(fitting, unseen):
    truth = np.concatenate([fitting.y_true, np.zeros((600, 1), np.uint8)], axis=1)
    scores, new = (np.concatenate([one.to_array(), one.to_array()[:, :, :1]], axis=2) for one in (fitting, unseen))
    y_score = LabelNetworkStacker(n_networks=1, n_epochs=25).fit(scores, truth).predict_proba(new)
    assert loss_of_third(unseen, y_score) < 0.6
    assert np.ptp(y_score[:, 3]) == 0 and y_score[0, 3] < 0.01


def test_two_folds_are_held_out_by_clones_with_folds_of_their_own(fitting):
    ours, held_out = LabelNetworkStacker(n_networks=1).fit_out_of_fold(fitting, folds=np.arange(600) % 2)
    assert ours.n_epochs_ > 1
    assert loss_of_third(fitting, held_out) < 0.5


def test_one_group_leaves_no_network_and_says_why(fitting):
    alike = PredictionSet(fitting.to_array(), y_true=fitting.y_true, groups=np.zeros(600, dtype=int))
    network = LabelNetworkStacker(n_networks=1).fit(alike)
    assert network.n_epochs_ == 0
    assert network.notes_[-1] == "label-network kept no network: it wants 3 folds or more"


def test_training_leaves_the_generator_of_torch_alone(fitting):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    LabelNetworkStacker(n_networks=1, n_epochs=1).fit(fitting)
    assert torch.equal(before, torch.random.get_rng_state())


def test_auto_can_race_it(fitting, unseen):
    auto = AutoCombiner(methods=["mean", "logistic", "label-network"], n_splits=3).fit(fitting)
    assert {entry["name"]: entry["weight"] for entry in auto.entries_}["label-network"] > 0.5
    assert loss_of_third(unseen, auto.predict_proba(unseen)) < 0.45


@pytest.mark.parametrize(("name", "value"), [("n_folds", 2), ("n_networks", 0), ("n_epochs", 0)])
def test_parameters_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least"):
        LabelNetworkStacker(**{name: value}).fit(make_predictions())


WITHOUT_TORCH = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
sys.meta_path.insert(0, Absent())
import numpy as np
from stacking import StackingEnsemble
from stacking.testing import make_predictions
y_score = StackingEnsemble.load(sys.argv[1]).predict_proba(np.load(sys.argv[2]))
np.save(sys.argv[3], y_score)
try:
    StackingEnsemble("label-network").fit(make_predictions())
except ImportError as error:
    print(error)
"""


def test_saved_and_exported_it_predicts_without_torch_and_training_says_what_to_install(fitting, unseen, tmp_path):
    ensemble = StackingEnsemble("label-network", n_splits=3).fit(fitting)
    assert ensemble.combiner_.n_epochs_ > 1
    ensemble.save(tmp_path / "ensemble")
    np.save(tmp_path / "scores.npy", unseen.to_array())
    paths = [str(tmp_path / name) for name in ("ensemble", "scores.npy", "answer.npy")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, *paths], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    expected = ensemble.predict_proba(unseen)
    np.testing.assert_array_equal(np.load(paths[2]), expected)
    assert (
        "method label-network trains with torch, which is not installed: pip install 'labelstack[train]'."
        in done.stdout
    )


def test_exports_correct_alike_also_where_members_have_holes(fitting, unseen, tmp_path):
    covers = np.array([[True, True, False], [True, True, True]])
    holed, new = (
        PredictionSet(np.where(covers[:, None], one.to_array(), np.nan), y_true=one.y_true, covers=covers)
        for one in (fitting, unseen)
    )
    ensemble = StackingEnsemble(LabelNetworkStacker(n_networks=2), n_splits=3).fit(holed)
    expected = ensemble.predict_proba(new)
    assert ensemble.combiner_.n_epochs_ > 1 and loss_of_third(new, expected) < 0.4
    assert export_numpy(ensemble, tmp_path / "exported")
    found = reader.load(tmp_path / "exported").predict_proba(new.to_array())
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    session = runtime.InferenceSession(build_onnx(build_program(ensemble)), providers=["CPUExecutionProvider"])
    found = session.run(["probabilities"], {"scores": new.to_array()})[0]
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
