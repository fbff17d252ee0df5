"""Train one network so that a killed and resumed training equals an uninterrupted one bit for bit on a CPU.

Every random number comes from a seed that names its place: the weights from the task's seed, an epoch's order and
dropout from (seed, epoch), a photo's augmentation from (seed, epoch, row). Nothing carries over from one epoch to the
next but what a checkpoint holds.
"""

from __future__ import annotations

import json
import logging
import math
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from base_models.checkpoints import (
    Checkpoint,
    best_weights_file,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
    tensors_of,
)
from base_models.dataset import PhotoTensors
from base_models.losses import multilabel_loss
from base_models.member_config import MemberConfig, TrainingConfig
from base_models.networks import MultilabelNetwork, create_network
from base_models.progress import Progress, TrainingEvent
from base_models.schedules import learning_rate_factor
from base_models.transforms import augment_photos, normalise_photos
from stacking.atomic_files import atomic_write_json

__all__ = ["MemberTask", "TrainedMember", "best_micro_f1", "score_photos", "train_member"]

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_REPORTS = 2.0


@dataclass(frozen=True)
class MemberTask:
    """One network to train.

    Parameters
    ----------
    member : MemberConfig
        What to train and how.
    photos : PhotoTensors
        Photos at the member's size.
    y_true : ndarray of uint8, shape (n_photos, n_labels)
        Truth of the member's labels, row by row of ``photos``.
    train_rows, validation_rows : ndarray of int64
        Rows to learn from and rows that choose the epoch; they must not meet.
    seed : int
        Seed of this training.
    y_known : ndarray of bool, shape (n_photos, n_labels), optional
        False where an entry is not annotated; it then counts neither way.
    fold, n_folds : int
        For reports.
    """

    member: MemberConfig
    photos: PhotoTensors
    y_true: NDArray[np.uint8]
    train_rows: NDArray[np.int64]
    validation_rows: NDArray[np.int64]
    seed: int = 0
    y_known: NDArray[np.bool_] | None = None
    fold: int = 0
    n_folds: int = 1


@dataclass(frozen=True)
class TrainedMember:
    """A trained network and how it got there.

    Parameters
    ----------
    network : MultilabelNetwork
        With the weights that are kept, in evaluation mode.
    history : list of dict
        One row per epoch.
    best_epoch : int
        Epoch with the best validation score, from 1.
    resumed_from : int
        Epochs that an earlier process had finished.
    precision : {"float32", "bfloat16"}
        Arithmetic of the body.
    starting_weights : dict
        Source, file and SHA-256 of the weights it started from.
    """

    network: MultilabelNetwork
    history: list[dict[str, Any]]
    best_epoch: int
    resumed_from: int
    precision: str
    starting_weights: dict[str, Any]


def train_member(
    task: MemberTask, folder: Path, *, device: str = "cpu", progress: Progress | None = None
) -> TrainedMember:
    """Train one network, going on from the folder's checkpoint if there is one.

    Parameters
    ----------
    task : MemberTask
        Network, photos, truth, rows and seed.
    folder : pathlib.Path
        Where checkpoints and ``history.csv`` go; created if missing.
    device : str
        ``"cpu"`` or ``"cuda"``.
    progress : callable, optional
        Called with a ``TrainingEvent`` every few seconds and after every epoch.

    Returns
    -------
    TrainedMember
        The network of the best (or last) epoch.

    Raises
    ------
    ValueError
        If the network cannot be had, a checkpoint is damaged, rows are missing, or the loss is not finite.

    Notes
    -----
    torch's global generator is restored afterwards. With bfloat16 only the body computes in it.
    """
    _check_task(task)
    folder.mkdir(parents=True, exist_ok=True)
    member, config = task.member, task.member.training
    saved = load_checkpoint(folder)
    with torch.random.fork_rng():
        torch.manual_seed(task.seed)
        network = create_network(member, _base_rates(task), load_weights=saved is None).to(device)
        network = network.to(memory_format=torch.channels_last)
        start = _read_or_decide_start(network, task, folder, device, resumed=saved is not None)
        average = _create_average(network, config)
        optimizer = _create_optimizer(network, config)
        if saved is not None:
            _restore(saved, network, average, optimizer)
            logger.info("%s: resumed", _place(task, saved.epoch))
        history = [] if saved is None else saved.history
        resumed_from = len(history)
        best_epoch = 0 if saved is None else saved.best_epoch
        for epoch in range(resumed_from, config.epochs):
            if config.patience and epoch - best_epoch >= config.patience:
                break
            torch.manual_seed(task.seed + 1 + epoch)
            row = _train_epoch(task, network, average, optimizer, epoch, start["precision"], progress)
            scorer = network if average is None else average.module
            y_score = score_photos(scorer, task.photos, task.validation_rows, start["precision"], device)
            _check_converged(task, epoch, row["loss"], y_score)
            row["validation_micro_f1"], row["threshold"] = best_micro_f1(task.y_true[task.validation_rows], y_score)
            if row["validation_micro_f1"] > max((entry["validation_micro_f1"] for entry in history), default=-1.0):
                best_epoch = epoch + 1
            history.append(row)
            averaged = {} if average is None else tensors_of(average.module)
            state = Checkpoint(epoch + 1, tensors_of(network), averaged, optimizer.state_dict(), history, best_epoch)
            save_checkpoint(folder, state, averaged or state.weights)
            _report_epoch(task, row, progress)
        kept = _kept_network(folder, task, device)
    return TrainedMember(kept, history, best_epoch, resumed_from, start["precision"], start["starting_weights"])


