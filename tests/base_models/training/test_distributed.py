"""Several processes train one network together: the same steps, every row once, the same bytes, one that writes."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from base_models.training.distributed import ProcessGroup, is_first_process, join_processes  # noqa: E402
from stacking.predictions import load_predictions  # noqa: E402

PACKAGE_ROOT = str(Path(__file__).parents[3])

# Starts two processes the way torchrun does, by its environment variables, but forked, so that torch is imported once.
DRIVER = """
import os, signal, socket, sys
from dataclasses import replace
from base_models.training import epoch
from base_models.recipe.data import DataConfig
from base_models.runs.out_of_fold import run_training
from base_models.testing import tiny_recipe

photos, out = sys.argv[1:]
recipe = tiny_recipe(DataConfig("folder", photos, group_column="group", split_column="split"))
plain = replace(recipe.members[0].training, augmentation="none", learning_rate=1e-3, keep="last")
normalized = replace(recipe.members[0], training=replace(plain, ema_decay=0.5, augmentation="light"))
exact = replace(recipe.members[0], name="exact", network="test_convnext", training=plain)  # no batch normalization
recipe = replace(recipe, members=(normalized, exact), derived=())
epoch.SECONDS_BETWEEN_REPORTS = -1.0

def kill(event):
    if (event.kind, event.member, event.fold, event.epoch, event.step) == ("step", "whole", 1, 2, 1):
        os.kill(os.getpid(), signal.SIGKILL)

def start(place, rank, count, port, progress):
    child = os.fork()
    if child:
        return child
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(count), LOCAL_WORLD_SIZE=str(count),
                      MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    try:
        run_training(recipe, os.path.join(out, place), device="cpu", progress=progress)
        os._exit(0)
    except BaseException as error:
        sys.stderr.write(f"{place}, process {rank}: {type(error).__name__}: {error}\\n")
        os._exit(1)

def run(place, count=2, progress=None):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    children = [start(place, rank, count, port, progress) for rank in range(count)]
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]

print([run("alone", 1), run("pair"), run("killed", progress=kill), run("killed")])
"""


def digests(folder):
    """SHA-256 of every file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def runs(tiny_photos, tmp_path_factory):
    """One process, two, and two of which the first was killed before the same command was given again."""
    out = tmp_path_factory.mktemp("processes")
    environment = {**os.environ, "PYTHONPATH": PACKAGE_ROOT, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DRIVER, tiny_photos.root, str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=800, check=False)
    assert done.stdout.strip().endswith("[[0], [0, 0], [-9, 1], [0, 0]]"), done.stdout + done.stderr
    assert "killed, process 1: TrainingFailedError: member 'whole', fold 2 of 2: all processes of a run" in done.stderr
    return out


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_learn_what_one_learns_and_score_every_row_once(runs):
    for store in ("oof", "test"):
        alone, pair = (load_predictions(runs / name / store) for name in ("alone", "pair"))
        assert pair.ids.tolist() == alone.ids.tolist() and not np.isnan(pair.to_array()).any()
        np.testing.assert_allclose(pair.model_scores("exact"), alone.model_scores("exact"), atol=1e-5)
        # batch normalization sees halves of the batches: alike, not equal
        difference = np.abs(pair.model_scores("whole") - alone.model_scores("whole"))
        assert 1e-4 < difference.mean() < 0.2
    held = np.concatenate(
        [np.load(runs / "pair" / "members" / "exact" / f"fold{fold}" / "oof.npz")["rows"] for fold in range(2)]
    )
    assert sorted(held) == sorted(set(held)) and len(held) == load_predictions(runs / "pair" / "oof").n_samples
    losses = [  # the mean over the whole batches
        (runs / name / "members" / "exact" / "fold0" / "history.csv").read_text().splitlines()[1].split(",")[1]
        for name in ("alone", "pair")
    ]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_process_ends_the_run_and_the_same_command_gives_the_same_bytes(runs):
    for store in ("oof", "test"):
        assert digests(runs / "killed" / store) == digests(runs / "pair" / store)
    manifests = {name: json.loads((runs / name / "manifest.json").read_text()) for name in ("alone", "pair", "killed")}
    assert [manifests[name]["runs_started"] for name in ("alone", "pair", "killed")] == [1, 1, 2]
    assert "n_processes" not in manifests["alone"] and manifests["pair"]["n_processes"] == 2


