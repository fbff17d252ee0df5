"""What several processes on one machine make of a training: folds side by side, and batches that all share.

``python -m experiments.benchmarks.several_processes`` measures one, two and four processes of one thread each, in
seconds of the clock and of the processor. Where processors are fewer or busy only the latter mean something. A step of
n processes that share a batch of B photos should take each of them

    seconds(n) = B / n * per_photo + per_step + (n - 1) / n * per_exchange

of processor time: its share of the passes, what it does whatever the batch (optimizer, clipping, the program), and a
ring's messages, of which each process sends and adds 2 (n - 1) / n times the gradients' bytes. The first two come from
one process at two batch sizes, the third from two processes; four are then predicted, and measured.

References
----------
P. Patarasuk and X. Yuan, "Bandwidth Optimal All-reduce Algorithms for Clusters of Workstations", J. Parallel
Distrib. Comput. 2009 (the ring).
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
N_EPOCHS = 3  # the first does not count; of the others the median


@dataclass(frozen=True)
class Work:
    """What every process trains.

    Parameters
    ----------
    network : str
        Name in timm.
    size : int
        Side of the photos in pixels.
    batch_size : int
        Photos of a step, all processes together where they share it.
    n_steps : int
        Steps of an epoch.
    """

    network: str
    size: int
    batch_size: int
    n_steps: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write one JSON object to the standard output.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command line; that of the process by default.

    Returns
    -------
    int
        0.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.several_processes", description=__doc__)
    parser.add_argument("--network", default="mobilenetv1_100")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args(arguments)
    whole = Work(options.network, options.size, options.batch, options.steps)
    half = Work(options.network, options.size, options.batch // 2, options.steps)
    found: dict[str, Any] = {"processors": os.cpu_count(), "load": os.getloadavg()[0]}
    found["one"], found["one, half batches"] = measure(whole, 1, shared=True), measure(half, 1, shared=True)
    for count in (2, 4):
        found[f"{count} share every batch"] = measure(whole, count, shared=True)
        found[f"{count} side by side"] = measure(whole, count, shared=False)
        for way in ("share every batch", "side by side"):
            several = found[f"{count} {way}"]
            several["times_one_process"] = several["photos_per_second"] / found["one"]["photos_per_second"]
    found["model"] = check_model(
        options.batch,
        found["one"]["cpu_seconds_of_a_step"],
        found["one, half batches"]["cpu_seconds_of_a_step"],
        found["2 share every batch"]["cpu_seconds_of_a_step"],
        found["4 share every batch"]["cpu_seconds_of_a_step"],
    )
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


def measure(work: Work, count: int, *, shared: bool) -> dict[str, float]:
    """Train in several processes at once.

    Parameters
    ----------
    work : Work
        What each trains, or all together.
    count : int
        Processes.
    shared : bool
        Whether they share every batch, or train networks of their own.

    Returns
    -------
    dict of str to float
        ``photos_per_second`` of all together by the clock, and the processor seconds of a step in the first process.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name in ONE_THREAD:
        os.environ[name] = "1"
    for name in ("accelerate", "timm", "base_models.testing", "base_models.training.learner"):
        importlib.import_module(name)  # before the processes are forked, so that it is loaded once
    started = []
    for rank in range(count):
        place = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        started.append(_fork(work, place if shared and count > 1 else {}))
    answers = []
    for child, pipe in started:
        with os.fdopen(pipe, encoding="utf-8") as said:
            answers.append(said.read())
        os.waitpid(child, 0)
    if not all(answers):
        raise RuntimeError(f"processes of {work} ended without an answer; their own messages say why.")
    first = json.loads(answers[0])
    n_photos = work.batch_size * work.n_steps * (1 if shared else count)
    return {
        "photos_per_second": n_photos / statistics.median(first["seconds"]),
        "cpu_seconds_of_a_step": statistics.median(first["cpu_seconds"]) / work.n_steps,
    }


