"""Scores of three simulated models for drawn garments, as tables: what `labelstack demo --predictions` works on.

Garments and what annotators say about them are FashionBlocks'; no photo is drawn and no network trained. Each model
sees the labels through noise, of some groups clearly and of the others dimly, so that each has something that the
others lack.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from experiments.fashionblocks.annotation import annotate
from experiments.fashionblocks.wardrobe import LABELS, draw_garment_plan
from stacking.files.atomic_files import atomic_write_text
from stacking.predictions import PredictionSet
from stacking.testing import draw_scores

MODELS: dict[str, tuple[str, ...]] = {
    "shape": ("sleeve", "neckline"),
    "texture": ("pattern",),
    "overall": ("gender",),
}
"""Groups of labels that each model sees clearly: a choice."""
CLEAR, DIM = 1.6, 3.0  # deviation of logits, of 4 that tell a label from its absence: a choice
SIGNAL = 4.0


def example_scores(n_samples: int = 300, *, random_state: int = 0) -> PredictionSet:
    """Draw scores to try things on: what three simulated models say about garments, and what is true.

    There are 22 labels of 4 groups (``sleeve:long``, ``pattern:striped`` …), some of them rare. The models are called
    shape, texture and overall; each sees labels of its own groups clearly and the others dimly. The garments and what
    annotators say about them are those of FashionBlocks, the data set of `labelstack demo`; no photo is drawn.

    Parameters
    ----------
    n_samples : int, default=300
        Garments.
    random_state : int, default=0
        Seed. Of two calls with one seed, the larger does not begin with the smaller: draw once, and take parts by
        `PredictionSet.subset`.

    Returns
    -------
    PredictionSet
        With the truth, ids and the groups of the labels.

    Raises
    ------
    ValueError
        If there is not at least one garment.

    Examples
    --------
    >>> example_scores(40)
    PredictionSet(3 models × 40 samples × 22 labels, with truth, ArraySource)
    """
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1: got {n_samples}.")
    rng = np.random.default_rng(random_state)
    groups = {group for seen in MODELS.values() for group in seen}
    labels = [label for label in LABELS if label.partition(":")[0] in groups]
    y_true = np.zeros((n_samples, len(labels)), dtype=np.uint8)
    for row in y_true:
        given = set(annotate(draw_garment_plan(rng, "shifted"), rng, "shifted"))
        row[:] = [label in given for label in labels]
    frequency = np.clip(y_true.mean(axis=0), 0.01, 0.5)  # the logits of labels that are never there stay finite
    noise = [[CLEAR if label.partition(":")[0] in seen else DIM for label in labels] for seen in MODELS.values()]
    offset = np.log(frequency / (1 - frequency))
    return PredictionSet(
        draw_scores(y_true, noise, rng, signal=SIGNAL, offset=offset),
        [f"garment{number:04}" for number in range(1, n_samples + 1)],
        list(MODELS),
        labels,
        y_true=y_true,
        label_groups=[label.partition(":")[0] for label in labels],
    )


def write_scores(folder: Path, n_fitting: int, n_new: int, random_state: int) -> None:
    """Write the models' scores and the truth, one CSV table each, for garments to fit on and for new ones.

    Parameters
    ----------
    folder : Path
        It gets ``scores/`` and ``new-scores/``, each with ``shape.csv``, ``texture.csv``, ``overall.csv``
        and ``labels.csv``: a column ``id``, then one column per label.
    n_fitting, n_new : int
        Garments in each.
    random_state : int
        Seed.
    """
    drawn = example_scores(n_fitting + n_new, random_state=random_state)
    ids, labels, y_scores = drawn.ids.tolist(), list(drawn.labels), drawn.to_array()
    y_true = drawn.truth.y_true.astype(np.uint8)  # written as 0 and 1
    for name, rows in (("scores", slice(n_fitting)), ("new-scores", slice(n_fitting, None))):
        (folder / name).mkdir(exist_ok=True)
        atomic_write_text(folder / name / "labels.csv", _table(ids[rows], labels, y_true[rows], "{}"))
        for model, scores in zip(MODELS, y_scores, strict=True):
            atomic_write_text(folder / name / f"{model}.csv", _table(ids[rows], labels, scores[rows], "{:.3f}"))


def _table(ids: list[str], labels: list[str], values: NDArray[np.generic], form: str) -> str:
    """Write one CSV table; no name in it needs quoting."""
    lines = [",".join([name, *(form.format(value) for value in row)]) for name, row in zip(ids, values, strict=True)]
    return "\n".join([",".join(["id", *labels]), *lines, ""])
