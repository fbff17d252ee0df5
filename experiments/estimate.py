"""Say how long a recipe will take on this machine and how much disk it needs, before it starts.

The estimate is simple on purpose: every member's network is built, a few training steps and one scoring pass are
timed on random pixels, and the times per photo are multiplied by the passes that the recipe asks for. It leaves out
decoding the photos and the ensemble.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.doctor import Fact
from experiments.feature_estimate import estimate_features

if TYPE_CHECKING:
    import torch

    from base_models.manifest.manifest import Manifest
    from base_models.member_config import MemberConfig, TrainingRun

TIMED_STEPS = 2
LARGEST_TIMED_BATCH = 32
BYTES_PER_WEIGHT = 4 + 4 + 12
"""Best and last weights, and the two moments and the weights of the optimizer's state, all float32."""


@dataclass(frozen=True)
class MemberCost:
    """What one member costs.

    Attributes
    ----------
    member : str
        Its name.
    seconds : float
        Expected training and scoring time of all folds.
    checkpoint_bytes : int
        Disk for the weights of all folds.
    """

    member: str
    seconds: float
    checkpoint_bytes: int


def estimate_member(member: "MemberConfig", n_labels: int, passes: tuple[float, float], n_folds: int) -> MemberCost:
    """Time a few steps of one member.

    Parameters
    ----------
    member : MemberConfig
        The member.
    n_labels : int
        Number of labels it answers.
    passes : tuple of float
        How many photos it trains on and how many it only scores, over all epochs and folds.
    n_folds : int
        Number of folds.

    Returns
    -------
    MemberCost
        Seconds and bytes.
    """
    import numpy as np
    import torch

    from base_models.networks import create_network
    from base_models.precomputed.head_network import BodyNetwork, HeadNetwork

    network = create_network(member, np.full(n_labels, 0.1), load_weights=False)
    batch = min(member.training.batch_size, LARGEST_TIMED_BATCH)
    photos = torch.rand(batch, 3, member.size, member.size)
    weights = sum(parameter.numel() for parameter in network.parameters())
    n_bytes = weights * BYTES_PER_WEIGHT
    if member.features == "precomputed":
        photos, network = BodyNetwork(network)(photos).detach().unsqueeze(-1), HeadNetwork(network)
        learning = sum(parameter.numel() for parameter in network.parameters())
        n_bytes = weights * 4 + learning * BYTES_PER_WEIGHT
    training, scoring = _seconds_per_step(network, photos, n_labels)
    seconds = (passes[0] * training + passes[1] * scoring) / batch
    return MemberCost(member.name, seconds, n_bytes * n_folds)


def _seconds_per_step(network: "torch.nn.Module", photos: "torch.Tensor", n_labels: int) -> tuple[float, float]:
    """Return the time of one training step and of scoring one batch; the first step is not timed."""
    import torch

    optimizer = torch.optim.AdamW(network.parameters())
    target = torch.zeros(len(photos), n_labels)
    network.train()
    start = time.perf_counter()
    for step in range(1 + TIMED_STEPS):
        if step == 1:
            start = time.perf_counter()
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(photos), target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    training = (time.perf_counter() - start) / TIMED_STEPS
    network.eval()
    start = time.perf_counter()
    with torch.no_grad():
        network(photos)
    return training, time.perf_counter() - start


def estimate(run: "TrainingRun", manifest: "Manifest") -> list[Fact]:
    """Estimate the time and the disk space of a training run.

    Parameters
    ----------
    run : TrainingRun
        A loaded recipe.
    manifest : Manifest
        Its photos.

    Returns
    -------
    list of Fact
        One per member, and the sum.
    """
    n_labels, n_networks = manifest.y_true.shape[1], run.folds.n_networks
    learned, held_out, n_rest = _count_rows(run, manifest)
    validating = run.folds.validation_fraction
    costs = []
    for member in run.members:
        trained = learned * (1 - validating) * member.training.epochs
        scored = learned * validating * member.training.epochs + held_out + n_rest * n_networks
        costs.append(estimate_member(member, n_labels, (trained, scored), n_networks))
    features = estimate_features(run.members, len(manifest.split))
    stores = 2 * 4 * (len(run.members) + len(run.derived)) * (held_out + n_rest) * n_labels  # chunks and the store
    total = sum(cost.seconds for cost in costs) + sum(cost.seconds for cost in features)
    size = sum(cost.checkpoint_bytes for cost in costs) + sum(cost.n_bytes for cost in features) + stores
    facts = [_cost_fact(cost) for cost in costs]
    facts += [Fact(cost.name, f"{duration(cost.seconds)}, {cost.n_bytes / 2**20:.0f} MiB") for cost in features]
    kind = f"{run.folds.n_folds} folds" if n_networks > 1 else "one network a member"
    kind += " and a refit" if run.folds.new_photos == "refit" else ""
    summary = (
        f"{len(manifest.split):,} photos × {n_labels} labels, {kind}: about {duration(total)} on this CPU, "
        f"{size / 2**30:.2f} GiB of disk (decoding photos and the ensemble not counted)"
    )
    return [*facts, Fact("recipe", summary)]


def _count_rows(run: "TrainingRun", manifest: "Manifest") -> tuple[float, float, int]:
    """Return the rows learned from, summed over a member's networks, the rows held out, and the other rows to score."""
    n_train, n_validation, n_test = (int((manifest.split == name).sum()) for name in ("train", "validation", "test"))
    if run.folds.scheme == "out-of-fold":
        learned = n_train * (run.folds.n_folds - 1 + (run.folds.new_photos == "refit"))
        return learned, n_train, n_validation + n_test
    if run.folds.scheme == "validation-split":
        return n_train, n_validation, n_test
    held_out = n_train * run.folds.holdout_fraction
    return n_train - held_out, held_out, n_validation + n_test


def _cost_fact(cost: MemberCost) -> Fact:
    """Say one member's cost."""
    return Fact(f"member {cost.member}", f"{duration(cost.seconds)}, {cost.checkpoint_bytes / 2**20:.0f} MiB")


def duration(seconds: float) -> str:
    """Write a length of time the way people say it.

    Parameters
    ----------
    seconds : float
        Not negative.

    Returns
    -------
    str
        In seconds, minutes or hours.

    Examples
    --------
    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
