"""Photos of noise in the form of the contest, for what is measured on a card: their content decides nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PHOTO_SIZE = 299  # pixels, the default of `labelstack data ingest`
N_LABELS = 228  # as in the contest


def write_photos(folder: Path, n_photos: int) -> Path:
    """Write JPEG files of the size that an ingest writes, and labels as many as the contest has.

    Parameters
    ----------
    folder : Path
        Where to; created.
    n_photos : int
        How many.

    Returns
    -------
    Path
        The folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    lines = ["image,labels"]
    for number in range(n_photos):
        coarse = Image.fromarray(rng.integers(0, 256, (50, 50, 3), dtype=np.uint8))
        coarse.resize((PHOTO_SIZE, PHOTO_SIZE), Image.Resampling.BICUBIC).save(
            folder / f"photo{number:05d}.jpg", quality=85
        )
        first = number % N_LABELS
        labels = {first, *rng.integers(0, N_LABELS, 5).tolist()}
        lines.append(f"photo{number:05d}.jpg,{'|'.join(f'label{label:03d}' for label in sorted(labels))}")
    (folder / "annotations.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
