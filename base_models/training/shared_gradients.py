"""Gradients that are added up over processes while the backward pass still runs, by torch's DistributedDataParallel.

It sends a bucket of gradients as soon as all of it is there, so that messages travel while the layers next to the photo
are still being computed. Two things are ours: gradients are summed, not averaged, since each process holds its share of
the batch's mean loss; and every epoch begins with a few steps that send everything after the backward pass, before
which the processes ask each other whether memory sufficed. A batch that does not fit is cut there, for all of them;
once messages travel amid a pass, a process that leaves it would leave the others waiting.

References
----------
S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from base_models.device import is_cuda
from base_models.networks.network import MultilabelNetwork

STEPS_APART = 2  # of every epoch: with them memory has held what a step needs


class SharedGradients:
    """Let the processes that share every batch add up their gradients during the backward pass.

    Parameters
    ----------
    network : MultilabelNetwork
        On the device, the same in all processes.
    device : str
        Where this process computes.
    """

    def __init__(self, network: MultilabelNetwork, device: str) -> None:
        self.network, self.device = network, device
        self._around: _Overlapping | None = None
        self._n_apart = 0

    @property
    def overlap(self) -> bool:
        """Tell whether the next step's gradients travel during its backward pass."""
        return self._around is not None

    def begin_epoch(self) -> None:
        """Send gradients after the backward pass again: other layers may learn, and memory may be another."""
        self._around, self._n_apart = None, 0

    def count_step(self) -> None:
        """Count a step that all processes have taken apart; after a few, messages may overlap.

        All processes call this at the same step, before the gradients of the step are forgotten.
        """
        self._n_apart += 1
        # gloo brings sums back to a card beside the stream that waits for them, so there they come after the pass
        if self._n_apart < STEPS_APART or (is_cuda(self.device) and torch.distributed.get_backend() == "gloo"):
            return
        learning = {name: p for name, p in self.network.named_parameters() if p.requires_grad}
        idle = [name for name, parameter in learning.items() if parameter.grad is None]
        for parameter in learning.values():
            parameter.grad = None  # those to come lie in the buckets
        idle += [name for name, _ in self.network.named_buffers()]  # averaged before they are used, see ProcessGroup
        leave_out = DistributedDataParallel._set_params_and_buffers_to_ignore_for_model
        leave_out(self.network, idle)  # type: ignore[no-untyped-call]
        device_ids = [torch.device(self.device)] if is_cuda(self.device) else None
        self._around = _Overlapping(self.network, device_ids=device_ids, init_sync=False, gradient_as_bucket_view=True)
        self._around.register_comm_hook(None, lambda _, bucket: _add_up(bucket))  # torch reads a def's annotations

    def passing(self) -> Any:
        """Return what photos are passed through: the network itself, or what wraps it.

        Returns
        -------
        torch.nn.Module
            With the attributes that logits are computed by.
        """
        return self._around or self.network

    @contextlib.contextmanager
    def part(self, *, is_last: bool) -> Iterator[None]:
        """Pass a part of a batch: gradients travel with the last one.

        Parameters
        ----------
        is_last : bool
            Whether the batch is complete with this part.

        Yields
        ------
        None
            Forward and backward pass go inside.
        """
        if self._around is None or is_last:
            yield
        else:
            with self._around.no_sync():
                yield


class _Overlapping(DistributedDataParallel):
    """Look like the network that is inside."""

    @property
    def takes_photos(self) -> bool:
        """Tell whether it is shown photos, or precomputed features."""
        return bool(self.module.takes_photos)

    @property
    def mean(self) -> tuple[float, ...]:
        """Return the mean of its photos."""
        return tuple(self.module.mean)

    @property
    def std(self) -> tuple[float, ...]:
        """Return the deviation of its photos."""
        return tuple(self.module.std)


def _add_up(bucket: Any) -> torch.futures.Future[Tensor]:
    """Add a bucket of gradients up over the processes; torch's own hook would average them."""
    sending = torch.distributed.all_reduce(bucket.buffer(), async_op=True)
    return sending.get_future().then(lambda sent: sent.value()[0])
