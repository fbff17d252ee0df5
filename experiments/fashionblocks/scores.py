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
from stacking.testing import draw_scores

MODELS: dict[str, tuple[str, ...]] = {
    "shape": ("sleeve", "neckline"),
    "texture": ("pattern",),
    "overall": ("gender",),
}
"""Groups of labels that each model sees clearly: a choice."""
CLEAR, DIM = 1.6, 3.0  # deviation of logits, of 4 that tell a label from its absence: a choice
SIGNAL = 4.0


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
    rng = np.random.default_rng(random_state)
    groups = {group for seen in MODELS.values() for group in seen}
    labels = [label for label in LABELS if label.partition(":")[0] in groups]
    y_true = np.zeros((n_fitting + n_new, len(labels)), dtype=np.uint8)
    for row in y_true:
        given = set(annotate(draw_garment_plan(rng, "shifted"), rng, "shifted"))
        row[:] = [label in given for label in labels]
    frequency = np.clip(y_true.mean(axis=0), 0.01, 0.5)  # the logits of labels that are never there stay finite
    noise = [[CLEAR if label.partition(":")[0] in seen else DIM for label in labels] for seen in MODELS.values()]
    offset = np.log(frequency / (1 - frequency))
    y_scores = draw_scores(y_true, noise, rng, signal=SIGNAL, offset=offset)
    ids = [f"garment{number:04}" for number in range(1, len(y_true) + 1)]
    for name, rows in (("scores", slice(n_fitting)), ("new-scores", slice(n_fitting, None))):
        (folder / name).mkdir(exist_ok=True)
        atomic_write_text(folder / name / "labels.csv", _table(ids[rows], labels, y_true[rows], "{}"))
        for model, scores in zip(MODELS, y_scores, strict=True):
            atomic_write_text(folder / name / f"{model}.csv", _table(ids[rows], labels, scores[rows], "{:.3f}"))


def _table(ids: list[str], labels: list[str], values: NDArray[np.generic], form: str) -> str:
    """Write one CSV table; no name in it needs quoting."""
    lines = [",".join([name, *(form.format(value) for value in row)]) for name, row in zip(ids, values, strict=True)]
    return "\n".join([",".join(["id", *labels]), *lines, ""])
