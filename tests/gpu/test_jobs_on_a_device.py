"""Whole jobs on a device: kills, several processes, scoring, maps, features, and from photos to a comparison."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.explanation.attention_maps import attention_maps  # noqa: E402
from base_models.explanation.grad_cam import grad_cam  # noqa: E402
from base_models.networks.network import create_network  # noqa: E402
from base_models.networks.per_label import LabelwiseNetwork  # noqa: E402
from base_models.photos.transforms import augment_photos  # noqa: E402
from base_models.testing import write_tiny_photos  # noqa: E402
from base_models.training.scoring import score_photos  # noqa: E402
from stacking.predictions import load_predictions  # noqa: E402

ROOT = str(Path(__file__).parents[2])
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")]),
    "OMP_NUM_THREADS": "1",
}

# One attempt at a run: it may die by SIGKILL in the second epoch; several share the work as torchrun would start them.
ATTEMPT = """
import os, signal, sys
from dataclasses import replace
from base_models.recipe.data import DataConfig
from base_models.runs.out_of_fold import run_training
from base_models.testing import tiny_recipe
from base_models.training import epoch
import torch

photos, out, device, network, kill = sys.argv[1:]
torch.backends.cudnn.deterministic = True
recipe = tiny_recipe(DataConfig("folder", photos, group_column="group", split_column="split"))
plain = {"augmentation": "mirror", "keep": "last", "cuda_graphs": False}  # a replay rounds otherwise than a launch
training = replace(recipe.members[0].training, ema_decay=0.5, learning_rate=1e-3, **plain)
member = replace(recipe.members[0], network=network, training=training)
recipe = replace(recipe, members=(member,), derived=())
epoch.SECONDS_BETWEEN_REPORTS = -1.0

def progress(event):
    if kill == "kill" and (event.kind, event.fold, event.epoch, event.step) == ("step", 0, 2, 2):
        os.kill(os.getpid(), signal.SIGKILL)

run_training(recipe, out, device=device, progress=progress)
"""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return write_tiny_photos(tmp_path_factory.mktemp("photos"), 24, 4)


def attempt(photos, out, device, network="test_convnext", kill="", **environment):
    command = [sys.executable, "-c", ATTEMPT, photos.root, str(out), device, network, kill]
    return subprocess.Popen(
        command, env={**ENVIRONMENT, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def finish(process):
    said, _ = process.communicate(timeout=200)
    return process.returncode, said


def scores_of(run):
    return load_predictions(run / "oof").to_array()


def test_a_killed_run_goes_on_to_the_scores_of_an_uninterrupted_one(
    device, photos, tmp_path, error_of, record_property
):
    whole = attempt(photos, tmp_path / "whole", device) if device == "cuda" else None
    code, said = finish(attempt(photos, tmp_path / "parts", device, kill="kill"))
    assert code == -9, said
    code, said = finish(attempt(photos, tmp_path / "parts", device))
    assert code == 0, said
    assert json.loads((tmp_path / "parts" / "manifest.json").read_text())["runs_started"] == 2
    if whole is None:  # on the CPU, tests/base_models/runs/test_out_of_fold.py compares seven kills bit for bit
        assert np.isfinite(scores_of(tmp_path / "parts")).all()
        return
    assert finish(whole)[0] == 0
    whole, parts = scores_of(tmp_path / "whole"), scores_of(tmp_path / "parts")
    record_property("same_bytes", bool((whole == parts).all()))
    assert error_of("scores", parts, whole) < 1e-3


@pytest.mark.gpu  # on the CPU, tests/base_models/training/test_distributed.py does the same
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_two_processes_train_the_network_that_one_does(device, photos, tmp_path, error_of):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    alone = attempt(photos, tmp_path / "alone", device)
    where = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    pair = [
        attempt(photos, tmp_path / "pair", device, **where, RANK=str(rank), LOCAL_RANK=str(rank)) for rank in (0, 1)
    ]
    for process in (alone, *pair):
        code, said = finish(process)
        assert code == 0, said
    assert error_of("scores", scores_of(tmp_path / "pair"), scores_of(tmp_path / "alone")) < 1e-2


SHARED = """
import os, sys
import numpy as np, torch
from base_models.manifest import load_manifest
from base_models.photos.tensors import PhotoTensors
from base_models.recipe.data import DataConfig
from base_models.recipe.member import MemberConfig
from base_models.recipe.training import TrainingConfig
from base_models.networks.network import create_network
from base_models.training import epoch as epochs
from base_models.training.distributed import join_processes
from base_models.training.learner import create_learner
from base_models.training.task import MemberTask

