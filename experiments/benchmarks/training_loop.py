"""The training rows: our loop beside timm's dataset, loader, network and step, on the same photos.

Both train the same network on the same JPEG files of the size that an ingest writes, with the same batches, mirroring,
AdamW and binary cross-entropy. They take turns, epoch by epoch, so that whatever else the machine does meets both
alike; of the turns, the median counts.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.benchmarks.processes import MeasurementFailedError, Plan, measure
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.speed import OURS
from experiments.benchmarks.worker import Job, child_seconds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from base_models.manifest import Manifest

HERE = "experiments.benchmarks.training_loop"
TIMM = "timm: dataset, loader, network, step"
NETWORKS = {"mobilenetv1_100": 12, "resnet50": 4}  # batches of an epoch
SIZES = (64, 128)  # pixels: what a CPU trains at in bearable time
CASES = (("kept in memory", True, 0), ("decoded every epoch", False, 0), ("decoded every epoch", False, 2))
N_PHOTOS = 128  # drawn once; epochs go through them as often as needed
INGESTED_SIZE = 299  # pixels, the default of `labelstack data ingest`
BATCH_SIZE = 32  # of both loops
N_TURNS = 5  # of both loops, one after the other; the median counts
LEAST_RATIO = 0.95  # of timm's images per second: as fast, but for the noise of the measurement

Epoch = Callable[[int], None]


def measure_training(plan: Plan) -> list[Row]:
    """Measure images per second of both loops.

    Parameters
    ----------
    plan : Plan
        Scratch folder; a quick run takes one network at one size, and one turn.

    Returns
    -------
    list of Row
        timm, then labelstack, case by case; with a reason instead of values where torch or timm is absent.
    """
    absent = [name for name in ("torch", "timm") if importlib.util.find_spec(name) is None]
    photos = plan.scratch / f"blocks-{INGESTED_SIZE}"
    if not absent:
        from experiments.fashionblocks.synthesis import synthesize

        plan.say(f"drawing {N_PHOTOS} photos of {INGESTED_SIZE} pixels")
        synthesize(photos, n_train=N_PHOTOS, n_validation=0, n_test=0, size=INGESTED_SIZE)
    rows: list[Row] = []
    for network, n_batches in list(NETWORKS.items())[: 1 if plan.quick else None]:
        for size in SIZES[: 1 if plan.quick else None]:
            for words, in_memory, n_workers in CASES:
                job = f"train {network} at {size} px, photos {words}, {n_workers} loader workers"
                if absent:
                    reason = f"not measured: {' and '.join(absent)} absent; pip install 'labelstack[train]'"
                    rows.append(Row(job, OURS, True, goals=_goals(), trouble=reason))
                    continue
                how = {"network": network, "size": size, "in_memory": in_memory, "n_workers": n_workers}
                scale = {"n_batches": 2, "n_turns": 1} if plan.quick else {"n_batches": n_batches, "n_turns": N_TURNS}
                rows += _measure_pair(plan, job, {"photos": str(photos), **how, **scale})
    return rows


def both_loops(
    photos: str, network: str, size: int, n_batches: int, n_turns: int, in_memory: bool, n_workers: int
) -> Job:
    """Prepare both loops.

    Parameters
    ----------
    photos : str
        A FashionBlocks folder.
    network : str
        Name in timm.
    size : int
        Side of the photos that the network sees, in pixels.
    n_batches : int
        Steps of an epoch.
    n_turns : int
        Epochs of each loop that count, after one that does not.
    in_memory : bool
        Whether decoded photos are kept, in both loops.
    n_workers : int
        Processes that decode, in each loop.

    Returns
    -------
    Job
        Runs the turns.
    """
    from base_models.manifest import load_manifest
    from base_models.recipe.data import DataConfig

    data = DataConfig("imaterialist-json", "photos", annotations="train.json", labels="labels.csv")
    manifest = load_manifest(data, Path(photos))
    case: dict[str, Any] = {"network": network, "size": size, "n_rows": n_batches * BATCH_SIZE}
    case |= {"in_memory": in_memory, "n_workers": 0 if in_memory else n_workers}
    n_rows = case["n_rows"]

    def run() -> dict[str, list[tuple[float, float]]]:
        loops = {
            "timm": _timm_loop(Path(photos, "photos"), manifest.y_true, **case),
            "ours": _our_loop(manifest, **case),
        }
        spent: dict[str, list[tuple[float, float]]] = {name: [] for name in loops}
        for turn in range(1 + n_turns):
            names = list(loops) if turn % 2 else list(reversed(loops))
            for name in names:
                children, wall, cpu = child_seconds(), time.perf_counter(), time.process_time()
                loops[name](turn)
                cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
                spent[name].append((wall, cpu + child_seconds() - children))
        return {name: turns[1:] for name, turns in spent.items()}

    def describe(spent: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
        pairs = list(zip(spent["timm"], spent["ours"], strict=True))
        return {
            "timm": _speeds(spent["timm"], n_rows),
            "ours": {
                **_speeds(spent["ours"], n_rows),
                "images_ratio": statistics.median(theirs[0] / ours[0] for theirs, ours in pairs),
                "cpu_ratio": statistics.median(ours[1] / theirs[1] for theirs, ours in pairs),
            },
        }

    return Job(run, describe)


def _our_loop(manifest: Manifest, network: str, size: int, n_rows: int, *, in_memory: bool, n_workers: int) -> Epoch:
    """Prepare the loop of ``labelstack train``."""
    import numpy as np
    import torch

    from base_models.networks.network import create_network
    from base_models.photos.tensors import PhotoTensors
    from base_models.recipe.member import MemberConfig
    from base_models.recipe.training import TrainingConfig
    from base_models.training.epoch import train_epoch
    from base_models.training.learner import create_learner
    from base_models.training.task import MemberTask, base_rates

    config = TrainingConfig(epochs=100, batch_size=BATCH_SIZE, augmentation="mirror")
    member = MemberConfig("member", network, size=size, training=config)
    indices = np.arange(n_rows) % len(manifest)
    photos = PhotoTensors(manifest, indices, size, cache="memory" if in_memory else "none", n_workers=n_workers)
    task = MemberTask(member, photos, manifest.y_true[indices], np.arange(n_rows), np.arange(0))
    net = create_network(member, base_rates(task)).to(memory_format=torch.channels_last)
    learner = create_learner(task, net, "float32", "cpu")

    def epoch(number: int) -> None:
        train_epoch(learner, task, number)

    return epoch


def _timm_loop(
    photos: Path, y_true: NDArray[np.uint8], network: str, size: int, n_rows: int, *, in_memory: bool, n_workers: int
) -> Epoch:
    """Prepare timm's loader, network, loss and optimizer, and the step of its training script.

    In memory the dataset holds photos that are decoded and of the right size already; timm has nothing of the kind, so
    this is the best that a user of it could do.
    """
    import timm
    import torch
    from timm.data.config import resolve_model_data_config
    from timm.loss.binary_cross_entropy import BinaryCrossEntropy
    from timm.optim._optim_factory import create_optimizer_v2
    from timm.utils.clip_grad import dispatch_clip_grad

    from experiments.benchmarks.timm_loader import PhotoDataset, timm_loader

    net = timm.create_model(network, num_classes=y_true.shape[1]).to(memory_format=torch.channels_last)
    data = resolve_model_data_config(net)  # type: ignore[no-untyped-call]
    how = {"mean": data["mean"], "std": data["std"], "num_workers": n_workers}
    dataset = PhotoDataset(sorted(photos.rglob("*.jpg")), y_true, n_rows, size if in_memory else 0)
    loader = timm_loader(dataset, size, BATCH_SIZE, device="cpu", **how)
    optimizer = create_optimizer_v2(net, opt="adamw", lr=2e-3, weight_decay=0.02)
    loss_of = BinaryCrossEntropy()

    def epoch(_number: int) -> None:
        net.train()
        for shown, target in loader:
            loss = loss_of(net(shown.contiguous(memory_format=torch.channels_last)), target)
            optimizer.zero_grad()
            loss.backward()
            dispatch_clip_grad(net.parameters(), 1.0, mode="norm")
            optimizer.step()
            loss.item()

    return epoch


def _measure_pair(plan: Plan, job: str, arguments: dict[str, Any]) -> list[Row]:
    """Measure one case: a row for timm and one for labelstack."""
    rows = [Row(job, TIMM, False), Row(job, OURS, True, goals=_goals())]
    try:
        values = measure(replace(plan, repeats=0), f"{HERE}:both_loops", arguments)
    except MeasurementFailedError as error:
        return [replace(row, trouble=f"not measured: {error}") for row in rows]
    return [replace(row, values=values[name]) for row, name in zip(rows, ("timm", "ours"), strict=True)]


def _goals() -> tuple[Goal, ...]:
    """Return what the loop must reach."""
    return (Goal("images_ratio", LEAST_RATIO, at_most=False),)


def _speeds(turns: list[tuple[float, float]], n_rows: int) -> dict[str, float]:
    """Turn wall and CPU seconds of epochs into speeds."""
    wall, cpu = (statistics.median(turn[place] for turn in turns) for place in (0, 1))
    return {"images_per_second": n_rows / wall, "cpu_milliseconds_per_image": 1000 * cpu / n_rows}
