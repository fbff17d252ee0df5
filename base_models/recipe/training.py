"""How one network is trained: a frozen dataclass that a recipe's ``training`` tables are read into.

Every setting that a later version adds has a neutral default, so that the recipes of an earlier one keep their hash.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from base_models.recipe.canonical import NEUTRAL
from base_models.recipe.problems import refuse

RANGES: tuple[tuple[str, Callable[[float], bool], tuple[str, ...]], ...] = (
    ("be at least 1", lambda value: value >= 1, ("epochs", "batch_size", "cycle_factor")),
    ("be positive", lambda value: value > 0, ("learning_rate",)),
    (
        "lie in (0, 1]",
        lambda value: 0 < value <= 1,
        ("body_learning_rate", "layer_decay", "class_weight_power", "train_share"),
    ),
    ("lie in (0, 1)", lambda value: 0 < value < 1, ("plateau_factor",)),
    ("lie in [0, 1]", lambda value: 0 <= value <= 1, ("sampling_alpha", "frozen_share")),
    ("lie in [0, 1)", lambda value: 0 <= value < 1, ("ema_decay", "dropout", "warmup", "margin", "max_shade")),
    (
        "not be negative",
        lambda value: value >= 0,
        ("freeze_epochs", "patience", "plateau_patience", "cycle_epochs", "clip_norm", "weight_decay"),
    ),
    (
        "not be negative",
        lambda value: value >= 0,
        ("class_weight_limit", "focal_gamma", "gamma_negative", "gamma_positive", "poly_epsilon"),
    ),
    (
        "not be negative",
        lambda value: value >= 0,
        ("mixup", "mixup_off_epochs", "min_label_count", "tuned_layers", "train_count"),
    ),
)
RANKING_LOSSES = ("two-way", "zlpr")
UNWEIGHTED_LOSSES = (*RANKING_LOSSES, "distribution-balanced")


@dataclass(frozen=True)
class TrainingConfig:
    """Say how one network is trained.

    Parameters
    ----------
    epochs : int
        Passes over the training rows, at least 1.
    batch_size : int
        Photos per optimizer step.
    learning_rate : float
        Peak learning rate of the head.
    body_learning_rate : float
        Factor on ``learning_rate`` for the pretrained body, in (0, 1]; 1 trains both alike.
    layer_decay : float
        Factor on the body's learning rate for each layer further from the head, in (0, 1] (timm's layer groups).
    weight_decay : float
        AdamW's decoupled weight decay; biases and norms are exempt.
    schedule : {"one-cycle", "cosine", "constant", "plateau"}
        Course of the learning rate, see :mod:`base_models.training.schedules`.
    warmup : float
        Share of the steps over which the rate rises, in [0, 1).
    cycle_epochs : int
        Length of the first cosine cycle in epochs; 0 means one cycle over all epochs.
    cycle_factor : float
        How much longer each further cosine cycle is.
    plateau_patience : int
        Epochs without a better validation score before ``plateau`` lowers the rate.
    plateau_factor : float
        Factor on the rate each time it does, in (0, 1).
    loss : {"bce", "focal", "asymmetric", "poly", "two-way", "zlpr", "distribution-balanced"}
        Training loss, see :mod:`base_models.training.losses`. The scores of ``two-way`` and ``zlpr`` are no
        probabilities.
    class_weights : {"none", "negative-positive", "inverse-frequency", "effective-number"}
        How the labels' training counts weigh the loss: positives by the ratio of negatives to positives, or all
        entries of a label by its inverse frequency or by its inverse effective number of samples (mean 1).
    class_weight_power : float
        Exponent of the first two, in (0, 1]; .5 takes the root.
    class_weight_limit : float
        Largest class weight; 0 sets no limit.
    focal_gamma : float
        Focusing exponent of the focal loss.
    gamma_negative, gamma_positive : float
        Focusing exponents of the asymmetric loss.
    margin : float
        Shift of the asymmetric loss's negatives, in [0, 1).
    poly_epsilon : float
        Weight of the first polynomial term of the poly loss; 0 is plain cross-entropy.
    sampling_alpha : float
        Exponent of the label frequencies that an epoch's rows are drawn for, in [0, 1], see
        :mod:`base_models.training.sampling`: 1 shows every row once, 0 aims at labels that are equally frequent.
    sampling_weight : {"max", "mean", "sum"}
        How a row's weight comes from the weights of its labels.
    freeze_epochs : int
        Epochs in which only the head learns, before the body is unfrozen.
    frozen_share : float
        Share of the body's layers, from the photo on, that never learn, in [0, 1]: .5 tunes the half next to the head,
        1 the head alone.
    frozen_by : {"layers", "parameters"}
        What that is a share of: the network's layer groups, or its parameters.
    tuned_layers : int
        If not 0, only the last so many layers of the body learn, a normalization counted as a layer.
    precision : {"float32", "tf32", "bfloat16", "float16", "auto"}
        Arithmetic of the body; the head and the loss are always float32. ``tf32`` lets a GPU round the factors of
        float32 products, and is float32 on a CPU; ``float16`` scales its gradients. ``auto`` times bfloat16 against
        tf32 (on a CPU, float32) on this machine and takes the faster.
    ema_decay : float
        Decay of the exponential moving average of the weights, in [0, 1); 0 keeps none.
    dropout : float
        Dropout before the head, in [0, 1).
    clip_norm : float
        Largest gradient norm; 0 does not clip.
    augmentation : {"none", "mirror", "light", "strong"}
        Random changes of the training photos, see :mod:`base_models.photos.transforms`.
    max_zoom : float
        Largest zoom of ``light`` and ``strong``, at least 1: 1.05 crops up to 9 % of a photo's area. 0 takes 1.155.
    max_shade : float
        Largest change of the contrast with white, in [0, 1).
    sizes : tuple of int
        Sizes that the training photos are shrunk to, each for an equal share of the epochs, none above the member's
        size; scores always come from the full size. Empty trains at full size.
    mixup : float
        Photos are mixed in pairs with shares from Beta(mixup, mixup), and so are their labels; 0 does not mix.
    mixup_off_epochs : int
        Last epochs without mixup.
    flip_tta : bool
        Scores are the mean over a photo and its mirror image, at validation and whenever photos are scored.
    train_share : float
        Share of the fold's training rows that is used, in (0, 1]; a larger share holds every smaller one.
    train_count : int
        Use so many of the fold's training rows, or all where there are fewer; 0 lets ``train_share`` say.
    shares : tuple of float
        Shares of those rows, each for an equal share of the epochs, in (0, 1]: first few photos, then all. Empty always
        uses all.
    min_label_count : int
        Labels with fewer positive training photos are not answered by this member: its ``covers`` is False there.
    keep : {"best", "last", "best-per-label"}
        Which epoch's weights score the held-out rows; ``best-per-label`` takes each label from the epoch with its best
        log loss on the validation rows, see :mod:`base_models.networks.per_label`.
    patience : int
        Epochs without a better validation score after which training stops; 0 never stops early.
    stop_when_overfit : bool
        Stop after the first epoch from the second on whose validation log loss lies above the training log loss, both
        scored alike on as many photos.
    cuda_graphs : {"auto", True, False}
        Whether steps are replayed as CUDA graphs on a single GPU, see :mod:`base_models.training.step_graph`: ``auto``
        where a trial at the real batch shows that to be faster, true wherever they can be recorded, false nowhere.
        Twice as fast for small networks, of no use for large ones. Only speed and rounding depend on it.
    sync_batch_norm : bool
        Where several processes share every batch, let batch normalization see the whole batch instead of each
        process's share of it: the network of one process, at the price of messages in every layer. For GPUs.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    epochs: int = 5
    batch_size: int = 64
    learning_rate: float = 2e-3
    body_learning_rate: float = 1.0
    layer_decay: float = 1.0
    weight_decay: float = 0.02
    schedule: Literal["one-cycle", "cosine", "constant", "plateau"] = "one-cycle"
    warmup: float = 0.25  # fastai's default
    cycle_epochs: int = 0
    cycle_factor: float = 1.0
    plateau_patience: int = 1
    plateau_factor: float = 0.1  # torch's default
    loss: Literal["bce", "focal", "asymmetric", "poly", "two-way", "zlpr", "distribution-balanced"] = "bce"
    class_weights: Literal["none", "negative-positive", "inverse-frequency", "effective-number"] = "none"
    class_weight_power: float = 0.5
    class_weight_limit: float = 20.0  # a choice, not tuned
    focal_gamma: float = 2.0  # the best in the paper
    gamma_negative: float = 4.0  # this and the next two: timm's defaults
    gamma_positive: float = 1.0
    margin: float = 0.05
    poly_epsilon: float = 2.0  # the paper's for ImageNet
    sampling_alpha: float = 1.0
    sampling_weight: Literal["mean", "max", "sum"] = "max"
    freeze_epochs: int = 0
    frozen_share: float = 0.0
    frozen_by: Literal["layers", "parameters"] = "layers"
    tuned_layers: int = 0
    precision: Literal["float32", "tf32", "bfloat16", "float16", "auto"] = "float32"
    ema_decay: float = 0.0
    dropout: float = 0.0
    clip_norm: float = 1.0  # a usual choice, not tuned
    augmentation: Literal["none", "mirror", "light", "strong"] = "light"
    max_zoom: float = 0.0
    max_shade: float = 0.2  # a choice, not tuned
    sizes: tuple[int, ...] = ()
    mixup: float = 0.0
    mixup_off_epochs: int = 0
    flip_tta: bool = False
    train_share: float = 1.0
    train_count: int = 0
    shares: tuple[float, ...] = ()
    min_label_count: int = 0
    keep: Literal["best", "last", "best-per-label"] = "best"
    patience: int = 0
    stop_when_overfit: bool = False
    cuda_graphs: bool | Literal["auto"] = field(default="auto", metadata=NEUTRAL)
    sync_batch_norm: bool = False

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        """Say what is wrong with the settings."""
        for words, holds, names in RANGES:
            for name in names:
                if not holds(getattr(self, name)):
                    yield f"{name} must {words}: got {getattr(self, name)}."
        if self.max_zoom and not 1 <= self.max_zoom < math.inf:
            yield f"max_zoom must be at least 1, or 0 for the usual zoom: got {self.max_zoom}."
        if self.train_count and self.train_share < 1:
            yield "train_count must be 0 where train_share says how many rows are used: drop one of the two."
        if not all(0 < share <= 1 for share in self.shares):
            yield f"shares must hold values in (0, 1]: got {list(self.shares)}."
        if self.shares and self.sampling_alpha < 1:
            yield "shares must be empty where rows are drawn by label frequency: drop it or sampling_alpha."
        if self.cuda_graphs is True and self.precision == "float16":
            yield (
                "cuda_graphs must be false with precision 'float16', whose scale changes from step to step: got true; "
                "drop one of the two, or take 'bfloat16'."
            )
        yield from self._problems_of_loss()

    def _problems_of_loss(self) -> Iterator[str]:
        """Say which settings the loss cannot use."""
        if self.class_weights != "none" and self.loss in UNWEIGHTED_LOSSES:
            yield (
                f"class_weights must be 'none' with loss {self.loss!r}, which weighs labels itself: got "
                f"{self.class_weights!r}; drop one of the two."
            )
        if self.mixup and self.loss in RANKING_LOSSES:
            yield (
                f"mixup must be 0 with loss {self.loss!r}, which takes no shares of a label: got {self.mixup}; drop "
                "one of the two."
            )
