"""Checkpoints: complete, swept, checked."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.training import checkpoints  # noqa: E402
from base_models.training.checkpoints import (  # noqa: E402
    Checkpoint,
    best_weights_file,
    drop_training_state,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
)


def checkpoint(epoch, best_epoch, averaged=True):
    weights = {"a": torch.full((3,), float(epoch))}
    optimizer = {"state": {0: {"step": torch.tensor(float(epoch))}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    history = [{"epoch": k + 1, "validation_micro_f1": 0.5} for k in range(epoch)]
    return Checkpoint(epoch, weights, {"a": weights["a"] + 10} if averaged else {}, optimizer, history, best_epoch)


def test_the_last_checkpoint_comes_back_and_the_best_weights_stay(tmp_path):
    save_checkpoint(tmp_path, checkpoint(1, 1), {"a": torch.tensor([7.0])})
    save_checkpoint(tmp_path, checkpoint(2, 1), {"a": torch.tensor([8.0])})
    found = load_checkpoint(tmp_path)
    assert (found.epoch, found.best_epoch, len(found.history)) == (2, 1, 2)
    assert torch.equal(found.weights["a"], torch.full((3,), 2.0))
    assert torch.equal(found.averaged["a"], torch.full((3,), 12.0))
    assert found.optimizer["state"][0]["step"] == 2
    assert read_tensors(best_weights_file(tmp_path))["a"] == 7
    assert (tmp_path / "history.csv").read_text().splitlines() == ["epoch,validation_micro_f1", "1,0.5", "2,0.5"]
    assert not list(tmp_path.glob("last-001*"))


def test_a_folder_without_a_marker_has_no_checkpoint_and_is_swept(tmp_path):
    (tmp_path / "last-001.safetensors").write_bytes(b"half")
    (tmp_path / "oof.npz").write_bytes(b"kept")
    assert load_checkpoint(tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == ["oof.npz"]


@pytest.mark.parametrize("n_writes", range(5))
def test_a_death_at_any_write_leaves_the_previous_checkpoint(tmp_path, monkeypatch, n_writes):
    save_checkpoint(tmp_path, checkpoint(1, 1), {"a": torch.tensor([7.0])})
    left = n_writes

    def dying(write):
        def call(path, content):
            nonlocal left
            if not left:
                raise KeyboardInterrupt
            left -= 1
            write(path, content)

        return call

    for name in ("atomic_write_bytes", "atomic_write_json"):
        monkeypatch.setattr(checkpoints, name, dying(getattr(checkpoints, name)))
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(tmp_path, checkpoint(2, 2), {"a": torch.tensor([8.0])})
    found = load_checkpoint(tmp_path)
    assert found.epoch == 1 and torch.equal(found.weights["a"], torch.ones(3))
    assert read_tensors(best_weights_file(tmp_path))["a"] == 7
    assert not list(tmp_path.glob("*-002*"))


@pytest.mark.parametrize("harm", ["flip", "cut", "remove"])
def test_a_damaged_file_is_named(tmp_path, harm):
    save_checkpoint(tmp_path, checkpoint(1, 1), {"a": torch.tensor([7.0])})
    path = tmp_path / "last-001.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data if harm == "flip" else data[:-1])
    if harm == "remove":
        path.unlink()
    with pytest.raises(ValueError, match=r"last-001\.safetensors is missing or damaged; delete"):
        load_checkpoint(tmp_path)


def test_a_finished_fold_keeps_no_training_state(tmp_path):
    save_checkpoint(tmp_path, checkpoint(1, 1), {"a": torch.tensor([7.0])})
    drop_training_state(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["history.csv"]


def test_state_files_hold_nothing_that_needs_code(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = torch.optim.AdamW([{"params": [parameter], "share": 0.5}], lr=0.1)
    parameter.sum().backward()
    optimizer.step()
    state = Checkpoint(1, {"a": parameter.detach()}, {}, optimizer.state_dict(), [], 1)
    save_checkpoint(tmp_path, state, state.weights)
    loaded = torch.load(tmp_path / "last-001.optimizer.pt", weights_only=True)
    np.testing.assert_array_equal(loaded["state"][0]["exp_avg"], optimizer.state_dict()["state"][0]["exp_avg"])
