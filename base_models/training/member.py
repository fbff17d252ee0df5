"""Train one network so that a killed and resumed training equals an uninterrupted one bit for bit on a CPU.

Every random number comes from a seed that names its place: the weights from the task's seed, an epoch's order and
dropout from (seed, epoch), a photo's augmentation from (seed, epoch, row). Nothing carries over from one epoch to the
next but what a checkpoint holds.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from base_models.device import is_cuda, own_generators, snapshot
from base_models.networks.network import MultilabelNetwork, create_network
from base_models.networks.per_label import LabelwiseNetwork, choose_label_epochs, label_log_losses
from base_models.precomputed.head_network import adapt_to_features
from base_models.recipe.member import MemberConfig
from base_models.recipe.training import TrainingConfig
from base_models.training.checkpoint_writer import CheckpointWriter
from base_models.training.checkpoints import (
    Checkpoint,
    best_weights_file,
    load_checkpoint,
    read_tensors,
    save_checkpoint,
)
from base_models.training.distributed import ProcessGroup
from base_models.training.epoch import train_epoch
from base_models.training.learner import Learner, create_learner
from base_models.training.progress import Progress
from base_models.training.sampling import share_of_rows, share_to_use
from base_models.training.schedules import plateau_reduction
from base_models.training.scoring import score_photos, validation_micro_f1
from base_models.training.task import MemberTask, TrainedMember, base_rates, check_task, known_truth
from base_models.training.trial import choose_precision
from stacking.files.atomic_files import atomic_write_json
from stacking.files.untrusted import read_json
from stacking.metrics import log_loss
from stacking.report.writing import write_score

logger = logging.getLogger(__name__)


def train_member(
    task: MemberTask,
    folder: Path,
    *,
    device: str = "cpu",
    progress: Progress | None = None,
    processes: ProcessGroup | None = None,
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
    processes : ProcessGroup, optional
        Those that train this network together; all call this with the same task.

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
    check_task(task)
    share = share_to_use(task.member.training, len(task.train_rows))
    rows = share_of_rows(task.train_rows, share, task.fold)
    task = replace(task, train_rows=rows)
    folder.mkdir(parents=True, exist_ok=True)
    member, config = task.member, task.member.training
    processes = ProcessGroup(device=device) if processes is None else processes
    with processes.first_goes_first():
        saved = load_checkpoint(folder)
    with torch.random.fork_rng(own_generators(device)):
        torch.manual_seed(task.seed)
        truth = known_truth(task) if "recurrent" in member.head else None
        load_weights = saved is None and member.features == "live"
        network = create_network(member, base_rates(task), load_weights=load_weights, y_true=truth)
        network = adapt_to_features(network, task.photos).to(device).to(memory_format=torch.channels_last)
        check_sizes(network, member)
        if config.sync_batch_norm:
            network = processes.share_batch_norm(network)
        start = processes.agree(
            partial(_read_or_decide_start, network, task, folder, processes, resumed=saved is not None)
        )
        learner = create_learner(task, network, start["precision"], device, processes)
        if saved is not None:
            _restore(saved, learner)
            learner.n_parts = int(saved.history[-1].get("batch_parts", 1))
            logger.info("%s: resumed", task.place(saved.epoch))
        history = [] if saved is None else saved.history
        resumed_from = len(history)
        best_epoch = 0 if saved is None else saved.best_epoch
        label_losses = [] if saved is None else [np.array(row, np.float64) for row in saved.label_losses]
        with CheckpointWriter() as writer:
            for epoch in range(resumed_from, config.epochs):
                if config.patience and epoch - best_epoch >= config.patience:
                    break
                if config.stop_when_overfit and _is_overfit(history):
                    break
                torch.manual_seed(task.seed + 1 + epoch)
                learner.reduction = _reduction(config, history)
                row = train_epoch(learner, task, epoch, progress)
                losses = _validate(learner, task, row)
                if row["validation_micro_f1"] > max((entry["validation_micro_f1"] for entry in history), default=-1.0):
                    best_epoch = epoch + 1
                history.append(row)
                label_losses += [losses] if config.keep == "best-per-label" else []
                if processes.is_first:
                    writer.submit(partial(_copy_state, learner, folder, history, best_epoch, label_losses))
                _report_epoch(task, row, progress)
        with processes.first_goes_first():
            kept = _kept_network(folder, task, device)
    figures: dict[str, Any] = {
        "checkpoint_seconds": [round(seconds, 4) for seconds in writer.seconds],
        "checkpoint_seconds_waited": [round(seconds, 4) for seconds in writer.waited],
    }
    if "precision_trial" in start:
        figures["precision_trial"] = start["precision_trial"]
    precision, weights = start["precision"], start["starting_weights"]
    return TrainedMember(kept, history, best_epoch, resumed_from, precision, weights, len(rows), figures)


def check_sizes(network: MultilabelNetwork, member: MemberConfig) -> None:
    """Try a network at the sizes that its training photos are shrunk to.

    Parameters
    ----------
    network : MultilabelNetwork
        The network.
    member : MemberConfig
        ``size`` and ``training.sizes``.

    Raises
    ------
    ValueError
        If a size is larger than the member's, below 16 pixels, or fails.
    """
    device = next(network.parameters()).device
    network.eval()
    for size in member.training.sizes:
        if not 16 <= size <= member.size:
            raise ValueError(
                f"sizes of member {member.name!r} must lie between 16 and its size, {member.size} pixels: got {size}."
            )
        try:
            with torch.no_grad():
                network(torch.zeros(1, 3, size, size, device=device))
        except (RuntimeError, AssertionError, ValueError) as error:
            raise ValueError(
                f"sizes of member {member.name!r} must suit {member.network}: {size} pixels fail ({error})."
            ) from error


def _is_overfit(history: list[dict[str, Any]]) -> bool:
    """Tell whether the validation loss has passed the training loss; in the first epoch chance may do that."""
    if len(history) < 2:
        return False
    last = history[-1]
    return float(last.get("validation_log_loss", 0.0)) > float(last.get("training_log_loss", math.inf))


def _reduction(config: TrainingConfig, history: list[dict[str, Any]]) -> float:
    """Return what the plateau schedule has left of the learning rate."""
    if config.schedule != "plateau":
        return 1.0
    scores = [row["validation_micro_f1"] for row in history]
    return plateau_reduction(scores, config.plateau_patience, config.plateau_factor)


def _validate(learner: Learner, task: MemberTask, row: dict[str, Any]) -> NDArray[np.float64]:
    """Score the validation rows, add what they say to the epoch's figures and return each label's log loss."""
    rows, flip = task.validation_rows, task.member.training.flip_tta
    scorer = learner.network if learner.average is None else learner.average.module
    learner.processes.average_buffers(learner.network, *([] if learner.average is None else [scorer]))
    score = partial(score_photos, scorer, task.photos, precision=learner.precision, device=learner.device, flip=flip)
    y_score = learner.processes.score(rows, score)
    _check_converged(task, row, y_score)
    row |= _measure(task, rows, y_score, "validation")
    seen = _training_sample(task)
    if len(seen):
        found = _measure(task, seen, learner.processes.score(seen, score), "training")
        del found["threshold"]  # that of the validation rows counts
        row |= found
    y_known = None if task.y_known is None else task.y_known[rows]
    return label_log_losses(task.y_true[rows], y_score, y_known)


def _measure(task: MemberTask, rows: NDArray[np.int64], y_score: NDArray[np.float32], part: str) -> dict[str, float]:
    """Score some rows: micro-F1 at the best threshold, that threshold, and the log loss where a cell is known."""
    y_true, y_known = task.y_true[rows], None if task.y_known is None else task.y_known[rows].astype(bool)
    found: dict[str, float] = {}
    found[f"{part}_micro_f1"], found["threshold"] = validation_micro_f1(y_true, y_score, y_known)
    if y_known is None or y_known.any():
        found[f"{part}_log_loss"] = log_loss(y_true, y_score, y_known=y_known)
    return found


def _training_sample(task: MemberTask) -> NDArray[np.int64]:
    """Draw as many training rows as there are validation rows, the same in every epoch: both are scored alike.

    What the training itself averages comes from changed photos and a network that still moves.
    """
    unread = task.photos.failures
    rows = np.array([row for row in task.train_rows.tolist() if row not in unread], np.int64)
    # the last number keeps uses of one seed apart: 1 for RandAugment, 2 for label sampling, 3 for mixing, 4 here
    rng = np.random.default_rng((task.seed, 4))
    return np.sort(rng.permutation(rows)[: len(task.validation_rows)])


def _check_converged(task: MemberTask, row: dict[str, Any], y_score: NDArray[np.float32]) -> None:
    """Refuse to go on with a network that has blown up."""
    if not math.isfinite(row["loss"]) or not np.isfinite(y_score).all():
        raise ValueError(
            f"learning_rate of member {task.member.name!r} must let training converge: the loss of epoch "
            f"{row['epoch']} is not finite; lower it from {task.member.training.learning_rate}."
        )


def _read_or_decide_start(
    network: MultilabelNetwork, task: MemberTask, folder: Path, processes: ProcessGroup, *, resumed: bool
) -> dict[str, Any]:
    """Record where the weights came from and which arithmetic is used, so that a resumed training uses the same."""
    path = folder / "start.json"
    if resumed and path.is_file():
        return read_json(path, f"the fold's {path}")
    precision: str = task.member.training.precision
    start: dict[str, Any] = {"starting_weights": network.starting_weights}
    if precision == "auto":
        precision, start["precision_trial"] = choose_precision(network, task, processes.device, processes.count)
        told = ", ".join(f"{name} {value:g}" for name, value in start["precision_trial"].items())
        logger.info("%s: %s is the faster arithmetic here (%s)", task.member.name, precision, told)
    elif precision == "float32" and is_cuda(processes.device):
        logger.info("%s: float32 leaves a GPU's matrix units idle; precision 'auto' uses them", task.member.name)
    start["precision"] = precision
    atomic_write_json(path, start)
    return start


def _restore(saved: Checkpoint, learner: Learner) -> None:
    """Put a checkpoint back."""
    learner.network.load_state_dict(saved.weights)
    if learner.average is not None:
        learner.average.module.load_state_dict(saved.averaged)
    learner.optimizer.load_state_dict(saved.optimizer)
    if learner.scaler is not None:
        learner.scaler.load_state_dict(saved.scaler)


def _copy_state(
    learner: Learner,
    folder: Path,
    history: list[dict[str, Any]],
    best_epoch: int,
    label_losses: list[NDArray[np.float64]],
) -> Callable[[], None]:
    """Copy what a checkpoint holds, and return what writes it."""
    kept = sorted(set(choose_label_epochs(label_losses, best_epoch))) if label_losses else []
    losses = [[None if math.isnan(value) else float(value) for value in row] for row in label_losses]
    averaged = {} if learner.average is None else learner.average.module.state_dict()
    tensors = {
        "weights": learner.network.state_dict(),
        "averaged": averaged,
        "optimizer": learner.optimizer.state_dict(),
    }
    fetch = snapshot(tensors, learner.device)
    scaler = {} if learner.scaler is None else learner.scaler.state_dict()
    epochs = list(history)

    def write() -> None:
        found = fetch()
        weights, averaged = (
            {name: value.contiguous() for name, value in found[part].items()} for part in ("weights", "averaged")
        )
        state = Checkpoint(
            len(epochs), weights, averaged, found["optimizer"], epochs, best_epoch, losses, tuple(kept), scaler
        )
        save_checkpoint(folder, state, averaged or weights)

    return write


def _kept_network(folder: Path, task: MemberTask, device: str) -> MultilabelNetwork | LabelwiseNetwork:
    """Load the weights of the epochs that are kept into fresh networks."""
    saved = load_checkpoint(folder)
    if saved is None:
        raise ValueError(f"folder must still hold its checkpoint: {folder} was emptied during the training; run again.")

    def load(tensors: dict[str, Tensor]) -> MultilabelNetwork:
        network = adapt_to_features(create_network(task.member, base_rates(task), load_weights=False), task.photos)
        network.load_state_dict(tensors)
        return network.to(device).to(memory_format=torch.channels_last)

    kept: MultilabelNetwork | LabelwiseNetwork
    if task.member.training.keep == "best-per-label":
        epochs = choose_label_epochs([np.array(row, np.float64) for row in saved.label_losses], saved.best_epoch)
        kept = LabelwiseNetwork({k: load(read_tensors(best_weights_file(folder, k))) for k in set(epochs)}, epochs)
    elif task.member.training.keep == "best":
        kept = load(read_tensors(best_weights_file(folder)))
    else:
        kept = load(saved.averaged or saved.weights)
    return kept.eval()


def _report_epoch(task: MemberTask, row: dict[str, Any], progress: Progress | None) -> None:
    """Log an epoch and tell the callback."""
    message = (
        f"{task.place(row['epoch'])}: "
        f"loss {write_score(row['loss'])}, validation micro-F1 {write_score(row['validation_micro_f1'])} at "
        f"{write_score(row['threshold'], 2)}, "
        f"{row['images_per_second']:.0f} images/s"
    )
    logger.info(message)
    if progress is not None:
        progress(
            task.event(
                "epoch",
                int(row["epoch"]),
                images_per_second=row["images_per_second"],
                validation_micro_f1=row["validation_micro_f1"],
                message=message,
            )
        )
