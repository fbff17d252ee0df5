"""The convolutional stacker of the second place of iMaterialist Fashion 2018.

The members' scores for one photo are a picture, members down and labels across. Convolutions of height three and width
one slide over the members and mix neighbors the same way for every label; a dense layer then connects all labels with
all labels. In the contest it took nine networks from .64 to .714 micro-F1, ahead of boosted trees at .703 (cybercore,
kaggle.com/c/imaterialist-challenge-fashion-2018, discussion 57934).

Three things differ here. The net corrects the mean logit instead of starting from nothing, so that no training means
the geometric mean, not chance. The positions that the convolutions leave over are averaged, which changes nothing for
the contest's nine members and keeps the dense layer small for forty. Held-out rows say how many epochs are trained.
Training needs torch; predicting is a few matrix products, so a saved ensemble is used without it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from optimizers._checks import check_random_state
from stacking._checks import check_at_least
from stacking._typing import BoolArray, DoubleArray, FloatArray
from stacking.combiners.combiner import Combiner, CombinerState
from stacking.combiners.meta_learners.torch_needed import check_torch
from stacking.combiners.meta_learners.training_rows import (
    TrainingRows,
    describe_fallback,
    fill_gaps,
    mean_logits,
    prepare_rows,
)
from stacking.combiners.registry import register_method
from stacking.links import sigmoid
from stacking.predictions import PredictionSet

Weights = dict[str, FloatArray]

CHANNELS = (8, 16, 32, 64)
"""Channels of the contest's four convolutions; fewer layers where there are fewer than nine members."""

HEIGHT = 3
"""Members that a convolution sees at once, as in the contest."""

PATIENCE = 3
"""Epochs without a better held-out loss after which the search for their number stops. A choice; no measurement is on
record."""

BLOCK_CELLS = 8_000_000
"""Activations held at a time while predicting. Only memory and speed depend on it."""


