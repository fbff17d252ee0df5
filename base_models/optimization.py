"""The optimizer of a network, its learning rates at every step, and the moving average of its weights."""

from __future__ import annotations

from typing import Any

import torch

from base_models.networks import MultilabelNetwork
from base_models.schedules import learning_rate_factor
from base_models.training_config import TrainingConfig

__all__ = ["create_average", "create_optimizer", "set_learning_rates"]


def create_optimizer(network: MultilabelNetwork, config: TrainingConfig) -> torch.optim.Optimizer:
    """Create AdamW: body and head apart, no decay of biases and norms.

    Parameters
    ----------
    network : MultilabelNetwork
        Body and head.
    config : TrainingConfig
        Rates and decay.

    Returns
    -------
    torch.optim.Optimizer
        Its groups hold their share of the learning rate under ``share``.
    """
    groups = []
    for part, share in ((network.body, config.body_learning_rate), (network.head, 1.0)):
        parameters = list(part.parameters())
        for decays in (True, False):
            chosen = [parameter for parameter in parameters if (parameter.ndim > 1) == decays]
            groups.append({"params": chosen, "weight_decay": config.weight_decay if decays else 0.0, "share": share})
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def set_learning_rates(
    optimizer: torch.optim.Optimizer, config: TrainingConfig, epoch: int, step: int, n_steps: int
) -> None:
    """Set each group's rate; the frozen and the free phase have a course each.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        As ``create_optimizer`` made it.
    config : TrainingConfig
        Schedule and rates.
    epoch : int
        The epoch, from 0.
    step : int
        The step of the epoch, from 0.
    n_steps : int
        Steps of an epoch.
    """
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


def create_average(network: MultilabelNetwork, config: TrainingConfig) -> Any:
    """Create the moving average of the weights.

    Parameters
    ----------
    network : MultilabelNetwork
        The network.
    config : TrainingConfig
        ``ema_decay``.

    Returns
    -------
    timm.utils.ModelEmaV3 or None
        None without a decay.
    """
    if not config.ema_decay:
        return None
    from timm.utils.model_ema import ModelEmaV3

    return ModelEmaV3(network, decay=config.ema_decay, use_warmup=True, foreach=True)
