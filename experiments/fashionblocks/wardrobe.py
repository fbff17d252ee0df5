"""What a garment of FashionBlocks is: its attributes, how often they occur, and how they depend on each other.

The tables are invented, and shaped like the iMaterialist Fashion 2018 labels: eight groups, a long tail, exactly one
gender, sleeves and necklines only where a garment has them, several colors. Gender and style leave no mark in the
picture; they follow from category, color, pattern and material, so a model can know them only through other labels.
Validation and test photos are drawn from a shifted world (other frequencies, more accents), as the contest's were.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Weights = dict[str, float]

# category → weight in training, in validation and test
_CATEGORIES: dict[str, tuple[float, float]] = {
    "dress": (20, 14),
    "t-shirt": (15, 12),
    "trousers": (11, 9),
    "shirt": (10, 9),
    "sweater": (9, 10),
    "skirt": (7, 7),
    "jacket": (6, 9),
    "shorts": (5, 5),
    "coat": (4.5, 7),
    "hoodie": (4, 4),
    "jumpsuit": (2.5, 3.5),
    "swimsuit": (2, 3.5),
    "boots": (1.6, 2.5),
    "bag": (1.2, 2),
    "hat": (0.7, 1.5),
    "scarf": (0.5, 1),
}
_FEMALE: Weights = {
    "dress": 0.98, "skirt": 0.98, "jumpsuit": 0.92, "swimsuit": 0.9, "bag": 0.85, "coat": 0.62, "sweater": 0.55,
    "scarf": 0.6, "boots": 0.6, "t-shirt": 0.45,
    "trousers": 0.42, "shorts": 0.4, "jacket": 0.42, "hoodie": 0.35, "shirt": 0.3,
    "hat": 0.4,
}  # fmt: skip
_UNISEX: Weights = {"hoodie": 0.12, "hat": 0.3, "scarf": 0.25, "bag": 0.08, "t-shirt": 0.05, "boots": 0.06}

_SLEEVES: dict[str, Weights] = {
    "dress": {"sleeveless": 50, "short": 24, "long": 18, "puff": 8},
    "t-shirt": {"short": 84, "sleeveless": 9, "long": 7},
    "shirt": {"long": 68, "short": 24, "puff": 8},
    "sweater": {"long": 90, "short": 6, "sleeveless": 4},
    "jacket": {"long": 94, "sleeveless": 6},
    "coat": {"long": 100},
    "hoodie": {"long": 94, "sleeveless": 6},
    "jumpsuit": {"sleeveless": 60, "short": 22, "long": 18},
    "swimsuit": {"sleeveless": 100},
}
_NECKLINES: dict[str, Weights] = {
    "dress": {"round": 36, "v-neck": 30, "off-shoulder": 12, "square": 10, "turtleneck": 5, "collar": 7},
    "t-shirt": {"round": 62, "v-neck": 32, "square": 6},
    "shirt": {"collar": 88, "v-neck": 12},
    "sweater": {"round": 42, "v-neck": 22, "turtleneck": 36},
    "jacket": {"collar": 70, "hooded": 15, "round": 15},
    "coat": {"collar": 82, "hooded": 18},
    "hoodie": {"hooded": 100},
    "jumpsuit": {"v-neck": 40, "round": 25, "square": 15, "off-shoulder": 20},
    "swimsuit": {"round": 40, "v-neck": 40, "square": 20},
}
_MATERIALS: dict[str, Weights] = {
    "": {"cotton": 34, "knit": 14, "denim": 12, "satin": 10, "leather": 6, "wool": 7, "lace": 5, "fur": 0.5},
    "dress": {"cotton": 28, "satin": 26, "lace": 20, "knit": 13, "denim": 8, "leather": 2, "wool": 3},
    "trousers": {"denim": 48, "cotton": 26, "wool": 9, "leather": 6, "satin": 4},
    "shorts": {"denim": 52, "cotton": 34, "satin": 4, "leather": 3},
    "skirt": {"denim": 18, "cotton": 30, "leather": 14, "lace": 12, "satin": 16, "wool": 10},
    "sweater": {"knit": 68, "wool": 22, "cotton": 10},
    "jacket": {"leather": 32, "denim": 26, "cotton": 22, "wool": 10, "satin": 8, "fur": 2},
    "coat": {"wool": 56, "leather": 12, "fur": 12, "cotton": 20},
    "hoodie": {"cotton": 62, "knit": 38},
    "swimsuit": {"satin": 60, "cotton": 28, "lace": 12},
    "boots": {"leather": 78, "wool": 12, "fur": 10},
    "bag": {"leather": 64, "cotton": 18, "denim": 10, "fur": 3, "satin": 5},
    "hat": {"knit": 34, "wool": 36, "cotton": 26, "fur": 4},
    "scarf": {"knit": 44, "wool": 36, "satin": 20},
}
_PATTERNS: Weights = {
    "solid": 30, "striped": 18, "printed": 12, "floral": 12, "checked": 11, "dotted": 8, "chevron": 3, "camouflage": 2,
}  # fmt: skip
_PATTERN_HABITS: dict[str, Weights] = {
    "dress": {"floral": 2.4, "dotted": 2, "checked": 0.5, "camouflage": 0},
    "skirt": {"floral": 1.6, "checked": 1.5, "dotted": 1.5, "camouflage": 0.1},
    "shirt": {"checked": 3, "striped": 1.6, "printed": 0.4},
    "t-shirt": {"printed": 3, "striped": 1.3},
    "hoodie": {"printed": 2.5, "camouflage": 3},
    "shorts": {"camouflage": 3, "floral": 1.2},
    "trousers": {"camouflage": 2.5, "floral": 0.3, "printed": 0.2},
    "sweater": {"chevron": 5, "striped": 1.5},
    "coat": {"checked": 1.6, "floral": 0.1, "printed": 0.1, "dotted": 0.2},
    "boots": {"solid": 4, "striped": 0.2},
    "bag": {"solid": 2},
}
COLORS: dict[str, tuple[int, int, int]] = {
    "black": (30, 30, 34),
    "white": (240, 239, 235),
    "gray": (135, 137, 141),
    "blue": (44, 84, 186),
    "red": (204, 36, 42),
    "pink": (240, 142, 180),
    "green": (56, 140, 66),
    "brown": (122, 80, 48),
    "beige": (220, 200, 164),
    "yellow": (236, 202, 48),
    "purple": (122, 62, 164),
    "teal": (18, 142, 142),
    "maroon": (112, 20, 42),
}
# color → weight in training, in validation and test: teal and maroon are hardly annotated in training
_COLORS: dict[str, tuple[float, float]] = {
    "black": (25, 18), "white": (16, 14), "blue": (15, 13), "red": (10, 9), "gray": (8, 10), "pink": (7, 7),
    "green": (6, 7), "beige": (4, 7),
    "brown": (3.5, 5), "yellow": (2.5, 4), "purple": (1.6, 4), "teal": (0.7, 4), "maroon": (0.7, 4.5),
}  # fmt: skip
_COLOR_HABITS: dict[str, Weights] = {
    "female": {"pink": 2.2, "purple": 1.8, "red": 1.4, "yellow": 1.4},
    "male": {"pink": 0.12, "purple": 0.3, "blue": 1.7, "gray": 1.7, "brown": 1.4, "green": 1.3},
    "denim": {"blue": 9, "black": 1.6, "red": 0.1, "pink": 0.15, "purple": 0.05, "yellow": 0.1, "green": 0.2},
    "leather": {"black": 3, "brown": 5, "white": 0.3, "pink": 0.2},
    "camouflage": {"green": 14, "brown": 6, "pink": 0.2},
}
_STYLES: tuple[str, ...] = ("casual", "summer", "formal", "party", "sporty", "vintage", "bohemian")
_STYLE_HABITS: dict[str, Weights] = {
    "": {"casual": 30, "summer": 9, "formal": 6, "party": 6, "sporty": 4, "vintage": 2.5, "bohemian": 1.5},
    "dress": {"party": 4, "summer": 2, "casual": 0.4},
    "shirt": {"formal": 6},
    "coat": {"formal": 3, "summer": 0},
    "hoodie": {"sporty": 8, "formal": 0},
    "shorts": {"summer": 4, "sporty": 2.5, "formal": 0},
    "swimsuit": {"summer": 12, "sporty": 3, "formal": 0, "casual": 0.1},
    "sleeveless": {"summer": 2, "formal": 0.6},
    "satin": {"party": 3, "formal": 1.5},
    "lace": {"party": 2.5, "bohemian": 3},
    "leather": {"vintage": 3, "party": 1.5},
    "denim": {"casual": 2, "vintage": 1.6, "formal": 0.1},
    "wool": {"formal": 2, "summer": 0},
    "knit": {"casual": 1.6, "summer": 0.2},
    "floral": {"bohemian": 6, "summer": 2.2},
    "checked": {"vintage": 4},
    "dotted": {"vintage": 5},
    "printed": {"casual": 1.5, "sporty": 2, "formal": 0.1},
    "chevron": {"bohemian": 5},
    "black": {"party": 2, "formal": 1.8, "summer": 0.5},
    "yellow": {"summer": 2.5},
    "male": {"bohemian": 0.2, "party": 0.4, "sporty": 1.5},
}

LABELS: tuple[str, ...] = (
    *(f"category:{name}" for name in _CATEGORIES),
    *(f"gender:{name}" for name in ("female", "male", "unisex")),
    *(f"color:{name}" for name in (*_COLORS, "multicolor")),
    *(f"sleeve:{name}" for name in ("long", "short", "sleeveless", "puff")),
    *(f"neckline:{name}" for name in ("round", "v-neck", "collar", "hooded", "turtleneck", "square", "off-shoulder")),
    *(f"pattern:{name}" for name in _PATTERNS),
    *(f"material:{name}" for name in ("cotton", "denim", "knit", "satin", "leather", "wool", "lace", "fur")),
    *(f"style:{name}" for name in _STYLES),
)


@dataclass(frozen=True)
class Garment:
    """Describe one garment completely; what a careful annotator with the garment in hand would know.

    Parameters
    ----------
    category, gender, pattern, material, color : str
        The value in each group.
    sleeve, neckline : str
        The value, or ``""`` where the category has none.
    accent : str
        A second color of the pattern, or ``""``.
    styles : tuple of str
        One or two styles, the main one first.
    """

    category: str
    gender: str
    pattern: str
    material: str
    color: str
    sleeve: str
    neckline: str
    accent: str
    styles: tuple[str, ...]

    @property
    def multicolor(self) -> bool:
        """Return whether the pattern mixes two hues over the whole garment."""
        return bool(self.accent) and self.pattern in ("floral", "camouflage", "chevron", "checked", "printed")


def draw_garment_plan(rng: np.random.Generator, world: Literal["training", "shifted"]) -> Garment:
    """Draw the attributes of one garment.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    world : {"training", "shifted"}
        Which frequencies hold.

    Returns
    -------
    Garment
        Its attributes.
    """
    shifted = int(world == "shifted")
    category = _pick(rng, {name: weights[shifted] for name, weights in _CATEGORIES.items()})
    unisex = _UNISEX.get(category, 0.01)
    gender = "unisex" if rng.random() < unisex else "female" if rng.random() < _FEMALE[category] else "male"
    sleeve = _pick(rng, _SLEEVES[category]) if category in _SLEEVES else ""
    neckline = _pick(rng, _NECKLINES[category]) if category in _NECKLINES else ""
    material = _pick(rng, _MATERIALS.get(category, _MATERIALS[""]))
    habits = [category]
    pattern = "solid"
    if material not in ("leather", "fur", "lace"):
        pattern = _pick(rng, _with_habits(_PATTERNS, _PATTERN_HABITS, habits))
    habits += [gender, material, pattern]
    plain = {name: weights[shifted] for name, weights in _COLORS.items()}
    color = _pick(rng, _with_habits(plain, _COLOR_HABITS, habits))
    accent = ""
    if pattern != "solid" and rng.random() < (0.75 if shifted else 0.6):
        accent = _pick(rng, {name: weight for name, weight in plain.items() if name != color})
    styles = _with_habits(_STYLE_HABITS[""], _STYLE_HABITS, [*habits, color, sleeve])
    first = _pick(rng, styles)
    second = _pick(rng, styles) if rng.random() < 0.45 else first
    return Garment(
        category,
        gender,
        pattern,
        material,
        color,
        sleeve,
        neckline,
        accent,
        (first,) if first == second else (first, second),
    )


def _with_habits(weights: Weights, habits: dict[str, Weights], traits: list[str]) -> Weights:
    """Multiply weights by what each trait makes more or less likely."""
    result = dict(weights)
    for trait in traits:
        for name, factor in habits.get(trait, {}).items() if trait else ():
            result[name] = result.get(name, 0.0) * factor
    return result


def _pick(rng: np.random.Generator, weights: Weights) -> str:
    """Draw one name with probability proportional to its weight."""
    total = sum(weights.values())
    mark = rng.random() * total
    for name, weight in weights.items():
        mark -= weight
        if mark < 0:
            return name
    return name
