"""One pass over the training rows, straight down: batch, change, forward, loss, backward, step.

Every random number comes from a seed that names its place, so an epoch depends on nothing but what a checkpoint holds.
A batch that does not fit into the device's memory is cut into parts whose gradients add up to its own. Batch
normalization then sees the parts, so this is logged as a warning and recorded.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from base_models.device import arithmetic, is_out_of_memory, release_memory, send, send_photos
from base_models.networks.heads.auxiliary import AUXILIARY_WEIGHT
from base_models.networks.logits import compute_logits
from base_models.photos.tensors import PhotoTensors
from base_models.photos.transforms import augment_photos, mix_photos, shrink_photos, training_size
from base_models.training.distributed import ProcessGroup
from base_models.training.learner import Learner
from base_models.training.optimization import claim_state, set_learning_rates
from base_models.training.progress import Progress, TrainingEvent
from base_models.training.sampling import share_of_rows
from base_models.training.scoring import split_evenly
from base_models.training.task import MemberTask

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_REPORTS = 2.0  # of progress; nothing else depends on it


def train_epoch(learner: Learner, task: MemberTask, epoch: int, progress: Progress | None = None) -> dict[str, Any]:
    """Pass once over the training rows.

    Parameters
    ----------
    learner : Learner
        Changed in place.
    task : MemberTask
        Photos, truth and rows.
    epoch : int
        The epoch, from 0.
    progress : callable, optional
        Called with a ``TrainingEvent`` every few seconds.

    Returns
    -------
    dict
        The epoch's figures: a row of the history.
    """
    config = task.member.training
    share = config.frozen_share if epoch >= config.freeze_epochs else 1.0
    learner.network.freeze_body(share, config.frozen_by, config.tuned_layers)
    learner.network.train()
    order, sampled = _draw_rows(learner, task, epoch)
    whole = split_evenly(order, config.batch_size)
    shares_of = [learner.processes.shares(rows) for rows in whole]
    batches = [shares[learner.processes.rank] for shares in shares_of]
    _check_shares(batches, task, learner.processes)
    task.photos.keep()  # so that decoding does not count as training
    if isinstance(task.photos, PhotoTensors):
        task.photos.serve(learner.device)
    for way in (learner.graphs, learner.shared):
        if way is not None:
            way.begin_epoch()
    started, cpu_started = time.monotonic(), time.process_time()
    reported, n_seen = started, 0
    losses: list[Tensor] = []  # read at the end: reading a GPU's waits for it
    for step, (rows, pixels) in enumerate(task.photos.iter_batches(batches, reuse=True)):
        set_learning_rates(learner.optimizer, config, epoch, step, len(batches), learner.reduction)
        others = [share for rank, share in enumerate(shares_of[step]) if rank != learner.processes.rank]
        batch = _read_batch(task, (epoch, step), rows, pixels, others)
        while (loss := _try_step(learner, task, batch, epoch)) is None:
            _cut_finer(learner, task, epoch, len(rows), progress)
        if learner.average is not None:
            learner.average.update(learner.network, step=epoch * len(batches) + step)
        n_seen += len(whole[step])
        losses.append(loss * len(whole[step]))
        now = time.monotonic()
        if progress is not None and now - reported > SECONDS_BETWEEN_REPORTS:
            reported = now
            progress(_step_event(task, epoch, step + 1, len(batches), n_seen / (now - started)))
    loss_sum = float(torch.stack(losses).double().sum())
    seconds = time.monotonic() - started
    (loss_sum,) = learner.processes.sum(loss_sum)
    return {
        "epoch": epoch + 1,
        "loss": loss_sum / n_seen,
        "images_per_second": n_seen / max(seconds, 1e-9),
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu_started,
        "learning_rate": learner.optimizer.param_groups[-1]["lr"],  # the head's, at the last step
        "trained_parameters": sum(p.numel() for p in learner.network.parameters() if p.requires_grad),
        **sampled,
        **({"batch_parts": learner.n_parts} if learner.n_parts > 1 else {}),
        **({"replayed_steps": learner.graphs.n_replayed} if learner.graphs is not None else {}),
    }


def _draw_rows(learner: Learner, task: MemberTask, epoch: int) -> tuple[NDArray[np.int64], dict[str, float]]:
    """Return the epoch's rows in order and, where they are sampled, what that has reached."""
    if learner.sampler is None:
        config, rows = task.member.training, task.train_rows
        if config.shares:
            rows = share_of_rows(rows, config.shares[epoch * len(config.shares) // config.epochs], task.fold)
        return np.random.default_rng((task.seed, epoch)).permutation(rows), {}
    drawn = learner.sampler.draw(task.seed, epoch)
    return drawn, learner.sampler.figures(drawn)


def _check_shares(batches: list[NDArray[np.int64]], task: MemberTask, processes: ProcessGroup) -> None:
    """Refuse batches that leave a process too little: batch normalization needs two photos."""
    smallest = min(len(rows) for rows in batches)
    if processes.count > 1 and smallest < 2:
        raise ValueError(
            f"batch_size of member {task.member.name!r} must give each of {processes.count} processes two photos at "
            f"least: a share of {smallest} was got from batches of at most {task.member.training.batch_size}; raise it."
        )


@dataclass(frozen=True)
class _Batch:
    """What a step learns from, as it lies in memory: rows, photos, truth, what of it is known, the share of mixing.

    With several processes it is this one's share; ``elsewhere`` is what the rows of the others weigh.
    """

    rows: NDArray[np.int64]
    pixels: Tensor
    target: Tensor
    mask: Tensor | None
    mixed: float | None
    elsewhere: float = 0.0

    def weights(self) -> Tensor:
        """Return each row's weight in the batch's mean."""
        if self.mask is None:
            return torch.ones(len(self.rows))
        return _weigh(self.mask, self.mixed)

    def parts(self, n_parts: int) -> list[NDArray[np.int64]]:
        """Cut the batch; where photos are mixed in pairs, first with last, both of a pair are in the same part."""
        n_rows = len(self.rows)
        if self.mixed is None or n_parts == 1:
            return np.array_split(np.arange(n_rows), n_parts)
        parts = np.array_split(np.arange(n_rows // 2), n_parts)
        parts[-1] = np.append(parts[-1], np.arange(n_rows // 2, (n_rows + 1) // 2))  # the middle one is its own partner
        return [np.unique(np.concatenate([part, n_rows - 1 - part])) for part in parts]


def _weigh(mask: Tensor, mixed: float | None) -> Tensor:
    """Return the weights of rows of which not all is known."""
    return (mask if mixed is None else mask * mask.flip(0)).sum(dim=1)


def _read_batch(
    task: MemberTask,
    place: tuple[int, int],
    rows: NDArray[np.int64],
    pixels: Tensor,
    others: Sequence[NDArray[np.int64]] = (),
) -> _Batch:
    """Bring photos and truth of a batch together, and draw how it is mixed; the others' rows are weighed only."""
    config, epoch = task.member.training, place[0]
    mixed = None
    if config.mixup and epoch < config.epochs - config.mixup_off_epochs:
        # the last number keeps uses of one seed apart: 1 for RandAugment, 2 for label sampling, 3 here
        mixed = float(np.random.default_rng((task.seed, *place, 3)).beta(config.mixup, config.mixup))
    target, mask = _targets(task, rows)
    # all processes know what is annotated; only a photo that one of them could not read now is missed by the others
    known = None if task.y_known is None else task.y_known
    elsewhere = sum(
        len(share) if known is None else float(_weigh(torch.from_numpy(known[share]).float(), mixed).sum())
        for share in others
    )
    return _Batch(rows, pixels, target, mask, mixed, elsewhere)


def _show(
    learner: Learner, task: MemberTask, batch: _Batch, part: NDArray[np.int64], epoch: int
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return changed photos (n_rows, 3, size, size), targets (n_rows, n_labels) and the mask of what is known."""
    config, device = task.member.training, learner.device
    rows, pixels, target, mask = batch.rows, batch.pixels, batch.target, batch.mask
    if len(part) < len(rows):
        rows, chosen = rows[part], torch.from_numpy(part)
        pixels, target, mask = pixels[chosen], target[chosen], None if mask is None else mask[chosen]
    strength = {"max_zoom": config.max_zoom, "max_shade": config.max_shade}
    photos = augment_photos(send_photos(pixels, device), rows, config.augmentation, task.seed, epoch, **strength)
    if config.sizes:
        photos = shrink_photos(photos, training_size(config, epoch))
    target, mask = send(target, device).float(), None if mask is None else send(mask, device)
    if batch.mixed is None:
        return photos, target, mask
    return mix_photos(photos, target, mask, batch.mixed)


def _try_step(learner: Learner, task: MemberTask, batch: _Batch, epoch: int) -> Tensor | None:
    """Take one step of the optimizer and return the loss before it; None, and no step, where memory is too small."""
    weights = batch.weights()
    weighed, clip_norm = (weights, float(weights.sum()) + batch.elsewhere), task.member.training.clip_norm
    learner.optimizer.zero_grad(set_to_none=True)
    if learner.shared is not None and learner.shared.overlap:
        loss = _add_gradients(learner, task, batch, epoch, weighed)
        _step(learner, clip_norm)
        return loss
    found: Tensor | None = None
    try:
        found = _add_gradients(learner, task, batch, epoch, weighed)
        claim_state(learner.optimizer)  # the first step takes memory too, and half of one cannot be taken back
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        found = None
    if learner.processes.sum(float(found is None))[0]:  # in any process
        return None
    learner.processes.sum_gradients(learner.network)
    _step(learner, clip_norm)
    if learner.shared is not None:
        learner.shared.count_step()
    return found


def _add_gradients(
    learner: Learner, task: MemberTask, batch: _Batch, epoch: int, weighed: tuple[Tensor, float]
) -> Tensor:
    """Add up the gradients of a batch's parts, given the weights of rows and of the whole, and return its loss."""
    weights, total = weighed
    loss_sum = torch.zeros((), device=learner.device)
    parts = batch.parts(learner.n_parts)
    for number, part in enumerate(parts):
        shown = _show(learner, task, batch, part, epoch)
        share = float(weights[torch.from_numpy(part)].sum()) / total if total else 0.0
        passes = partial(_pass_through, learner, share, is_last=number == len(parts) - 1)
        reads = learner.loss.entries is None and shown[2] is not None  # ranking asks which rows have known labels
        if learner.graphs is None or share != 1 or reads:
            loss_sum += passes(*shown)
        else:  # a whole batch
            loss_sum += learner.graphs.add_gradients(shown, passes)
    return loss_sum


def _pass_through(
    learner: Learner, share: float, photos: Tensor, target: Tensor, mask: Tensor | None, *, is_last: bool = True
) -> Tensor:
    """Pass forward and backward, and return the loss; its share in a batch's counts."""
    shared = learner.shared
    sending = contextlib.nullcontext() if shared is None else shared.part(is_last=is_last)
    with arithmetic(learner.precision, learner.device), sending:
        network = learner.network if shared is None else shared.passing()
        logits = compute_logits(network, photos, learner.precision)
        loss = learner.loss(logits, target, mask) * share
        auxiliary = learner.network.take_auxiliary_logits()
        if auxiliary is not None:
            loss = loss + AUXILIARY_WEIGHT * share * learner.loss(auxiliary, target, mask)
        scaled = loss if learner.scaler is None else learner.scaler.scale(loss)
        scaled.backward()
    return loss.detach()


def _step(learner: Learner, clip_norm: float) -> None:
    """Let the optimizer follow the gradients; float16's are scaled back, and a step that ran over is left out."""
    if learner.scaler is not None:
        learner.scaler.unscale_(learner.optimizer)
    if clip_norm:
        nn.utils.clip_grad_norm_(learner.network.parameters(), clip_norm)
    if learner.scaler is None:
        learner.optimizer.step()
        return
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()


def _cut_finer(learner: Learner, task: MemberTask, epoch: int, n_rows: int, progress: Progress | None) -> None:
    """Cut batches into twice as many parts from now on, and say so."""
    learner.optimizer.zero_grad(set_to_none=True)
    learner.n_parts *= 2
    if n_rows < 2 * learner.n_parts:  # batch normalization needs two
        raise ValueError(
            f"size of member {task.member.name!r} must fit into the memory of {learner.device}: fewer than four photos "
            f"of {task.member.size} pixels at once do not; choose a smaller size or network."
        )
    if isinstance(task.photos, PhotoTensors):
        task.photos.leave_device()
    if learner.graphs is not None:
        learner.graphs.clear()
    release_memory(learner.device)
    message = (
        f"{task.place(epoch + 1)}: out of memory on {learner.device}; each batch of {n_rows} photos now goes through "
        f"in {learner.n_parts} parts, whose gradients are added up"
    )
    logger.warning(message)
    if progress is not None:
        progress(task.event("memory", epoch + 1, message=message))


def _targets(task: MemberTask, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor | None]:
    """Return the truth of a batch and the mask of what is known, where something is not."""
    target = torch.from_numpy(task.y_true[rows])
    failures = task.photos.failures
    unread = [place for place, row in enumerate(rows) if row in failures] if failures else []
    if task.y_known is None and not unread:
        return target, None
    known = np.ones(target.shape, np.float32) if task.y_known is None else task.y_known[rows].astype(np.float32)
    known[unread] = 0
    return target, torch.from_numpy(known)


def _step_event(task: MemberTask, epoch: int, step: int, n_steps: int, speed: float) -> TrainingEvent:
    """Report a step."""
    message = f"{task.place(epoch + 1)}, step {step}/{n_steps}, {speed:.0f} images/s"
    return task.event("step", epoch + 1, step=step, n_steps=n_steps, images_per_second=speed, message=message)
