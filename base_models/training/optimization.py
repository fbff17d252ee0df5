"""The optimizer of a network, its learning rates at every step, and the moving average of its weights."""

from __future__ import annotations

from typing import Any

import torch

from base_models.networks.network import MultilabelNetwork
from base_models.recipe.training import TrainingConfig
from base_models.training.schedules import learning_rate_factor


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
        Its groups hold their share of the learning rate under ``share``; the last one is the head's.
    """
    groups: list[dict[str, Any]] = []
    parts = [(network.body, config.body_learning_rate), (network.head, 1.0)]
    if config.layer_decay < 1:
        groups += _layer_groups(parts.pop(0)[0], config)
    for part, share in parts:
        parameters = list(part.parameters())
        for decays in (True, False):
            chosen = [parameter for parameter in parameters if (parameter.ndim > 1) == decays]
            groups.append({"params": chosen, "weight_decay": config.weight_decay if decays else 0.0, "share": share})
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=True)


def _layer_groups(body: torch.nn.Module, config: TrainingConfig) -> list[dict[str, Any]]:
    """Group the body's parameters by layer; timm knows each network's layers."""
    from timm.optim._param_groups import param_groups_layer_decay

    groups = param_groups_layer_decay(body, config.weight_decay, layer_decay=config.layer_decay)
    return [
        {
            "params": group["params"],
            "weight_decay": group["weight_decay"],
            "share": config.body_learning_rate * group["lr_scale"],
        }
        for group in groups
    ]


def set_learning_rates(
    optimizer: torch.optim.Optimizer,
    config: TrainingConfig,
    epoch: int,
    step: int,
    n_steps: int,
    reduction: float = 1.0,
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
    reduction : float
        What the plateau schedule has left of the rate.
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
        group["lr"] = config.learning_rate * group["share"] * factor * reduction


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

    average = ModelEmaV3(network, decay=config.ema_decay, use_warmup=True, foreach=True)
    for part in average.module.modules():
        if isinstance(part, torch.nn.RNNBase):  # a copy's weights lie apart, and cuDNN would gather them at every call
            part.flatten_parameters()
    return average


def create_scaler(precision: str, device: str) -> Any:
    """Create what keeps float16 gradients from vanishing.

    Parameters
    ----------
    precision : str
        Arithmetic of the body.
    device : str
        Where it computes.

    Returns
    -------
    torch.amp.GradScaler or None
        None for arithmetics whose range is float32's.

    References
    ----------
    P. Micikevicius et al., "Mixed Precision Training", ICLR 2018, section 3.2.
    """
    return torch.amp.GradScaler(torch.device(device).type) if precision == "float16" else None


def claim_state(optimizer: torch.optim.Optimizer) -> None:
    """Take the memory of the optimizer's state before its first step, which could run out of it half-way.

    Parameters
    ----------
    optimizer : torch.optim.Optimizer
        As ``create_optimizer`` made it, its gradients there. It gets the state that AdamW would begin with.

    Raises
    ------
    torch.OutOfMemoryError
        If there is too little; the optimizer is then as it was.
    """
    claimed: dict[torch.Tensor, dict[str, torch.Tensor]] = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and not optimizer.state.get(parameter):
                claimed[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                    "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                }
    for parameter, state in claimed.items():
        optimizer.state[parameter].update(state)
