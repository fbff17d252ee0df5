"""A data set and a recipe small enough to train within seconds, for tests of what is built on this package."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from base_models.recipe.data import DataConfig
from base_models.recipe.folds import FoldConfig
from base_models.recipe.member import MemberConfig
from base_models.recipe.run import DerivedMember, TrainingRun
from base_models.recipe.training import TrainingConfig

__all__ = ["tiny_recipe", "write_tiny_photos"]

LABELS = ("color:red", "color:green", "color:blue", "place:top", "place:bottom", "mark:dot")
COLORS = ((220, 30, 30), (30, 200, 30), (30, 30, 220))  # far apart, so that any network tells them


def write_tiny_photos(folder: str | Path, n_train: int = 36, n_test: int = 9, random_state: int = 0) -> DataConfig:
    """Write white photos with one colored block each, and their table.

    Parameters
    ----------
    folder : str or pathlib.Path
        Where to write; created if missing.
    n_train, n_test : int
        Photos of each split.
    random_state : int
        Seed.

    Returns
    -------
    DataConfig
        How to read them; six labels, the last of them rare, and groups of two photos.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(random_state)
    rows = []
    for i in range(n_train + n_test):
        color, top, dot = int(rng.integers(3)), bool(rng.integers(2)), rng.random() < 0.2
        pixels = np.full((32, 24, 3), 255, np.uint8)
        pixels[(2 if top else 18) : (14 if top else 30), 4:20] = COLORS[color]
        if dot:
            pixels[14:18, 10:14] = 0
        name = f"photo{i:03d}"
        Image.fromarray(pixels).save(folder / f"{name}.png")
        labels = [LABELS[color], LABELS[3 if top else 4], *([LABELS[5]] if dot else [])]
        rows.append([f"{name}.png", "|".join(labels), f"group{i // 2}", "train" if i < n_train else "test"])
    with (folder / "annotations.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "labels", "group", "split"], *rows])
    return DataConfig("folder", str(folder), group_column="group", split_column="split")


def tiny_recipe(data: DataConfig, **changes: Any) -> TrainingRun:
    """Describe a run of three tiny members, two of them specialists, and their pair.

    Parameters
    ----------
    data : DataConfig
        The photos.
    **changes : object
        Fields of ``TrainingRun`` to replace.

    Returns
    -------
    TrainingRun
        Two folds, two epochs, 32 pixels, one thread.
    """
    training = TrainingConfig(epochs=2, batch_size=6, learning_rate=5e-3, augmentation="light")
    whole = MemberConfig("whole", "test_resnet", size=32, training=training)
    frequent = replace(whole, name="frequent", labels="frequent", split_share=0.5)
    rare = replace(whole, name="rare", labels="rare", split_share=0.5, training=replace(training, ema_decay=0.5))
    recipe = TrainingRun(
        "tiny",
        data,
        (whole, frequent, rare),
        derived=(DerivedMember("pair", ("frequent", "rare")),),
        folds=FoldConfig(n_folds=2, validation_fraction=0.25),
        n_threads=1,
    )
    return replace(recipe, **changes)
