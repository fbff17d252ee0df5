"""Photos of garments as strangers send them."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw


def garment(seed, size=(90, 120), color=None):
    """Draw a shape of its own on white."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    color = color or tuple(int(c) for c in rng.integers(0, 200, 3))
    points = [(int(rng.uniform(0.1, 0.9) * size[0]), int(rng.uniform(0.1, 0.9) * size[1])) for _ in range(6)]
    draw.polygon(points, fill=color)
    draw.rectangle((size[0] // 3, size[1] // 3, size[0] // 2, size[1] // 2), fill=color)
    return image


def encoded(image, kind="JPEG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def draw_garment():
    return garment


@pytest.fixture
def encode():
    return encoded
