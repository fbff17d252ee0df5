"""What annotators write down about a garment.

Training photos are annotated by many hands in a hurry: gender always, other groups often forgotten, second colors and
styles hardly ever. Validation and test photos are annotated carefully. So the training labels lack about a quarter of
what is true, and labels per photo rise from training to test, as they did in the contest (5.84 → 8.02).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from experiments.fashionblocks.wardrobe import Garment

# group → share of true labels that is written down: in training, in validation and test
_KEPT: dict[str, tuple[float, float]] = {
    "category": (0.96, 0.99),
    "gender": (1.0, 1.0),
    "color": (0.72, 0.98),
    "sleeve": (0.88, 0.98),
    "neckline": (0.76, 0.97),
    "pattern": (0.74, 0.97),
    "material": (0.72, 0.96),
    "style": (0.6, 0.93),
    "second": (0.12, 0.88),  # accent colors, multicolor, second styles
}


def annotate(garment: Garment, rng: np.random.Generator, world: Literal["training", "shifted"]) -> list[str]:
    """Return the labels that annotators give to a garment.

    Parameters
    ----------
    garment : Garment
        The garment.
    rng : numpy.random.Generator
        Source of randomness.
    world : {"training", "shifted"}
        Hasty or careful annotators.

    Returns
    -------
    list of str
        Label names, never empty.
    """
    careful = int(world == "shifted")
    true = [
        ("category", "category", garment.category),
        ("gender", "gender", garment.gender),
        ("color", "color", garment.color),
        ("second", "color", garment.accent),
        ("second", "color", "multicolor" if garment.multicolor else ""),
        ("sleeve", "sleeve", garment.sleeve),
        ("neckline", "neckline", garment.neckline),
        ("pattern", "pattern", garment.pattern),
        ("material", "material", garment.material),
        ("style", "style", garment.styles[0]),
        ("second", "style", garment.styles[1] if len(garment.styles) > 1 else ""),
    ]
    dice = rng.random(len(true))
    return [
        f"{group}:{value}"
        for (habit, group, value), die in zip(true, dice, strict=True)
        if value and die < _KEPT[habit][careful]
    ]
