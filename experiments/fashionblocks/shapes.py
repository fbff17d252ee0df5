"""The outlines of garments, as polygons in garment units.

x runs from −1 to 1 (left to right), y from −1 to 1 (top to bottom). A garment is a list of parts painted in order:
cloth, openings through which the background shows, and drawn lines. Proportions vary from photo to photo.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from experiments.fashionblocks.wardrobe import Garment

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """Hold one polygon or line of a garment.

    Parameters
    ----------
    points : ndarray, shape (n_points, 2)
        Corners in garment units.
    kind : {"cloth", "trim", "opening", "line", "button"}
        Painted cloth, plain darker cloth without pattern, see-through, a drawn line, or dots at the points.
    shade : float, default=1.0
        Brightness of the cloth (dimensionless factor).
    """

    points: Points
    kind: Literal["cloth", "trim", "opening", "line", "button"] = "cloth"
    shade: float = 1.0


def garment_parts(garment: Garment, rng: np.random.Generator) -> list[Part]:
    """Return the parts of a garment, in the order of painting.

    Parameters
    ----------
    garment : Garment
        What to draw.
    rng : numpy.random.Generator
        Varies the proportions.

    Returns
    -------
    list of Part
        Polygons and lines.
    """
    return _BUILDERS[garment.category](garment, rng)


def _array(*points: tuple[float, float]) -> Points:
    return np.array(points, dtype=np.float64)


def _mirrored(half: list[tuple[float, float]]) -> Points:
    """Close a right half, listed from top to bottom, by its mirror image."""
    right = np.array(half, dtype=np.float64)
    left = right[::-1] * (-1.0, 1.0)
    return np.concatenate([right, left])


def _both(points: Points) -> tuple[Points, Points]:
    """Return a right-hand polygon and its mirror image."""
    return points, points * (-1.0, 1.0)


def _arc(center: tuple[float, float], radii: tuple[float, float], start: float, stop: float, steps: int = 14) -> Points:
    """Return points on an ellipse; angles in degrees, clockwise from the right."""
    angles = np.radians(np.linspace(start, stop, steps))
    return np.column_stack([center[0] + radii[0] * np.cos(angles), center[1] + radii[1] * np.sin(angles)])


@dataclass(frozen=True)
class _Body:
    """Half widths and heights of an upper body: neck, shoulder, armpit, waist, hem."""

    neck: float
    shoulder: float
    chest: float
    waist: float
    hem: float
    top: float
    armpit: float
    middle: float
    bottom: float

    def outline(self) -> Points:
        return _mirrored(
            [
                (self.neck, self.top),
                (self.shoulder, self.top + 0.1),
                (self.chest, self.armpit),
                (self.waist, self.middle),
                (self.hem, self.bottom),
            ]
        )


def _body(rng: np.random.Generator, *, bottom: float, waist: float, hem: float, chest: float = 0.4) -> _Body:
    """Return an upper body with proportions varied by about a tenth."""
    wide = rng.uniform(0.9, 1.12)
    top = -0.82
    long = bottom * rng.uniform(0.9, 1.06)
    return _Body(
        neck=0.17 * rng.uniform(0.9, 1.15),
        shoulder=0.43 * wide,
        chest=chest * wide,
        waist=waist * wide * rng.uniform(0.92, 1.08),
        hem=hem * wide * rng.uniform(0.92, 1.08),
        top=top,
        armpit=-0.38,
        middle=min(0.05, long - 0.25),
        bottom=long,
    )


def _sleeves(kind: str, body: _Body, rng: np.random.Generator) -> list[Part]:
    """Return both sleeves; none where there are none."""
    if kind in ("", "sleeveless"):
        return []
    x, y = body.shoulder, body.top + 0.1
    spread = rng.uniform(0.85, 1.15)
    if kind == "long":
        reach, drop, wide = 0.3 * spread, 1.12, 0.19
        parts = []
        for side in _both(
            _array(
                (x - 0.06, y - 0.03), (x + reach, y + drop - 0.08), (x + reach - wide, y + drop), (x - 0.04, y + 0.42)
            )
        ):
            parts.append(Part(side, shade=0.9))
        for cuff in _both(_array((x + reach - 0.02, y + drop - 0.17), (x + reach - wide, y + drop - 0.1))):
            parts.append(Part(cuff, "line"))
        return parts
    if kind == "puff":
        parts = [Part(side, shade=1.06) for side in _both(_arc((x + 0.08, y + 0.2), (0.21, 0.25), 0, 360, 20))]
        return parts + [Part(line, "line") for line in _both(_array((x - 0.02, y + 0.43), (x + 0.22, y + 0.4)))]
    reach, drop = 0.3 * spread, 0.42
    sides = _both(
        _array((x - 0.06, y - 0.03), (x + reach, y + drop - 0.12), (x + reach - 0.17, y + drop), (x - 0.06, y + 0.34))
    )
    return [Part(side, shade=0.92) for side in sides]


def _straps(body: _Body) -> list[Part]:
    """Cut the shoulders of a sleeveless body away from outside."""
    cut = _array(
        (body.shoulder + 0.08, body.top - 0.05),
        (body.neck + 0.11, body.top - 0.05),
        (body.neck + 0.13, body.top + 0.22),
        (body.chest + 0.03, body.armpit + 0.05),
    )
    return [Part(side, "opening") for side in _both(cut)]


def _neck(kind: str, body: _Body, rng: np.random.Generator) -> list[Part]:
    """Return what the neckline cuts out or adds."""
    n, top = body.neck, body.top
    deep = rng.uniform(0.85, 1.2)
    if kind == "round":
        arc = _arc((0, top - 0.02), (n, 0.17 * deep), 0, 180)
        return [Part(arc, "opening"), Part(arc, "line")]
    if kind == "v-neck":
        vee = _array((n, top - 0.04), (0, top + 0.42 * deep), (-n, top - 0.04))
        return [Part(vee, "opening"), Part(vee, "line")]
    if kind == "square":
        low = top + 0.27 * deep
        box = _array((n + 0.04, top - 0.04), (n + 0.02, low), (-n - 0.02, low), (-n - 0.04, top - 0.04))
        return [Part(box, "opening"), Part(box, "line")]
    if kind == "off-shoulder":
        cut = _array((0.9, top - 0.2), (0.9, top + 0.2), (0.0, top + 0.32), (-0.9, top + 0.2), (-0.9, top - 0.2))
        frill = _array(
            (0.56, top + 0.2),
            (0.5, top + 0.42),
            (0.0, top + 0.52),
            (-0.5, top + 0.42),
            (-0.56, top + 0.2),
            (0.0, top + 0.31),
        )
        return [Part(cut, "opening"), Part(frill, shade=1.1), Part(frill[1:5], "line")]
    if kind == "turtleneck":
        tube = _array((n + 0.01, top + 0.06), (n - 0.03, top - 0.17), (-n + 0.03, top - 0.17), (-n - 0.01, top + 0.06))
        return [
            Part(tube, shade=0.88),
            Part(_array((n, top - 0.06), (-n, top - 0.06)), "line"),
            Part(_array((n, top + 0.05), (-n, top + 0.05)), "line"),
        ]
    if kind == "hooded":
        hood = _arc((0, top + 0.02), (n + 0.17, 0.24), 180, 360)
        inside = _arc((0, top + 0.06), (n, 0.21), 0, 360, 20)
        cords = [Part(cord, "line") for cord in _both(_array((0.07, top + 0.24), (0.08, top + 0.5)))]
        return [
            Part(np.concatenate([hood, _array((n + 0.1, top + 0.2), (-n - 0.1, top + 0.2))]), shade=0.86),
            Part(inside, "trim", 0.5),
            *cords,
        ]
    if kind == "collar":
        vee = _array((n, top - 0.04), (0, top + 0.2), (-n, top - 0.04))
        flaps = _both(_array((n - 0.04, top - 0.08), (n + 0.1, top + 0.05), (n - 0.03, top + 0.26), (0.0, top + 0.18)))
        drawn = [Part(flap, shade=1.14) for flap in flaps] + [
            Part(np.vstack([flap, flap[:1]]), "line") for flap in flaps
        ]
        return [Part(vee, "opening"), *drawn]
    return []


def _front(body: _Body, *, buttons: int) -> list[Part]:
    """Return a button placket down the middle."""
    ys = np.linspace(body.top + 0.28, body.bottom - 0.08, buttons)
    return [
        Part(_array((0.035, body.top + 0.2), (0.035, body.bottom)), "line"),
        Part(np.column_stack([np.zeros(buttons), ys]), "button"),
    ]


def _top(garment: Garment, rng: np.random.Generator, body: _Body) -> list[Part]:
    """Return sleeves, body and neckline, in that order."""
    parts = [*_sleeves(garment.sleeve, body, rng), Part(body.outline())]
    if garment.sleeve == "sleeveless" and garment.neckline != "off-shoulder":
        parts += _straps(body)
    return parts + _neck(garment.neckline, body, rng)


def _dress(garment: Garment, rng: np.random.Generator) -> list[Part]:
    body = _body(rng, bottom=0.92, waist=0.27, hem=rng.uniform(0.42, 0.72), chest=0.36)
    waist = _array((body.waist, body.middle), (-body.waist, body.middle))
    return [*_top(garment, rng, body), Part(waist, "line")]


def _t_shirt(garment: Garment, rng: np.random.Generator) -> list[Part]:
    return _top(garment, rng, _body(rng, bottom=0.52, waist=0.39, hem=0.41))


def _shirt(garment: Garment, rng: np.random.Generator) -> list[Part]:
    body = _body(rng, bottom=0.66, waist=0.38, hem=0.4)
    pocket = _array((0.12, -0.3), (0.3, -0.3), (0.3, -0.1), (0.12, -0.1), (0.12, -0.3))
    return [*_top(garment, rng, body), *_front(body, buttons=6), Part(pocket, "line")]


def _sweater(garment: Garment, rng: np.random.Generator) -> list[Part]:
    body = _body(rng, bottom=0.56, waist=0.43, hem=0.41, chest=0.44)
    b, h = body.bottom, body.hem
    band = _array((h + 0.01, b - 0.13), (h - 0.02, b + 0.02), (-h + 0.02, b + 0.02), (-h - 0.01, b - 0.13))
    return [*_top(garment, rng, body), Part(band, "trim", 0.8)]


def _hoodie(garment: Garment, rng: np.random.Generator) -> list[Part]:
    body = _body(rng, bottom=0.55, waist=0.43, hem=0.42, chest=0.44)
    pouch = _array((0.16, 0.08), (0.28, 0.42), (-0.28, 0.42), (-0.16, 0.08), (0.16, 0.08))
    return [*_top(garment, rng, body), Part(pouch, shade=0.9), Part(pouch, "line")]


def _jacket(garment: Garment, rng: np.random.Generator) -> list[Part]:
    body = _body(rng, bottom=0.46, waist=0.42, hem=0.4, chest=0.44)
    open_front = _array(
        (0.02, body.top + 0.15), (0.13, body.bottom + 0.02), (-0.13, body.bottom + 0.02), (-0.02, body.top + 0.15)
    )
    pockets = [Part(line, "line") for line in _both(_array((0.2, 0.16), (0.34, 0.1)))]
    zips = [Part(line, "line") for line in _both(open_front[:2])]
    return [*_top(garment, rng, body), Part(open_front, "opening"), *zips, *pockets]


def _coat(garment: Garment, rng: np.random.Generator) -> list[Part]:
    body = _body(rng, bottom=0.96, waist=0.36, hem=0.47, chest=0.42)
    lapels = [
        Part(side, shade=0.8)
        for side in _both(_array((0.16, body.top), (0.24, body.top + 0.3), (0.02, body.top + 0.62)))
    ]
    belt = _array(
        (body.waist + 0.02, 0.02), (body.waist + 0.02, 0.12), (-body.waist - 0.02, 0.12), (-body.waist - 0.02, 0.02)
    )
    split = Part(_array((0.0, body.top + 0.6), (0.0, body.bottom)), "line")
    buttons = Part(_array((0.1, -0.15), (0.1, 0.3), (0.1, 0.5)), "button")
    return [*_top(garment, rng, body), *lapels, Part(belt, "trim", 0.65), split, buttons]


def _legs(rng: np.random.Generator, *, waist_y: float, waist: float, bottom: float, flare: float) -> list[Part]:
    """Return a waistband and two legs."""
    hip, gap, crotch = waist + 0.08, 0.03, waist_y + 0.5
    leg = _array(
        (0.0, waist_y),
        (waist, waist_y),
        (hip, waist_y + 0.34),
        (hip * 0.62 + flare, bottom),
        (gap + 0.05 + max(0.0, 0.1 - flare), bottom),
        (gap - 0.03, crotch),
    )
    parts = [Part(side, shade=shade) for side, shade in zip(_both(leg), (1.0, 0.93), strict=True)]
    return [*parts, Part(_array((0.0, waist_y), (0.0, crotch)), "line")]


def _waistband(waist_y: float, waist: float) -> list[Part]:
    band = _array((waist, waist_y - 0.04), (waist, waist_y + 0.06), (-waist, waist_y + 0.06), (-waist, waist_y - 0.04))
    pockets = [
        Part(line, "line") for line in _both(_array((waist * 0.55, waist_y + 0.08), (waist + 0.03, waist_y + 0.24)))
    ]
    return [Part(band, "trim", 0.72), *pockets]


def _trousers(garment: Garment, rng: np.random.Generator) -> list[Part]:
    waist = 0.33 * rng.uniform(0.9, 1.1)
    legs = _legs(rng, waist_y=-0.88, waist=waist, bottom=0.95, flare=rng.uniform(0.0, 0.22))
    return [*legs, *_waistband(-0.88, waist)]


def _shorts(garment: Garment, rng: np.random.Generator) -> list[Part]:
    waist = 0.46 * rng.uniform(0.9, 1.1)
    legs = _legs(rng, waist_y=-0.5, waist=waist, bottom=rng.uniform(0.28, 0.5), flare=rng.uniform(0.26, 0.36))
    return [*legs, *_waistband(-0.5, waist)]


def _skirt(garment: Garment, rng: np.random.Generator) -> list[Part]:
    waist, hem, bottom = 0.3 * rng.uniform(0.9, 1.1), rng.uniform(0.45, 0.85), rng.uniform(0.4, 0.8)
    sheet = _mirrored([(waist, -0.6), (hem, bottom), (hem * 0.5, bottom + 0.06)])
    pleats = [Part(_array((waist * x, -0.45), (hem * x, bottom)), "line") for x in (-0.6, -0.2, 0.2, 0.6)]
    band = _array((waist, -0.66), (waist + 0.02, -0.55), (-waist - 0.02, -0.55), (-waist, -0.66))
    return [Part(sheet), *pleats, Part(band, "trim", 0.72)]


def _jumpsuit(garment: Garment, rng: np.random.Generator) -> list[Part]:
    body = _body(rng, bottom=0.0, waist=0.3, hem=0.31, chest=0.36)
    legs = _legs(rng, waist_y=body.bottom - 0.05, waist=body.hem - 0.02, bottom=0.95, flare=rng.uniform(0.0, 0.24))
    belt = _array((0.31, -0.06), (0.31, 0.04), (-0.31, 0.04), (-0.31, -0.06))
    return [*legs, *_top(garment, rng, body), Part(belt, "trim", 0.7)]


def _swimsuit(garment: Garment, rng: np.random.Generator) -> list[Part]:
    body = _body(rng, bottom=0.3, waist=0.27, hem=0.36, chest=0.33)
    gusset = _array(
        (body.hem, body.bottom - 0.03),
        (0.1, body.bottom + 0.36),
        (-0.1, body.bottom + 0.36),
        (-body.hem, body.bottom - 0.03),
    )
    return [Part(gusset), *_top(garment, rng, body)]


def _boots(garment: Garment, rng: np.random.Generator) -> list[Part]:
    high = rng.uniform(-0.85, -0.3)
    parts: list[Part] = []
    for shift, shade in ((-0.48, 1.0), (0.42, 0.9)):
        boot = _array((-0.2, high), (0.16, high), (0.17, 0.3), (0.5, 0.48), (0.52, 0.68), (-0.22, 0.68))
        sole = _array((-0.22, 0.66), (0.53, 0.66), (0.52, 0.78), (0.1, 0.74), (0.05, 0.78), (-0.22, 0.84))
        cuff = Part(_array((-0.2 + shift, high + 0.12), (0.16 + shift, high + 0.12)), "line")
        boot, sole = boot + np.array([shift, 0]), sole + np.array([shift, 0])
        parts += [Part(boot, shade=shade), Part(sole, "trim", 0.45), cuff]
    return parts


def _bag(garment: Garment, rng: np.random.Generator) -> list[Part]:
    wide, high = rng.uniform(0.55, 0.85), rng.uniform(0.45, 0.7)
    handle = _arc((0, -0.1), (wide * 0.55, rng.uniform(0.5, 0.8)), 180, 360, 20)
    inner = _arc((0, -0.1), (wide * 0.43, 0.4), 180, 360, 20)
    sack = _array((wide * 0.86, -0.15), (wide, high), (-wide, high), (-wide * 0.86, -0.15))
    flap = _array((wide * 0.87, -0.15), (wide * 0.7, 0.15), (-wide * 0.7, 0.15), (-wide * 0.87, -0.15))
    clasp = Part(_array((0.0, 0.15)), "button")
    return [
        Part(handle, "trim", 0.7),
        Part(inner, "opening"),
        Part(sack),
        Part(flap, shade=0.88),
        Part(flap, "line"),
        clasp,
    ]


def _hat(garment: Garment, rng: np.random.Generator) -> list[Part]:
    wide, high = rng.uniform(0.45, 0.6), rng.uniform(0.55, 0.85)
    dome = _arc((0, 0.15), (wide, high), 180, 360, 24)
    brim = _arc((0, 0.2), (wide * rng.uniform(1.2, 1.75), 0.17), 0, 360, 28)
    band = _array((wide, 0.0), (wide, 0.15), (-wide, 0.15), (-wide, 0.0))
    return [Part(brim, shade=0.85), Part(dome), Part(band, "trim", 0.55)]


def _scarf(garment: Garment, rng: np.random.Generator) -> list[Part]:
    loop = _arc((0, -0.45), (0.5, 0.38), 0, 360, 28)
    hole = _arc((0, -0.5), (0.26, 0.17), 0, 360, 24)
    tails = [
        Part(_array((x, -0.3), (x + 0.25, -0.3), (x + 0.32 * s + 0.1, end), (x + 0.32 * s - 0.18, end)), shade=shade)
        for x, s, end, shade in ((-0.3, -0.6, rng.uniform(0.6, 0.95), 0.92), (0.0, 0.7, rng.uniform(0.6, 0.95), 1.0))
    ]
    fringe = [
        Part(
            _array((part.points[2, 0] - step, part.points[2, 1]), (part.points[2, 0] - step, part.points[2, 1] + 0.09)),
            "line",
        )
        for part in tails
        for step in (0.02, 0.1, 0.18, 0.26)
    ]
    return [*tails, Part(loop, shade=1.06), Part(hole, "opening"), *fringe]


_BUILDERS: dict[str, Callable[[Garment, np.random.Generator], list[Part]]] = {
    "dress": _dress,
    "t-shirt": _t_shirt,
    "trousers": _trousers,
    "shirt": _shirt,
    "sweater": _sweater,
    "skirt": _skirt,
    "jacket": _jacket,
    "shorts": _shorts,
    "coat": _coat,
    "hoodie": _hoodie,
    "jumpsuit": _jumpsuit,
    "swimsuit": _swimsuit,
    "boots": _boots,
    "bag": _bag,
    "hat": _hat,
    "scarf": _scarf,
}
