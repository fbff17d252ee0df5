"""Which arithmetic trains a network fastest on this machine: a trial of seconds at the batch that will be trained.

What a step costs in an arithmetic depends on network, size, batch and card: autocast halves the products and adds
kernels that convert. So forward and backward pass are timed as they will run, replayed where steps are replayed, in
turns, so that a machine that is busy for a moment slows all alike.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import deepcopy
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from base_models.device import arithmetic, is_cuda, is_out_of_memory, release_memory, synchronize
from base_models.networks.logits import compute_logits
from base_models.networks.network import MultilabelNetwork
from base_models.networks.per_label import LabelwiseNetwork
from base_models.training.step_graph import STEPS_BEFORE, StepGraphs, can_replay
from base_models.training.task import MemberTask
from stacking.files.ending import ending_with

N_TURNS = 3  # of every arithmetic; the quickest counts
WORTHWHILE = 0.95  # bfloat16 keeps fewer digits, so it must save at least 5 % of the time: a choice, not tuned
PHOTOS_BEFORE = 16  # of a CPU's first pass, which tells how many photos a pass of a second takes
SECONDS_OF_A_PASS = 1.0  # on a CPU, whose passes of whole batches can take minutes
MOST_ERROR = 0.01  # of a score by bfloat16: a choice, not tuned
SECONDS_WORTH_A_TRIAL = 60.0  # of training: bfloat16 saves half of it at best, a trial took 20 s on an H200


def choose_precision(
    network: MultilabelNetwork, task: MemberTask, device: str, n_processes: int = 1, *, n_shown: float | None = None
) -> tuple[str, dict[str, float]]:
    """Time training passes in every arithmetic that ``precision = "auto"`` chooses from.

    Parameters
    ----------
    network : MultilabelNetwork
        On the device; a copy of it is tried.
    task : MemberTask
        Size, batch and whether steps are replayed.
    device : str
        Where it will train.
    n_processes : int, default=1
        Processes that share every batch.
    n_shown : float, optional
        Photos that the training shows, each as often as it does; the task's by default.

    Returns
    -------
    precision : {"float32", "tf32", "bfloat16"}
        The faster arithmetic: bfloat16 where it saves 5 % or more, else tf32 on a GPU and float32 on a CPU; these also,
        without a trial, where the whole training takes less than ``SECONDS_WORTH_A_TRIAL``.
    trial : dict of str to float
        ``photos`` of a pass and the milliseconds of one by arithmetic; without a trial, the ``training s`` expected.

    Raises
    ------
    torch.OutOfMemoryError
        If two photos do not fit into the device's memory; batches that do not are halved.
    """
    plain = "tf32" if is_cuda(device) else "float32"
    config, copy = task.member.training, deepcopy(network).train()
    n_photos = max(2, min(config.batch_size // n_processes, len(task.train_rows)))
    n_shown = config.epochs * len(task.train_rows) / n_processes if n_shown is None else n_shown
    replays = config.cuda_graphs is not False and can_replay(device, n_processes)
    while True:
        try:
            with ending_with(copy.zero_grad, partial(release_memory, device)):
                few = n_photos if is_cuda(device) else min(PHOTOS_BEFORE, n_photos)
                photos = _made_up(few, task.member.size, device)
                first = min(_time(partial(_pass, copy, plain), photos) for _ in range(2))
                if (expected := first / few * n_shown) < SECONDS_WORTH_A_TRIAL:
                    return plain, {
                        "photos": few,
                        f"{plain} ms": round(1000 * first, 3),
                        "training s": round(expected, 1),
                    }
                if not is_cuda(device):
                    n_photos = int(min(n_photos, max(few, few * SECONDS_OF_A_PASS / first)))
                shown = _made_up(n_photos, task.member.size, device)
                seconds = _seconds_of_passes(copy, shown, (plain, "bfloat16"), replays)
        except RuntimeError as error:
            if not is_out_of_memory(error) or n_photos == 2:
                raise
            n_photos = max(2, n_photos // 2)
        else:
            break
    chosen = "bfloat16" if seconds["bfloat16"] < WORTHWHILE * seconds[plain] else plain
    return chosen, {"photos": n_photos, **{f"{kind} ms": round(1000 * value, 3) for kind, value in seconds.items()}}


def choose_scoring_precision(
    network: MultilabelNetwork | LabelwiseNetwork, photos: Tensor
) -> tuple[str, dict[str, float]]:
    """Time a float32 network that scores photos on the CPU, and again in bfloat16, and hold the scores together.

    Parameters
    ----------
    network : MultilabelNetwork or LabelwiseNetwork
        On the CPU.
    photos : Tensor of uint8, shape (n_photos, 3, size, size)
        Some of those that it is to score.

    Returns
    -------
    precision : {"float32", "bfloat16"}
        bfloat16 where it saves 5 % of the time or more and no score of these photos moves by more than ``MOST_ERROR``.
    trial : dict of str to float
        ``photos``, the milliseconds of a pass by arithmetic, and the ``largest difference`` of two scores.
    """
    network.eval()
    scores: dict[str, Tensor] = {}

    def score(kind: str, shown: Tensor) -> Tensor:
        scores[kind] = torch.sigmoid(compute_logits(network, shown.float(), kind))
        return scores[kind]

    quickest = dict.fromkeys(("float32", "bfloat16"), math.inf)
    with torch.inference_mode():
        for _ in range(1 + N_TURNS):
            for kind in quickest:
                quickest[kind] = min(quickest[kind], _time(partial(score, kind), photos))
    error = float((scores["bfloat16"] - scores["float32"]).abs().max())
    is_worthwhile = quickest["bfloat16"] < WORTHWHILE * quickest["float32"] and error <= MOST_ERROR
    trial = {f"{kind} ms": round(1000 * seconds, 3) for kind, seconds in quickest.items()}
    return ("bfloat16" if is_worthwhile else "float32"), {
        "photos": len(photos),
        **trial,
        "largest difference": round(error, 6),
    }


def _made_up(n_photos: int, size: int, device: str) -> Tensor:
    """Return photos of noise, laid out as a training's are."""
    return torch.rand(n_photos, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)


