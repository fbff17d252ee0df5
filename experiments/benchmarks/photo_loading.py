"""The loading rows: what it costs to bring photos to a network, beside decoding their JPEG files and a plain copy.

All ways serve the same photos in the same shuffled batches, one after the other, in turns. The plain copy moves as many
bytes from one place in memory to another that exists already, in order. Each way but JPEG keeps the memory that it
fills, from batch to batch and from pass to pass, as trainings do.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from experiments.benchmarks.processes import MeasurementFailedError, Plan, measure
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.worker import Job

HERE = "experiments.benchmarks.photo_loading"
SIZES = (64, 128, 224, 299)  # pixels
INGESTED_SIZE = 299  # pixels, the default of `labelstack data ingest`
WORKING_SET = 96 * 2**20  # bytes of decoded photos: more than the caches of a processor's core hold
N_FILES = 256  # drawn once; larger working sets hold each several times
BATCH_SIZE = 128
N_DECODED = 256  # photos of a pass that decodes
N_TURNS = 15  # of which the median counts; one turn strays by a tenth
LEAST_SHARE = 0.5  # of the plain copy's photos per second, as DESIGN asks
COPY, JPEG = "a plain copy of as many bytes", "labelstack, JPEG files decoded"
PACKED, KEPT = "labelstack, packed on the disk", "labelstack, kept in memory"


def measure_loading(plan: Plan) -> list[Row]:
    """Measure photos per CPU second of every way, size by size.

    Parameters
    ----------
    plan : Plan
        Scratch folder; a quick run takes one size, few photos and one turn.

    Returns
    -------
    list of Row
        Four ways a size; with a reason instead of values where torch is absent.
    """
    is_there = importlib.util.find_spec("torch") is not None
    photos = plan.scratch / f"blocks-{INGESTED_SIZE}-{N_FILES}"
    if is_there:
        from experiments.fashionblocks.synthesis import synthesize

        plan.say(f"drawing {N_FILES} photos of {INGESTED_SIZE} pixels")
        synthesize(photos, n_train=N_FILES, n_validation=0, n_test=0, size=INGESTED_SIZE)
    rows: list[Row] = []
    for size in SIZES[: 1 if plan.quick else None]:
        job = f"load photos at {size} px, batches of {BATCH_SIZE}"
        goals = {PACKED: (Goal("copy_share", LEAST_SHARE, at_most=False),)}
        found = [Row(job, system, system != COPY, goals=goals.get(system, ())) for system in (COPY, JPEG, KEPT, PACKED)]
        if not is_there:
            trouble = "not measured: torch absent; pip install 'labelstack[train]'"
            rows += [replace(row, trouble=trouble) for row in found]
            continue
        scale = {"working_set": 2**20, "n_turns": 1} if plan.quick else {"working_set": WORKING_SET, "n_turns": N_TURNS}
        arguments = {"photos": str(photos), "packed": str(plan.scratch / "packed"), "size": size, **scale}
        try:
            values = measure(replace(plan, repeats=0), f"{HERE}:all_ways", arguments)
        except MeasurementFailedError as error:
            rows += [replace(row, trouble=f"not measured: {error}") for row in found]
            continue
        rows += [replace(row, values=values[row.system]) for row in found]
    return rows


def all_ways(photos: str, packed: str, size: int, working_set: int, n_turns: int) -> Job:
    """Prepare every way of loading.

    Parameters
    ----------
    photos : str
        A FashionBlocks folder.
    packed : str
        Folder of packs.
    size : int
        Side of the photos that are served, in pixels.
    working_set : int
        Bytes of decoded photos that are gone through.
    n_turns : int
        Passes of each way that count, after one that does not.

    Returns
    -------
    Job
        Runs the turns.
    """
    import numpy as np
    import torch

    from base_models.manifest import load_manifest
    from base_models.packed.packing import PackOptions, pack_photos
    from base_models.photos.tensors import PhotoTensors
    from base_models.recipe.data import DataConfig

    data = DataConfig("imaterialist-json", "photos", annotations="train.json", labels="labels.csv")
    manifest = load_manifest(data, Path(photos))
    n_rows = max(BATCH_SIZE, working_set // (3 * size * size))
    some = np.resize(np.arange(len(manifest)), n_rows)
    ids = np.array([f"{row}" for row in range(n_rows)])
    pack = pack_photos(ids, manifest.photos.select(some), [size], Path(packed), PackOptions(n_workers=0))[size]
    ways = {
        PACKED: PhotoTensors(manifest, some, size, cache="none", packed=pack),
        KEPT: PhotoTensors(manifest, some, size, cache="memory", packed=pack),
        JPEG: PhotoTensors(manifest, some, size, cache="none"),
    }
    ways[KEPT].keep()
    there = torch.full((n_rows, size, size, 3), 7, dtype=torch.uint8)
    here = torch.empty(BATCH_SIZE, size, size, 3, dtype=torch.uint8)
    order = np.random.default_rng(0).permutation(n_rows)
    batches = [order[start : start + BATCH_SIZE] for start in range(0, n_rows, BATCH_SIZE)]

    def copy() -> int:
        for start in range(0, n_rows - BATCH_SIZE + 1, BATCH_SIZE):
            here.copy_(there[start : start + BATCH_SIZE])
        return n_rows // BATCH_SIZE * BATCH_SIZE

    def serve(name: str) -> int:
        chosen = batches[: -(-N_DECODED // BATCH_SIZE)] if name == JPEG else batches
        return sum(len(rows) for rows, _ in ways[name].iter_batches(chosen, reuse=True))

    passes: dict[str, Callable[[], int]] = {COPY: copy, **{name: partial(serve, name) for name in ways}}

    def run() -> dict[str, list[float]]:
        speeds: dict[str, list[float]] = {name: [] for name in passes}
        for turn in range(1 + n_turns):
            for name in list(passes) if turn % 2 else list(reversed(passes)):
                started = time.process_time()
                n_photos = passes[name]()
                speeds[name].append(n_photos / max(1e-9, time.process_time() - started))
        return {name: found[1:] for name, found in speeds.items()}

    def describe(speeds: dict[str, list[float]]) -> dict[str, Any]:
        described = {}
        for name, found in speeds.items():
            shares = [own / copied for own, copied in zip(found, speeds[COPY], strict=True)]
            low, middle, high = np.percentile(shares, [25, 50, 75]).tolist()
            described[name] = {"photos_per_cpu_second": statistics.median(found), "copy_share": middle}
            described[name] |= {} if name == COPY else {"low_share": low, "high_share": high}
        return described

    return Job(run, describe)
