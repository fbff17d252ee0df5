"""Find a learning rate in seconds: let it grow from step to step and see where the loss falls, and where it breaks out.

After Smith, Cyclical Learning Rates for Training Neural Networks, WACV 2017, section 3.3: while the rate is too small
nothing happens, then the loss falls, and beyond the largest rate that training bears it becomes ragged and rises. The
rate grows by the same factor at every step, and every step sees a batch of its own, as in Howard and Gugger's fastai.

Photos of a small batch differ more in how many labels they have than a rate moves the loss in a few steps. So from each
batch's loss that of the constant answer, the labels' frequencies, on the same batch is taken, and their mean is added:
the same curve with a fraction of its noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from base_models.training.epoch import train_epoch
from base_models.training.learner import Learner
from base_models.training.sampling import LabelSampler
from base_models.training.task import MemberTask, base_rates

BREAKS_OUT = 4.0  # times the lowest loss so far: there fastai's finder stops too
BELOW_THE_LOWEST = 1 / 3  # of the rate with the lowest loss: Smith's base rate, section 3.3
MOVES = 4.0  # standard errors of the smoothed loss; a curve that falls less than this has found nothing: a choice
SMOOTHED_OVER = 0.05  # of the steps, to each side, as the standard deviation of the weights: a choice


@dataclass(frozen=True)
class RateRange:
    """What a range test has found.

    Attributes
    ----------
    member : str
        Name of the member.
    rates : ndarray of float64, shape (n_tried,)
        Learning rates of the head, rising; fewer than were asked for where the loss broke out.
    losses : ndarray of float64, shape (n_tried,)
        Training loss of each step's batch before the step, freed of how hard the batch is.
    broke_out : bool
        Whether the test ended because the loss did: then the range is wide enough above.
    configured : float
        The recipe's own ``learning_rate``.
    """

    member: str
    rates: NDArray[np.float64]
    losses: NDArray[np.float64]
    broke_out: bool
    configured: float

    @property
    def smoothed(self) -> NDArray[np.float64]:
        """Return the losses averaged over neighbors, to both sides alike, so that no rate is blamed for another's."""
        places = np.arange(len(self.losses))
        width = max(1.0, SMOOTHED_OVER * len(self.losses))
        weights = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)
        return np.asarray(weights @ self.losses / weights.sum(axis=1))

    @property
    def lowest_at(self) -> float:
        """Return the rate with the lowest smoothed loss."""
        return float(self.rates[int(self.smoothed.argmin())])

    @property
    def has_moved(self) -> bool:
        """Tell whether any rate lowered the loss by more than noise."""
        smoothed, width = self.smoothed, max(1.0, SMOOTHED_OVER * len(self.losses))
        until = max(3, int(smoothed.argmin()) + 1)  # beyond the lowest the loss is ragged by itself
        noise = float(np.std((self.losses - smoothed)[:until])) / math.sqrt(2 * math.sqrt(math.pi) * width)
        return bool(smoothed[0] - smoothed.min() > MOVES * noise)

    @property
    def suggestion(self) -> float | None:
        """Return a third of that rate; None where the loss did not fall."""
        return BELOW_THE_LOWEST * self.lowest_at if self.has_moved else None

    def remark(self) -> str:
        """Say what the curve allows to say.

        Returns
        -------
        str
            One sentence.
        """
        if self.suggestion is None:
            return "no rate lowered the loss: try a wider range or more steps"
        if not self.broke_out and self.lowest_at > self.rates[-1] / 2:
            return "the loss still fell at the highest rate: try higher ones"
        return f"the loss is lowest at {self.lowest_at:.2g}; a third of that is a good peak"


def measure_rate_range(
    learner: Learner,
    task: MemberTask,
    *,
    lowest: float = 1e-5,
    highest: float = 1.0,
    n_steps: int = 100,
    on_step: Callable[[int], None] | None = None,
) -> RateRange:
    """Train a network with a rate that grows at every step.

    Parameters
    ----------
    learner : Learner
        A network that has not learned yet; of no use afterwards.
    task : MemberTask
        Photos, truth and training rows; the member's own batch size, changes of the photos, loss and sampling are used.
    lowest, highest : float
        The first and the last rate, positive. The body's rates keep their share of it, as in training.
    n_steps : int, default=100
        Steps at most, at least 10.
    on_step : callable, optional
        Called with the number of steps so far.

    Returns
    -------
    RateRange
        The curve, and what it suggests.

    Raises
    ------
    ValueError
        If the range or the number of steps is none, or the very first loss is not finite.

    Notes
    -----
    Costs ``n_steps`` training steps. ``freeze_epochs`` and ``sizes`` are left out: the test is of the last phase.
    """
    if not 0 < lowest < highest < math.inf:
        raise ValueError(f"lowest must be positive and below highest: got {lowest} and {highest}.")
    if n_steps < 10:
        raise ValueError(f"n_steps must be at least 10 for a curve: got {n_steps}.")
    config = task.member.training
    # train_epoch sets the rate to learning_rate × reduction: with 1 and no schedule the reduction is the rate
    plain = replace(
        config,
        learning_rate=1.0,
        schedule="constant",
        warmup=0.0,
        epochs=n_steps + config.mixup_off_epochs,
        freeze_epochs=0,
        sizes=(),
        shares=(),
    )
    task = replace(task, member=replace(task.member, training=plain))
    rates, broke_out = np.geomspace(lowest, highest, n_steps), False
    losses, constant = list[float](), list[float]()
    batches, learner.sampler = _batches(task, learner.sampler), None
    torch.manual_seed(task.seed)
    for step, (rate, rows) in enumerate(zip(rates, batches, strict=False)):
        learner.reduction = float(rate)
        loss = float(train_epoch(learner, replace(task, train_rows=rows), step)["loss"])
        if not math.isfinite(loss) or (losses and loss > BREAKS_OUT * min(losses)):
            broke_out = True
            break
        losses.append(loss)
        constant.append(_constant_loss(learner, task, rows))
        if on_step is not None:
            on_step(step + 1)
    if not losses:
        raise ValueError(f"the first loss of member {task.member.name!r} must be finite: got {loss}; look at its loss.")
    freed = np.array(losses) - np.array(constant) + np.mean(constant)
    return RateRange(task.member.name, rates[: len(losses)], freed, broke_out, config.learning_rate)


def _constant_loss(learner: Learner, task: MemberTask, rows: NDArray[np.int64]) -> float:
    """Return the loss of a batch that is answered with the labels' frequencies."""
    rate = np.clip(base_rates(task), 1e-4, 1 - 1e-4)  # a label that no photo has must not cost infinitely much
    logits = torch.from_numpy(np.log(rate / (1 - rate))).float().expand(len(rows), -1)
    target = torch.from_numpy(task.y_true[rows]).float()
    mask = None if task.y_known is None else torch.from_numpy(task.y_known[rows].astype(np.float32))
    device = learner.device
    with torch.no_grad():
        return float(learner.loss(logits.to(device), target.to(device), None if mask is None else mask.to(device)))


def _batches(task: MemberTask, sampler: LabelSampler | None) -> Iterator[NDArray[np.int64]]:
    """Yield the rows of whole batches, without end: pass after pass, as the training would draw them."""
    epoch, rows = 0, task.train_rows
    size = min(task.member.training.batch_size, len(rows))
    while True:
        if sampler is None:
            order = np.random.default_rng((task.seed, epoch)).permutation(rows)
        else:
            order = sampler.draw(task.seed, epoch)
        for start in range(0, len(order) - size + 1, size):
            yield order[start : start + size]
        epoch += 1