folder, out, device = sys.argv[1:]
torch.Tensor.float = torch.Tensor.double
torch.set_default_dtype(torch.float64)
processes = join_processes(device)
manifest = load_manifest(DataConfig("folder", folder), folder)
training = TrainingConfig(batch_size=12, augmentation="none", sync_batch_norm=True)
member = MemberConfig("m", "test_resnet", size=32, training=training)
photos = PhotoTensors(manifest, np.arange(24), 32)
known = np.random.default_rng(0).random((24, manifest.n_labels)) < 0.8
task = MemberTask(member, photos, manifest.y_true, np.arange(24), np.arange(0), 3, known)
torch.manual_seed(0)
network = create_network(member, np.full(manifest.n_labels, 0.3))
torch.nn.init.normal_(network.head.weight, std=0.1)
network = processes.share_batch_norm(network.to(processes.device))
learner = create_learner(task, network, "float32", processes.device, processes)
network.train()
shares = processes.shares(np.arange(12))
rows, pixels = next(iter(photos.iter_batches([shares[processes.rank]])))
others = [share for rank, share in enumerate(shares) if rank != processes.rank]
batch = epochs._read_batch(task, (0, 0), rows, pixels, others)
weights = batch.weights()
epochs._add_gradients(learner, task, batch, 0, (weights, float(weights.sum()) + batch.elsewhere))
processes.sum_gradients(network)
if processes.is_first:
    np.save(out, torch.cat([p.grad.flatten() for p in network.parameters()]).cpu().numpy())
processes.wait()
"""


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_two_processes_see_one_batch_with_shared_batch_normalization(device, photos, tmp_path, error_of):
    started = []
    for name, count in (("alone", 1), ("pair", 2)):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
        for rank in range(count):
            place = {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count),
            }
            command = [sys.executable, "-c", SHARED, photos.root, str(tmp_path / f"{name}.npy"), device]
            environment = {**ENVIRONMENT, **where, **place}
            started.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            )
    for process in started:
        code, said = finish(process)
        assert code == 0, said
    alone, pair = (np.load(tmp_path / f"{name}.npy") for name in ("alone", "pair"))
    assert (
        error_of("gradient of two processes", pair, alone) < 1e-7
    )  # in doubles, as batch normalization enlarges rounding


@pytest.mark.gpu  # on the CPU, tests/base_models/runs/test_side_by_side.py compares bytes and kills
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_processes_side_by_side_train_the_folds_of_a_run(device, photos, tmp_path, record_property):
    from dataclasses import replace

    from base_models.recipe.data import DataConfig
    from base_models.runs.out_of_fold import run_training
    from base_models.testing import tiny_recipe

    recipe = tiny_recipe(DataConfig("folder", str(photos.root), group_column="group", split_column="split"))
    training = replace(recipe.members[0].training, augmentation="mirror", keep="last", learning_rate=1e-3)
    member = replace(recipe.members[0], network="test_convnext", training=replace(training, cuda_graphs=False))
    recipe = replace(recipe, members=(member,), derived=())
    runs = [run_training(recipe, tmp_path / str(n), device=device, n_processes=n) for n in (1, 2)]
    alone, pair = map(scores_of, runs)
    record_property("same_bytes", bool((alone == pair).all()))
    assert np.linalg.norm(pair - alone) < 1e-2 * np.linalg.norm(alone)


MESSAGES = """
import os, socket
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
os.environ.update(RANK="0", LOCAL_RANK="0", WORLD_SIZE="1", LOCAL_WORLD_SIZE="1")
os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather, reduce
from base_models.training import distributed
state = PartialState(timeout=distributed.LONGEST_WAIT)
print(state.backend, state.device)
values = [torch.full((3, 2), 2.0, device=state.device), torch.ones(4, dtype=torch.bfloat16, device=state.device)]
distributed._reduce_in_place(values, "sum")
assert values[0].eq(2).all() and values[1].eq(1).all()
assert reduce(torch.tensor([1.5], dtype=torch.float64, device=state.device), "sum").tolist() == [1.5]
assert gather(torch.ones(2, 3, device=state.device)).shape == (2, 3)
assert broadcast_object_list([{"a": 1}]) == [{"a": 1}]
state.wait_for_everyone()

import copy
from base_models.networks.network import create_network
from base_models.recipe.member import MemberConfig
from base_models.training import shared_gradients
import numpy as np

member = MemberConfig("m", "test_resnet", size=32)
network = create_network(member, np.full(6, 0.3))
torch.nn.init.normal_(network.head.weight, std=0.1)
network = network.to(state.device).to(memory_format=torch.channels_last).train()
plain = copy.deepcopy(network)
shared = shared_gradients.SharedGradients(network, str(state.device))
for step in range(6):
    pixels = torch.rand(8, 3, 32, 32, device=state.device)
    for body in (shared.passing(), plain):
        body.zero_grad(set_to_none=True)
        for part in (0, 1):  # as a batch that is cut
            with shared.part(is_last=part == 1):
                body(pixels[4 * part : 4 * part + 4]).square().mean().backward()
    for (name, one), other in zip(network.named_parameters(), plain.parameters()):
        assert torch.allclose(one.grad, other.grad, rtol=1e-2, atol=1e-4), (step, name)
    if not shared.overlap:
        shared.count_step()
