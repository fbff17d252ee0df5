import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble
from stacking.combiners.meta_learners import ConvolutionalStacker
from stacking.combiners.meta_learners.convolutional import _apply_net, _build_net, _layer_shapes, _take_weights
from stacking.metrics import log_loss
from stacking.testing import make_predictions

torch = pytest.importorskip("torch")
ROOT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def dependent():
    """Label 1 copies label 0, and the members see only label 0: the dense layer must carry it over."""
    seen = make_predictions(n_models=3, n_samples=600, n_labels=1)
    blind = np.random.default_rng(1).random((3, 600, 1)).astype(np.float32)
    predictions = PredictionSet(np.concatenate([seen.to_array(), blind], axis=2), y_true=np.tile(seen.y_true, 2))
    return predictions.subset(samples=np.arange(400)), predictions.subset(samples=np.arange(400, 600))


@pytest.fixture(scope="module")
def fitted(dependent):
    return ConvolutionalStacker(16, learning_rate=0.01).fit(dependent[0])


def test_labels_that_no_member_sees_are_learned_from_others(dependent, fitted):
    test = dependent[1]
    loss = log_loss(test.y_true[:, [1]], fitted.predict_proba(test)[:, [1]])
    assert loss < 0.55 < log_loss(test.y_true[:, [1]], test.to_array().mean(axis=0)[:, [1]])
    assert 1 <= fitted.n_epochs_ <= 30
    assert fitted.notes_ == []


@pytest.mark.parametrize("n_models", [1, 2, 3, 6, 9, 12])
def test_predicting_without_torch_gives_what_torch_gives(n_models):
    torch.manual_seed(0)
    net = _build_net(n_models, 5, 7, 0.5).eval()
    torch.nn.init.normal_(net[-1].weight)
    x = np.random.default_rng(0).normal(size=(11, n_models, 5)).astype(np.float32)
    with torch.no_grad():
        expected = net(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(_apply_net(x, _take_weights(net)), expected, atol=1e-5)


def test_nine_members_get_the_layers_of_the_contest():
    assert _layer_shapes(9) == [(1, 8, 3), (8, 16, 3), (16, 32, 3), (32, 64, 3)]
    assert _layer_shapes(6) == [(1, 8, 3), (8, 16, 3)]
    assert _layer_shapes(1) == [(1, 8, 1)]


def test_nothing_to_learn_leaves_the_geometric_mean(rng):
    predictions = make_predictions(n_samples=200)
    noise = PredictionSet(np.full((2, 200, 4), 0.4), y_true=(rng.random((200, 4)) < 0.4).astype(np.uint8))
    combiner = ConvolutionalStacker(8, n_epochs=4, learning_rate=0.5).fit(noise)
    assert combiner.n_epochs_ == 0
    assert combiner.fallback_report_ == {"labels": 1.0, "positives": 1.0}
    geometric = StackingEnsemble("geometric").fit(predictions)
    shown = predictions.subset(models=[0, 1])
    np.testing.assert_allclose(
        combiner.predict_proba(shown),
        geometric.predict_proba(predictions, without=["model2"]),
        atol=1e-5,
    )


def test_cells_not_annotated_do_not_count(dependent):
    fitting, test = dependent
    half = np.arange(400) % 2 == 0
    lied = np.where(half[:, None], fitting.y_true, 1 - fitting.y_true)
    known = np.tile(half[:, None], (1, 2))
    lying = PredictionSet(fitting.to_array(), y_true=lied, y_known=known)
    y_score = ConvolutionalStacker(16, learning_rate=0.01).fit(lying).predict_proba(test)
    assert log_loss(test.y_true[:, [0]], y_score[:, [0]]) < 0.55
    unweighted = PredictionSet(fitting.to_array(), y_true=lied, sample_weight=half.astype(float))
    y_score = ConvolutionalStacker(16, learning_rate=0.01).fit(unweighted).predict_proba(test)
    assert log_loss(test.y_true[:, [0]], y_score[:, [0]]) < 0.55


def test_training_leaves_the_generator_of_torch_alone(dependent):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    ConvolutionalStacker(4, n_epochs=1).fit(dependent[0])
    assert torch.equal(before, torch.random.get_rng_state())


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
    StackingEnsemble("convolutional").fit(make_predictions())
except ImportError as error:
    print(error)
"""


def test_a_saved_ensemble_predicts_without_torch_and_training_says_what_to_install(dependent, tmp_path):
    fitting, test = dependent
    ensemble = StackingEnsemble("convolutional", n_splits=2).fit(fitting)
    ensemble.save(tmp_path / "ensemble")
    np.save(tmp_path / "scores.npy", test.to_array())
    paths = [str(tmp_path / name) for name in ("ensemble", "scores.npy", "answer.npy")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_TORCH, *paths], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(np.load(paths[2]), ensemble.predict_proba(test), atol=1e-6)
    assert "pip install 'labelstack[train]'" in done.stdout


@pytest.mark.parametrize(
    ("name", "value"),
    [("n_hidden", 0), ("n_epochs", 0), ("batch_size", 0), ("learning_rate", 0.0), ("dropout", 1.0)],
)
def test_parameters_are_checked(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        ConvolutionalStacker(**{name: value}).fit(make_predictions())
