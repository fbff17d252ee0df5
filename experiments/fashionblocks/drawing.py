"""One garment becomes one photo.

A garment is laid on a background that knows nothing of it: its color comes from the same palette, things of other
colors lie around, and place, size, turn, light and noise vary. So neither a mean color nor any fixed pixel tells a
label.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from experiments.fashionblocks.shapes import Part, garment_parts
from experiments.fashionblocks.textures import material_relief, pattern_share
from experiments.fashionblocks.wardrobe import COLORS, Garment

_SUPERSAMPLING = 2
Rgb = NDArray[np.float32]


def draw_photo(garment: Garment, size: int, rng: np.random.Generator) -> Image.Image:
    """Draw the photo of a garment.

    Parameters
    ----------
    garment : Garment
        What to draw.
    size : int
        Side of the square photo in pixels.
    rng : numpy.random.Generator
        Everything that the garment does not decide.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, `size` by `size`.
    """
    side = size * _SUPERSAMPLING
    pose = _Pose.draw(side, rng)
    background = _background(side, rng)
    u, v = pose.cloth_coordinates(side)
    cloth, plain, cover = _cloth(garment, u, v, rng)
    photo = _paint(garment_parts(garment, rng), pose, background, (cloth, plain, cover))
    values = np.asarray(photo.reduce(_SUPERSAMPLING), dtype=np.float32)
    values = values * np.float32(rng.uniform(0.86, 1.1)) + rng.normal(0, 5, 3).astype(np.float32)
    values += rng.standard_normal((size, size, 1), dtype=np.float32) * np.float32(rng.uniform(1, 4))
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8))


@dataclass(frozen=True)
class _Pose:
    """Where the garment lies: center in pixels, pixels per garment unit along x and y, turn in radians."""

    x: float
    y: float
    scale_x: float
    scale_y: float
    turn: float

    @classmethod
    def draw(cls, side: int, rng: np.random.Generator) -> _Pose:
        scale = side / 2 * rng.uniform(0.62, 0.84)
        x, y = side * (0.5 + rng.uniform(-0.17, 0.17, 2))
        stretch = rng.uniform(0.88, 1.12) * (1 if rng.random() < 0.5 else -1)
        return cls(float(x), float(y), scale * stretch, scale, float(np.radians(np.clip(rng.normal(0, 6), -15, 15))))

    def place(self, points: NDArray[np.float64]) -> list[tuple[float, float]]:
        """Turn garment units into pixels."""
        cos, sin = np.cos(self.turn), np.sin(self.turn)
        x, y = points[:, 0] * self.scale_x, points[:, 1] * self.scale_y
        return list(zip((self.x + cos * x - sin * y).tolist(), (self.y + sin * x + cos * y).tolist(), strict=True))

    def cloth_coordinates(self, side: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the garment units of every pixel."""
        y, x = np.mgrid[0:side, 0:side].astype(np.float32)
        cos, sin = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        x, y = x - np.float32(self.x), y - np.float32(self.y)
        return (cos * x + sin * y) / np.float32(self.scale_x), (cos * y - sin * x) / np.float32(self.scale_y)


def _color(name: str, rng: np.random.Generator) -> Rgb:
    """Return a color of the palette, a little off."""
    return np.clip(np.array(COLORS[name]) + rng.normal(0, 9, 3), 8, 250).astype(np.float32)


