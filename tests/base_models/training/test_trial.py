"""Which arithmetic is taken, by a clock that is made up; the real clock runs in tests/gpu."""

import math
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
from base_models.training import trial  # noqa: E402
from base_models.training.task import MemberTask  # noqa: E402


@pytest.fixture
def task(tmp_path):
    manifest = load_manifest(write_tiny_photos(tmp_path, 32, 0), Path())
    member = MemberConfig("m", "test_resnet", size=32, training=TrainingConfig(batch_size=24, precision="auto"))
    return MemberTask(member, PhotoTensors(manifest, np.arange(32), 32), manifest.y_true, np.arange(32), np.arange(0))


def choose(task, monkeypatch, seconds, **how):
    """Run a trial whose passes take so long; return what it says and the batches it tried."""
    seen = []

    def timed(compute, photos):
        seen.append((compute.args[1], len(photos)))
        assert photos.is_contiguous(memory_format=torch.channels_last)
        return seconds(*seen[-1])

    monkeypatch.setattr(trial, "_time", timed)
    network = create_network(task.member, np.full(6, 0.3))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    answer = trial.choose_precision(network, task, "cpu", **{"n_shown": math.inf, **how})
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    return answer, seen


@pytest.mark.parametrize(("saved", "precision"), [(0.5, "bfloat16"), (0.96, "float32"), (2.0, "float32")])
def test_bfloat16_is_taken_where_it_saves_five_percent_at_the_real_batch(task, monkeypatch, saved, precision):
    answer, seen = choose(task, monkeypatch, lambda kind, _: 0.01 * (saved if kind == "bfloat16" else 1.0))
    assert answer == (precision, {"photos": 24, "float32 ms": 10.0, "bfloat16 ms": 10.0 * saved})
    turns = [kind for kind, n_photos in seen if n_photos == 24]
    assert turns == ["float32", "bfloat16"] * (1 + trial.N_TURNS)  # in turns
    (_, found), _ = choose(task, monkeypatch, lambda *_: 0.01, n_processes=3)
    assert found["photos"] == 8  # a process's share


def test_a_slow_cpu_tries_a_share_of_the_batch_and_full_memory_halves_it(task, monkeypatch):
    (_, found), seen = choose(task, monkeypatch, lambda _, n_photos: 0.05 * n_photos)
    assert found["photos"] == 20 and seen[0] == ("float32", trial.PHOTOS_BEFORE)

    def full(_, n_photos):
        if n_photos > 6:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return 0.01

    assert choose(task, monkeypatch, full)[0][1]["photos"] == 6


def test_a_training_that_is_over_before_the_trial_would_pay_takes_the_plain_arithmetic(task, monkeypatch):
    seconds = trial.SECONDS_WORTH_A_TRIAL / (32 * task.member.training.epochs)  # of a photo

    def clock(per_photo):
        return lambda kind, n_photos: per_photo * n_photos * (0.5 if kind == "bfloat16" else 1.0)

    answer, seen = choose(task, monkeypatch, clock(0.99 * seconds), n_shown=None)
    assert answer[0] == "float32" and answer[1]["training s"] == pytest.approx(
        0.99 * trial.SECONDS_WORTH_A_TRIAL, abs=0.1
    )
    assert seen == [("float32", trial.PHOTOS_BEFORE)] * 2
    assert choose(task, monkeypatch, clock(1.01 * seconds), n_shown=None)[0][0] == "bfloat16"
