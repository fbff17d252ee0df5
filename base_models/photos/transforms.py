"""From stored uint8 photos to what a network takes: random changes for training, and the network's own normalization.

All random numbers of a photo come from (seed, epoch, photo), so they depend neither on the batch it lies in, nor on the
number of worker processes, nor on whether the run was interrupted. They are drawn, and ``mirror`` and ``light`` change,
for a whole batch at once; ``strong`` adds RandAugment of torchvision.transforms.v2 photo by photo.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from base_models.device import channel_values, send
from base_models.recipe.training import TrainingConfig

SMALLEST_CROP = 0.75  # share of the area; smaller crops cut labeled parts off; a choice, not tuned
WHITE = 255.0
N_DRAWS = 5  # random numbers of a photo in an epoch: area, place across, place down, mirror, shade
# G. Steele, D. Lea and C. Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, figure 16
SPLITMIX_STEP = np.uint64(0x9E3779B97F4A7C15)
SPLITMIX_ROUNDS = ((np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)), (np.uint64(27), np.uint64(0x94D049BB133111EB)))


def normalize_photos(photos: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Scale photos to a network's own mean and standard deviation.

    Parameters
    ----------
    photos : Tensor
        Shape (n_photos, 3, size, size), values in [0, 255].
    mean, std : sequence of float
        Three values each, for pixels in [0, 1].

    Returns
    -------
    Tensor
        Same shape, float32.
    """
    mean_255, std_255 = (channel_values(tuple(values), photos.device, 255) for values in (mean, std))
    return photos.float().sub(mean_255).div_(std_255)


def augment_photos(
    photos: Tensor,
    rows: NDArray[np.int64],
    strength: str,
    seed: int,
    epoch: int,
    *,
    max_zoom: float = 0.0,
    max_shade: float = TrainingConfig.max_shade,
) -> Tensor:
    """Change training photos at random.

    Parameters
    ----------
    photos : Tensor
        Shape (n_photos, 3, size, size), uint8.
    rows : ndarray of shape (n_photos,)
        Numbers of the photos, which seed their changes.
    strength : {"none", "mirror", "light", "strong"}
        How much to change: nothing; left and right; also a crop and a shade; also RandAugment.
    seed, epoch : int
        Further seeds, not negative.
    max_zoom : float
        Largest zoom, from 1 on; 0 crops to ``SMALLEST_CROP`` of the area at most.
    max_shade : float
        Largest share by which the contrast with white changes.

    Returns
    -------
    Tensor
        Same shape, float32 in [0, 255].
    """
    if strength == "none":
        return photos.float()
    if strength == "strong":
        photos = _rand_augment(photos, rows, seed, epoch)
    elif strength not in ("mirror", "light"):
        raise ValueError(f"augmentation must be one of none, mirror, light, strong: got {strength!r}.")
    draws = _draw(rows, seed, epoch)
    if strength == "mirror":
        mirrored = send(torch.from_numpy(draws[:, 3] < 0.5), photos.device)
        return torch.where(mirrored[:, None, None, None], photos.flip(-1), photos).float()
    smallest = max_zoom**-2 if max_zoom else SMALLEST_CROP
    area = smallest + (1 - smallest) * draws[:, 0]
    side = np.sqrt(area)  # of the crop, as a share of the photo's
    affine = np.zeros((len(rows), 2, 3), np.float32)
    affine[:, 0, 0], affine[:, 1, 1] = side * np.where(draws[:, 3] < 0.5, -1.0, 1.0), side
    affine[:, 0, 2], affine[:, 1, 2] = (1 - side) * (2 * draws[:, 1] - 1), (1 - side) * (2 * draws[:, 2] - 1)
    grid = functional.affine_grid(
        send(torch.from_numpy(affine), photos.device), list(photos.shape), align_corners=False
    )
    # inverted, the white ground of a photo is 0, which is also what lies outside
    changed = functional.grid_sample(WHITE - photos.float(), grid, align_corners=False)  # (n_photos, 3, size, size)
    shade = send(torch.from_numpy(1 + max_shade * (2 * draws[:, 4] - 1)), photos.device)  # the white ground stays white
    return WHITE - (changed * shade[:, None, None, None]).clamp(0, WHITE)