@register_method(
    "convolutional",
    "convolutions over the members, dense over labels (torch)",
    kind="meta",
    cost=80.0,
    is_slow=True,
    requires="torch",
)
class ConvolutionalStacker(Combiner):
    """Stack with convolutions over the members and dense layers over the labels.

    Learns which neighboring members to trust and how labels depend on each other; wants thousands of rows. The result
    depends on the order of the members. Where no epoch lowers the loss of a held-out fold, the geometric mean of the
    members answers.

    Parameters
    ----------
    n_hidden : int, default=256
        Width of the dense layer, at least 1; the contest's had 1,024.
    n_epochs : int, default=30
        Most passes over the rows, at least 1.
    batch_size : int, default=128
        Rows per step, at least 1.
    learning_rate : float, default=0.001
        Step size of AdamW, above 0.
    dropout : float, default=0.3
        Share of the dense layer's units left out at each step, in [0, 1).
    max_rows : int or None, default=50_000
        Fit on a random sample where there are more rows.
    random_state : int, Generator or None, default=0
        Draws the sample, the held-out fold, the first weights and the batches.

    Attributes
    ----------
    n_epochs_ : int
        Epochs trained; 0 where the geometric mean answers.
    centers_ : ndarray of float64, shape (n_models, n_labels)
        Mean logits, taken off the input.
    scale_ : float
        Spread of the logits around them, which the input is divided by.
    n_rows_fitted_ : int
        Rows used.
    fallback_report_ : dict
        Shares of labels and of positives that fell back to the geometric mean, in [0, 1]: all or nothing.

    Notes
    -----
    O(n_epochs · n_samples · n_labels · n_hidden) on CPU, where it repeats for the same seed and number of threads.

    References
    ----------
    D. H. Wolpert, "Stacked generalization", Neural Networks 5, 1992, for stacking.

    Examples
    --------
    >>> ConvolutionalStacker(n_hidden=1024)
    ConvolutionalStacker(n_hidden=1024)
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "rows"

    n_epochs_: int
    centers_: DoubleArray
    scale_: float
    n_rows_fitted_: int
    fallback_report_: dict[str, float]
    notes_: list[str]

    def __init__(
        self,
        n_hidden: int = 256,
        *,
        n_epochs: int = 30,
        batch_size: int = 128,
        learning_rate: float = 1e-3,
        dropout: float = 0.3,
        max_rows: int | None = 50_000,
        random_state: int | np.random.Generator | None = 0,
    ) -> None:
        self.n_hidden = n_hidden
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.max_rows = max_rows
        self.random_state = random_state

    def _fit(self, predictions: PredictionSet) -> None:
        """Find the number of epochs on a held-out fold, then train on all rows."""
        self._check_parameters()
        check_torch("convolutional")
        rng = check_random_state(self.random_state)
        # One fold of five says how many epochs are trained.
        rows = prepare_rows(predictions, max_rows=self.max_rows, n_folds=5, random_state=rng)
        self.n_rows_fitted_ = len(rows.y_true)
        self.centers_ = rows.logits.mean(axis=1, dtype=np.float64)
        centered = rows.logits - self.centers_[:, None, :]
        self.scale_ = max(float(centered.std(where=rows.usable.T[:, None, :])), 1e-6)
        data = _NetRows.build(self._input(rows.logits), rows)
        seed = int(rng.integers(2**31))
        self.n_epochs_ = 0
        if rows.fold_masks:
            held = rows.fold_masks[0]
            _, losses = self._train(data.take(~held), self.n_epochs, seed, watched=data.take(held))
            self.n_epochs_ = int(np.argmin(losses))
        self._weights, _ = self._train(data, self.n_epochs_, seed) if self.n_epochs_ else ({}, [])
        fell_back = np.full(len(self.labels_), self.n_epochs_ == 0)
        self.fallback_report_, self.notes_ = describe_fallback(
            "convolutional", fell_back, rows.positives, "the geometric mean"
        )

    def _check_parameters(self) -> None:
        """Raise unless the parameters are in range."""
        check_at_least(1, n_hidden=self.n_hidden, n_epochs=self.n_epochs, batch_size=self.batch_size)
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be above 0: got {self.learning_rate}.")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1: got {self.dropout}.")

    def _train(
        self, data: _NetRows, n_epochs: int, seed: int, watched: _NetRows | None = None
    ) -> tuple[Weights, list[float]]:
        """Train a fresh net; return its weights and the watched rows' loss after 0, 1, … epochs."""
        import torch

        x, start, y_true, weight = (torch.from_numpy(array) for array in data.arrays)
        losses = [] if watched is None else [_log_loss(watched, {})]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            net = _build_net(x.shape[1], x.shape[2], self.n_hidden, self.dropout)
            # The weight decay is a choice; no measurement is on record. (PyTorch's own default is .01.)
            optimizer = torch.optim.AdamW(net.parameters(), lr=self.learning_rate, weight_decay=1e-3)
            for _ in range(n_epochs):
                net.train()
                for batch in torch.split(torch.randperm(len(x)), self.batch_size):
                    logits = start[batch] + net(x[batch])
                    loss = torch.nn.functional.binary_cross_entropy_with_logits(
                        logits, y_true[batch], weight=weight[batch]
                    )
                    optimizer.zero_grad()
                    torch.autograd.backward(loss)
                    optimizer.step()
                if watched is not None:
                    losses.append(_log_loss(watched, _take_weights(net)))
                    if len(losses) - 1 - int(np.argmin(losses)) >= PATIENCE:
                        break
        return _take_weights(net), losses

    def _input(self, logits: FloatArray) -> FloatArray:
        """Center and scale logits, 0 where a member does not cover a label: (n_rows, n_models, n_labels)."""
        x = (logits - self.centers_[:, None, :].astype(np.float32)) / np.float32(self.scale_)
        return np.ascontiguousarray(np.where(self.covers_[:, None, :], x, 0.0).swapaxes(0, 1), dtype=np.float32)

    def _combine_block(self, scores: FloatArray, covers: BoolArray) -> FloatArray:
        """Correct the mean logit by the net."""
        logits = fill_gaps(scores, covers, self.centers_, self.covers_)
        answer = mean_logits(logits, self.covers_.T)
        if self._weights:
            answer += _apply_net(self._input(logits), self._weights)
        return sigmoid(answer).astype(np.float32)

    def _state(self) -> CombinerState:
        """Add the net's weights to the arrays."""
        values, arrays, texts = super()._state()
        return values, {**arrays, **{f"net/{name}": array for name, array in self._weights.items()}}, texts

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild the net's weights too."""
        weights = {name.removeprefix("net/"): array for name, array in arrays.items() if name.startswith("net/")}
        rest = {name: array for name, array in arrays.items() if not name.startswith("net/")}
        combiner = super()._from_state(values, rest, texts)
        combiner._weights = weights
        return combiner