def score_photos(
    network: MultilabelNetwork,
    photos: PhotoTensors,
    rows: NDArray[np.int64],
    precision: str = "float32",
    device: str = "cpu",
    batch_size: int = 128,
) -> NDArray[np.float32]:
    """Score photos with a trained network.

    Parameters
    ----------
    network : MultilabelNetwork
        Put into evaluation mode.
    photos : PhotoTensors
        Photos at the network's size.
    rows : ndarray of int64
        Which of them.
    precision : {"float32", "bfloat16"}
        Arithmetic of the body.
    device : str
        Where the network is.
    batch_size : int
        Photos at a time.

    Returns
    -------
    ndarray of float32, shape (n_rows, n_labels)
        Probabilities.
    """
    network.eval()
    scores = []
    with torch.inference_mode():
        for _, pixels in photos.iter_batches(_split_evenly(rows, batch_size)):
            logits = _forward(network, pixels.to(device).float(), precision)
            scores.append(torch.sigmoid(logits).cpu().numpy())
    if not scores:
        return np.empty((0, network.head.out_features), np.float32)
    return np.concatenate(scores).astype(np.float32, copy=False)


def best_micro_f1(y_true: NDArray[np.uint8], y_score: NDArray[np.float32]) -> tuple[float, float]:
    """Find the best micro-F1 that one threshold for all labels reaches.

    Parameters
    ----------
    y_true : ndarray of shape (n_rows, n_labels)
        Truth, 0 or 1.
    y_score : ndarray of shape (n_rows, n_labels)
        Scores.

    Returns
    -------
    tuple of float
        Micro-F1 and the threshold; (0, 1) when nothing is positive.

    Examples
    --------
    >>> best_micro_f1(np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.2], [0.1, 0.6]]))
    (1.0, 0.6)
    """
    order = np.argsort(-y_score, axis=None, kind="stable")
    ranked = y_score.ravel()[order]
    hits = np.cumsum(y_true.ravel()[order], dtype=np.int64)
    if not len(hits) or not hits[-1]:
        return 0.0, 1.0
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + hits[-1])
    f1[:-1][ranked[:-1] == ranked[1:]] = 0.0  # a threshold cannot part equal scores
    place = int(np.argmax(f1))
    return float(f1[place]), float(ranked[place])


def _train_epoch(
    task: MemberTask,
    network: MultilabelNetwork,
    average: Any,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    precision: str,
    progress: Progress | None,
) -> dict[str, Any]:
    """Pass once over the training rows and return the epoch's figures."""
    config, device = task.member.training, network.head.weight.device
    network.set_body_trainable(epoch >= config.freeze_epochs)
    network.train()
    order = np.random.default_rng((task.seed, epoch)).permutation(task.train_rows)
    batches = _split_evenly(order, config.batch_size)
    task.photos.keep()  # so that decoding does not count as training
    started, cpu_started = time.monotonic(), time.process_time()
    told, n_seen, loss_sum = started, 0, 0.0
    for step, (rows, pixels) in enumerate(task.photos.iter_batches(batches)):
        _set_learning_rates(optimizer, config, epoch, step, len(batches))
        photos = augment_photos(
            pixels.to(device), rows, config.augmentation, task.seed, epoch
        )  # (n_rows, 3, size, size)
        target, mask = _targets(task, rows, device)  # (n_rows, n_labels)
        loss = multilabel_loss(_forward(network, photos, precision), target, config.loss, mask)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if config.clip_norm:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip_norm)
        optimizer.step()
        if average is not None:
            average.update(network, step=epoch * len(batches) + step)
        n_seen, loss_sum = n_seen + len(rows), loss_sum + float(loss.detach()) * len(rows)
        now = time.monotonic()
        if progress is not None and now - told > SECONDS_BETWEEN_REPORTS:
            told = now
            progress(_step_event(task, epoch, step + 1, len(batches), n_seen / (now - started)))
    seconds = time.monotonic() - started
    return {
        "epoch": epoch + 1,
        "loss": loss_sum / n_seen,
        "images_per_second": n_seen / max(seconds, 1e-9),
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu_started,
    }


