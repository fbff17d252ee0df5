"""The processes of a run: one, unless ``torchrun`` or ``accelerate launch`` has started several that train together.

Every process holds the whole network and takes its share of each batch; gradients are added up over the processes, so
a step is the step of the whole batch, and recipes mean the same with any number of them. All hold the same numbers at
any time and take the same decisions; the first alone writes files. With one process every method does nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from base_models.device import is_cuda

logger = logging.getLogger(__name__)

T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)

LONGEST_WAIT = timedelta(days=1)  # the others wait while the first checks a million photos or writes the stores


def is_first_process() -> bool:
    """Tell whether this is the process that writes and reports, without joining the others.

    Returns
    -------
    bool
        True for the first of several processes, and for a single one.
    """
    return int(os.environ.get("RANK", "0")) == 0


def join_processes(device: str) -> ProcessGroup:
    """Meet the other processes that a launcher has started, if it has.

    Parameters
    ----------
    device : str
        ``"cpu"`` or a CUDA device; with several processes each takes the GPU of its local number.

    Returns
    -------
    ProcessGroup
        A single one unless the launcher's variable ``WORLD_SIZE`` says otherwise.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return ProcessGroup(device=device)
    from accelerate import PartialState

    state = PartialState(cpu=device == "cpu", timeout=LONGEST_WAIT, **_backend(device))
    if is_cuda(device):
        torch.cuda.set_device(state.device)
    return ProcessGroup(state.process_index, state.num_processes, str(state.device))


