"""Patterns and materials as functions of the place on the cloth.

Patterns are two-colored and a few pixels wide in the finished photo, materials finer and of one color. Both have
about the same mean everywhere, so a thumbnail, which averages over them, hardly shows which is which.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
_TAU = 2 * np.pi


def pattern_share(name: str, u: Field, v: Field, rng: np.random.Generator) -> Field | None:
    """Return how much of the second color shows at each place.

    Parameters
    ----------
    name : str
        The pattern.
    u, v : ndarray of float32, shape (height, width)
        Place on the cloth in garment units.
    rng : numpy.random.Generator
        Varies period and phase.

    Returns
    -------
    ndarray of float32, shape (height, width), or None
        From 0 (first color) to 1 (second color); None for plain cloth.
    """
    if name == "solid":
        return None
    shift = rng.uniform(0, 1, 2)
    return _PATTERNS[name](u + np.float32(shift[0]), v + np.float32(shift[1]), rng)


def material_relief(name: str, u: Field, v: Field, rng: np.random.Generator) -> tuple[Field, Field | None]:
    """Return how a material lightens the cloth, and where it lets the background through.

    Parameters
    ----------
    name : str
        The material.
    u, v : ndarray of float32, shape (height, width)
        Place on the cloth in garment units.
    rng : numpy.random.Generator
        Varies period and phase.

    Returns
    -------
    light : ndarray of float32, shape (height, width)
        Added to the brightness, around 0; 1 would be white.
    cover : ndarray of float32, shape (height, width), or None
        1 where there is cloth, 0 where the background shows; None where it is closed everywhere.
    """
    relief = _MATERIALS[name](u, v, rng)
    cover = _lace_cover(u, v, rng) if name == "lace" else None
    return relief, cover


def _soft(wave: NDArray[np.floating], edge: float) -> Field:
    """Turn a wave into bands from 0 to 1 with soft edges."""
    bands: Field = np.clip(wave.astype(np.float32) * np.float32(edge) + np.float32(0.5), 0, 1)
    return bands


def _striped(u: Field, v: Field, rng: np.random.Generator) -> Field:
    along = v if rng.random() < 0.65 else u
    return _soft(np.sin(_TAU / rng.uniform(0.26, 0.36) * along), 2.5)


def _checked(u: Field, v: Field, rng: np.random.Generator) -> Field:
    period = rng.uniform(0.36, 0.46)
    return 0.5 * _soft(np.sin(_TAU / period * u), 2.5) + 0.5 * _soft(np.sin(_TAU / period * v), 2.5)


def _cells(u: Field, v: Field, period: float) -> tuple[Field, Field]:
    """Return the place within staggered cells, from −.5 to .5."""
    row = np.floor(v / period)
    return (u / period + 0.5 * (row % 2)) % 1 - np.float32(0.5), (v / period) % 1 - np.float32(0.5)


def _dotted(u: Field, v: Field, rng: np.random.Generator) -> Field:
    x, y = _cells(u, v, rng.uniform(0.28, 0.36))
    return _soft(0.3 - np.sqrt(x * x + y * y), 9)


def _floral(u: Field, v: Field, rng: np.random.Generator) -> Field:
    x, y = _cells(u, v, rng.uniform(0.48, 0.6))
    radius = np.sqrt(x * x + y * y)
    petals = 0.3 + 0.13 * np.cos(5 * np.arctan2(y, x))
    return _soft(petals - radius, 10) * _soft(radius - 0.1, 12)


def _chevron(u: Field, v: Field, rng: np.random.Generator) -> Field:
    zigzag = np.abs((u / 0.36) % 1 - 0.5) * 0.4
    return _soft(np.sin(_TAU / rng.uniform(0.22, 0.3) * (v + zigzag)), 2.5)


def _waves(u: Field, v: Field, rng: np.random.Generator, period: float, n_waves: int = 4) -> Field:
    """Return smooth random blotches: a sum of waves in random directions, about −1 to 1."""
    total = np.zeros_like(u)
    for angle, phase in zip(rng.uniform(0, np.pi, n_waves), rng.uniform(0, _TAU, n_waves), strict=True):
        step = _TAU / (period * rng.uniform(0.7, 1.4))
        total += np.sin(np.float32(step * np.cos(angle)) * u + np.float32(step * np.sin(angle)) * v + np.float32(phase))
    return total / np.float32(0.7 * n_waves)


def _camouflage(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return 0.6 * _soft(_waves(u, v, rng, 0.5), 4) + 0.4 * _soft(_waves(u, v, rng, 0.4), 4)


def _printed(u: Field, v: Field, rng: np.random.Generator) -> Field:
    # one emblem on the chest or thigh: a ring with a bar, or lines of lettering
    x, y = u % 1 - np.float32(0.5), (v + 0.25) % 1 - np.float32(0.5)
    if rng.random() < 0.5:
        radius = np.sqrt(x * x + y * y)
        return np.maximum(_soft(0.08 - np.abs(radius - 0.24), 14), _soft(0.07 - np.abs(y), 14) * (radius < 0.28))
    lines = _soft(np.sin(_TAU / 0.17 * y), 4) * _soft(np.sin(_TAU / 0.11 * x), 5)
    return lines * (np.abs(x) < 0.33) * (np.abs(y) < 0.28)


_PATTERNS: dict[str, Callable[[Field, Field, np.random.Generator], Field]] = {
    "striped": _striped,
    "checked": _checked,
    "dotted": _dotted,
    "floral": _floral,
    "chevron": _chevron,
    "camouflage": _camouflage,
    "printed": _printed,
}


def _cotton(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return 0.03 * _waves(u, v, rng, 0.6)


def _denim(u: Field, v: Field, rng: np.random.Generator) -> Field:
    # diagonal twill
    return 0.2 * np.sin(_TAU / rng.uniform(0.15, 0.18) * (u + v))


def _knit(u: Field, v: Field, rng: np.random.Generator) -> Field:
    # columns of stitches: small Vs
    period = rng.uniform(0.22, 0.27)
    column = np.abs((u / period) % 1 - 0.5) * period
    return 0.22 * np.sin(_TAU / (0.75 * period) * (v + 1.2 * column))


def _satin(u: Field, v: Field, rng: np.random.Generator) -> Field:
    # soft sheen in diagonal folds
    step, slope = np.float32(_TAU / rng.uniform(0.5, 0.65)), np.float32(rng.uniform(0.3, 0.8))
    sheen: Field = np.sin(step * (u + slope * v + np.float32(0.15) * np.sin(4 * v)))
    return np.float32(0.28) * sheen


def _leather(u: Field, v: Field, rng: np.random.Generator) -> Field:
    # hard small highlights
    spots: Field = np.maximum(_waves(u, v, rng, 0.36) - np.float32(0.4), 0)
    return np.float32(0.9) * spots - np.float32(0.08)


def _wool(u: Field, v: Field, rng: np.random.Generator) -> Field:
    # felted: coarse grain, about one finished pixel
    grain = rng.standard_normal((u.shape[0] // 2, u.shape[1] // 2), dtype=np.float32)
    return 0.17 * np.repeat(np.repeat(grain, 2, axis=0), 2, axis=1)[: u.shape[0], : u.shape[1]]


def _lace(u: Field, v: Field, rng: np.random.Generator) -> Field:
    return np.full_like(u, 0.03)


def _lace_cover(u: Field, v: Field, rng: np.random.Generator) -> Field:
    """Return the holes of lace, in staggered rows."""
    x, y = _cells(u, v, rng.uniform(0.19, 0.23))
    return 1 - 0.85 * _soft(0.3 - np.sqrt(x * x + y * y), 8)


def _fur(u: Field, v: Field, rng: np.random.Generator) -> Field:
    # long hairs down the cloth: grain stretched along v
    grain = rng.standard_normal((u.shape[0] // 8 + 1, u.shape[1] // 2), dtype=np.float32)
    return 0.28 * np.repeat(np.repeat(grain, 8, axis=0), 2, axis=1)[: u.shape[0], : u.shape[1]]


_MATERIALS: dict[str, Callable[[Field, Field, np.random.Generator], Field]] = {
    "cotton": _cotton,
    "denim": _denim,
    "knit": _knit,
    "satin": _satin,
    "leather": _leather,
    "wool": _wool,
    "lace": _lace,
    "fur": _fur,
}
