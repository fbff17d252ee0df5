"""The bare rows: an epoch of ours on packed photos, beside nothing but forward, backward and step on cached tensors.

The bare loop has the same network, batches, loss and optimizer, and photos that lie decoded in memory, batch by batch,
as the network takes them: uint8, to be made floats. It shuffles, mirrors and reports nothing, so what ours costs more
is all that a training needs besides arithmetic. Both compute with one thread and take turns, epoch by epoch; of the
turns' CPU seconds, the median of the ratios counts. One turn's ratio strays by a tenth on a machine that does other
work, so epochs are short and turns many, and the quartiles of the turns are told.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.benchmarks.processes import MeasurementFailedError, Plan, measure
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.speed import OURS
from experiments.benchmarks.training_loop import BATCH_SIZE, INGESTED_SIZE, N_PHOTOS, SIZES, Epoch
from experiments.benchmarks.worker import Job

HERE = "experiments.benchmarks.bare_loop"
BARE = "forward, backward and step on cached tensors"
NETWORKS = {"mobilenetv1_100": 4, "resnet50": 2}  # batches of an epoch
N_TURNS = 20  # of both loops
LEAST_SHARE = 0.97  # of the bare loop's photos per CPU second


def measure_bare_loops(plan: Plan) -> list[Row]:
    """Measure CPU milliseconds a photo of both loops.

    Parameters
    ----------
    plan : Plan
        Scratch folder; a quick run takes one network at one size, and one turn.

    Returns
    -------
    list of Row
        The bare loop, then labelstack, case by case; with a reason instead of values where torch is absent.
    """
    is_there = importlib.util.find_spec("torch") is not None
    photos = plan.scratch / f"blocks-{INGESTED_SIZE}"
    if is_there:
        from experiments.fashionblocks.synthesis import synthesize

        plan.say(f"drawing {N_PHOTOS} photos of {INGESTED_SIZE} pixels")
        synthesize(photos, n_train=N_PHOTOS, n_validation=0, n_test=0, size=INGESTED_SIZE)
    rows: list[Row] = []
    for network, n_batches in list(NETWORKS.items())[: 1 if plan.quick else None]:
        for size in SIZES[: 1 if plan.quick else None]:
            job = f"train {network} at {size} px, photos packed, 1 thread"
            goal = Goal("bare_share", LEAST_SHARE, at_most=False)
            found = [Row(job, BARE, False), Row(job, OURS, True, goals=(goal,))]
            if not is_there:
                trouble = "not measured: torch absent; pip install 'labelstack[train]'"
                rows += [replace(row, trouble=trouble) for row in found]
                continue
            arguments = {"photos": str(photos), "packed": str(plan.scratch / "packed"), "network": network}
            scale = {"n_batches": 2, "n_turns": 1} if plan.quick else {"n_batches": n_batches, "n_turns": N_TURNS}
            try:
                values = measure(replace(plan, repeats=0), f"{HERE}:both_loops", {**arguments, "size": size, **scale})
            except MeasurementFailedError as error:
                rows += [replace(row, trouble=f"not measured: {error}") for row in found]
                continue
            rows += [replace(row, values=values[row.system]) for row in found]
    return rows


def both_loops(photos: str, packed: str, network: str, size: int, n_batches: int, n_turns: int) -> Job:
    """Prepare both loops.

    Parameters
    ----------
    photos : str
        A FashionBlocks folder.
    packed : str
        Folder of packs.
    network : str
        Name in timm.
    size : int
        Side of the photos that the network sees, in pixels.
    n_batches : int
        Steps of an epoch.
    n_turns : int
        Epochs of each loop that count, after one that does not.

    Returns
    -------
    Job
        Runs the turns.
    """
    from copy import deepcopy

    import numpy as np
    import torch

    from base_models.manifest import load_manifest
    from base_models.networks.network import create_network
    from base_models.packed.packing import PackOptions, pack_photos
    from base_models.photos.tensors import PhotoTensors
    from base_models.recipe.data import DataConfig
    from base_models.recipe.member import MemberConfig
    from base_models.recipe.training import TrainingConfig
    from base_models.training.epoch import train_epoch
    from base_models.training.learner import create_learner
    from base_models.training.task import MemberTask, base_rates

    data = DataConfig("imaterialist-json", "photos", annotations="train.json", labels="labels.csv")
    manifest, n_rows = load_manifest(data, Path(photos)), n_batches * BATCH_SIZE
    some = np.resize(np.arange(len(manifest)), n_rows)
    ids = np.array([f"{row}" for row in range(n_rows)])
    pack = pack_photos(ids, manifest.photos.select(some), [size], Path(packed), PackOptions(n_workers=0))[size]
    source = PhotoTensors(manifest, some, size, cache="none", packed=pack)
    config = TrainingConfig(epochs=100, batch_size=BATCH_SIZE, augmentation="mirror")
    task = MemberTask(
        MemberConfig("member", network, size=size, training=config),
        source,
        manifest.y_true[some],
        np.arange(n_rows),
        np.arange(0),
    )
    own = create_network(task.member, base_rates(task)).to(memory_format=torch.channels_last)
    bare = bare_loop(deepcopy(own), task, n_batches)
    learner = create_learner(task, own, "float32", "cpu")

    def ours(number: int) -> None:
        train_epoch(learner, task, number)

    epochs: dict[str, Epoch] = {BARE: bare, OURS: ours}

    def run() -> dict[str, list[float]]:
        torch.set_num_threads(1)
        spent: dict[str, list[float]] = {name: [] for name in epochs}
        for turn in range(1 + n_turns):
            for name in list(epochs) if turn % 2 else list(reversed(epochs)):
                started = time.process_time()
                epochs[name](turn)
                spent[name].append(time.process_time() - started)
        return {name: turns[1:] for name, turns in spent.items()}

    def describe(spent: dict[str, list[float]]) -> dict[str, Any]:
        shares = [bare / own for bare, own in zip(spent[BARE], spent[OURS], strict=True)]
        cost = {name: 1000 * statistics.median(turns) / n_rows for name, turns in spent.items()}
        values: dict[str, Any] = {name: {"cpu_milliseconds_per_image": value} for name, value in cost.items()}
        low, middle, high = np.percentile(shares, [25, 50, 75]).tolist()
        values[OURS] |= {"bare_share": middle, "low_share": low, "high_share": high}
        return values

    return Job(run, describe)


def bare_loop(network: Any, task: Any, n_batches: int) -> Epoch:
    """Prepare forward, backward and step.

    Parameters
    ----------
    network : MultilabelNetwork
        Trained in place.
    task : MemberTask
        Photos, truth, and the settings of the optimizer.
    n_batches : int
        Steps of an epoch.

    Returns
    -------
    callable
        Trains one epoch.
    """
    import numpy as np
    import torch

    from base_models.networks.logits import compute_logits
    from base_models.training.learner import create_learner

    learner, config = create_learner(task, network, "float32", "cpu"), task.member.training
    cached = [
        (pixels.clone(memory_format=torch.preserve_format), torch.from_numpy(task.y_true[rows]).float())
        for rows, pixels in task.photos.iter_batches(np.split(np.arange(n_batches * BATCH_SIZE), n_batches))
    ]

    def epoch(_number: int) -> None:
        network.train()
        for pixels, target in cached:
            learner.optimizer.zero_grad(set_to_none=True)
            loss = learner.loss(compute_logits(network, pixels.float(), "float32"), target, None)
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
            learner.optimizer.step()

    return epoch
