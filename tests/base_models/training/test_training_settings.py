"""Settings of a training: each does what it says, and resumes bit for bit."""

import inspect
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.networks.network import create_network  # noqa: E402
from base_models.photos.tensors import PhotoTensors  # noqa: E402
from base_models.recipe.member import MemberConfig  # noqa: E402
from base_models.recipe.training import TrainingConfig  # noqa: E402
from base_models.testing import write_tiny_photos  # noqa: E402
from base_models.training import epoch, scoring  # noqa: E402
from base_models.training import member as training  # noqa: E402
from base_models.training.losses import create_loss  # noqa: E402
from base_models.training.member import train_member  # noqa: E402
from base_models.training.optimization import create_optimizer, set_learning_rates  # noqa: E402
from base_models.training.scoring import score_photos  # noqa: E402
from base_models.training.task import MemberTask  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def make_task(tmp_path_factory):
    manifest = load_manifest(write_tiny_photos(tmp_path_factory.mktemp("photos"), 40, 0), Path())
    photos = PhotoTensors(manifest, np.arange(40), 32)

    def make(network="test_resnet", **changes):
        settings = {"epochs": 2, "batch_size": 8, "learning_rate": 5e-3, **changes}
        member = MemberConfig("m", network, size=32, training=TrainingConfig(**settings))
        return MemberTask(member, photos, manifest.y_true, np.arange(30), np.arange(30, 40), 3)

    return make


def state_of(trained):
    return {name: value.numpy().tobytes() for name, value in trained.network.state_dict().items()}


def see_steps(monkeypatch, seen):
    """Note what every step computes its logits from."""
    real = epoch.compute_logits

    def watch(network, photos, precision):
        seen.append(photos)
        return real(network, photos, precision)

    monkeypatch.setattr(epoch, "compute_logits", watch)


def interrupted(task, folder, monkeypatch, at):
    """Train until an epoch and step, and die there."""
    monkeypatch.setattr(epoch, "SECONDS_BETWEEN_REPORTS", -1.0)

    def interrupt(event):
        if (event.kind, event.epoch, event.step) == ("step", *at):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_member(task, folder, progress=interrupt)


def test_an_epoch_may_see_few_rows_first_and_all_of_them_later(make_task, tmp_path, monkeypatch):
    seen = []
    see_steps(monkeypatch, seen)
    train_member(make_task(epochs=4, shares=(0.4, 1.0), batch_size=100), tmp_path)
    assert [len(photos) for photos in seen if len(photos) != 10] == [12, 12, 30, 30]
    for shares, message in {
        (0.0,): r"shares must hold values in \(0, 1\]: got \[0.0\]",
        (0.5,): "shares must be empty",
    }.items():
        with pytest.raises(ValueError, match=message):
            TrainingConfig(shares=shares, sampling_alpha=0.5)


@pytest.mark.parametrize(
    "settings", [{"mixup": 0.4, "sizes": (16, 32)}, {"schedule": "plateau", "layer_decay": 0.5, "train_share": 0.7}]
)
def test_an_interrupted_training_equals_an_uninterrupted_one(make_task, tmp_path, monkeypatch, settings):
    task = make_task(epochs=3, flip_tta=True, **settings)
    whole = train_member(task, tmp_path / "whole")
    interrupted(task, tmp_path / "parts", monkeypatch, at=(3, 2))
    parts = train_member(task, tmp_path / "parts")
    assert parts.resumed_from == 2 and state_of(parts) == state_of(whole)
    assert state_of(whole) != state_of(train_member(make_task(epochs=3, flip_tta=True), tmp_path / "plain"))


def test_layers_further_from_the_head_learn_more_slowly(make_task):
    member = make_task(layer_decay=0.5, body_learning_rate=0.4).member
    network = create_network(member, np.full(6, 0.5))
    optimizer = create_optimizer(network, member.training)
    set_learning_rates(optimizer, member.training, 0, 4, 8)
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == len(list(network.parameters()))
    stem = rates[id(next(network.body.parameters()))]
    last = rates[id(list(network.body.parameters())[-1])]
    head = rates[id(next(network.head.parameters()))]
    assert last == pytest.approx(0.4 * head) and stem < 0.3 * last
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert all((decays[id(p)] > 0) == (p.ndim > 1) for p in network.parameters())