def _fork(work: Work, place: dict[str, str]) -> tuple[int, int]:
    """Start a process that trains; return its number and the pipe that it answers through."""
    out, into = os.pipe()
    child = os.fork()
    if child:
        os.close(into)
        return child, out
    code = 1
    try:
        os.environ.update(place)
        with os.fdopen(into, "w", encoding="utf-8") as answer:
            answer.write(json.dumps(_train(work)))
        code = 0
    except Exception as error:  # to be told by the one that waits
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        os._exit(code)


def check_model(batch_size: int, one: float, half: float, two: float, four: float) -> dict[str, float]:
    """Fit the model of the module's description on one and two processes, and predict four.

    Parameters
    ----------
    batch_size : int
        Photos of a step.
    one, half : float
        Processor seconds of a step of one process, and of one at half the batch.
    two, four : float
        Of the first of two and of four processes that share every batch.

    Returns
    -------
    dict of str to float
        The three parameters, what four processes should take, what they took, and the relative error.

    Examples
    --------
    >>> found = check_model(64, 0.64 + 0.02, 0.32 + 0.02, 0.32 + 0.02 + 0.01, 0.16 + 0.02 + 0.015)
    >>> {name: round(value, 4) for name, value in found.items()}
    {'per_photo': 0.01, 'per_step': 0.02, 'per_exchange': 0.02, 'predicted': 0.195, 'measured': 0.195, 'error': 0.0}
    """
    per_photo = (one - half) / (batch_size / 2)
    per_step = one - batch_size * per_photo
    per_exchange = 2 * (two - batch_size / 2 * per_photo - per_step)
    predicted = batch_size / 4 * per_photo + per_step + 3 / 4 * per_exchange
    return {
        "per_photo": per_photo,
        "per_step": per_step,
        "per_exchange": per_exchange,
        "predicted": predicted,
        "measured": four,
        "error": predicted / four - 1,
    }


def _train(work: Work) -> dict[str, list[float]]:
    """Train some epochs in this process, with the others if a launcher's variables say so."""
    import numpy as np
    import torch

    from base_models.manifest import load_manifest
    from base_models.networks.network import create_network
    from base_models.photos.tensors import PhotoTensors
    from base_models.recipe.member import MemberConfig
    from base_models.recipe.training import TrainingConfig
    from base_models.testing import write_tiny_photos
    from base_models.training.distributed import join_processes
    from base_models.training.epoch import train_epoch
    from base_models.training.learner import create_learner
    from base_models.training.task import MemberTask

    torch.set_num_threads(1)
    processes = join_processes("cpu")
    with tempfile.TemporaryDirectory() as folder:
        manifest = load_manifest(write_tiny_photos(folder, 64, 0), Path(folder))
        photos = PhotoTensors(manifest, np.arange(64), work.size, cache="memory")
        photos.keep()
    training = TrainingConfig(epochs=100, batch_size=work.batch_size, augmentation="mirror")
    member = MemberConfig("m", work.network, size=work.size, training=training)
    rows = np.resize(np.arange(64), work.batch_size * work.n_steps)
    task = MemberTask(member, photos, manifest.y_true, rows, rows[:0])
    torch.manual_seed(0)
    network = create_network(member, np.full(manifest.n_labels, 0.3)).to(memory_format=torch.channels_last)
    learner = create_learner(task, network, "float32", "cpu", processes)
    found: dict[str, list[float]] = {"seconds": [], "cpu_seconds": []}
    for epoch in range(N_EPOCHS):
        processes.wait()
        started, cpu_started = time.perf_counter(), time.process_time()
        train_epoch(learner, task, epoch)
        found["seconds"].append(time.perf_counter() - started)
        found["cpu_seconds"].append(time.process_time() - cpu_started)
    return {name: values[1:] for name, values in found.items()}


if __name__ == "__main__":
    sys.exit(main())