def _check_converged(task: MemberTask, epoch: int, loss: float, y_score: NDArray[np.float32]) -> None:
    """Refuse to go on with a network that has blown up."""
    if not math.isfinite(loss) or not np.isfinite(y_score).all():
        raise ValueError(
            f"learning_rate of member {task.member.name!r} must let training converge: the loss of epoch {epoch + 1} "
            f"is not finite; lower it from {task.member.training.learning_rate}."
        )


def _forward(network: MultilabelNetwork, photos: Tensor, precision: str) -> Tensor:
    """Normalise uint8-range photos and compute float32 logits."""
    photos = normalise_photos(photos, network.mean, network.std)
    photos = photos.contiguous(memory_format=torch.channels_last)
    with torch.autocast(photos.device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16"):
        return network(photos)


def _targets(task: MemberTask, rows: NDArray[np.int64], device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return the truth of a batch and the mask of what is known, where something is not."""
    target = torch.from_numpy(task.y_true[rows]).to(device).float()
    unread = np.array([row in task.photos.failures for row in rows])
    if task.y_known is None and not unread.any():
        return target, None
    known = np.ones(target.shape, np.float32) if task.y_known is None else task.y_known[rows].astype(np.float32)
    known[unread] = 0
    return target, torch.from_numpy(known).to(device)


def _set_learning_rates(
    optimizer: torch.optim.Optimizer, config: TrainingConfig, epoch: int, step: int, n_steps: int
) -> None:
    """Set each group's rate; the frozen and the free phase have a course each."""
    frozen = epoch < config.freeze_epochs
    first, last = (0, min(config.freeze_epochs, config.epochs)) if frozen else (config.freeze_epochs, config.epochs)
    factor = learning_rate_factor(
        (epoch - first) * n_steps + step,
        (last - first) * n_steps,
        config.schedule,
        warmup=config.warmup,
        first_cycle=config.cycle_epochs * n_steps,
        cycle_factor=config.cycle_factor,
    )
    for group in optimizer.param_groups:
        group["lr"] = config.learning_rate * group["share"] * factor


def _create_optimizer(network: MultilabelNetwork, config: TrainingConfig) -> torch.optim.Optimizer:
    """Create AdamW: body and head apart, no decay of biases and norms."""
    groups = []
    for part, share in ((network.body, config.body_learning_rate), (network.head, 1.0)):
        parameters = list(part.parameters())
        for decays in (True, False):
            chosen = [parameter for parameter in parameters if (parameter.ndim > 1) == decays]
            groups.append({"params": chosen, "weight_decay": config.weight_decay if decays else 0.0, "share": share})
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _create_average(network: MultilabelNetwork, config: TrainingConfig) -> Any:
    """Create the moving average of the weights, or None."""
    if not config.ema_decay:
        return None
    from timm.utils.model_ema import ModelEmaV3

    return ModelEmaV3(network, decay=config.ema_decay, use_warmup=True, foreach=True)


def _base_rates(task: MemberTask) -> NDArray[np.float64]:
    """Return the labels' frequencies among the training rows."""
    truth = task.y_true[task.train_rows]
    if task.y_known is None:
        return truth.mean(axis=0, dtype=np.float64)
    known = task.y_known[task.train_rows]
    return (truth * known).sum(axis=0) / np.maximum(1, known.sum(axis=0))


def _split_evenly(rows: NDArray[np.int64], batch_size: int) -> list[NDArray[np.int64]]:
    """Cut rows into batches whose sizes differ by at most one, so that none is tiny."""
    return np.array_split(rows, -(-len(rows) // batch_size)) if len(rows) else []


def _check_task(task: MemberTask) -> None:
    """Refuse rows that cannot be trained on."""
    for name, rows in (("train_rows", task.train_rows), ("validation_rows", task.validation_rows)):
        if not len(rows):
            raise ValueError(
                f"{name} of member {task.member.name!r} must hold at least one row: got none; use fewer folds."
            )
    both = np.intersect1d(task.train_rows, task.validation_rows)
    if len(both):
        raise ValueError(
            f"train_rows and validation_rows of member {task.member.name!r} must not meet: {len(both)} rows are in "
            "both."
        )


def _read_or_decide_start(
    network: MultilabelNetwork, task: MemberTask, folder: Path, device: str, *, resumed: bool
) -> dict[str, Any]:
    """Record where the weights came from and which arithmetic is used, so that a resumed training uses the same."""
    path = folder / "start.json"
    if resumed and path.is_file():
        recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return recorded
    precision = task.member.training.precision
    if precision == "auto":
        precision = "bfloat16" if _is_faster_in_bfloat16(network, task, device) else "float32"
        logger.info("%s: %s is the faster arithmetic here", task.member.name, precision)
    start = {"starting_weights": network.starting_weights, "precision": precision}
    atomic_write_json(path, start)
    return start


def _is_faster_in_bfloat16(network: MultilabelNetwork, task: MemberTask, device: str) -> bool:
    """Time two training steps in each arithmetic on a copy of the network."""
    copy = deepcopy(network).train()
    photos = torch.zeros(min(16, task.member.training.batch_size), 3, task.member.size, task.member.size, device=device)
    seconds: dict[str, float] = {}
    for precision in ("float32", "bfloat16"):
        for _ in range(3):  # the first step also sets things up
            started = time.perf_counter()
            _forward(copy, photos, precision).sum().backward()  # type: ignore[no-untyped-call]
            if device != "cpu":
                torch.cuda.synchronize()
            seconds[precision] = min(seconds.get(precision, math.inf), time.perf_counter() - started)
    return seconds["bfloat16"] < 0.95 * seconds["float32"]


def _restore(saved: Checkpoint, network: MultilabelNetwork, average: Any, optimizer: torch.optim.Optimizer) -> None:
    """Put a checkpoint back."""
    network.load_state_dict(saved.weights)
    if average is not None:
        average.module.load_state_dict(saved.averaged)
    optimizer.load_state_dict(saved.optimizer)


def _kept_network(folder: Path, task: MemberTask, device: str) -> MultilabelNetwork:
    """Load the weights of the epoch that is kept into a fresh network."""
    saved = load_checkpoint(folder)
    if saved is None:
        raise ValueError(f"folder must still hold its checkpoint: {folder} was emptied during the training; run again.")
    keeps_best = task.member.training.keep == "best"
    tensors = read_tensors(best_weights_file(folder)) if keeps_best else (saved.averaged or saved.weights)
    network = create_network(task.member, _base_rates(task), load_weights=False)
    network.load_state_dict(tensors)
    network = network.to(device).to(memory_format=torch.channels_last)
    network.eval()
    return network


def _step_event(task: MemberTask, epoch: int, step: int, n_steps: int, speed: float) -> TrainingEvent:
    """Report a step."""
    return TrainingEvent(
        "step",
        task.member.name,
        task.fold,
        task.n_folds,
        epoch + 1,
        task.member.training.epochs,
        step,
        n_steps,
        speed,
        message=f"{_place(task, epoch + 1)}, step {step}/{n_steps}, {speed:.0f} images/s",
    )


def _place(task: MemberTask, epoch: int) -> str:
    """Say where a training is."""
    return f"{task.member.name}, fold {task.fold + 1}/{task.n_folds}, epoch {epoch}/{task.member.training.epochs}"


def _report_epoch(task: MemberTask, row: dict[str, Any], progress: Progress | None) -> None:
    """Log an epoch and tell the callback."""
    message = (
        f"{_place(task, row['epoch'])}: "
        f"loss {row['loss']:.4f}, validation micro-F1 {row['validation_micro_f1']:.4f} at {row['threshold']:.2f}, "
        f"{row['images_per_second']:.0f} images/s"
    )
    logger.info(message)
    if progress is not None:
        progress(
            TrainingEvent(
                "epoch",
                task.member.name,
                task.fold,
                task.n_folds,
                int(row["epoch"]),
                task.member.training.epochs,
                images_per_second=row["images_per_second"],
                validation_micro_f1=row["validation_micro_f1"],
                message=message,
            )
        )
