"""Every family, head, loss and schedule on a device against the CPU; arithmetics; steps that nobody waits for."""

import contextlib
import itertools
import json
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models import device as devices  # noqa: E402
from base_models.networks.logits import compute_logits  # noqa: E402
from base_models.networks.network import create_network  # noqa: E402
from base_models.training import epoch as epochs  # noqa: E402
from base_models.training import step_graph, trial  # noqa: E402
from base_models.training.learner import create_learner  # noqa: E402
from base_models.training.losses import create_loss  # noqa: E402
from base_models.training.member import train_member  # noqa: E402
from base_models.training.optimization import claim_state, create_optimizer  # noqa: E402
from base_models.training.scoring import score_photos  # noqa: E402

FAMILIES = {
    "scratch-cnn": 32,
    "mobilenetv1_100": 64,
    "inception_v3": 80,
    "legacy_xception": 64,
    "resnet50": 64,
    "resnet34": 64,
}
HEADS = ("linear", "attention", "wide", "recurrent", "auxiliary", "mlp")
LOSSES = (
    {"loss": "bce"},
    {"loss": "bce", "class_weights": "negative-positive"},
    {"loss": "focal", "class_weights": "inverse-frequency"},
    {"loss": "asymmetric", "class_weights": "negative-positive"},
    {"loss": "poly", "class_weights": "effective-number"},
    {"loss": "two-way"},
    {"loss": "zlpr"},
    {"loss": "distribution-balanced"},
)
SCHEDULES = ("one-cycle", "cosine", "constant", "plateau")
# In double precision. Batch normalization over 16 photos and random weights enlarges the rounding of sums up to
# 10^7-fold: float32 gradients of one CPU with one and with two threads differ by .32 (inception_v3, mlp), doubles by
# 1.2e-10.
LARGEST_ERRORS = {"logits": 1e-9, "loss": 1e-9, "gradient": 1e-7}


def covering_pairs(*choices):
    """List few combinations in which every two values of different choices meet (greedy, always the same)."""
    missing = {
        ((i, a), (j, b))
        for (i, left), (j, right) in itertools.combinations(enumerate(map(len, choices)), 2)
        for a, b in itertools.product(range(left), range(right))
    }
    everything, chosen = list(itertools.product(*(range(len(choice)) for choice in choices))), []
    while missing:
        gain = {
            case: sum(pair in missing for pair in itertools.combinations(enumerate(case), 2)) for case in everything
        }
        best = max(everything, key=lambda case: gain[case])
        chosen.append(best)
        missing -= set(itertools.combinations(enumerate(best), 2))
    return [tuple(choice[place] for choice, place in zip(choices, case, strict=True)) for case in chosen]


def on_devices(cases):
    """Take all cases on a card, and those of the small network on the CPU."""
    listed = []
    for device in ("cpu", "cuda"):
        for family, head, loss, schedule in cases:
            if device == "cpu" and family != "scratch-cnn":
                continue
            name = "-".join([device, family, head, *loss.values(), schedule])
            marks = pytest.mark.gpu if device == "cuda" else ()
            listed.append(pytest.param(device, family, head, loss, schedule, id=name, marks=marks))
    return listed


@contextlib.contextmanager
def in_doubles():
    """Let everything that asks for float32 compute in float64, so that only the rounding of doubles is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.Tensor, "float", torch.Tensor.double)
        torch.set_default_dtype(torch.float64)
        try:
            yield
        finally:
            torch.set_default_dtype(torch.float32)


def first_step(task, device, precision="float32", *, doubles=False):
    """Return logits, loss and gradient of a training's first batch."""
    torch.manual_seed(0)  # float32 weights, whatever computes with them
    network = create_network(task.member, np.full(6, 0.3), y_true=task.y_true[task.train_rows])
    with in_doubles() if doubles else contextlib.nullcontext():
        network = network.to(device, torch.get_default_dtype()).to(memory_format=torch.channels_last)
        return _first_step(task, network, device, precision)