def test_plateau_lowers_the_rate_after_bad_epochs(make_task, tmp_path, monkeypatch):
    scores = iter(np.repeat([0.5, 0.4, 0.4, 0.6, 0.1], 2).tolist())  # of validation, and then of training rows
    monkeypatch.setattr(training, "validation_micro_f1", lambda *_: (next(scores), 0.5))
    task = make_task(epochs=5, schedule="plateau", warmup=0.0, plateau_patience=1, plateau_factor=0.5, batch_size=30)
    rates = [row["learning_rate"] for row in train_member(task, tmp_path).history]
    assert rates == pytest.approx([5e-3, 5e-3, 5e-3, 2.5e-3, 2.5e-3])


def test_photos_grow_during_the_training_and_are_scored_at_full_size(make_task, tmp_path, monkeypatch):
    seen = []
    see_steps(monkeypatch, seen)
    train_member(make_task(epochs=4, sizes=(16, 24, 32), batch_size=30), tmp_path)
    assert [photos.shape[-1] for photos in seen] == [16, 16, 24, 32]
    for sizes, message in {(8,): "got 8", (64,): "between 16 and its size, 32 pixels: got 64"}.items():
        with pytest.raises(ValueError, match=message):
            train_member(make_task(sizes=sizes), tmp_path / "refused")


def test_mixup_mixes_until_its_last_epochs(make_task, tmp_path, monkeypatch):
    seen, plain = [], []
    settings = {"epochs": 2, "batch_size": 30, "augmentation": "none"}
    for steps, mixing in ((seen, {"mixup": 1.0, "mixup_off_epochs": 1}), (plain, {})):
        with monkeypatch.context() as patch:
            see_steps(patch, steps)
            train_member(make_task(**settings, **mixing), tmp_path / str(len(mixing)))
    assert torch.equal(seen[1], plain[1]) and not torch.equal(seen[0], plain[0])
    other = plain[0].flip(0)
    share = ((seen[0] - other) * (plain[0] - other)).sum() / ((plain[0] - other) ** 2).sum()
    assert torch.allclose(seen[0], share * plain[0] + (1 - share) * other, atol=0.1)


def test_a_share_of_the_rows_is_learned_from(make_task, tmp_path):
    assert train_member(make_task(epochs=1, train_share=0.5), tmp_path / "half").n_train == 15
    assert train_member(make_task(epochs=1), tmp_path / "whole").n_train == 30


class Noise:
    """Photos of noise, as they are or in a mirror."""

    def __init__(self, rng, mirrored=False):
        self.photos = torch.from_numpy(rng.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8))
        self.mirrored = mirrored

    def iter_batches(self, batches, *, reuse=False):
        for rows in batches:
            yield rows, self.photos[rows].flip(-1) if self.mirrored else self.photos[rows]


def test_flipped_scores_are_the_mean_over_both_sides(make_task, rng):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create_network(make_task().member, np.full(6, 0.5))
    photos, rows = Noise(rng), np.arange(10)
    plain, both = (score_photos(network, photos, rows, flip=flip) for flip in (False, True))
    photos.mirrored = True
    other = score_photos(network, photos, rows)
    np.testing.assert_allclose(both, (plain + other) / 2, atol=1e-6)
    assert np.abs(plain - other).max() > 1e-5


def run_out_of_memory(monkeypatch, module, limit, seen):
    """Let no more than so many photos through at once."""
    real = module.compute_logits

    def short(network, photos, precision):
        if len(photos) > limit:
            raise torch.OutOfMemoryError("CUDA out of memory")
        seen.append(len(photos))
        return real(network, photos, precision)

    monkeypatch.setattr(module, "compute_logits", short)


def test_parts_of_a_batch_have_the_gradient_of_the_whole(make_task, monkeypatch, tmp_path):
    task = make_task("test_convnext", batch_size=30, clip_norm=0.0, augmentation="none")  # without batch normalization
    known = np.ones(task.y_true.shape, bool)
    known[::3, 2:] = False
    task = replace(task, y_known=known)
    gradients, losses = [], []
    for limit in (30, 8):
        with torch.random.fork_rng(), monkeypatch.context() as patch:
            torch.manual_seed(0)
            network = create_network(task.member, np.full(6, 0.3))
            optimizer, loss = (
                create_optimizer(network, task.member.training),
                create_loss(task.member.training, None, 30),
            )
            learner = epoch.Learner(network, optimizer, None, loss, "float32", "cpu")
            run_out_of_memory(patch, epoch, limit, [])
            losses.append(epoch.train_epoch(learner, task, 0)["loss"])
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert learner.n_parts == 4 and losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-3, atol=1e-6) and gradients[0].abs().max() > 1e-3