def _backend(device: str) -> dict[str, str]:
    """Choose what carries messages where processes must share a GPU, which NCCL refuses; else accelerate chooses."""
    if not is_cuda(device) or int(os.environ.get("LOCAL_WORLD_SIZE", "1")) <= torch.cuda.device_count():
        return {}
    logger.warning(
        "%s processes share %d GPUs, so their messages go through the CPU; start one process per GPU",
        os.environ["LOCAL_WORLD_SIZE"],
        torch.cuda.device_count(),
    )
    return {"backend": "gloo"}


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together, seen from one of them.

    Parameters
    ----------
    rank : int
        Number of this process, from 0.
    count : int
        How many there are.
    device : str
        Where this one computes.
    """

    rank: int = 0
    count: int = 1
    device: str = "cpu"

    @property
    def is_first(self) -> bool:
        """Tell whether this is the process that writes and reports: number 0."""
        return self.rank == 0

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.count == 1:
            return
        from accelerate import PartialState

        with _told_when_one_is_lost():
            if is_cuda(self.device) and self._message_device == "cpu":
                torch.distributed.barrier()  # accelerate's names a device, which gloo does not take
            else:
                PartialState().wait_for_everyone()

    @property
    def _message_device(self) -> str:
        """Return where short messages lie: on the CPU where gloo carries them, which is at home there."""
        if is_cuda(self.device) and torch.distributed.get_backend() == "gloo":
            return "cpu"
        return self.device

    @contextlib.contextmanager
    def first_goes_first(self) -> Iterator[None]:
        """Let the first process through alone, so that it writes what the others then read.

        Yields
        ------
        None
            In the first process at once, in the others when it is through.
        """
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def agree(self, decide: Callable[[], T]) -> T:
        """Decide something in the first process and let all have its answer.

        Parameters
        ----------
        decide : callable
            Called in the first process only; returns plain values.

        Returns
        -------
        object
            What it returned there.
        """
        if self.count == 1:
            return decide()
        from accelerate.utils import broadcast_object_list

        answer = [decide() if self.is_first else None]
        with _told_when_one_is_lost():
            answer = broadcast_object_list(answer)
        return cast(T, answer[0])

    def shares(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return the processes' shares of a batch; together they are the batch, each row once.

        Parameters
        ----------
        rows : ndarray of int64
            The batch, the same in all processes.

        Returns
        -------
        list of ndarray of int64
            By rank, each a run of neighbors; sizes differ by one row at most.
        """
        return [rows] if self.count == 1 else np.array_split(rows, self.count)

    def sum(self, *values: float) -> tuple[float, ...]:
        """Add numbers up over the processes.

        Parameters
        ----------
        *values : float
            This process's numbers.

        Returns
        -------
        tuple of float
            The sums, the same in all processes.
        """
        if self.count == 1:
            return values
        from accelerate.utils import reduce

        with _told_when_one_is_lost():
            sent = torch.tensor(values, dtype=torch.float64, device=self._message_device)
            return tuple(reduce(sent, "sum").tolist())

    def sum_gradients(self, network: nn.Module) -> None:
        """Add the gradients up over the processes, each of which holds those of its share of a batch's mean loss.

        Parameters
        ----------
        network : torch.nn.Module
            Its gradients are changed.
        """
        if self.count > 1:
            _reduce_in_place([p.grad for p in network.parameters() if p.grad is not None], "sum")

    def share_batch_norm(self, network: N) -> N:
        """Let batch normalization see the whole batch, of which each process holds a share.

        Parameters
        ----------
        network : torch.nn.Module
            On the device.

        Returns
        -------
        torch.nn.Module
            The network, its layers of batch normalization in exchange for torch's ``SyncBatchNorm``; with one process
            as it was.

        Raises
        ------
        ValueError
            If several processes compute on the CPU.
        """
        if self.count == 1:
            return network
        if not is_cuda(self.device):
            raise ValueError(
                f"sync_batch_norm must be false for {self.count} processes on the CPU, where torch has no such layer; "
                "drop it, or train on GPUs."
            )
        from timm.layers.norm_act import convert_sync_batchnorm

        # unlike torch's own, it knows timm's layers too
        return cast(N, convert_sync_batchnorm(network))  # type: ignore[no-untyped-call]

    def average_buffers(self, *networks: nn.Module) -> None:
        """Average what batch normalization has seen, as every process has seen another part of the batches.

        Parameters
        ----------
        *networks : torch.nn.Module
            Their buffers of floating point numbers are changed.
        """
        if self.count > 1:
            for network in networks:
                _reduce_in_place([b for b in network.buffers() if b.is_floating_point()], "mean")

    def score(
        self, rows: NDArray[np.int64], score: Callable[[NDArray[np.int64]], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Score rows together: every process takes every so-many-th row, and all get the scores of all.

        Parameters
        ----------
        rows : ndarray of int64
            What is scored, the same in all processes.
        score : callable
            Takes rows, returns their scores, shape (n_rows, n_labels).

        Returns
        -------
        ndarray of float32, shape (n_rows, n_labels)
            Each row once and in order, although shares are padded to equal length underway.
        """
        if self.count == 1:
            return score(rows)
        from accelerate.utils import gather

        length = -(-len(rows) // self.count)
        own = rows[(np.arange(length) * self.count + self.rank) % len(rows)]  # the first rows again as padding
        sent = torch.from_numpy(score(own)).to(self._message_device)
        with _told_when_one_is_lost():
            shares = gather(sent).cpu().numpy()  # (count · length, n_labels)
        return shares.reshape(self.count, length, -1).swapaxes(0, 1).reshape(self.count * length, -1)[: len(rows)]


@contextlib.contextmanager
def _told_when_one_is_lost() -> Iterator[None]:
    """Say in words what the network library says in file names when another process has ended."""
    try:
        yield
    except RuntimeError as error:
        raise ValueError(
            f"all processes of a run must stay: one has ended, and its own message says why ({str(error)[:120]}…); "
            "give the same command again to go on."
        ) from error


def _reduce_in_place(tensors: list[Tensor], how: str) -> None:
    """Sum or average tensors over the processes, in one message."""
    from accelerate.utils import reduce

    if not tensors:
        return
    sent = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
    with _told_when_one_is_lost():
        flat = reduce(sent, how)
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