def _first_step(task, network, device, precision):
    """Take the step's passes."""
    learner = create_learner(task, network, precision, device)
    network.train()
    rows, pixels = next(iter(task.photos.iter_batches([task.train_rows[:16]])))
    batch = epochs._read_batch(task, (0, 0), rows, pixels)
    learner.optimizer.zero_grad(set_to_none=True)
    seen = []
    handle = network.register_forward_hook(lambda _network, _given, logits: seen.append(logits.detach()))
    weights = batch.weights()
    loss = epochs._add_gradients(learner, task, batch, 0, (weights, float(weights.sum())))
    handle.remove()
    scale = 1.0 if learner.scaler is None else learner.scaler.get_scale()
    gradient = torch.cat([p.grad.flatten().double() for p in network.parameters() if p.grad is not None]) / scale
    return seen[0].double().cpu().numpy(), float(loss), gradient.cpu().numpy()


@pytest.mark.parametrize(
    ("device", "family", "head", "loss", "schedule"),
    on_devices(covering_pairs(tuple(FAMILIES), HEADS, LOSSES, SCHEDULES)),
    indirect=["device"],
)
def test_every_family_head_loss_and_schedule_trains_as_on_the_cpu(
    device, family, head, loss, schedule, make_task, tmp_path, error_of
):
    settings = {"augmentation": "mirror", "cuda_graphs": False, **loss}  # replays have tests of their own
    task = make_task(family, size=FAMILIES[family], head=head, schedule=schedule, **settings)
    expected, found = first_step(task, "cpu", doubles=True), first_step(task, device, doubles=True)
    for name, here, there in zip(LARGEST_ERRORS, expected, found, strict=True):
        assert error_of(name, there, here) < LARGEST_ERRORS[name], name
    trained = train_member(task, tmp_path, device=device)
    row = trained.history[0]
    assert np.isfinite(row["loss"]) and row["images_per_second"] > 0 and "batch_parts" not in row
    optimizer = create_optimizer(create_network(task.member, np.full(6, 0.3)), task.member.training)
    epochs.set_learning_rates(optimizer, task.member.training, 0, 2, 3)  # of the last step, a matter of the schedule
    assert row["learning_rate"] == pytest.approx(optimizer.param_groups[-1]["lr"])
    scores = score_photos(trained.network, task.photos, task.validation_rows, device=device)
    on_cpu = score_photos(trained.network.to("cpu"), task.photos, task.validation_rows)
    assert error_of("scores", scores, on_cpu) < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_float32_scores_of_a_family_are_those_of_the_cpu(device, family, make_task, error_of):
    if device == "cpu" and family != "scratch-cnn":
        pytest.skip("the CPU is compared with itself")
    task = make_task(family, size=FAMILIES[family])
    torch.manual_seed(0)
    network = create_network(task.member, np.full(6, 0.3)).eval()
    torch.nn.init.normal_(network.head.weight, std=0.1)
    pixels = next(iter(task.photos.iter_batches([np.arange(16)])))[1]
    with torch.no_grad():
        expected = compute_logits(network, pixels, "float32")
        network = network.to(device).to(memory_format=torch.channels_last)
        with devices.arithmetic("float32", device):
            found = compute_logits(network, pixels.to(device), "float32").cpu()
    # without statistics of the batch, sums in another order leave a hundred float32 roundings or so
    assert error_of("logits in evaluation", found, expected) < 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize(("network", "head"), [("test_resnet", "linear"), ("mobilenetv1_100", "wide")])
def test_replayed_steps_train_as_launched_ones(device, network, head, dropout, make_task, error_of):
    task = make_task(
        network,
        size=64,
        head=head,
        dropout=dropout,
        epochs=3,
        batch_size=15,
        ema_decay=0.9,
        mixup=0.2,
        augmentation="mirror",
        cuda_graphs=True,  # whatever is faster here
    )
    weights = []
    with in_doubles():
        for replays in (False, True):
            torch.manual_seed(0)
            body = create_network(task.member, np.full(6, 0.3)).to(device).to(memory_format=torch.channels_last)
            learner = create_learner(task, body, "float32", device)
            learner.graphs = learner.graphs if replays else None
            rows = [epochs.train_epoch(learner, task, epoch) for epoch in range(3)]
            weights.append(torch.cat([v.detach().flatten().cpu().double() for v in body.state_dict().values()]))
    error = error_of(f"replayed, dropout {dropout}", weights[1], weights[0])
    if dropout:  # its draws may be others
        assert error < 0.5
        return
    assert learner.graphs.note.endswith("replayed"), learner.graphs.note
    assert sum(row["replayed_steps"] for row in rows) >= 4
    assert error < 1e-4  # AdamW divides by the gradient's size, so that a vanishing one's rounding is enlarged


