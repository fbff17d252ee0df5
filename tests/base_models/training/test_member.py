"""One network: it learns, resumes bit for bit, freezes, stops early, ignores what is unknown."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.networks.frozen_layers import freeze_layers  # noqa: E402
from base_models.networks.network import degrade  # noqa: E402
from base_models.photos.tensors import PhotoTensors  # noqa: E402
from base_models.recipe.member import MemberConfig  # noqa: E402
from base_models.recipe.training import TrainingConfig  # noqa: E402
from base_models.testing import write_tiny_photos  # noqa: E402
from base_models.training import epoch  # noqa: E402
from base_models.training import member as training  # noqa: E402
from base_models.training.member import train_member  # noqa: E402
from base_models.training.sampling import share_of_rows, share_to_use  # noqa: E402
from base_models.training.scoring import score_photos, validation_micro_f1  # noqa: E402
from base_models.training.task import MemberTask  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def make_task(tmp_path_factory):
    manifest = load_manifest(write_tiny_photos(tmp_path_factory.mktemp("photos"), 80, 0), Path())
    photos = PhotoTensors(manifest, np.arange(80), 32)

    def make(seed=3, y_known=None, y_true=manifest.y_true, **changes):
        settings = {"epochs": 2, "batch_size": 8, "learning_rate": 5e-3, **changes}
        member = MemberConfig("m", "test_resnet", size=32, training=TrainingConfig(**settings))
        return MemberTask(member, photos, y_true, np.arange(60), np.arange(60, 80), seed, y_known)

    return make


def state_of(trained):
    return {name: value.numpy().tobytes() for name, value in trained.network.state_dict().items()}


def test_a_network_learns_what_it_sees(make_task, tmp_path):
    task = make_task(epochs=8, augmentation="mirror")
    trained = train_member(task, tmp_path)
    constant, _ = validation_micro_f1(
        task.y_true[60:], np.tile(task.y_true[:60].mean(axis=0), (20, 1)).astype(np.float32)
    )
    scores = [row["validation_micro_f1"] for row in trained.history]
    assert max(scores) > constant + 0.1
    assert trained.best_epoch == 1 + int(np.argmax(scores))
    y_score = score_photos(trained.network, task.photos, task.validation_rows)
    assert validation_micro_f1(task.y_true[60:], y_score)[0] == pytest.approx(max(scores), abs=1e-9)


SETTINGS = [
    {"dropout": 0.3, "augmentation": "light", "ema_decay": 0.9},
    {"precision": "bfloat16", "freeze_epochs": 1, "augmentation": "strong", "keep": "last"},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=["ema-dropout", "bfloat16-freeze"])
def test_an_interrupted_training_equals_an_uninterrupted_one(make_task, tmp_path, monkeypatch, settings):
    task = make_task(epochs=3, **settings)
    whole = train_member(task, tmp_path / "whole")
    monkeypatch.setattr(epoch, "SECONDS_BETWEEN_REPORTS", -1.0)

    def interrupt(event):
        if (event.kind, event.epoch, event.step) in {("step", 2, 3), ("step", 3, 5)} and event.epoch not in seen:
            seen.add(event.epoch)
            raise KeyboardInterrupt

    seen = set()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            train_member(task, tmp_path / "parts", progress=interrupt)
    parts = train_member(task, tmp_path / "parts", progress=interrupt)
    assert (parts.resumed_from, whole.resumed_from) == (2, 0)
    assert state_of(parts) == state_of(whole)
    measured = [
        [{k: v for k, v in row.items() if k in ("loss", "validation_micro_f1", "threshold")} for row in t.history]
        for t in (parts, whole)
    ]
    assert measured[0] == measured[1]


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one processor
def test_a_training_fed_by_two_processes_and_interrupted_equals_one_from_memory(make_task, tmp_path, monkeypatch):
    task = make_task(augmentation="light")
    manifest = load_manifest(write_tiny_photos(tmp_path / "photos", 80, 0), Path())
    fed = replace(task, photos=PhotoTensors(manifest, np.arange(80), 32, cache="none", n_workers=2))
    whole = train_member(task, tmp_path / "whole")
    monkeypatch.setattr(epoch, "SECONDS_BETWEEN_REPORTS", -1.0)

    def interrupt(event):
        if (event.kind, event.epoch, event.step) == ("step", 2, 3):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_member(fed, tmp_path / "parts", progress=interrupt)
    parts = train_member(fed, tmp_path / "parts")
    assert parts.resumed_from == 1
    assert state_of(parts) == state_of(whole)


def test_the_seed_decides_and_the_global_generator_is_restored(make_task, tmp_path):
    state = torch.get_rng_state()
    first = train_member(make_task(epochs=1), tmp_path / "a")
    again = train_member(make_task(epochs=1), tmp_path / "b")
    other = train_member(make_task(epochs=1, seed=4), tmp_path / "c")
    assert torch.equal(torch.get_rng_state(), state)
    assert state_of(first) == state_of(again) != state_of(other)


def test_freezing_trains_the_head_first(make_task, tmp_path):
    frozen = train_member(make_task(epochs=1, freeze_epochs=1), tmp_path / "frozen")
    free = train_member(make_task(epochs=2, freeze_epochs=1, keep="last"), tmp_path / "free")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        start = training.create_network(make_task().member, np.full(6, 0.5)).body.state_dict()
    body = frozen.network.body.state_dict()
    assert all(torch.equal(value, start[name]) for name, value in body.items())
    assert not torch.equal(free.network.body.conv1[0].weight, start["conv1.0.weight"])


def test_what_is_not_annotated_counts_neither_way(make_task, tmp_path):
    truth = make_task().y_true
    known = np.ones(truth.shape, dtype=bool)
    known[:30, 2] = False
    lied = truth.copy()
    lied[:30, 2] = 1 - lied[:30, 2]
    first = train_member(make_task(epochs=1, y_known=known), tmp_path / "a")
    second = train_member(make_task(epochs=1, y_known=known, y_true=lied), tmp_path / "b")
    assert state_of(first) == state_of(second)


def test_training_stops_when_validation_no_longer_improves(make_task, tmp_path, monkeypatch):
    scores = iter(np.repeat([0.2, 0.5, 0.4, 0.3, 0.9], 2).tolist())  # of validation, and then of training rows
    monkeypatch.setattr(training, "validation_micro_f1", lambda *_: (next(scores), 0.5))
    trained = train_member(make_task(epochs=5, patience=2, batch_size=60), tmp_path)
    assert [row["validation_micro_f1"] for row in trained.history] == [0.2, 0.5, 0.4, 0.3]
    assert trained.best_epoch == 2


def test_the_faster_arithmetic_is_measured_once_and_recorded(make_task, tmp_path, monkeypatch):
    answers = iter([("bfloat16", {"photos": 8, "bfloat16 ms": 1.0, "float32 ms": 2.0})])
    monkeypatch.setattr(training, "choose_precision", lambda *_: next(answers))
    trained = train_member(make_task(epochs=1, precision="auto"), tmp_path)
    assert trained.precision == "bfloat16" and trained.figures["precision_trial"]["float32 ms"] == 2.0
    assert '"precision": "bfloat16"' in (tmp_path / "start.json").read_text()
    assert train_member(make_task(epochs=1, precision="auto"), tmp_path).precision == "bfloat16"


def test_bad_tasks_are_refused(make_task, tmp_path):
    task = make_task()
    with pytest.raises(ValueError, match="train_rows of member 'm' must hold at least one row"):
        train_member(replace(task, train_rows=np.arange(0)), tmp_path)
    with pytest.raises(ValueError, match="must not meet: 1 rows are in both"):
        train_member(replace(task, validation_rows=np.arange(59, 80)), tmp_path)
    with pytest.raises(ValueError, match="the loss of epoch 1 is not finite; lower it from"):
        train_member(make_task(learning_rate=1e30, clip_norm=0.0, schedule="constant", warmup=0.0), tmp_path / "high")


def test_validation_micro_f1_is_brute_force_with_ties(rng):
    for _ in range(20):
        y_true = (rng.random((5, 4)) < 0.4).astype(np.uint8)
        y_score = rng.integers(0, 5, (5, 4)).astype(np.float32) / 4
        found, threshold = validation_micro_f1(y_true, y_score)
        tried = []
        for t in np.unique(y_score):
            y_pred = y_score >= t
            tried.append(2 * (y_pred & (y_true == 1)).sum() / max(1, y_pred.sum() + y_true.sum()))
        assert found == pytest.approx(max(tried))
        if y_true.any():
            y_pred = y_score >= threshold
            assert 2 * (y_pred & (y_true == 1)).sum() / (y_pred.sum() + y_true.sum()) == pytest.approx(found)
    assert validation_micro_f1(np.zeros((2, 2), np.uint8), np.ones((2, 2), np.float32)) == (0.0, 1.0)


LOSSES = [
    {"loss": "bce", "class_weights": "negative-positive"},
    {"loss": "asymmetric", "class_weights": "effective-number", "gamma_negative": 2.0},
    {"loss": "poly"},
    {"loss": "two-way"},
    {"loss": "zlpr"},
    {"loss": "distribution-balanced"},
]


@pytest.mark.parametrize("settings", LOSSES, ids=lambda settings: settings["loss"])
def test_every_loss_teaches_what_the_photos_show(make_task, tmp_path, settings):
    task = make_task(epochs=6, augmentation="mirror", learning_rate=1e-2, **settings)
    trained = train_member(task, tmp_path)
    rates = np.tile(task.y_true[:60].mean(axis=0), (20, 1)).astype(np.float32)
    constant, _ = validation_micro_f1(task.y_true[60:], rates)
    assert max(row["validation_micro_f1"] for row in trained.history) > constant + 0.05
    assert trained.history[-1]["loss"] < trained.history[0]["loss"]


def test_sampled_epochs_resume_alike_and_say_what_they_reached(make_task, tmp_path, monkeypatch):
    task = make_task(epochs=2, sampling_alpha=0.25)
    whole = train_member(task, tmp_path / "whole")
    assert state_of(whole) != state_of(train_member(make_task(epochs=2), tmp_path / "unsampled"))
    _interrupted(task, tmp_path / "parts", monkeypatch, at=(2, 3))
    parts = train_member(task, tmp_path / "parts")
    assert parts.resumed_from == 1 and state_of(parts) == state_of(whole)
    for row, again in zip(whole.history, parts.history, strict=True):
        assert row["sampling_target"] == 0.25 and 0.25 < row["sampling_reached"] < 1
        assert 1 < row["effective_sample_size"] < 60
        assert row["sampling_reached"] == again["sampling_reached"]
    header = (tmp_path / "whole" / "history.csv").read_text().splitlines()[0]
    assert "sampling_target,sampling_reached,effective_sample_size" in header


def _interrupted(task, folder, monkeypatch, at):
    """Train until an epoch and step, and die there."""
    monkeypatch.setattr(epoch, "SECONDS_BETWEEN_REPORTS", -1.0)

    def interrupt(event):
        if (event.kind, event.epoch, event.step) == ("step", *at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_member(task, folder, progress=interrupt)


def test_an_absolute_number_of_rows_is_used_and_a_larger_one_holds_the_smaller(make_task, tmp_path):
    trained = train_member(make_task(epochs=1, train_count=15), tmp_path)
    assert trained.n_train == 15
    rows = np.arange(60)
    few, more = (share_of_rows(rows, share_to_use(TrainingConfig(train_count=n), 60), 0) for n in (15, 40))
    assert len(few) == 15 and len(more) == 40 and set(few) < set(more)
    assert share_to_use(TrainingConfig(train_count=900), 60) == 1.0
    with pytest.raises(ValueError, match="train_count must be 0 where train_share"):
        TrainingConfig(train_count=5, train_share=0.5)


def test_training_stops_when_the_validation_loss_passes_the_training_loss(make_task, tmp_path):
    """A few photos are learned by heart: their loss falls below that of new ones."""
    task = make_task(epochs=30, learning_rate=2e-2, train_count=12, schedule="constant", augmentation="none")
    free = train_member(task, tmp_path / "free")
    stopped = train_member(
        replace(task, member=replace(task.member, training=replace(task.member.training, stop_when_overfit=True))),
        tmp_path / "stopped",
    )
    passed = [row["validation_log_loss"] > row["training_log_loss"] for row in free.history]
    first = next(place for place, has in enumerate(passed) if has and place > 0)
    assert len(stopped.history) == first + 1 < len(free.history) == 30


def test_degraded_photos_lose_what_a_small_square_does_not_hold():
    photos = torch.rand(2, 3, 32, 32)
    seen = degrade(photos, 8)
    assert seen.shape == photos.shape and degrade(photos, 32) is photos
    plain = photos.mean(dim=(2, 3), keepdim=True).expand_as(photos)
    torch.testing.assert_close(degrade(plain, 8), plain)
    assert seen.std() < 0.5 * photos.std()
    with pytest.raises(ValueError, match="degraded_size of member 'm' must be 0 or below its size"):
        MemberConfig("m", "test_resnet", size=32, degraded_size=32)


def test_a_degraded_member_sees_new_photos_degraded_too(make_task, tmp_path):
    task = make_task(epochs=1)
    task = replace(task, member=replace(task.member, degraded_size=16))
    network = train_member(task, tmp_path).network.eval()
    photos = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        degraded = network(photos)
        network.degraded_size = 0
        torch.testing.assert_close(degraded, network(degrade(photos, 16)))


@pytest.mark.parametrize("network", ["resnet50", "mobilenetv1_100", "legacy_xception", "test_resnet"])
def test_freezing_by_parameters_and_by_layers_is_what_it_says(network):
    import timm

    body = timm.create_model(network, num_classes=0)
    total = sum(parameter.numel() for parameter in body.parameters())

    def frozen():
        return sum(parameter.numel() for parameter in body.parameters() if not parameter.requires_grad) / total

    shares = []
    for share in (0.25, 0.5, 0.75):
        freeze_layers(body, share, by="parameters")
        assert frozen() <= share
        shares.append(frozen())
    assert shares == sorted(shares) and (network == "test_resnet" or shares[1] > 0.25)
    freeze_layers(body, 0.0, tuned_layers=5)
    own = [module for module in body.modules() if list(module.parameters(recurse=False))]
    learning = [any(parameter.requires_grad for parameter in module.parameters(recurse=False)) for module in own]
    assert sum(learning) == 5 and all(learning[-5:])
    freeze_layers(body, 1.0, tuned_layers=5)
    assert frozen() == 1.0, "while the head warms up alone, no layer learns"
    freeze_layers(body, 0.0)
    assert frozen() == 0.0
