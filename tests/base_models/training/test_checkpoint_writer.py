"""Checkpoints behind the training's back: one at a time, complete, of the moment when they were asked for."""

import threading
import time

import pytest

torch = pytest.importorskip("torch")

from base_models.device import snapshot  # noqa: E402
from base_models.training.checkpoint_writer import CheckpointWriter  # noqa: E402


def test_the_training_goes_on_while_one_checkpoint_is_written_and_waits_before_the_next():
    may_end, order = threading.Event(), []

    def writes(name):
        def write():
            assert may_end.wait(60)
            order.append(name)

        return lambda: write

    with CheckpointWriter() as writer:
        writer.submit(writes("first"))
        order.append("trained")
        may_end.set()
        writer.submit(writes("second"))
        assert order[:2] == ["trained", "first"]
    assert order == ["trained", "first", "second"]
    assert len(writer.seconds) == len(writer.waited) == 2


def test_what_is_hidden_is_measured():
    with CheckpointWriter() as writer:
        writer.submit(lambda: lambda: time.sleep(0.2))
        time.sleep(0.4)  # trains
        writer.submit(lambda: lambda: time.sleep(0.1))
    assert writer.seconds[0] > 0.19 and writer.waited[0] < 0.05
    assert writer.waited[1] > 0.09  # nothing is left to do meanwhile


def test_a_failed_write_ends_the_training_at_the_next_and_an_error_waits_for_the_last():
    def fail():
        raise OSError("disk full")

    done = []
    with pytest.raises(OSError, match="disk full"), CheckpointWriter() as writer:
        writer.submit(lambda: fail)
        writer.submit(lambda: lambda: done.append("never"))
    with pytest.raises(OSError, match="disk full"), CheckpointWriter() as writer:
        writer.submit(lambda: fail)
    with pytest.raises(KeyboardInterrupt), CheckpointWriter() as writer:
        writer.submit(lambda: lambda: (time.sleep(0.2), done.append("kept")))
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt) as told, CheckpointWriter() as writer:
        writer.submit(lambda: fail)
        raise KeyboardInterrupt
    assert done == ["kept"] and "disk full" in told.value.__notes__[0]


def test_a_snapshot_holds_what_was_there_then_in_the_same_layout():
    weight = torch.arange(24.0).reshape(2, 3, 2, 2).contiguous(memory_format=torch.channels_last)
    state = {"state": {0: {"step": torch.tensor(3.0), "exp_avg": weight}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    fetch = snapshot(state, "cpu")
    before = weight.clone()
    weight += 1
    state["param_groups"][0]["lr"] = 0.2
    found = fetch()
    assert torch.equal(found["state"][0]["exp_avg"], before)
    assert found["state"][0]["exp_avg"].stride() == weight.stride()
    assert found["param_groups"] == [{"lr": 0.1, "params": [0]}] and found["state"][0]["step"] == 3