SETTINGS = {
    "ema": {"ema_decay": 0.5, "dropout": 0.2, "augmentation": "strong"},
    "mixup": {"mixup": 0.4, "augmentation": "none", "sizes": (16, 32)},
    "sampled": {"sampling_alpha": 0.5, "freeze_epochs": 1, "layer_decay": 0.7, "clip_norm": 0.0},
    "best-per-label": {"keep": "best-per-label", "flip_tta": True, "frozen_share": 0.5},
}


@pytest.mark.parametrize("head", ["linear", "recurrent"])
@pytest.mark.parametrize("name", SETTINGS)
def test_other_settings_train_as_on_the_cpu(device, name, head, make_task, tmp_path, error_of):
    known = np.random.default_rng(0).random((64, 6)) < 0.8
    task = make_task("scratch-cnn", head=head, epochs=2, y_known=known, **SETTINGS[name])
    before = torch.get_rng_state()
    here, there = (train_member(task, tmp_path / place, device=place) for place in ("cpu", device))
    assert torch.equal(torch.get_rng_state(), before)
    scores = [score_photos(trained.network.to("cpu"), task.photos, task.validation_rows) for trained in (there, here)]
    # AdamW's first steps have the size of the rate whatever the gradient, and dropout draws other numbers on a card
    assert error_of("scores", *scores) < (0.2 if device == "cuda" else 1e-12)


def test_a_training_leaves_the_generators_of_the_device_alone(device, make_task, tmp_path):
    before = torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state()
    train_member(make_task(dropout=0.5), tmp_path, device=device)
    assert torch.equal(torch.cuda.get_rng_state() if device == "cuda" else torch.get_rng_state(), before)


PRECISIONS = {"float32": 1e-4, "tf32": 2e-2, "bfloat16": 8e-2, "float16": 2e-2}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_arithmetic_keeps_its_digits_and_learns(device, precision, make_task, tmp_path, error_of):
    n_epochs = 6 if device == "cuda" else 2  # a CPU computes float16 slowly
    task = make_task("test_resnet", epochs=n_epochs, precision=precision, learning_rate=5e-3, augmentation="none")
    exact, here = first_step(task, "cpu", doubles=True), first_step(task, "cpu")
    found = first_step(task, device, precision)
    for name, place in (("logits", 0), ("gradient", 2)):
        error = error_of(f"{precision} {name}", found[place], exact[place])
        of_cpu = error_of(f"float32 {name} on the CPU", here[place], exact[place])
        if precision == "float32":  # as exact as the CPU's own, but for the order of sums
            assert error < 10 * of_cpu
        else:
            assert error < (1 if place == 0 else 10) * PRECISIONS[precision]
    trained = train_member(task, tmp_path, device=device)
    assert trained.precision == precision
    assert trained.history[-1]["loss"] < (0.8 if device == "cuda" else 1.0) * trained.history[0]["loss"]


def test_float16_goes_on_with_its_scale(device, make_task, tmp_path, monkeypatch):
    task = make_task("test_resnet", epochs=3, precision="float16", augmentation="none", keep="last", n_rows=32)
    whole = train_member(task, tmp_path / "whole", device=device)

    def interrupt(event):
        if event.kind == "epoch" and event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_member(task, tmp_path / "parts", device=device, progress=interrupt)
    from base_models.training.checkpoints import load_checkpoint

    saved = load_checkpoint(tmp_path / "parts")
    assert saved.scaler["scale"] > 0
    parts = train_member(task, tmp_path / "parts", device=device)
    assert parts.resumed_from == 2
    pairs = zip(whole.network.state_dict().values(), parts.network.state_dict().values(), strict=True)
    for one, other in pairs:
        assert torch.equal(one, other) if device == "cpu" else torch.allclose(one.float(), other.float(), atol=5e-2)