def _background(side: int, rng: np.random.Generator) -> Image.Image:
    """Return a studio wall or a colored room, with things lying about."""
    names = list(COLORS)
    if rng.random() < 0.3:
        base = (rng.uniform(205, 252) + rng.normal(0, 4, 3)).astype(np.float32)
    else:
        base = np.float32(0.85) * _color(names[rng.integers(len(names))], rng) + np.float32(0.15 * rng.uniform(60, 220))
    image = Image.new("RGB", (side, side), tuple(np.clip(base, 0, 255).astype(int).tolist()))
    draw = ImageDraw.Draw(image)
    if rng.random() < 0.45:  # a floor
        edge = side * rng.uniform(0.55, 0.9)
        floor = np.clip(base * rng.uniform(0.7, 1.15), 0, 255).astype(int)
        draw.rectangle((0, edge, side, side), fill=tuple(floor.tolist()))
    for _ in range(rng.integers(1, 5)):
        color = tuple(_color(names[rng.integers(len(names))], rng).astype(int).tolist())
        x, y = rng.uniform(-0.1, 1.1, 2) * side
        w, h = rng.uniform(0.08, 0.38, 2) * side
        kind = rng.integers(4)
        if kind == 0:
            draw.ellipse((x - w / 2, y - h / 2, x + w / 2, y + h / 2), fill=color)
        elif kind == 1:
            draw.rectangle((x - w / 2, y - h / 2, x + w / 2, y + h / 2), fill=color)
        elif kind == 2:
            draw.polygon([(x, y), (x + w, y + h / 3), (x + w / 3, y + h)], fill=color)
        else:
            for step in range(5):  # a striped thing, so that stripes alone prove nothing
                top = y + step * h / 5
                draw.rectangle((x, top, x + w, top + h / 10), fill=color)
    return image


def _cloth(
    garment: Garment, u: NDArray[np.float32], v: NDArray[np.float32], rng: np.random.Generator
) -> tuple[Rgb, Rgb, NDArray[np.float32] | None]:
    """Return patterned cloth and plain cloth for every pixel, and the cover of the material."""
    color = _color(garment.color, rng)
    # without an accent a lighter or darker tone of the same color, whichever is farther
    tone = color * 0.5 if color.mean() > 110 else color * 0.5 + 125
    second = _color(garment.accent, rng) if garment.accent else tone
    light, cover = material_relief(garment.material, u, v, rng)
    folds = rng.uniform(-0.12, 0.12) * u + rng.uniform(-0.1, 0.1) * v
    light = 255 * (light + folds)[:, :, None]
    share = pattern_share(garment.pattern, u, v, rng)
    patterned = color if share is None else color + (second - color) * np.float32(0.92) * share[:, :, None]
    return np.clip(patterned + light, 0, 255), np.clip(color + light, 0, 255), cover


def _paint(
    parts: list[Part], pose: _Pose, background: Image.Image, cloths: tuple[Rgb, Rgb, NDArray[np.float32] | None]
) -> Image.Image:
    """Paint the parts in their order, with a shadow under the cloth."""
    cloth, plain, cover = cloths
    side = background.width
    ground = _with_shadow(parts, pose, background)
    photo = ground.copy()
    draw = ImageDraw.Draw(photo)
    dark = tuple((plain.mean(axis=(0, 1)) * 0.45).astype(int).tolist())
    light = None if cover is None else Image.fromarray((cover * 255).astype(np.uint8))
    made: dict[tuple[str, float], Image.Image] = {}
    width = max(1, side // 48)
    for part in parts:
        places = pose.place(part.points)
        if part.kind == "line":
            draw.line(places, fill=dark, width=width)
        elif part.kind == "button":
            for x, y in places:
                draw.ellipse((x - width * 1.5, y - width * 1.5, x + width * 1.5, y + width * 1.5), fill=dark)
        else:
            mask = Image.new("L", (side, side))
            ImageDraw.Draw(mask).polygon(places, fill=255)
            if part.kind == "opening":
                photo.paste(ground, mask=mask)
                continue
            if light is not None and part.kind == "cloth":
                mask.paste(light, mask=mask)
            key = (part.kind, part.shade)
            if key not in made:
                source = cloth if part.kind == "cloth" else plain
                made[key] = Image.fromarray(np.clip(source * np.float32(part.shade), 0, 255).astype(np.uint8))
            photo.paste(made[key], mask=mask)
            draw.line([*places, places[0]], fill=dark, width=1)
    return photo


def _with_shadow(parts: list[Part], pose: _Pose, background: Image.Image) -> Image.Image:
    """Return the background with the garment's soft shadow."""
    side = background.width
    whole = Image.new("L", (side, side))
    outline = ImageDraw.Draw(whole)
    for part in parts:
        if part.kind in ("cloth", "trim"):
            outline.polygon(pose.place(part.points), fill=255)
    shadow = whole.filter(ImageFilter.GaussianBlur(side / 40)).point(lambda value: value * 0.4)
    ground = background.copy()
    ground.paste((20, 20, 25), (side // 40, side // 32), shadow)
    return ground