assert shared.overlap and torch.distributed.get_backend() == "nccl"
torch.distributed.destroy_process_group()
"""


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_messages_go_through_nccl(device):
    done = subprocess.run(
        [sys.executable, "-c", MESSAGES], env=ENVIRONMENT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "nccl" in done.stdout and "cuda:0" in done.stdout


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("flip", [False, True])
def test_scores_are_those_of_the_cpu(device, precision, flip, make_task, error_of):
    task = make_task("test_resnet")
    networks = {k: create_network(task.member, np.full(6, 0.1 * k)).eval() for k in (1, 2)}
    for network in (networks[1], LabelwiseNetwork(networks, [1, 2, 1, 1, 2, 2])):
        expected = score_photos(network.to("cpu"), task.photos, np.arange(64), "float32", flip=flip)
        found = score_photos(network.to(device), task.photos, np.arange(64), precision, device, flip=flip)
        assert error_of("scores", found, expected) < (1e-4 if precision == "float32" else 3e-2)
        few = score_photos(network, task.photos, np.arange(64), precision, device, batch_size=3, flip=flip)
        assert error_of("batches", few, found) < (1e-4 if precision == "float32" else 3e-2)
        assert score_photos(network, task.photos, np.arange(0), precision, device).shape == (0, 6)


@pytest.mark.parametrize("head", ["linear", "attention", "recurrent", "wide"])
def test_maps_are_those_of_the_cpu(device, head, make_task, error_of):
    task = make_task("test_resnet", head=head)
    network = create_network(task.member, np.full(6, 0.3)).eval()
    pixels = next(iter(task.photos.iter_batches([np.arange(8)])))[1]
    asked = np.array([0, 3, 5])
    expected = grad_cam(network, pixels, asked)
    found = grad_cam(network.to(device), pixels.to(device), asked)
    assert error_of("grad-cam", found, expected) < 1e-3
    if head == "attention":
        torch.nn.init.normal_(network.head.score.weight, std=0.1)
        found = attention_maps(network, pixels, asked)
        assert error_of("attention", found, attention_maps(network.to("cpu"), pixels, asked)) < 1e-3


@pytest.mark.parametrize("strength", ["none", "mirror", "light", "strong"])
def test_photos_change_as_on_the_cpu(device, strength, make_task, error_of):
    pixels = next(iter(make_task().photos.iter_batches([np.arange(16)])))[1]
    expected = augment_photos(pixels, np.arange(16), strength, 3, 1)
    found = augment_photos(pixels.to(device), np.arange(16), strength, 3, 1).cpu()
    assert error_of("photos", found, expected) < 1e-3


RECIPE = """
name = "small"
seed = 0
[data]
format = "folder"
root = "."
group_column = "group"
split_column = "split"
[folds]
n_folds = 2
[training]
epochs = 2
batch_size = 8
precision = "{precision}"
[[members]]
name = "live"
network = "test_resnet"
size = 32
[[members]]
name = "attentive"
network = "scratch-cnn"
head = "attention"
size = 32
training = {{ flip_tta = true, keep = "best-per-label" }}
[[members]]
name = "features"
network = "test_resnet"
head = "mlp"
hidden = [16]
size = 32
features = "precomputed"
weights = "{weights}"
training = {{ augmentation = "mirror" }}
"""


@pytest.mark.timeout(150)  # five commands, each of which starts Python, torch and the card
def test_the_whole_small_job_from_photos_to_a_comparison(device, tmp_path):
    import timm
    from safetensors.torch import save_file
    from typer.testing import CliRunner

    from experiments.cli.application import app

    write_tiny_photos(tmp_path / "photos", 48, 12)
    weights = tmp_path / "body.safetensors"
    save_file(timm.create_model("test_resnet", num_classes=0).state_dict(), weights)
    (tmp_path / "photos" / "recipe.toml").write_text(RECIPE.format(precision="bfloat16", weights=weights))
    run, ensemble = tmp_path / "run", tmp_path / "ensemble"

    def labelstack(*arguments):
        if device == "cpu":  # without starting Python and torch for every command
            done = CliRunner().invoke(app, [str(argument) for argument in arguments])
            assert done.exit_code == 0, f"{arguments}: {done.output[-3000:]}"
            return
        done = subprocess.run(
            [sys.executable, "-m", "experiments", *map(str, arguments)],
            env=ENVIRONMENT, capture_output=True, text=True, timeout=250, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.stdout[-2000:]}{done.stderr[-3000:]}"

    labelstack("train", tmp_path / "photos" / "recipe.toml", "--out", run, "--device", device, "--quiet")
    assert json.loads((run / "manifest.json").read_text())["device"] == device
    found = load_predictions(run / "oof").to_array()
    assert found.shape == (3, 48, 6) and np.isfinite(found).all()
    labelstack("compare", run / "oof", "--out", tmp_path / "report", "--methods", "mean,greedy")
    assert (tmp_path / "report" / "leaderboard.json").is_file()
    labelstack("fit", run / "oof", "--out", ensemble, "--method", "mean")
    out = tmp_path / "answer.csv"
    images = tmp_path / "photos"
    labelstack("predict", ensemble, "--run", run, "--images", images, "--out", out, "--device", device)
    assert len(out.read_text().splitlines()) == 61
    labelstack("explain", run, "--images", images, "--out", tmp_path / "maps", "--device", device)