@dataclass(frozen=True)
class _NetRows:
    """What the net is trained on, float32: input, mean logits, truth, cell weights."""

    arrays: tuple[FloatArray, FloatArray, FloatArray, FloatArray]

    @classmethod
    def build(cls, x: FloatArray, rows: TrainingRows) -> _NetRows:
        """Collect input and targets."""
        start = mean_logits(rows.logits, rows.usable).astype(np.float32)
        weight = np.ones(rows.y_true.shape) if rows.weight is None else rows.weight
        return cls((x, start, rows.y_true.astype(np.float32), weight.astype(np.float32)))

    def take(self, chosen: BoolArray) -> _NetRows:
        """Take some rows."""
        x, start, y_true, weight = self.arrays
        return _NetRows((x[chosen], start[chosen], y_true[chosen], weight[chosen]))


def _layer_shapes(n_models: int) -> list[tuple[int, int, int]]:
    """Return channels in, channels out and height of each convolution that fits the members, at least one."""
    shapes: list[tuple[int, int, int]] = []
    size, before = n_models, 1
    for channels in CHANNELS:
        height = min(HEIGHT, size)
        if shapes and size < HEIGHT:
            break
        shapes.append((before, channels, height))
        size, before = size - height + 1, channels
    return shapes


def _build_net(n_models: int, n_labels: int, n_hidden: int, dropout: float) -> Any:
    """Build the net for input (n_rows, n_models, n_labels); its last layer starts at 0, so it corrects nothing yet."""
    from torch import nn

    layers: list[Any] = [nn.Unflatten(1, (1, n_models))]
    for before, after, height in _layer_shapes(n_models):
        layers += [nn.Conv2d(before, after, (height, 1)), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d((1, n_labels)), nn.Flatten()]
    layers += [nn.Linear(after * n_labels, n_hidden), nn.ReLU(), nn.Dropout(dropout)]
    last = nn.Linear(n_hidden, n_labels)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(*layers, last)


def _take_weights(net: Any) -> Weights:
    """Copy the parameters: ``layer0/weight``, ``layer0/bias``, … in order, the two dense layers last."""
    parameters = [parameter.detach().numpy().copy() for parameter in net.parameters()]
    names = [f"layer{number // 2}/{('weight', 'bias')[number % 2]}" for number in range(len(parameters))]
    return dict(zip(names, parameters, strict=True))


def _apply_net(x: FloatArray, weights: Weights) -> FloatArray:
    """Apply the net without torch: (n_rows, n_models, n_labels) to corrections (n_rows, n_labels)."""
    n_layers = len(weights) // 2
    layers = [(weights[f"layer{number}/weight"], weights[f"layer{number}/bias"]) for number in range(n_layers)]
    widest = max(weight.shape[1] * HEIGHT for weight, _ in layers[:-2])
    step = max(1, BLOCK_CELLS // (widest * x.shape[1] * x.shape[2]))
    answers = [_apply_block(x[begin : begin + step], layers) for begin in range(0, len(x), step)]
    return np.concatenate(answers) if answers else np.empty((0, x.shape[2]), dtype=np.float32)


def _apply_block(x: FloatArray, layers: list[tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Convolve over the members, average what positions are left, then the dense layers."""
    signal = x[:, None]  # (n_rows, n_channels, n_positions, n_labels)
    for weight, bias in layers[:-2]:
        n_out, n_in, height, _ = weight.shape
        n_positions = signal.shape[2] - height + 1
        windows = np.stack([signal[:, :, j : j + n_positions] for j in range(height)], axis=2)
        flat = windows.reshape(len(x), n_in * height, -1)
        mixed = weight.reshape(n_out, -1) @ flat + bias[:, None]
        signal = np.maximum(mixed, 0.0).reshape(len(x), n_out, n_positions, -1)
    (hidden, hidden_bias), (output, output_bias) = layers[-2:]
    dense = np.maximum(signal.mean(axis=2).reshape(len(x), -1) @ hidden.T + hidden_bias, 0.0)
    return np.asarray(dense @ output.T + output_bias, dtype=np.float32)


def _log_loss(data: _NetRows, weights: Weights) -> float:
    """Return the weighted mean log loss of the corrected mean logits, in nats."""
    x, start, y_true, weight = data.arrays
    logits = start + _apply_net(x, weights) if weights else start
    losses = np.logaddexp(0.0, logits) - y_true * logits
    return float((losses * weight).sum(dtype=np.float64) / max(float(weight.sum(dtype=np.float64)), 1e-12))
