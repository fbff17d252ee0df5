"""The common workload: scores of six simulated models for 20,000 rows and 228 labels, from a fixed seed.

Label frequencies run from .0005 to .74 on a bent log scale, six labels a row as in iMaterialist Fashion; labels go
together (20 latent factors), models share errors, and each has its own noise, temperature and bias. The first half
tunes, the second half is held out. The numbers are drawn in one fixed order, so the arrays are the same everywhere
that numpy is. For larger sizes the same law is drawn block by block straight into a prediction store.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stacking._typing import FloatingArray, LabelArray

# The law's numbers are invented: they were chosen for scores that look like those of real networks, and are fixed, as
# every recorded figure depends on them.
SEED = 20261121
N_LABELS = 228  # of iMaterialist Fashion 2018
N_FACTORS = 20  # of what photos have in common, a choice: labels depend on each other through them
SIGNAL = 3.0  # standard deviation of the true logits around a label's bias
NOISE = (1.6, 1.8, 2.0, 2.3, 2.7, 3.2)  # each model's own error
TEMPERATURE = (1.0, 1.3, 0.8, 1.1, 0.7, 1.5)  # each model is too sure or too unsure in its own way
BIAS = (-0.4, -0.8, -0.2, -0.6, 0.1, -1.0)  # of each model: all but one fire too seldom
BLOCK_ROWS = 10_000  # of a store; each block has a seed of its own, so the numbers drawn depend on it


@dataclass(frozen=True)
class Workload:
    """Scores and truth, half to tune on and half held out.

    Parameters
    ----------
    y_scores, y_scores_test : ndarray of float32, shape (n_models, n_samples, n_labels)
        Scores in (0, 1).
    y_true, y_true_test : ndarray of uint8, shape (n_samples, n_labels)
        The truth.
    """

    y_scores: FloatingArray
    y_true: LabelArray
    y_scores_test: FloatingArray
    y_true_test: LabelArray


@dataclass(frozen=True)
class Law:
    """What the rows of the workload share: everything that does not belong to one row.

    Parameters
    ----------
    loadings : ndarray of shape (n_labels, n_factors)
        How the labels follow the latent factors.
    bias : ndarray of shape (n_labels,)
        Label biases of the true logits.
    median : ndarray of shape (n_labels,)
        Median true logit, toward which the models shrink.
    rarity : ndarray of shape (n_labels,)
        0 for the most frequent label, 1 for the rarest.
    model_bias : ndarray of shape (n_models, n_labels)
        Each model's error that is the same in all rows.
    """

    loadings: FloatingArray
    bias: FloatingArray
    median: FloatingArray
    rarity: FloatingArray
    model_bias: FloatingArray


def label_frequencies() -> FloatingArray:
    """Bend the log scale from .74 to .0005 until six labels a row are expected.

    Returns
    -------
    ndarray of shape (n_labels,)
        Frequencies, descending.
    """
    from scipy.optimize import brentq

    place = np.linspace(1, 0, N_LABELS)

    def bent(bend: float) -> FloatingArray:
        return 0.0005 * (0.74 / 0.0005) ** (place**bend)

    return bent(brentq(lambda bend: bent(bend).sum() - 6.0, 0.5, 20))


def simulate_workload(n_samples: int = 10_000) -> Workload:
    """Draw the workload that all peers were measured on.

    Parameters
    ----------
    n_samples : int, default=10_000
        The first rows of each half that are wanted, at most 10,000; the full workload is always drawn.

    Returns
    -------
    Workload
        `n_samples` rows to tune on and as many held out.
    """
    y_scores, y_true, _ = _simulate(2 * 10_000)
    tune, test = slice(0, n_samples), slice(10_000, 10_000 + n_samples)
    return Workload(
        np.ascontiguousarray(y_scores[:, tune]), y_true[tune], np.ascontiguousarray(y_scores[:, test]), y_true[test]
    )


def _simulate_law(n_models: int = 6) -> Law:
    """Return the law of the workload, to draw any rows from; models beyond six are noisier relatives of the first."""
    _, _, law = _simulate(2 * 10_000)
    more = 0.5 * np.random.default_rng([SEED, n_models]).standard_normal((max(0, n_models - len(NOISE)), N_LABELS))
    model_bias = np.concatenate([law.model_bias, more])[:n_models]
    return Law(law.loadings, law.bias, law.median, law.rarity, model_bias)


def write_workload_store(folder: Path, n_samples: int, n_models: int = 6, *, dtype: str = "float32") -> Path:
    """Draw rows of the workload's law straight into a prediction store.

    Parameters
    ----------
    folder : Path
        Where to; a complete store already there is kept.
    n_samples : int
        Rows.
    n_models : int, default=6
        Models.
    dtype : {"float32", "float16"}, default="float32"
        Type on disk.

    Returns
    -------
    Path
        The folder.
    """
    from stacking.predictions import StoreWriter, is_store

    if is_store(folder):
        return folder
    law = _simulate_law(n_models)
    y_true = np.concatenate([truth for _, truth in _iter_truth(law, n_samples)])
    ids = [f"row{row}" for row in range(n_samples)]
    names = [f"model{model}" for model in range(n_models)]
    labels = [f"label{label}" for label in range(N_LABELS)]
    with StoreWriter(folder, ids, names, labels, dtype=dtype, y_true=y_true) as writer:
        for block, (logits, _) in enumerate(_iter_truth(law, n_samples)):
            rows = slice(block * BLOCK_ROWS, block * BLOCK_ROWS + len(logits))
            for model, scores in enumerate(_iter_block_scores(law, logits, block)):
                writer.write(model, rows, scores)
    return folder


def _simulate(n_rows: int) -> tuple[FloatingArray, LabelArray, Law]:
    """Draw scores (n_models, n_rows, n_labels), truth and law; the order of the draws is the contract."""
    from scipy.optimize import brentq
    from scipy.special import expit

    rng = np.random.default_rng(SEED)
    frequency = label_frequencies()
    factors = rng.standard_normal((n_rows, N_FACTORS)).astype(np.float32)
    loadings = rng.standard_normal((N_LABELS, N_FACTORS)).astype(np.float32) / np.sqrt(N_FACTORS)
    own = rng.standard_normal((n_rows, N_LABELS)).astype(np.float32)
    signal = SIGNAL * (np.sqrt(0.5) * (factors @ loadings.T) + np.sqrt(0.5) * own)

    def excess(bias: float, label: int) -> float:
        return float(expit(bias + signal[:4000, label]).mean() - frequency[label])

    bias = np.array([brentq(excess, -25, 15, args=(label,)) for label in range(N_LABELS)])
    logits = (bias + signal).astype(np.float32)
    y_true = (rng.random((n_rows, N_LABELS)) < expit(logits)).astype(np.uint8)
    y_true[y_true.sum(1) == 0, 0] = 1
    shared = rng.standard_normal((n_rows, N_LABELS)).astype(np.float32)
    rarity = (np.log(0.74) - np.log(frequency)) / (np.log(0.74) - np.log(0.0005))
    median = np.median(logits, 0)
    y_scores = np.empty((len(NOISE), n_rows, N_LABELS), np.float32)
    model_bias = np.empty((len(NOISE), N_LABELS))
    for model, noise in enumerate(NOISE):
        label_bias = rng.standard_normal(N_LABELS).astype(np.float32) * 0.5
        error = 1.2 * shared + noise * (1 + 0.5 * rarity) * rng.standard_normal((n_rows, N_LABELS)).astype(np.float32)
        seen = 0.75 * logits + 0.25 * median + error * 0.8
        y_scores[model] = expit(TEMPERATURE[model] * seen + BIAS[model] + label_bias - 0.6 * rarity)
        model_bias[model] = label_bias
    np.clip(y_scores, 1e-6, 1 - 1e-6, out=y_scores)
    return y_scores, y_true, Law(loadings, bias, median, rarity, model_bias)


def _iter_truth(law: Law, n_samples: int) -> Iterator[tuple[FloatingArray, LabelArray]]:
    """Yield true logits and truth of each block; every block has its own seed, so it can be drawn again."""
    from scipy.special import expit

    for block, start in enumerate(range(0, n_samples, BLOCK_ROWS)):
        rng = np.random.default_rng([SEED, 1, block])
        n_rows = min(BLOCK_ROWS, n_samples - start)
        factors = rng.standard_normal((n_rows, N_FACTORS), dtype=np.float32)
        own = rng.standard_normal((n_rows, N_LABELS), dtype=np.float32)
        joint = factors @ law.loadings.T.astype(np.float32)
        logits = (law.bias + SIGNAL * np.sqrt(0.5) * (joint + own)).astype(np.float32)
        y_true = (rng.random((n_rows, N_LABELS), dtype=np.float32) < expit(logits)).astype(np.uint8)
        y_true[y_true.sum(1) == 0, 0] = 1
        yield logits, y_true


def _iter_block_scores(law: Law, logits: FloatingArray, block: int) -> Iterator[FloatingArray]:
    """Yield the scores (n_rows, n_labels) of every model for one block."""
    from scipy.special import expit

    rng = np.random.default_rng([SEED, 2, block])
    shared = rng.standard_normal(logits.shape, dtype=np.float32)
    seen = 0.75 * logits + 0.25 * law.median.astype(np.float32) + np.float32(0.8 * 1.2) * shared
    spread = (0.8 * (1 + 0.5 * law.rarity)).astype(np.float32)
    for model, label_bias in enumerate(law.model_bias):
        kind, generation = model % len(NOISE), model // len(NOISE)
        noise = np.float32(NOISE[kind] * (1 + 0.05 * generation))
        x = seen + noise * spread * rng.standard_normal(logits.shape, dtype=np.float32)
        offset = (BIAS[kind] + label_bias - 0.6 * law.rarity).astype(np.float32)
        yield np.clip(expit(np.float32(TEMPERATURE[kind]) * x + offset), 1e-6, 1 - 1e-6)
