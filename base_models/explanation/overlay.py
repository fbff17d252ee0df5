"""Draw a map over its photo so that both can be read: the photo in gray, the map in one warm ramp.

Gray leaves color to the map. The ramp grows darker with the map and is clear where the map is zero, so it also reads
in gray print and to people who tell colors badly.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RAMP = np.array([(255, 224, 130), (240, 125, 45), (165, 15, 55)], np.float32)
LARGEST_SHARE = 0.82  # of the ramp's color at the map's value 1
FADE = 0.4  # how far the gray photo is lightened


def enlarge_map(heat: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Bring a map to the size of a picture.

    Parameters
    ----------
    heat : ndarray of float32, shape (height, width)
        A map in [0, 1] over the places of a feature map.
    size : int
        Side of the picture in pixels.

    Returns
    -------
    ndarray of float32, shape (size, size)
        In [0, 1], smooth between the places.

    Examples
    --------
    >>> enlarge_map(np.array([[0.0, 1.0]], np.float32), 4)[0].tolist()
    [0.0, 0.25, 0.75, 1.0]
    """
    image = Image.fromarray(np.ascontiguousarray(heat, dtype=np.float32))
    return np.clip(np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)), 0.0, 1.0)


def overlay_map(photo: NDArray[np.uint8], heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Draw a map over a photo.

    Parameters
    ----------
    photo : ndarray of uint8, shape (size, size, 3)
        The letterboxed photo.
    heat : ndarray of float32, shape (height, width)
        A map in [0, 1]; it spans the whole square.

    Returns
    -------
    ndarray of uint8, shape (size, size, 3)
        The picture.
    """
    large = enlarge_map(heat, len(photo))
    gray = np.asarray(Image.fromarray(photo).convert("L"), np.float32)[:, :, None]
    gray = gray + FADE * (255 - gray)
    levels = np.linspace(0, 1, len(RAMP))
    color = np.stack([np.interp(large, levels, RAMP[:, channel]) for channel in range(3)], axis=2)
    share = (LARGEST_SHARE * large)[:, :, None]
    return np.rint(gray * (1 - share) + color * share).astype(np.uint8)