def _seconds_of_passes(
    network: MultilabelNetwork, photos: Tensor, precisions: tuple[str, ...], replays: bool
) -> dict[str, float]:
    """Time forward and backward in each arithmetic, in turns; replayed passes count where they are the faster."""
    passes: dict[str, Callable[[Tensor], Tensor]] = {kind: partial(_pass, network, kind) for kind in precisions}
    quickest = dict.fromkeys(precisions, math.inf)
    for _ in range(1 + N_TURNS):  # the first sets things up: kernels are loaded, algorithms tried
        for kind, compute in passes.items():
            quickest[kind] = min(quickest[kind], _time(compute, photos))
    for kind in precisions if replays else ():
        graphs = StepGraphs(network, str(photos.device))
        for _ in range(STEPS_BEFORE):
            network.zero_grad(set_to_none=True)
            graphs.add_gradients((photos, photos.new_zeros(0), None), lambda shown, *_, kind=kind: passes[kind](shown))
        quickest[kind] = min(quickest[kind], *graphs.seconds.values(), math.inf)
        graphs.clear()
    return quickest


def _pass(network: MultilabelNetwork, precision: str, photos: Tensor) -> Tensor:
    """Pass forward and backward."""
    network.zero_grad(set_to_none=True)
    with arithmetic(precision, photos.device):
        logits = compute_logits(network, photos, precision)
        loss = functional.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))
        auxiliary = network.take_auxiliary_logits()
        if auxiliary is not None:
            loss = loss + auxiliary.square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def _time(compute: Callable[[Tensor], Tensor], photos: Tensor) -> float:
    """Return the seconds until the device has computed."""
    synchronize(photos.device)
    started = time.perf_counter()
    compute(photos)
    synchronize(photos.device)
    return time.perf_counter() - started