def training_size(config: TrainingConfig, epoch: int) -> int:
    """Return the size of an epoch's photos when they grow during the training.

    Parameters
    ----------
    config : TrainingConfig
        ``sizes`` and ``epochs``.
    epoch : int
        The epoch, from 0.

    Returns
    -------
    int
        Pixels.

    Examples
    --------
    >>> [training_size(TrainingConfig(epochs=5, sizes=(32, 64)), epoch) for epoch in range(5)]
    [32, 32, 32, 64, 64]
    """
    return config.sizes[epoch * len(config.sizes) // config.epochs]


def shrink_photos(photos: Tensor, size: int) -> Tensor:
    """Shrink photos to a smaller square.

    Parameters
    ----------
    photos : Tensor
        Shape (n_photos, 3, side, side), float32.
    size : int
        The new side.

    Returns
    -------
    Tensor
        Shape (n_photos, 3, size, size); the photos themselves at their own size.
    """
    if photos.shape[-1] == size:
        return photos
    return functional.interpolate(photos, (size, size), mode="bilinear", align_corners=False, antialias=True)


def mix_photos(
    photos: Tensor, target: Tensor, mask: Tensor | None, share: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Mix every photo of a batch, and its labels, with the one at the same place from the end.

    Parameters
    ----------
    photos : Tensor
        Shape (n_rows, 3, size, size).
    target : Tensor
        Shape (n_rows, n_labels).
    mask : Tensor or None
        Shape (n_rows, n_labels), 1 where known.
    share : float
        Share of the photo itself, in [0, 1].

    Returns
    -------
    tuple of Tensor, Tensor and Tensor or None
        Mixed photos and targets; an entry is known where it is in both.

    References
    ----------
    H. Zhang et al., "mixup: Beyond Empirical Risk Minimization", ICLR 2018, eq. 1.
    """
    mixed = share * photos + (1 - share) * photos.flip(0)
    return mixed, share * target + (1 - share) * target.flip(0), None if mask is None else mask * mask.flip(0)


def _draw(rows: NDArray[np.int64], seed: int, epoch: int) -> NDArray[np.float32]:
    """Draw ``N_DRAWS`` numbers in [0, 1) for every row: those places of the SplitMix64 sequence of (seed, epoch)."""
    start = np.random.SeedSequence((seed, epoch)).generate_state(1, np.uint64)[0]
    places = rows.astype(np.uint64)[:, None] * np.uint64(N_DRAWS) + np.arange(1, N_DRAWS + 1, dtype=np.uint64)
    bits = start + places * SPLITMIX_STEP  # modulo 2^64; the step is odd, so no state comes twice
    for shift, factor in SPLITMIX_ROUNDS:
        bits = (bits ^ (bits >> shift)) * factor
    bits ^= bits >> np.uint64(31)
    # the upper 24 bits: as many as a float32 holds exactly, so that no number is rounded up to 1
    return ((bits >> np.uint64(40)) * 2.0**-24).astype(np.float32)


def _rand_augment(photos: Tensor, rows: NDArray[np.int64], seed: int, epoch: int) -> Tensor:
    """Apply torchvision's RandAugment to each photo under its own seed."""
    from torchvision.transforms import v2

    # two changes as in torchvision, and a magnitude of 7 instead of its 9 of 31: a choice, not tuned; bars stay white
    change = v2.RandAugment(num_ops=2, magnitude=7, fill=255)
    changed = torch.empty_like(photos)
    with torch.random.fork_rng(devices=[]):
        for place, row in enumerate(rows):
            # The CPU's alone: a GPU's draws dropout. The last 1 keeps these seeds apart from those of `_draw`.
            torch.default_generator.manual_seed(int(np.random.default_rng((seed, epoch, int(row), 1)).integers(2**62)))
            changed[place] = change(photos[place])
    return changed