# The networks and losses of a few steps whose gradients are added up during the backward pass, and of one process.
OVERLAPPED = """
import os, socket, sys, warnings
warnings.simplefilter("error")
warnings.filterwarnings("ignore", category=DeprecationWarning)
import numpy as np
import torch
from base_models.manifest import load_manifest
from base_models.networks.network import create_network
from base_models.photos.tensors import PhotoTensors
from base_models.recipe.data import DataConfig
from base_models.recipe.member import MemberConfig
from base_models.recipe.training import TrainingConfig
from base_models.training import epoch as epochs
from base_models.training.distributed import ProcessGroup, join_processes
from base_models.training.learner import create_learner
from base_models.training.task import MemberTask

torch.set_num_threads(1)
manifest = load_manifest(DataConfig("folder", sys.argv[1]), sys.argv[1])
n_photos = len(manifest)
photos = PhotoTensors(manifest, np.arange(n_photos), 32)
photos.keep()

def train(processes, n_parts, head):
    training = TrainingConfig(epochs=2, batch_size=8, augmentation="none", learning_rate=1e-3, freeze_epochs=1)
    member = MemberConfig("m", "test_convnext", size=32, head=head, training=training)
    known = np.random.default_rng(0).random(manifest.y_true.shape) < 0.8
    task = MemberTask(member, photos, manifest.y_true, np.arange(n_photos), np.arange(0), 3, known)
    torch.manual_seed(0)
    network = create_network(member, np.full(manifest.n_labels, 0.3)).to(memory_format=torch.channels_last)
    learner = create_learner(task, network, "float32", "cpu", processes)
    learner.n_parts = n_parts
    losses = [epochs.train_epoch(learner, task, epoch)["loss"] for epoch in range(2)]
    assert processes.count == 1 or learner.shared.overlap
    weights = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
    return weights, losses

def check(rank, expected):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank))
    processes = join_processes("cpu")
    for case, (weights, losses) in expected.items():
        found, mean = train(processes, *case)
        assert (found - weights).abs().max() < 1e-6, (case, float((found - weights).abs().max()))
        assert np.allclose(mean, losses, rtol=1e-5), (case, mean, losses)

expected = {case: train(ProcessGroup(), *case) for case in [(1, "linear"), (2, "attention")]}
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
os.environ.update(WORLD_SIZE="2", LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
children = []
for rank in range(2):
    children.append(os.fork())
    if not children[-1]:
        try:
            check(rank, expected)
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
print([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children])
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_gradients_added_up_during_the_backward_pass_are_those_of_the_whole_batch(tiny_photos):
    """Also where cells are unknown, layers rest or are never reached, and batches are cut into parts."""
    environment = {**os.environ, "PYTHONPATH": PACKAGE_ROOT, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", OVERLAPPED, tiny_photos.root]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, check=False)
    assert done.stdout.strip() == "[0, 0]", done.stdout + done.stderr


def test_shared_batch_normalization_is_refused_where_torch_has_none():
    network = torch.nn.BatchNorm2d(3)
    assert ProcessGroup(device="cpu").share_batch_norm(network) is network
    with pytest.raises(ValueError, match="sync_batch_norm must be false for 2 processes on the CPU"):
        ProcessGroup(0, 2, "cpu").share_batch_norm(network)
    assert isinstance(ProcessGroup(0, 2, "cuda").share_batch_norm(network), torch.nn.SyncBatchNorm)


def test_one_process_is_left_alone(monkeypatch):
    alone = join_processes("cpu")
    rows = np.arange(5)
    network = torch.nn.BatchNorm1d(2)
    network(torch.ones(2, 2)).sum().backward()
    before = network.weight.grad.clone()
    alone.sum_gradients(network)
    alone.average_buffers(network)
    alone.wait()
    assert alone == ProcessGroup() and alone.is_first and is_first_process()
    assert alone.shares(rows)[0] is rows and alone.sum(1.5, 2.0) == (1.5, 2.0)
    assert torch.equal(network.weight.grad, before)
    assert alone.agree(lambda: "yes") == "yes" and alone.score(rows, lambda found: found) is rows
    monkeypatch.setenv("RANK", "1")
    assert not is_first_process()


@pytest.mark.parametrize("n_rows", [2, 7, 8, 11])
@pytest.mark.parametrize("count", [2, 3])
def test_shares_are_the_batch_and_padded_scores_come_back_in_order(monkeypatch, n_rows, count):
    import accelerate.utils

    rows = np.random.default_rng(0).permutation(50)[:n_rows]
    processes = [ProcessGroup(rank, count) for rank in range(count)]
    assert all(np.concatenate(one.shares(rows)).tolist() == rows.tolist() for one in processes)
    seen: list[np.ndarray] = []
    for one in processes:  # what each would send, then what each gets
        monkeypatch.setattr(accelerate.utils, "gather", lambda sent: seen.append(sent) or sent.repeat(count, 1))
        one.score(rows, lambda own: np.stack([own, -own], axis=1).astype(np.float32))
    monkeypatch.setattr(accelerate.utils, "gather", lambda sent: torch.cat(seen))
    assert len({len(sent) for sent in seen}) == 1
    for one in processes:
        found = one.score(rows, lambda own: np.stack([own, -own], axis=1).astype(np.float32))
        assert found.tolist() == [[row, -row] for row in rows]
