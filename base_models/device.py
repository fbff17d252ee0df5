"""What a GPU asks of training and scoring that a CPU does not.

Work on a GPU runs behind the program that orders it. Whatever makes the program wait for it (a plain copy to or from
its memory, reading one number) leaves it idle, so copies go out of pinned memory without waiting, photos on a stream of
their own. Its float32 products may be rounded to TensorFloat-32, its memory may run out under several names, and its
random generator is another. All of that is decided here; on a CPU every function is the plain thing.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from stacking.files.ending import ending_with
from stacking.process.processors import usable_processors

S = TypeVar("S")
T = TypeVar("T")

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}
"""The arithmetics that torch's autocast carries out; float32 and tf32 need no other type."""

AUTO_WORKERS = -1  # as n_jobs=-1 of scikit-learn: as many as the machine suggests
MOST_WORKERS = 16  # more decode faster than a GPU of 2026 trains at 224 pixels, and each costs half a GiB
CACHED_SIZES = 10  # cuDNN's own limit of algorithms that it tries for a layer and size
ALLOCATION_FAILURES = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")


def is_cuda(device: str | torch.device) -> bool:
    """Tell whether a device is a GPU that CUDA drives.

    Parameters
    ----------
    device : str or torch.device
        Such as ``"cpu"`` or ``"cuda:1"``.

    Returns
    -------
    bool
        False for every other kind.
    """
    return torch.device(device).type == "cuda"


def send(values: Tensor, device: str | torch.device) -> Tensor:
    """Copy a tensor to a device; a GPU fetches it when it comes to that, and nobody waits.

    Parameters
    ----------
    values : Tensor
        Anywhere.
    device : str or torch.device
        Where to.

    Returns
    -------
    Tensor
        The values there; the tensor itself where it is there already.
    """
    if values.device.type == "cpu" and is_cuda(device):
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def send_photos(photos: Tensor, device: str | torch.device) -> Tensor:
    """Copy photos to a device; a GPU fetches them while it computes on those before.

    Parameters
    ----------
    photos : Tensor
        Anywhere.
    device : str or torch.device
        Where to.

    Returns
    -------
    Tensor
        The photos there, in the same layout.
    """
    if photos.device.type != "cpu" or not is_cuda(device):
        return photos.to(device)
    here, copies = torch.cuda.current_stream(device), _copy_stream(str(torch.device(device)))
    with torch.cuda.stream(copies):
        there = photos.pin_memory().to(device, non_blocking=True)
    here.wait_stream(copies)
    there.record_stream(here)  # else the allocator could hand its memory out again while it is being read
    return there


def snapshot(values: Any, device: str | torch.device) -> Callable[[], Any]:
    """Copy what will change, so that its present state can be fetched from another thread.

    Parameters
    ----------
    values : tensors, or dictionaries and lists that hold some
        On the device.
    device : str or torch.device
        Where they are. A GPU copies them in its own memory and nobody waits; where that is full, to the CPU at once.

    Returns
    -------
    callable
        Returns the same dictionaries and lists with copies on the CPU; to be called once, by any thread.
    """
    if not is_cuda(device):
        copies = _map_tensors(lambda tensor: tensor.detach().clone(), values)
        return lambda: copies
    try:
        there = _map_tensors(lambda tensor: tensor.detach().clone(), values)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        release_memory(device)
        here = _map_tensors(lambda tensor: tensor.detach().cpu(), values)
        return lambda: here
    copied = torch.cuda.current_stream(device).record_event()

    def fetch() -> Any:
        own = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(own):  # beside the training's, which goes on
            own.wait_event(copied)
            return _map_tensors(lambda tensor: tensor.cpu(), there)

    return fetch


def _map_tensors(change: Callable[[Tensor], Tensor], values: Any) -> Any:
    """Change the tensors in dictionaries and lists, and copy those."""
    if isinstance(values, Tensor):
        return change(values)
    if isinstance(values, Mapping):
        return {key: _map_tensors(change, value) for key, value in values.items()}
    if isinstance(values, list):
        return [_map_tensors(change, value) for value in values]
    return values


@functools.cache
def _copy_stream(device: str) -> torch.cuda.Stream:
    """Return the stream that copies photos to a GPU."""
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@functools.cache
def channel_values(values: tuple[float, ...], device: torch.device, scale: float = 1.0) -> Tensor:
    """Return one value per channel, kept on the device so that it is sent there once.

    Parameters
    ----------
    values : tuple of float
        Three values.
    device : torch.device
        Where they are needed.
    scale : float
        A factor on them.

    Returns
    -------
    Tensor
        Shape (1, 3, 1, 1), float32.
    """
    with torch.inference_mode(False):  # kept for training, whoever asks first
        return torch.tensor(values, dtype=torch.float32, device=device).view(1, 3, 1, 1) * scale


