"""Heads: base rates at the start, training and resuming through the loop, and what is particular to each."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.networks.feature_maps import run_body  # noqa: E402
from base_models.networks.heads.attention import AttentionHead  # noqa: E402
from base_models.networks.heads.body_output import BodyOutput  # noqa: E402
from base_models.networks.heads.recurrent import factorize_co_occurrence  # noqa: E402
from base_models.networks.heads.wide import color_histogram, oriented_gradients  # noqa: E402
from base_models.networks.network import create_network  # noqa: E402
from base_models.photos.tensors import PhotoTensors  # noqa: E402
from base_models.recipe.canonical import canonical_recipe  # noqa: E402
from base_models.recipe.member import MemberConfig  # noqa: E402
from base_models.recipe.training import TrainingConfig  # noqa: E402
from base_models.runs.fold_record import FoldRecord  # noqa: E402
from base_models.runs.onnx_export import PhotosToProbabilities, trace  # noqa: E402
from base_models.runs.out_of_fold import run_training  # noqa: E402
from base_models.runs.prediction import predict  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402
from base_models.training import epoch  # noqa: E402
from base_models.training.member import train_member  # noqa: E402
from base_models.training.task import MemberTask  # noqa: E402
from stacking import load_predictions  # noqa: E402

RATES = np.array([0.5, 0.1, 0.9, 0.3])
HEADS = ["linear", "attention", "attention-earlier", "wide", "recurrent", "wide+recurrent", "auxiliary", "mlp"]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def make_task(tmp_path_factory):
    manifest = load_manifest(write_tiny_photos(tmp_path_factory.mktemp("photos"), 48, 0), Path())
    photos = PhotoTensors(manifest, np.arange(48), 32)

    def make(head, network="test_resnet", **changes):
        settings = TrainingConfig(**{"epochs": 2, "batch_size": 8, "learning_rate": 5e-3, **changes})
        member = MemberConfig("m", network, size=32, head=head, hidden=(16,), training=settings)
        return MemberTask(member, photos, manifest.y_true, np.arange(36), np.arange(36, 48), 3)

    return make


def create(head, network="test_resnet", size=32):
    torch.manual_seed(0)
    return create_network(MemberConfig("m", network, size=size, head=head), RATES)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("network", ["test_resnet", "scratch-cnn"])
def test_an_untrained_head_answers_the_base_rates(head, network):
    with torch.no_grad():
        scores = torch.sigmoid(create(head, network).eval()(torch.zeros(2, 3, 32, 32)))
    np.testing.assert_allclose(scores.numpy(), np.tile(RATES, (2, 1)), atol=0.05)


@pytest.mark.parametrize("head", HEADS[1:])
def test_a_killed_training_with_a_head_resumes_bit_for_bit(make_task, tmp_path, monkeypatch, head):
    task = make_task(head, dropout=0.2, ema_decay=0.5, augmentation="light")
    whole = train_member(task, tmp_path / "whole")
    real = epoch.train_epoch

    def killed(learner, task, number, progress=None):
        if number == 1:
            raise KeyboardInterrupt
        return real(learner, task, number, progress)

    with monkeypatch.context() as patch:
        patch.setattr("base_models.training.member.train_epoch", killed)
        with pytest.raises(KeyboardInterrupt):
            train_member(task, tmp_path / "killed")
    resumed = train_member(task, tmp_path / "killed")
    assert resumed.resumed_from == 1
    ours, theirs = resumed.network.state_dict(), whole.network.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    assert whole.history[1]["loss"] < whole.history[0]["loss"]


@pytest.mark.slow
def test_a_run_with_heads_predicts_what_it_stored(tiny_photos, tmp_path):
    recipe = tiny_recipe(tiny_photos)
    training = replace(recipe.members[0].training, epochs=1)
    names = {head.replace("+", "-"): head for head in HEADS[1:]}
    members = tuple(
        MemberConfig(name, "scratch-cnn", size=32, head=head, hidden=(8,), training=training)
        for name, head in names.items()
    )
    run = run_training(replace(recipe, members=members, derived=()), tmp_path / "run", device="cpu")
    stored = load_predictions(run / "test")
    manifest = load_manifest(tiny_photos, Path())
    again = predict(run, manifest.select(manifest.split_rows("test")), device="cpu")
    assert again.models == stored.models == tuple(names)
    for (_, ours), (_, theirs) in zip(again.iter_rows(100), stored.iter_rows(100), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_the_default_head_leaves_no_trace_in_the_recipe():
    assert canonical_recipe(MemberConfig("m", "resnet50")) == {"name": "m", "network": "resnet50"}
    assert canonical_recipe(MemberConfig("m", "resnet50", head="wide"))["head"] == "wide"


def test_the_auxiliary_output_adds_its_share_of_the_loss(make_task, tmp_path, monkeypatch):
    with_it = train_member(make_task("auxiliary", epochs=1), tmp_path / "a").history[0]["loss"]
    monkeypatch.setattr(epoch, "AUXILIARY_WEIGHT", 0.0)
    without = train_member(make_task("auxiliary", epochs=1), tmp_path / "b").history[0]["loss"]
    assert 1.2 * without < with_it < 1.4 * without


def test_attention_that_is_flat_pools_the_average_and_a_sharp_one_picks_its_place():
    head = AttentionHead(3, 2)
    head.start_at(torch.tensor([0.5, -0.5]))
    features = torch.randn(4, 3, 2, 5, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(0)

    def logits():
        return head(BodyOutput(nothing, features, nothing, nothing))

    mean = features.mean(dim=(2, 3)) @ head.value.weight.T + head.bias
    torch.testing.assert_close(logits(), mean)
    with torch.no_grad():
        head.score.weight[1, 0] = 1000.0
    place = features[:, 0].flatten(1).argmax(dim=1)
    torch.testing.assert_close(head.attend(features)[:, 1].flatten(1).argmax(dim=1), place)
    picked = features.flatten(2)[torch.arange(4), :, place] @ head.value.weight[1] + head.bias[1]
    torch.testing.assert_close(logits()[:, 1], picked)


def test_oriented_gradients_equal_those_of_scikit_image():
    from skimage.feature import hog

    photos = torch.rand(2, 3, 40, 48, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    settings = {"orientations": 9, "pixels_per_cell": (8, 8), "cells_per_block": (1, 1), "channel_axis": -1}
    expected = np.stack([hog(photo.permute(1, 2, 0).numpy(), **settings) for photo in photos])
    np.testing.assert_allclose(oriented_gradients(photos).numpy(), expected, atol=1e-6)


def test_a_color_histogram_counts_pixels():
    photos = torch.zeros(1, 3, 4, 4)
    photos[0, 0, :2], photos[0, 2] = 0.5, 1.0
    bins = color_histogram(photos).view(3, 50)
    assert bins[0, 0] == bins[0, 25] == 0.5 and bins[1, 0] == 1 and bins[2, 49] == 1
    torch.testing.assert_close(bins.sum(dim=1), torch.ones(3))


def test_the_wide_head_sees_the_photo_as_it_was(monkeypatch):
    network = create("wide", "resnet34").eval()
    photos = torch.rand(1, 3, 32, 32)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (network.mean, network.std))
    seen = []
    monkeypatch.setattr(
        "base_models.networks.heads.wide.color_histogram", lambda shown: seen.append(shown) or shown.flatten(1)[:, :150]
    )
    network((photos - mean) / std)
    torch.testing.assert_close(seen[0], photos)


def test_the_gru_starts_from_the_co_occurrence_of_the_training_labels():
    y_true = (np.random.default_rng(0).random((50, 4)) < RATES).astype(np.uint8)
    network = create_network(MemberConfig("m", "test_resnet", size=32, head="recurrent"), RATES, y_true=y_true)
    expected = factorize_co_occurrence(y_true)
    np.testing.assert_array_equal(network.head.embedding.detach().numpy(), expected)
    assert np.abs(expected).max() > 0.1 and not expected[:, 4:].any()


def test_scratch_cnn_has_no_weights_on_the_hub():
    with pytest.raises(ValueError, match="weights of member 'm' must be 'none' or a file: there are none for scratch"):
        create_network(MemberConfig("m", "scratch-cnn", size=32, weights="hub"), RATES)


def test_widths_below_one_are_refused():
    with pytest.raises(ValueError, match=r"hidden of member 'm' must hold widths from 1 on: got \[0\]"):
        MemberConfig("m", "resnet50", hidden=(0,))


def test_an_earlier_attention_looks_at_more_places():
    photos = torch.rand(2, 3, 64, 64)
    maps = {}
    for head in ("attention", "attention-earlier"):
        network = create(head, size=64).eval()
        maps[head] = network.head.attend(run_body(network.body, photos, network.head.needs)[1])
        assert maps[head].flatten(2).sum(dim=2).detach().numpy() == pytest.approx(1.0, abs=1e-5)
    assert maps["attention"].shape[2:] == (2, 2) and maps["attention-earlier"].shape[2:] == (4, 4)


@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_exported_to_onnx_as_it_answers(head, rng):
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    network = create(head).eval()
    for weights in network.head.parameters():  # an untrained head answers the same for every photo
        torch.nn.init.normal_(weights, std=0.2)
    record = FoldRecord(
        member="m", network="test_resnet", size=32, labels=tuple("abcd"), normalization={}, files={}, head=head
    )
    photos = rng.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    with torch.no_grad():
        expected = PhotosToProbabilities(network, record.flip_tta)(torch.from_numpy(photos)).numpy()
    session = runtime.InferenceSession(trace(network, record, {}), providers=["CPUExecutionProvider"])
    for n_photos in (5, 1):
        found = session.run(["probabilities"], {"photos": photos[:n_photos]})[0]
        np.testing.assert_allclose(found, expected[:n_photos], atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 1e-3


def test_wide_and_recurrent_add_up_in_one_network():
    network = create("wide+recurrent").eval()
    head = network.head
    pooled = torch.rand(3, head.wide.classifier.in_features - 250)  # 100 of the HOG and 150 of the colors are its own
    output = BodyOutput(pooled, torch.zeros(0), torch.zeros(0), torch.rand(3, 3, 32, 32))
    both = head(output)
    torch.testing.assert_close(both, head.wide(output) + head.recurrent(output))
    assert not torch.allclose(both, head.wide(output), atol=1e-4)
    seen = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]], np.uint8)
    head.embed_labels(seen)
    assert np.array_equal(head.recurrent.embedding.detach().numpy(), factorize_co_occurrence(seen, 20))