def test_auto_takes_the_faster_arithmetic_of_the_device_at_the_real_batch(device, make_task, tmp_path, monkeypatch):
    monkeypatch.setattr(trial, "SECONDS_WORTH_A_TRIAL", 0.0)
    trained = train_member(make_task(precision="auto"), tmp_path, device=device)
    plain = {"cpu": "float32", "cuda": "tf32"}[device]
    found = trained.figures["precision_trial"]
    assert found["photos"] == 16 and 0 < found[f"{plain} ms"] < 1000 and 0 < found["bfloat16 ms"] < 1000
    faster = found["bfloat16 ms"] < trial.WORTHWHILE * found[f"{plain} ms"]
    assert trained.precision == ("bfloat16" if faster else plain)
    record = json.loads((tmp_path / "start.json").read_text())
    assert (record["precision"], record["precision_trial"]) == (trained.precision, found)


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
@pytest.mark.parametrize("network", ["test_resnet", "mobilenetv1_100"])
def test_steps_are_replayed_without_being_asked_for_where_that_is_faster(device, network, make_task, record_property):
    task = make_task(network, size=64, batch_size=12)
    body = create_network(task.member, np.full(6, 0.3)).to(device).to(memory_format=torch.channels_last)
    learner = create_learner(task, body, "bfloat16", device)
    row = epochs.train_epoch(learner, task, 0)
    launched, replayed = (learner.graphs.seconds[way] for way in ("launched", "replayed"))
    record_property("replayed over launched seconds", replayed / launched)
    assert (row["replayed_steps"] > 0) == (replayed <= step_graph.WORTHWHILE * launched), learner.graphs.note
    assert create_learner(make_task(cuda_graphs=False), body, "bfloat16", device).graphs is None


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
@pytest.mark.parametrize("settings", [{"cuda_graphs": False}, {"cuda_graphs": True}, {"precision": "float16"}], ids=str)
def test_an_epoch_waits_for_the_device_as_often_whatever_its_steps(device, settings, make_task, record_property):
    task = make_task("test_resnet", epochs=9, batch_size=8, augmentation="light", ema_decay=0.9, mixup=0.2, **settings)
    network = create_network(task.member, np.full(6, 0.3)).to(device).to(memory_format=torch.channels_last)
    precision = settings.get("precision", "bfloat16")
    learner = create_learner(task, network, precision, device)
    for epoch in range(2):
        epochs.train_epoch(learner, task, epoch)
    waits = []
    for n_rows in (16, 48):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                epochs.train_epoch(learner, replace(task, train_rows=np.arange(n_rows)), 2)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits.append(sum("synchronizing CUDA operation" in str(warning.message) for warning in told))
    record_property("waits of an epoch", waits[0])
    assert 1 <= waits[0] == waits[1]  # the loss is read, once


def test_a_snapshot_is_of_its_moment_whoever_fetches_it(device, make_task):
    task = make_task("test_resnet")
    network = create_network(task.member, np.full(6, 0.3)).to(device).to(memory_format=torch.channels_last)
    expected = {name: value.clone().cpu() for name, value in network.state_dict().items()}
    fetch = devices.snapshot({"weights": network.state_dict(), "more": [3, "x"]}, device)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    with ThreadPoolExecutor(1) as thread:
        found = thread.submit(fetch).result()
    assert found["more"] == [3, "x"]
    for name, value in found["weights"].items():
        assert value.device.type == "cpu" and torch.equal(value, expected[name]), name


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
@pytest.mark.parametrize("loss", [loss for loss in LOSSES if loss["loss"] != "two-way"], ids=lambda loss: loss["loss"])
@pytest.mark.parametrize("augmentation", ["none", "mirror", "light"])
def test_no_step_waits_for_the_device(device, loss, augmentation, make_task):
    known = None if loss["loss"] == "zlpr" else np.random.default_rng(0).random((64, 6)) < 0.8
    settings = {"augmentation": augmentation, "ema_decay": 0.9, "mixup": 0.0 if loss["loss"] == "zlpr" else 0.2, **loss}
    task = make_task("test_resnet", epochs=2, y_known=known, **settings)
    network = create_network(task.member, np.full(6, 0.3)).to(device).to(memory_format=torch.channels_last)
    learner = create_learner(task, network, "bfloat16", device)
    epochs.train_epoch(learner, task, 0)
    network.train()
    torch.cuda.synchronize()
    batches = list(task.photos.iter_batches([task.train_rows[:16], task.train_rows[16:32]]))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step, (rows, pixels) in enumerate(batches):
            batch = epochs._read_batch(task, (1, step), rows, pixels)
            loss_of_step = epochs._try_step(learner, task, batch, 1)
            learner.average.update(learner.network, step=step + 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert np.isfinite(float(loss_of_step))


@pytest.mark.parametrize(
    ("head", "loss"),
    [*((head, LOSSES[0]) for head in HEADS), *(("linear", loss) for loss in LOSSES[1:] if loss["loss"] != "two-way")],
    ids=lambda value: value if isinstance(value, str) else "-".join(value.values()),
)
def test_a_step_computes_where_its_network_is_and_reads_no_number(head, loss, make_task):
    """On the device ``meta`` nothing holds a number, so whatever lies on the CPU or is read back fails."""
    task = make_task("scratch-cnn", head=head, augmentation="light", **loss)
    network = create_network(task.member, np.full(6, 0.3)).to("meta").train()
    learner = create_learner(task, network, "bfloat16", "meta")
    rows, pixels = next(iter(task.photos.iter_batches([task.train_rows[:16]])))
    batch = epochs._read_batch(task, (0, 0), rows, pixels)
    loss_of_step = epochs._add_gradients(learner, task, batch, 0, (batch.weights(), 16.0))
    assert loss_of_step.device.type == "meta"
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in network.head.parameters())