@contextlib.contextmanager
def arithmetic(precision: str, device: str | torch.device) -> Iterator[None]:
    """Choose how a GPU multiplies float32 numbers, and let cuDNN try its algorithms; forward and backward alike.

    Parameters
    ----------
    precision : {"float32", "tf32", "bfloat16", "float16"}
        ``tf32`` rounds the factors of float32 products to ten binary digits; all others leave them whole, also in the
        parts that autocast leaves in float32. (torch itself would round those of convolutions.)
    device : str or torch.device
        Where it is computed; nothing is changed for a CPU.

    Yields
    ------
    None
        Inside, the settings hold; afterwards they are the caller's again.
    """
    if not is_cuda(device):
        yield
        return
    rounds, before = precision == "tf32", torch.get_float32_matmul_precision()
    repeatable = torch.backends.cudnn.deterministic
    torch.set_float32_matmul_precision("high" if rounds else "highest")
    try:
        with torch.backends.cudnn.flags(
            enabled=torch.backends.cudnn.enabled,
            benchmark=not repeatable,
            benchmark_limit=CACHED_SIZES,
            deterministic=repeatable,
            allow_tf32=rounds,
        ):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextlib.contextmanager
def autocast(precision: str, device: str | torch.device) -> Iterator[None]:
    """Let torch compute in a shorter type what bears it.

    Parameters
    ----------
    precision : {"float32", "tf32", "bfloat16", "float16"}
        The first two switch it off.
    device : str or torch.device
        Where it is computed.

    Yields
    ------
    None
        Inside, it holds.
    """
    chosen, kind = torch.device(device).type, AUTOCAST.get(precision)
    if not torch.amp.is_autocast_available(chosen):  # devices that only know shapes
        yield
        return
    with torch.autocast(chosen, dtype=kind or torch.bfloat16, enabled=kind is not None):
        yield


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that a device's memory is full.

    Parameters
    ----------
    error : BaseException
        What was raised.

    Returns
    -------
    bool
        True for torch's own error, and for those of the driver, cuBLAS and cuDNN, which have no class of their own.
    """
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in ALLOCATION_FAILURES)
    )


def release_memory(device: str | torch.device) -> None:
    """Give back what torch keeps of a GPU's memory for later.

    Parameters
    ----------
    device : str or torch.device
        The device.
    """
    if is_cuda(device):
        torch.cuda.empty_cache()


def free_memory(device: str | torch.device) -> int:
    """Return how much of a GPU's memory torch could still take.

    Parameters
    ----------
    device : str or torch.device
        A GPU.

    Returns
    -------
    int
        Bytes: what nobody holds, and what torch holds without using it.
    """
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def reset_peak_device_memory(device: str | torch.device) -> None:
    """Begin to measure how much of a GPU's memory is taken at most.

    Parameters
    ----------
    device : str or torch.device
        A device; nothing happens on a CPU.
    """
    if is_cuda(device) and torch.cuda.is_available():
        release_memory(device)
        torch.cuda.reset_peak_memory_stats(device)


def peak_device_memory(device: str | torch.device) -> int:
    """Return how much of a GPU's memory was taken at most since `reset_peak_device_memory`.

    Parameters
    ----------
    device : str or torch.device
        A device.

    Returns
    -------
    int
        Bytes that torch held; 0 on a CPU.
    """
    return torch.cuda.max_memory_reserved(device) if is_cuda(device) and torch.cuda.is_available() else 0


def ahead(make: Callable[[S], T], items: Iterable[S], n_ahead: int = 2) -> Iterator[T]:
    """Make things in order in a thread, some before they are asked for.

    Parameters
    ----------
    make : callable
        Makes one thing; it should spend its time without Python's lock, as torch's copies do.
    items : iterable
        What each is made of.
    n_ahead : int, default=2
        Things that may wait.

    Yields
    ------
    object
        What was made.

    Examples
    --------
    >>> list(ahead(abs, [-2, 1, -3]))
    [2, 1, 3]
    """
    waiting: deque[Future[T]] = deque()
    thread = ThreadPoolExecutor(1, "ahead")
    with ending_with(lambda: thread.shutdown(cancel_futures=True)):
        for item in items:
            waiting.append(thread.submit(make, item))
            if len(waiting) > n_ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def synchronize(device: str | torch.device) -> None:
    """Wait until a GPU has done what was asked of it, as a clock needs.

    Parameters
    ----------
    device : str or torch.device
        The device.
    """
    if is_cuda(device):
        torch.cuda.synchronize(device)


def own_generators(device: str | torch.device) -> list[torch.device]:
    """Name the generators beside the CPU's that a computation draws from, for ``torch.random.fork_rng``.

    Parameters
    ----------
    device : str or torch.device
        Where it computes.

    Returns
    -------
    list of torch.device
        The GPU, or none; torch would take all that there are, start each and warn.
    """
    chosen = torch.device(device)
    if not is_cuda(chosen):
        return []
    return [torch.device("cuda", torch.cuda.current_device() if chosen.index is None else chosen.index)]


def loader_workers(n_workers: int, device: str | torch.device) -> int:
    """Return how many processes decode photos.

    Parameters
    ----------
    n_workers : int
        As many as that; ``AUTO_WORKERS``, -1, asks for what suits the device.
    device : str or torch.device
        Where the photos go.

    Returns
    -------
    int
        0 decodes in the program itself. For a GPU, one per usable processor (shared among the processes that a
        launcher has started here), ``MOST_WORKERS`` at most; for a CPU none, since they would take turns with training.

    Raises
    ------
    ValueError
        If the number is below -1.
    """
    if n_workers < AUTO_WORKERS:
        raise ValueError(f"n_workers must be -1, for what suits the device, or a number: got {n_workers}.")
    if n_workers != AUTO_WORKERS:
        return n_workers
    if not is_cuda(device):
        return 0
    return min(MOST_WORKERS, max(1, usable_processors() // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))
