"""What learns during a training, and how it is put together for a device."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import torch

from base_models.networks.network import MultilabelNetwork, create_network
from base_models.training.distributed import ProcessGroup
from base_models.training.losses import MultilabelLoss, create_loss
from base_models.training.optimization import create_average, create_optimizer, create_scaler
from base_models.training.sampling import LabelSampler, create_sampler
from base_models.training.shared_gradients import SharedGradients
from base_models.training.step_graph import StepGraphs, can_replay
from base_models.training.task import MemberTask, base_rates, known_truth, positive_counts
from base_models.training.trial import choose_precision


@dataclass
class Learner:
    """What learns: it changes from step to step.

    Parameters
    ----------
    network : MultilabelNetwork
        The network.
    optimizer : torch.optim.Optimizer
        Its optimizer.
    average : timm.utils.ModelEmaV3 or None
        The moving average of its weights.
    loss : MultilabelLoss
        What it minimizes.
    precision : {"float32", "tf32", "bfloat16", "float16"}
        Arithmetic of the body.
    device : str
        Where it is.
    sampler : LabelSampler or None
        Draws the rows of an epoch; None shows every row once.
    reduction : float
        What the plateau schedule has left of the learning rate.
    n_parts : int
        Parts that a batch is cut into, because memory was too small for more at once.
    processes : ProcessGroup
        Those that share every batch.
    scaler : torch.amp.GradScaler or None
        Keeps the gradients of float16 within its range; None for every other arithmetic.
    graphs : StepGraphs or None
        Replays steps where the recipe's ``cuda_graphs`` allows it, on a single GPU; None launches every kernel.
    shared : SharedGradients or None
        Adds gradients up over several processes during the backward pass; None in a single one.
    """

    network: MultilabelNetwork
    optimizer: torch.optim.Optimizer
    average: Any
    loss: MultilabelLoss
    precision: str
    device: str
    sampler: LabelSampler | None = None
    reduction: float = 1.0
    n_parts: int = 1
    processes: ProcessGroup = field(default_factory=ProcessGroup)
    scaler: Any = None
    graphs: StepGraphs | None = None
    shared: SharedGradients | None = None


def create_learner(
    task: MemberTask, network: MultilabelNetwork, precision: str, device: str, processes: ProcessGroup | None = None
) -> Learner:
    """Put together what learns.

    Parameters
    ----------
    task : MemberTask
        Network, truth and rows.
    network : MultilabelNetwork
        On the device.
    precision : {"float32", "tf32", "bfloat16", "float16"}
        Arithmetic of the body.
    device : str
        Where the network is.
    processes : ProcessGroup, optional
        Those that share every batch; a single one by default.

    Returns
    -------
    Learner
        Loss, moving average, optimizer and sampler as the recipe says, all on the device.
    """
    config = task.member.training
    scaler = create_scaler(precision, device)
    processes = ProcessGroup(device=device) if processes is None else processes
    replays = config.cuda_graphs is not False and scaler is None and can_replay(device, processes.count)
    return Learner(
        network,
        create_optimizer(network, config),
        create_average(network, config),
        create_loss(config, positive_counts(task), len(task.train_rows), device),
        precision,
        device,
        _sampler_of(task),
        processes=processes,
        scaler=scaler,
        graphs=StepGraphs(network, device, forced=config.cuda_graphs is True) if replays else None,
        shared=SharedGradients(network, device) if processes.count > 1 else None,
    )


def build_learner(task: MemberTask, device: str, *, load_weights: bool) -> Learner:
    """Build a member's network and what trains it, for a trial: nothing is read from a folder and nothing written.

    Parameters
    ----------
    task : MemberTask
        The member, truth and rows.
    device : str
        Where it is to train.
    load_weights : bool
        Whether it starts from the weights that the member names; time and memory do not depend on it.

    Returns
    -------
    Learner
        In the member's arithmetic; of its ``precision = "auto"``, the faster one here.
    """
    member = task.member
    truth = known_truth(task) if "recurrent" in member.head else None
    network = create_network(member, base_rates(task), load_weights=load_weights, y_true=truth)
    network = network.to(device).to(memory_format=torch.channels_last)
    precision: str = member.training.precision
    if precision == "auto":
        precision, _ = choose_precision(network, task, device, n_shown=math.inf)
    return create_learner(task, network, precision, device)


def _sampler_of(task: MemberTask) -> LabelSampler | None:
    """Return what draws the rows of an epoch, or None where each is shown once."""
    config = task.member.training
    if config.sampling_alpha == 1:
        return None
    return create_sampler(task.train_rows, known_truth(task), config.sampling_alpha, config.sampling_weight)
