"""Forward and backward pass of a step as one CUDA graph.

A small network's step is hundreds of kernels of microseconds, and a GPU that waits for the program to launch each of
them idles half of its time. A CUDA graph is launched as a whole: once a shape of batch has come a few times, its passes
are recorded on fixed memory, and later batches of that shape are copied there and replayed. Whatever is drawn, mixed,
clipped or averaged stays outside. A shape whose trial is not faster, differs, or cannot be recorded goes on as before;
a recipe can ask for replays that are not faster, but not for those that differ.

References
----------
A. Nguyen et al., "Accelerating PyTorch with CUDA Graphs", PyTorch blog, 2021.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from base_models.device import is_cuda, release_memory, synchronize

logger = logging.getLogger(__name__)

Shown = tuple[Tensor, Tensor, Tensor | None]
Passes = Callable[[Tensor, Tensor, Tensor | None], Tensor]

STEPS_BEFORE = 3  # of a shape: libraries have then chosen their algorithms, and rare shapes are never recorded
MOST_GRAPHS = 2  # batches of an epoch differ by one photo at most; each graph keeps the memory of its activations
WORTHWHILE = 0.95  # share of the launched passes' time that a replay may take
LARGEST_DIFFERENCE = 0.05  # of the loss, relative: bfloat16 keeps three digits, and sums change their order


@dataclass(frozen=True)
class _Recorded:
    """A graph, the memory that it reads and writes, and the gradients that it leaves."""

    graph: Any
    shown: Shown
    loss: Tensor
    gradients: list[tuple[nn.Parameter, Tensor]]

    def replay(self, shown: Shown) -> Tensor:
        """Compute loss and gradients of another batch."""
        for there, values in zip(self.shown, shown, strict=True):
            if there is not None and values is not None:
                there.copy_(values, non_blocking=True)
        self.graph.replay()
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        return self.loss.clone()


def can_replay(device: str, n_processes: int = 1) -> bool:
    """Tell whether the steps of a training could be replayed, where its recipe's ``cuda_graphs`` allows it.

    Parameters
    ----------
    device : str
        Where it computes.
    n_processes : int, default=1
        Processes that share every batch: each batch of theirs waits for the others'.

    Returns
    -------
    bool
        Whether it is alone on a GPU.
    """
    return is_cuda(device) and n_processes == 1


class StepGraphs:
    """Record and replay the passes of a network's steps.

    Parameters
    ----------
    network : torch.nn.Module
        On a device.
    device : str
        Where; anywhere but on a GPU nothing is ever recorded.
    forced : bool, default=False
        Whether steps are replayed even where that is not faster.

    Attributes
    ----------
    note : str
        What came of the last trial.
    seconds : dict of str to float
        Of its passes, ``launched`` and ``replayed``.
    n_replayed : int
        Steps of this epoch that were replayed.
    """

    def __init__(self, network: nn.Module, device: str, *, forced: bool = False) -> None:
        self.network, self.device, self.forced = network, device, forced
        self.allowed = is_cuda(device)
        self.note = ""
        self.seconds: dict[str, float] = {}
        self.n_replayed = 0
        self._learning: tuple[bool, ...] = ()
        self._seen: Counter[tuple[object, ...]] = Counter()
        self._recorded: dict[tuple[object, ...], _Recorded | None] = {}

    def begin_epoch(self) -> None:
        """Forget what was recorded when other layers learn than before."""
        self.n_replayed = 0
        learning = tuple(parameter.requires_grad for parameter in self.network.parameters())
        if learning != self._learning:
            self._learning = learning
            self.clear()

    def clear(self) -> None:
        """Give the memory of the recorded passes back."""
        self._recorded.clear()
        self._seen.clear()

    def add_gradients(self, shown: Shown, passes: Passes) -> Tensor:
        """Compute a batch's loss and gradients, by a recorded graph where there is one.

        Parameters
        ----------
        shown : tuple of Tensor, Tensor and Tensor or None
            Photos, targets and mask on the device; no parameter has a gradient yet.
        passes : callable
            Takes them, adds the gradients, returns the loss.

        Returns
        -------
        Tensor
            The loss, a scalar without history.
        """
        if not self.allowed:
            return passes(*shown)
        key = tuple(None if values is None else (values.shape, values.stride(), values.dtype) for values in shown)
        self._seen[key] += 1
        if key not in self._recorded and self._seen[key] >= STEPS_BEFORE and len(self._recorded) < MOST_GRAPHS:
            self._recorded[key] = self._try_to_record(shown, passes)
        recorded = self._recorded.get(key)
        if recorded is None:
            return passes(*shown)
        self.n_replayed += 1
        return recorded.replay(shown)

    def _try_to_record(self, shown: Shown, passes: Passes) -> _Recorded | None:
        """Record a shape, or note why not; network and generators are then as before."""
        buffers = [buffer.clone() for buffer in self.network.buffers()]
        drawn, here = torch.cuda.get_rng_state(self.device), torch.cuda.current_stream(self.device)
        recorded: _Recorded | None = None
        try:
            recorded, self.note = self._record(shown, passes)
        except RuntimeError as error:  # whatever a network does that cannot be recorded, or memory that is too small
            torch.cuda.set_stream(here)  # torch leaves it only where a recording ends well
            self.allowed = False
            self.note = f"{type(error).__name__}: {error}".splitlines()[0][:200]
            logger.warning("steps are launched one kernel after another, as they cannot be recorded (%s)", self.note)
        with torch.no_grad():
            for buffer, before in zip(self.network.buffers(), buffers, strict=True):
                buffer.copy_(before)
        self._forget_gradients()
        torch.cuda.set_rng_state(drawn, self.device)
        if recorded is None:
            release_memory(self.device)
        return recorded

    def _record(self, shown: Shown, passes: Passes) -> tuple[_Recorded | None, str]:
        """Record the passes and try them against launched ones; return the graph or None, and what there is to say."""
        photos, target, mask = shown
        fixed: Shown = (photos.clone(), target.clone(), None if mask is None else mask.clone())
        drawn = torch.cuda.get_rng_state(self.device)
        side_stream, here = torch.cuda.Stream(self.device), torch.cuda.current_stream(self.device)  # type: ignore[no-untyped-call]
        side_stream.wait_stream(here)
        launched = float("inf")
        with torch.cuda.stream(
            side_stream
        ):  # recording needs a stream of its own, which libraries must know beforehand
            for _ in range(3):
                self._forget_gradients()
                torch.cuda.set_rng_state(drawn, self.device)
                seconds, expected = self._time(lambda: passes(*fixed))
                launched = min(launched, seconds)
            size = self._size_of_gradients()
        here.wait_stream(side_stream)
        self._forget_gradients()
        torch.cuda.set_rng_state(drawn, self.device)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=side_stream, capture_error_mode="thread_local"):
            loss = passes(*fixed)
        learning = [(parameter, parameter.grad) for parameter in self.network.parameters()]
        gradients = [(parameter, gradient) for parameter, gradient in learning if gradient is not None]
        recorded = _Recorded(graph, fixed, loss, gradients)
        replayed = float("inf")
        for _ in range(3):
            torch.cuda.set_rng_state(drawn, self.device)
            seconds, found = self._time(lambda: recorded.replay(fixed))
            replayed = min(replayed, seconds)
        timings = f"{1000 * launched:.2f} ms launched, {1000 * replayed:.2f} ms replayed"
        self.seconds = {"launched": launched, "replayed": replayed}
        close = abs(float(found) - float(expected)) <= LARGEST_DIFFERENCE * abs(float(expected)) + 1e-6
        if not close or not 0.5 * size <= self._size_of_gradients() <= 2 * size:
            logger.warning("a recorded step differs from a launched one, so steps are launched (%s)", timings)
            return None, f"differs: loss {float(found):.6g} for {float(expected):.6g}"
        if replayed > WORTHWHILE * launched and not self.forced:
            return None, f"not faster: {timings}"
        logger.info("steps of %d photos are replayed: %s", len(photos), timings)
        return recorded, timings

    def _time(self, compute: Callable[[], Tensor]) -> tuple[float, Tensor]:
        """Return the seconds until the device has computed, and what."""
        synchronize(self.device)
        started = time.perf_counter()
        computed = compute()
        synchronize(self.device)
        return time.perf_counter() - started, computed

    def _size_of_gradients(self) -> float:
        """Return the norm of all gradients."""
        found = [p.grad for p in self.network.parameters() if p.grad is not None]
        return float(nn.utils.get_total_norm(found)) if found else 0.0

    def _forget_gradients(self) -> None:
        """Let every pass make its gradients anew."""
        for parameter in self.network.parameters():
            parameter.grad = None
