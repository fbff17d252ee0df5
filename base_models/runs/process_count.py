"""How many processes suit a run on a CPU, where each trains whole folds with threads of its own.

Two threads that share a step of a small network wait for each other at every layer, and wait busily: two processes
with a thread each trained MobileNet at 64 pixels in 9 ms of CPU a photo instead of 13.6, and where threads fell to a
sixth beside busy processes, one thread lost a third (two cores).
"""

from __future__ import annotations

import os

import torch

from base_models.recipe.run import TrainingRun
from base_models.runs.photo_packs import packed_bytes
from stacking.process.memory import available_memory

PROCESS_BYTES = 2**30  # of a process that has torch, a network of 25 million weights, its gradients and moments
# of a training step per pixel and photo: 0.4 to 3.4 kB are kept for the backward pass by ten families of timm,
# EfficientNet-B3 the most (torch.autograd.graph.saved_tensors_hooks), and gradients come on top
BYTES_PER_PIXEL = 5000
SHARE_OF_MEMORY = 0.5  # the rest is for pages of packed photos and for whoever else is there: a choice


def suitable_processes(recipe: TrainingRun, n_photos: int, device: str, memory: int | None = None) -> int:
    """Return how many processes should train a run's folds side by side.

    Parameters
    ----------
    recipe : TrainingRun
        What is trained.
    n_photos : int
        Photos of the data set.
    device : str
        Where it is trained.
    memory : int, optional
        Bytes that may be taken; what the system has left by default.

    Returns
    -------
    int
        One per processor that torch may use (``n_threads`` of them, where the recipe says so), as far as there are
        networks and memory for them. 1 on a GPU, in a process of ``torchrun``, and where each process would decode
        the photos for itself or wait for features that all share.
    """
    shares_nothing = not packed_bytes(recipe, n_photos) or recipe.cache == "memory"
    waits = any(member.features == "precomputed" for member in recipe.members)
    if device != "cpu" or int(os.environ.get("WORLD_SIZE", "1")) > 1 or shares_nothing or waits:
        return 1
    memory = available_memory() if memory is None else memory
    each = PROCESS_BYTES + max(
        BYTES_PER_PIXEL * member.size**2 * member.training.batch_size for member in recipe.members
    )
    limits = [torch.get_num_threads() // max(1, recipe.n_threads), len(recipe.members) * recipe.folds.n_networks]
    if memory is not None:
        limits.append(int(SHARE_OF_MEMORY * memory // each))
    return max(1, min(limits))


def threads_of_each(recipe: TrainingRun, n_processes: int) -> int:
    """Return with how many threads each of a run's processes computes.

    Parameters
    ----------
    recipe : TrainingRun
        What is trained.
    n_processes : int
        How many processes train its folds.

    Returns
    -------
    int
        ``n_threads`` of the recipe, or an equal share of the threads that torch may use.
    """
    return recipe.n_threads or max(1, torch.get_num_threads() // n_processes)
