"""The packed rows: a whole training run whose photos are packed, beside the same run that decodes them in every epoch.

Both runs train two folds for one epoch, score the held-out photos and write the store; they must write the same scores.
One epoch is the least that packing can gain: every further one decodes again where nothing is packed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.benchmarks.processes import MeasurementFailedError, Plan, measure
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.speed import OURS
from experiments.benchmarks.worker import Job

HERE = "experiments.benchmarks.packed_runs"
DECODED = "labelstack, photos_gib = 0: decoded in every epoch"
NETWORKS = ("mobilenetv1_100", "test_resnet")
N_PHOTOS, SIZE = 20_000, 64  # photos are drawn at the size that the network sees: the cheapest to decode
BATCH_SIZE = 32


def measure_packed_runs(plan: Plan) -> list[Row]:
    """Measure the CPU seconds of both runs, network by network.

    Parameters
    ----------
    plan : Plan
        Scratch folder; a quick run trains the small network on few photos.

    Returns
    -------
    list of Row
        Decoded, then packed; with a reason instead of values where torch is absent.
    """
    is_there = importlib.util.find_spec("torch") is not None
    n_photos = 64 if plan.quick else N_PHOTOS
    photos = plan.scratch / f"blocks-{SIZE}-{n_photos}"
    if is_there:
        from experiments.fashionblocks.synthesis import synthesize

        plan.say(f"drawing {n_photos:,} photos of {SIZE} pixels")
        synthesize(photos, n_train=n_photos, n_validation=0, n_test=0, size=SIZE)
    rows: list[Row] = []
    for network in NETWORKS[1 if plan.quick else 0 :]:
        job = f"train {network} on {n_photos:,} photos of {SIZE} px: 2 folds, 1 epoch, 1 thread"
        goal = Goal("cpu_ratio", 1.0, source="decoded in every epoch")
        found = [Row(job, DECODED, False), Row(job, OURS, True, goals=(goal,), note="packed, the default")]
        if not is_there:
            trouble = "not measured: torch absent; pip install 'labelstack[train]'"
            rows += [replace(row, trouble=trouble) for row in found]
            continue
        try:
            rows += _measure_pair(plan, found, {"photos": str(photos), "network": network})
        except MeasurementFailedError as error:
            rows += [replace(row, trouble=f"not measured: {error}") for row in found]
    return rows


def _measure_pair(plan: Plan, rows: list[Row], arguments: dict[str, Any]) -> list[Row]:
    """Run both and hold them against each other."""
    once = replace(plan, repeats=0)
    before, after = (
        measure(once, f"{HERE}:whole_run", {**arguments, "out": str(plan.scratch / f"run-{name}"), "packed": packed})
        for name, packed in (("decoded", False), ("packed", True))
    )
    if before.pop("scores") != after.pop("scores"):
        raise MeasurementFailedError("the two runs wrote different scores")
    after["cpu_ratio"] = after["cpu_seconds"] / before["cpu_seconds"]
    return [replace(rows[0], values=before), replace(rows[1], values=after)]


def whole_run(photos: str, network: str, out: str, packed: bool) -> Job:
    """Prepare a run of `labelstack train --processes 1`.

    Parameters
    ----------
    photos : str
        A FashionBlocks folder.
    network : str
        Name in timm.
    out : str
        The run's folder; what is there is removed.
    packed : bool
        Whether its photos are packed.

    Returns
    -------
    Job
        Trains, and hashes the scores.
    """
    from base_models import run_training
    from base_models.recipe.data import DataConfig
    from base_models.recipe.folds import FoldConfig
    from base_models.recipe.member import MemberConfig
    from base_models.recipe.run import TrainingRun
    from base_models.recipe.training import TrainingConfig

    data = DataConfig("imaterialist-json", "photos", annotations="train.json", labels="labels.csv")
    training = TrainingConfig(epochs=1, batch_size=BATCH_SIZE, augmentation="mirror")
    run = TrainingRun(
        "packed" if packed else "decoded",
        data,
        (MemberConfig("member", network, size=SIZE, training=training),),
        folds=FoldConfig(2),
        n_threads=1,
        n_workers=0,
        cache="none",
        photos_gib=20.0 if packed else 0.0,
    )
    shutil.rmtree(out, ignore_errors=True)

    def train() -> str:
        store = run_training(run, out, recipe_folder=photos, device="cpu", n_processes=1) / "oof"
        digest = hashlib.sha256()
        for path in sorted(Path(store).rglob("*.npy")):
            digest.update(path.read_bytes())
        return digest.hexdigest()

    return Job(train, lambda scores: {"scores": scores})
