"""What ``label-context`` takes where labels are many: ``python -m experiments.benchmarks.many_labels --labels 10000``.

Labels belong to topics of twenty, a row to three topics, so that a row has some twenty labels however many there are.
The scores are written to a store on the disk, then a fit with held-out scores is made from there and timed: CPU
seconds, and the peak of resident memory beyond what the process held before. One thread: set ``OMP_NUM_THREADS=1``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from stacking._typing import FloatArray, LabelArray
from stacking.process.memory import GIB, peak_memory, read_kernel_size, reset_peak_memory

TOPIC = 20
"""Labels of a topic; this and all numbers of the law are invented."""

BLOCK_ROWS = 1_000
"""Rows that are drawn at a time, each block from a seed of its own."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a store, fit, and print one line of JSON.

    Parameters
    ----------
    arguments : sequence of str, optional
        Command-line arguments; those of the process by default.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--labels", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--scratch", type=Path, help="folder for the store; by default a temporary one")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="labelstack-labels-", dir=options.scratch) as folder:
        store = write_topics_store(Path(folder) / "store", options.rows, options.labels, options.models)
        sys.stdout.write(json.dumps(measure_fit(store)) + "\n")


def measure_fit(store: Path) -> dict[str, Any]:
    """Fit with held-out scores from a store.

    Parameters
    ----------
    store : Path
        What `write_topics_store` wrote.

    Returns
    -------
    dict
        Sizes, CPU seconds of the fit, gibibytes, and log losses of the held-out scores and of the plain mean.
    """
    from stacking import load_predictions
    from stacking.combiners.meta_learners import LabelContextStacker
    from stacking.folds import deal_folds
    from stacking.kernels.compiling import Kernel

    Kernel.is_compiled_at_once = True
    predictions = load_predictions(store)
    few = predictions.subset(samples=np.arange(200), labels=np.arange(min(300, predictions.n_labels)))
    LabelContextStacker().fit(few)  # compiles
    folds = deal_folds(predictions.truth, 5, random_state=0)
    reset_peak_memory()
    before, started = read_kernel_size("/proc/self/status", "VmRSS") or 0, time.process_time()
    stacker, y_score = LabelContextStacker().fit_out_of_fold(predictions, folds=folds)
    seconds, peak = time.process_time() - started, peak_memory() or 0
    losses = np.zeros(2)
    for rows, scores in predictions.iter_rows():
        losses += [_sum_losses(predictions.truth.y_true[rows], one) for one in (y_score[rows], scores.mean(axis=0))]
    return {
        "n_models": predictions.n_models,
        "n_rows": predictions.n_samples,
        "n_labels": predictions.n_labels,
        "n_blocks": len(stacker.blocks_),
        "cpu_seconds": round(seconds, 1),
        "peak_gib": round((peak - before) / GIB, 2),
        "held_out_log_loss": losses[0] / y_score.size,
        "log_loss_of_the_mean": losses[1] / y_score.size,
    }


def write_topics_store(folder: Path, n_samples: int, n_labels: int, n_models: int, *, dtype: str = "float32") -> Path:
    """Draw rows straight into a prediction store.

    Parameters
    ----------
    folder : Path
        Where to.
    n_samples, n_labels, n_models : int
        Size.
    dtype : {"float32", "float16"}, default="float32"
        Type on disk.

    Returns
    -------
    Path
        The folder.
    """
    from stacking.predictions import StoreWriter

    y_true = np.concatenate([truth for truth, _ in _iter_blocks(n_samples, n_labels, 0)])
    ids = [f"row{row}" for row in range(n_samples)]
    models = [f"model{model}" for model in range(n_models)]
    labels = [f"label{label}" for label in range(n_labels)]
    with StoreWriter(folder, ids, models, labels, dtype=dtype, y_true=y_true) as writer:
        for block, (_, scores) in enumerate(_iter_blocks(n_samples, n_labels, n_models)):
            start = block * BLOCK_ROWS
            for model, one in enumerate(scores):
                writer.write(model, slice(start, start + len(one)), one)
    return folder


def _iter_blocks(n_samples: int, n_labels: int, n_models: int) -> Iterator[tuple[LabelArray, Iterator[FloatArray]]]:
    """Yield the truth of each block of rows and the scores of its models, drawn when they are asked for."""
    law = np.random.default_rng(1)
    topic = law.permutation(n_labels) // TOPIC
    within = np.minimum(0.9, law.gamma(0.7, 0.5, n_labels) + 0.02)  # how often a topic's row has the label
    shared = 0.2 * law.normal(size=(n_models, 20, n_labels)).astype(np.float32)
    for block, start in enumerate(range(0, n_samples, BLOCK_ROWS)):
        rng = np.random.default_rng([2, block])
        n_rows = min(BLOCK_ROWS, n_samples - start)
        topics = np.zeros((n_rows, topic.max() + 1), dtype=bool)
        topics[np.arange(n_rows)[:, None], rng.integers(0, topics.shape[1], (n_rows, 3))] = True
        truth = topics[:, topic] & (rng.random((n_rows, n_labels), dtype=np.float32) < within)
        truth |= rng.random((n_rows, n_labels), dtype=np.float32) < 3.0 / n_labels
        yield truth.astype(np.uint8), _iter_scores(truth.astype(np.float32), shared, rng)


def _iter_scores(truth: FloatArray, shared: FloatArray, rng: np.random.Generator) -> Iterator[FloatArray]:
    """Yield each model's scores: the truth through noise, a part of which the labels share."""
    for mixing in shared:
        errors = rng.standard_normal((len(truth), len(mixing)), dtype=np.float32) @ mixing
        errors += 1.3 * rng.standard_normal(truth.shape, dtype=np.float32)
        yield 1.0 / (1.0 + np.exp(4.0 - 3.0 * truth - errors))


def _sum_losses(truth: Any, y_score: FloatArray) -> float:
    """Sum the log loss of all cells."""
    clipped = np.clip(y_score, 1e-7, 1.0 - 1e-7)
    return float(-np.log(np.where(truth, clipped, 1.0 - clipped)).sum(dtype=np.float64))


if __name__ == "__main__":
    main()