def test_claimed_state_is_the_state_that_adamw_begins_with(device, make_task):
    task = make_task("test_resnet")
    states = []
    for claims in (True, False):
        torch.manual_seed(0)
        network = create_network(task.member, np.full(6, 0.3)).to(device).to(memory_format=torch.channels_last)
        optimizer = create_optimizer(network, task.member.training)
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, 0.5)
        if claims:
            claim_state(optimizer)
        optimizer.step()
        states.append((optimizer.state_dict()["state"], network.state_dict()))
    (claimed, weights), (own, other) = states
    assert all(torch.equal(weights[name], other[name]) for name in weights)
    for number, state in own.items():
        assert {name: (v.dtype, v.device, v.stride()) for name, v in claimed[number].items()} == {
            name: (v.dtype, v.device, v.stride()) for name, v in state.items()
        }
        assert all(torch.equal(state[name], claimed[number][name]) for name in state)


def test_a_loss_keeps_its_numbers_where_it_is_told(make_task):
    for loss in LOSSES:
        config = make_task(**loss).member.training
        computed = create_loss(config, np.array([3, 1, 5, 2, 2, 1]), 10, "meta")
        logits = torch.zeros(4, 6, device="meta", requires_grad=True)
        if loss["loss"] != "two-way":
            assert computed(logits, torch.zeros(4, 6, device="meta")).device.type == "meta"


def test_the_arithmetic_of_the_caller_comes_back(device):
    before = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark)
    for precision in PRECISIONS:
        with devices.arithmetic(precision, device):
            inside = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32)
            if device == "cuda":
                assert inside == (("high", True) if precision == "tf32" else ("highest", False))
                with devices.arithmetic("float32", device):
                    assert torch.get_float32_matmul_precision() == "highest"
                assert torch.get_float32_matmul_precision() == inside[0]
    after = (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark)
    assert after == before


def test_workers_suit_the_device(monkeypatch):
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: range(12), raising=False)
    assert devices.loader_workers(-1, "cpu") == 0 and devices.loader_workers(3, "cpu") == 3
    assert devices.loader_workers(-1, "cuda") == 12
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert devices.loader_workers(-1, "cuda:1") == 3
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: range(96), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    assert devices.loader_workers(-1, "cuda") == 16
    with pytest.raises(ValueError, match="n_workers must be -1, for what suits the device, or a number: got -2"):
        devices.loader_workers(-2, "cuda")


def test_photos_arrive_as_they_left(device, make_task):
    source = make_task().photos
    for _ in range(3):
        for rows, pixels in source.iter_batches([np.arange(32), np.arange(32, 64)]):
            there = devices.send_photos(pixels, device)
            assert there.device.type == device and there.stride() == pixels.stride()
            assert torch.equal(there.cpu(), pixels), rows
    assert devices.send(torch.arange(3), device).tolist() == [0, 1, 2]


def test_the_first_to_see_a_network_may_be_a_scoring(device, make_task, tmp_path):
    """What is kept on the device for all is no inference tensor, whoever asked for it first."""
    devices.channel_values.cache_clear()
    task = make_task("scratch-cnn", head="wide")
    network = create_network(task.member, np.full(6, 0.3)).to(device)
    score_photos(network, task.photos, task.validation_rows, device=device)
    train_member(replace(task, seed=4), tmp_path, device=device)