def test_a_batch_that_does_not_fit_is_cut_said_aloud_and_recorded(make_task, tmp_path, monkeypatch, caplog):
    seen, events = [], []
    run_out_of_memory(monkeypatch, epoch, 8, seen)
    task = make_task(epochs=2, batch_size=15)
    trained = train_member(task, tmp_path, progress=events.append)
    assert [event.epoch for event in events if event.kind == "memory"] == [1]
    assert "each batch of 15 photos now goes through in 2 parts" in caplog.text
    assert [row["batch_parts"] for row in trained.history] == [2, 2] and seen == [8, 7] * 4
    with pytest.raises(ValueError, match="size of member 'm' must fit into the memory of cpu: fewer than four"):
        run_out_of_memory(monkeypatch, epoch, 1, [])
        train_member(make_task(epochs=1, batch_size=15), tmp_path / "small")


def test_a_resumed_training_knows_what_fits(make_task, tmp_path, monkeypatch):
    task = make_task(epochs=2, batch_size=15)
    with monkeypatch.context() as patch:
        run_out_of_memory(patch, epoch, 8, [])
        whole = train_member(task, tmp_path / "whole")
        interrupted(task, tmp_path / "parts", patch, at=(2, 1))
    assert state_of(train_member(task, tmp_path / "parts")) == state_of(whole)


def test_scoring_takes_fewer_photos_at_once_where_memory_ends(make_task, rng, monkeypatch, caplog):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = create_network(make_task().member, np.full(6, 0.5))
    photos, seen = Noise(rng), []
    whole = score_photos(network, photos, np.arange(10))
    run_out_of_memory(monkeypatch, scoring, 3, seen)
    np.testing.assert_allclose(score_photos(network, photos, np.arange(10)), whole, atol=1e-6)
    assert seen == [2] * 5 and "photos are scored 2 at a time" in caplog.text
    run_out_of_memory(monkeypatch, scoring, 0, seen)
    with pytest.raises(ValueError, match="a single one does not"):
        score_photos(network, photos, np.arange(10))


def test_each_label_is_answered_by_its_own_best_epoch(make_task, tmp_path, monkeypatch):
    task = make_task(epochs=4, keep="best-per-label", learning_rate=1e-2, schedule="constant", warmup=0.0)
    scored = []
    real = training.score_photos

    def note(*arguments, **settings):
        scored.append(real(*arguments, **settings))
        return scored[-1]

    monkeypatch.setattr(training, "score_photos", note)
    whole = train_member(task, tmp_path / "whole")
    scored = scored[::2]  # between them, as many training rows
    y_true = task.y_true[task.validation_rows]
    losses = np.stack([log_loss_of_labels(y_true, y_score) for y_score in scored])
    best = np.where(y_true.any(axis=0), losses.argmin(axis=0) + 1, whole.best_epoch)
    assert list(whole.network.label_epochs) == best.tolist() and len(set(best)) > 1
    kept = score_photos(whole.network, task.photos, task.validation_rows)
    np.testing.assert_allclose(kept, np.stack(scored)[best - 1, :, np.arange(6)].T, atol=1e-6)
    interrupted(task, tmp_path / "parts", monkeypatch, at=(3, 2))
    assert state_of(train_member(task, tmp_path / "parts")) == state_of(whole)


def log_loss_of_labels(y_true, y_score):
    right = np.where(y_true == 1, y_score, 1 - y_score.astype(np.float64)).clip(1e-7)
    return -np.log(right).mean(axis=0)


def test_every_setting_is_documented():
    lines = [line.split(" : ")[0] for line in inspect.getdoc(TrainingConfig).splitlines() if " : " in line]
    assert {field.name for field in fields(TrainingConfig)} <= {
        name.strip() for line in lines for name in line.split(",")
    }


def test_no_rows_have_no_scores_but_all_labels(make_task):
    network = create_network(make_task().member, np.full(6, 0.5))
    assert score_photos(network, make_task().photos, np.arange(0)).shape == (0, 6)
