"""The learning-rate range test: which rates it tries, when it stops, and that its suggestion trains."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.photos.tensors import PhotoTensors  # noqa: E402
from base_models.recipe.member import MemberConfig  # noqa: E402
from base_models.recipe.training import TrainingConfig  # noqa: E402
from base_models.testing import write_tiny_photos  # noqa: E402
from base_models.training.learner import build_learner  # noqa: E402
from base_models.training.member import train_member  # noqa: E402
from base_models.training.rate_range import RateRange, measure_rate_range  # noqa: E402
from base_models.training.task import MemberTask  # noqa: E402


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    manifest = load_manifest(write_tiny_photos(tmp_path_factory.mktemp("photos"), 96, 0), Path())
    training = TrainingConfig(epochs=3, batch_size=8, augmentation="none")
    member = MemberConfig("m", "test_resnet", size=32, training=training)
    photos = PhotoTensors(manifest, np.arange(96), 32, cache="memory")
    return MemberTask(member, photos, manifest.y_true, np.arange(64), np.arange(64, 96))


def measure(task, **how):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return measure_rate_range(build_learner(task, "cpu", load_weights=True), task, **how)


def retrained(task, **changes):
    member = replace(task.member, training=replace(task.member.training, **changes))
    return replace(task, member=member)


def test_the_suggestion_trains_better_than_rates_far_from_it(task, tmp_path):
    found = measure(task, n_steps=40)
    assert found.has_moved and found.suggestion == pytest.approx(found.lowest_at / 3)
    losses = []
    for factor in (0.01, 1.0, 100.0):
        trained = train_member(
            retrained(task, learning_rate=factor * found.suggestion), tmp_path / f"{factor}", device="cpu"
        )
        losses.append(trained.history[-1]["validation_log_loss"])
    assert losses[1] < losses[0] and losses[1] < losses[2]


def test_rates_rise_evenly_whatever_the_recipe_does_with_them(task):
    courses = {"schedule": "plateau", "warmup": 0.5, "freeze_epochs": 2, "sizes": (16, 32)}
    changed = retrained(task, **courses, sampling_alpha=0.5, body_learning_rate=0.1)
    learner = build_learner(changed, "cpu", load_weights=True)
    steps = []
    found = measure_rate_range(learner, changed, lowest=1e-5, highest=1e-3, n_steps=12, on_step=steps.append)
    assert steps == list(range(1, 13)) and not found.broke_out
    assert np.allclose(np.diff(np.log(found.rates)), np.log(100) / 11)
    assert (
        found.rates[[0, -1]] == pytest.approx([1e-5, 1e-3]) and found.configured == task.member.training.learning_rate
    )
    last = [group["lr"] for group in learner.optimizer.param_groups]
    assert max(last) == pytest.approx(1e-3) and min(last) == pytest.approx(1e-4)
    again = measure(changed, lowest=1e-5, highest=1e-3, n_steps=12)
    assert np.array_equal(again.losses, measure(changed, lowest=1e-5, highest=1e-3, n_steps=12).losses)


def test_it_ends_where_the_loss_breaks_out(task):
    found = measure(retrained(task, clip_norm=0.0), lowest=1e-3, highest=1e6, n_steps=40)
    assert found.broke_out and 1 < len(found.losses) == len(found.rates) < 40 and np.isfinite(found.losses).all()


def curve(losses, broke_out=True):
    return RateRange("m", np.geomspace(1e-5, 1, len(losses)), np.array(losses, float), broke_out, 2e-3)


def test_what_a_curve_says():
    noise = np.random.default_rng(0).normal(0, 0.002, 100)
    valley = np.r_[np.full(40, 0.3), np.linspace(0.3, 0.2, 30), np.linspace(0.2, 0.6, 30)] + noise
    found = curve(valley)
    assert 0.3 < found.lowest_at / np.geomspace(1e-5, 1, 100)[69] < 3 and "a third" in found.remark()
    flat = curve(0.3 + noise)
    assert not flat.has_moved and flat.suggestion is None and "no rate lowered" in flat.remark()
    falling = curve(np.linspace(0.3, 0.2, 100) + noise, broke_out=False)
    assert "still fell" in falling.remark()


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"lowest": 0.0}, "lowest must be positive"),
        ({"lowest": 1.0, "highest": 0.1}, "below highest"),
        ({"highest": float("inf")}, "below highest"),
        ({"n_steps": 9}, "at least 10"),
    ],
)
def test_no_range_is_refused(task, how, words):
    with pytest.raises(ValueError, match=words):
        measure(task, **how)
