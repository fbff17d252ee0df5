"""What ``make gpu`` measures on the card: our loop, the same network on tensors that are there already, timm's loop.

All three train the same timm network with channels-last weights, binary cross-entropy, clipped gradients and the fused
AdamW, in bfloat16 by autocast. A device works behind the program, so every clock waits for it at both ends, and the
first pass, which loads kernels and tries algorithms, does not count.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from base_models.device import arithmetic, is_cuda, loader_workers, send_photos, synchronize
from base_models.manifest import load_manifest
from base_models.networks.network import create_network
from base_models.packed.packing import pack_photos
from base_models.photos.tensors import PhotoTensors
from base_models.photos.transforms import augment_photos
from base_models.recipe.data import DataConfig
from base_models.recipe.folds import FoldConfig
from base_models.recipe.member import MemberConfig
from base_models.recipe.run import TrainingRun
from base_models.recipe.training import TrainingConfig
from base_models.runs.out_of_fold import run_training
from base_models.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint, tensors_of
from base_models.training.epoch import train_epoch
from base_models.training.learner import create_learner
from base_models.training.member import train_member
from base_models.training.scoring import score_photos
from base_models.training.task import MemberTask
from base_models.training.trial import choose_precision

if TYPE_CHECKING:
    from base_models.manifest import Manifest


N_TURNS = 3  # passes that count; the median of them is told


@dataclass(frozen=True)
class Case:
    """One network and how it is measured.

    Parameters
    ----------
    network : str
        Name in timm.
    size : int
        Side of the photos in pixels.
    batch_size : int
        Photos of a step.
    n_steps : int
        Steps of a pass.
    precision : str
        Arithmetic.
    goal : float
        Photos per second that are wanted on one H100; 0 asks for nothing.
    """

    network: str
    size: int
    batch_size: int
    n_steps: int
    precision: str = "bfloat16"
    goal: float = 0.0

    @property
    def n_photos(self) -> int:
        """Return the photos of a pass."""
        return self.batch_size * self.n_steps


class LoopBench:
    """Measure on one device with one set of JPEG files.

    Parameters
    ----------
    photos : Path
        Folder that `write_photos` filled.
    device : str
        Where to compute.
    n_turns : int, default=3
        Passes that count; the median of them is taken.
    """

    def __init__(self, photos: Path, device: str, n_turns: int = N_TURNS) -> None:
        self.photos, self.device, self.n_turns = photos, device, n_turns
        self.manifest: Manifest = load_manifest(DataConfig("folder", str(photos)), photos)
        self.n_labels = self.manifest.n_labels
        self.n_workers = loader_workers(-1, device)
        self.kept: dict[int, PhotoTensors] = {}

    def source(self, size: int, *, kept: bool, packed: bool = False) -> PhotoTensors:
        """Serve the photos at one size, decoded beforehand or from their files.

        Parameters
        ----------
        size : int
            Side of the photos in pixels.
        kept : bool
            Whether they are decoded beforehand and kept in memory, or decoded from their files each time.
        packed : bool, default=False
            Whether they are served from a packed photo store instead, which the first call writes beside the photos.

        Returns
        -------
        PhotoTensors
            The photos.
        """
        indices = np.arange(len(self.manifest))
        if packed:
            place = self.photos.with_name(f"{self.photos.name}-packed")
            packs = pack_photos(self.manifest.ids, self.manifest.photos, [size], place)
            return PhotoTensors(self.manifest, indices, size, cache="none", packed=packs[size])
        if not kept:
            return PhotoTensors(self.manifest, indices, size, cache="none", n_workers=self.n_workers)
        if size not in self.kept:
            self.kept = {size: PhotoTensors(self.manifest, indices, size, cache="memory", n_workers=self.n_workers)}
            self.kept[size].keep()
        return self.kept[size]

    def loop(
        self,
        case: Case,
        *,
        kept: bool,
        packed: bool = False,
        augmentation: Literal["mirror", "light", "strong"] = "mirror",
        cuda_graphs: bool | Literal["auto"] = "auto",
    ) -> dict[str, Any]:
        """Measure ``labelstack train``'s own epoch.

        Parameters
        ----------
        case : Case
            Network, sizes and arithmetic.
        kept : bool
            Whether photos are kept in memory, or decoded from their files each time.
        packed : bool, default=False
            Whether photos come from a packed photo store instead.
        augmentation : {"none", "mirror", "light", "strong"}
            How the photos change.
        cuda_graphs : {"auto", True, False}
            As a recipe has it.

        Returns
        -------
        dict of str to float
            Figures.
        """
        config = TrainingConfig(
            epochs=100,
            batch_size=case.batch_size,
            augmentation=augmentation,
            precision=case.precision,  # type: ignore[arg-type]
            cuda_graphs=cuda_graphs,
        )
        rows = np.resize(np.arange(len(self.manifest)), case.n_photos)
        member = MemberConfig("member", case.network, size=case.size, training=config)
        source = self.source(case.size, kept=kept, packed=packed)
        task = MemberTask(member, source, self.manifest.y_true, rows, rows[:0])
        learner = create_learner(task, self._network(case.network, case.size), case.precision, self.device)

        def epoch(number: int) -> None:
            train_epoch(learner, task, number)

        graphs = learner.graphs
        speeds = self._speeds(epoch, case.n_photos)
        return speeds if graphs is None else {**speeds, "replayed_steps": graphs.n_replayed, "note": graphs.note}

    def synthetic(self, case: Case) -> dict[str, float]:
        """Measure the same network, loss and step on one batch that is on the device.

        Parameters
        ----------
        case : Case
            Network, sizes and arithmetic.

        Returns
        -------
        dict of str to float
            Figures.
        """
        network = self._network(case.network, case.size).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02, fused=True)
        photos = self._made_up(case)
        target = (torch.rand(case.batch_size, self.n_labels, device=self.device) < 0.03).float()

        def epoch(_number: int) -> None:
            with arithmetic(case.precision, self.device):
                for _ in range(case.n_steps):
                    _plain_step(network, optimizer, photos, target, case.precision)

        return self._speeds(epoch, case.n_photos)

    def timm(self, case: Case) -> dict[str, float]:
        """Measure timm's dataset, loader, network and the step of its training script.

        Parameters
        ----------
        case : Case
            Network, sizes and arithmetic.

        Returns
        -------
        dict of str to float
            Figures.
        """
        import timm

        from experiments.benchmarks.timm_loader import PhotoDataset, timm_loader

        network = timm.create_model(case.network, num_classes=self.n_labels).to(self.device)
        network = network.to(memory_format=torch.channels_last).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=0.02, fused=True)
        dataset = PhotoDataset(sorted(self.photos.glob("*.jpg")), self.manifest.y_true, case.n_photos)
        how = {"num_workers": self.n_workers, "persistent_workers": self.n_workers > 0}
        loader = timm_loader(
            dataset, case.size, case.batch_size, device=self.device, pin_memory=self.device != "cpu", **how
        )

        def epoch(_number: int) -> None:
            for photos, target in loader:
                shown = photos.contiguous(memory_format=torch.channels_last)
                _plain_step(network, optimizer, shown, target.to(self.device, non_blocking=True), case.precision)

        return self._speeds(epoch, case.n_photos)

    def loading(self, size: int, *, kept: bool, n_photos: int, packed: bool = False) -> dict[str, float]:
        """Measure the photos alone, from where they are to the device.

        Parameters
        ----------
        size : int
            Side of the photos in pixels.
        kept : bool
            Whether they are decoded beforehand and kept in memory, or decoded from their files each time.
        n_photos : int
            Photos of a pass.
        packed : bool, default=False
            Whether photos come from a packed photo store instead: through pinned memory, as where it is too large for
            the device.

        Returns
        -------
        dict of str to float
            Figures.
        """
        source = self.source(size, kept=kept, packed=packed)
        if packed and is_cuda(self.device):
            source.serve(self.device)
            source.leave_device()
        rows = np.resize(np.arange(len(self.manifest)), n_photos)
        batches = np.array_split(rows, -(-n_photos // 256))

        def epoch(_number: int) -> None:
            for _, pixels in source.iter_batches(batches, reuse=True):
                send_photos(pixels, self.device)

        return self._speeds(epoch, n_photos)

    def scoring(self, case: Case) -> dict[str, float]:
        """Measure scoring of photos in memory.

        Parameters
        ----------
        case : Case
            Network, sizes and arithmetic.

        Returns
        -------
        dict of str to float
            Figures.
        """
        source = self.source(case.size, kept=True)
        network = self._network(case.network, case.size)
        rows = np.resize(np.arange(len(self.manifest)), case.n_photos)
        return self._speeds(lambda _: score_photos(network, source, rows, case.precision, self.device), case.n_photos)

    def parts_of_a_step(self, case: Case) -> dict[str, float]:
        """Time what the program does for a step, and what the device does, in milliseconds of each.

        Parameters
        ----------
        case : Case
            Network, sizes and arithmetic.

        Returns
        -------
        dict of str to float
            Milliseconds until each part is done, and until the program had ordered it.
        """
        network = self._network(case.network, case.size).train()
        optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3, fused=True)
        source = self.source(case.size, kept=True)
        rows = np.resize(np.arange(len(self.manifest)), case.batch_size)
        photos = self._made_up(case)
        target = torch.zeros(case.batch_size, self.n_labels, device=self.device)
        pixels = next(iter(source.iter_batches([rows])))[1]
        steps: dict[str, Callable[[], object]] = {
            "step": lambda: _plain_step(network, optimizer, photos, target, case.precision),
            "gather": lambda: next(iter(source.iter_batches([rows]))),
            "send": lambda: send_photos(pixels, self.device),
            "mirror": lambda: augment_photos(send_photos(pixels, self.device), rows, "mirror", 0, 0),
            "light": lambda: augment_photos(send_photos(pixels, self.device), rows, "light", 0, 0),
        }
        found = {}
        with arithmetic(case.precision, self.device):
            for name, step in steps.items():
                for _ in range(3):
                    step()
                synchronize(self.device)
                started = time.perf_counter()
                for _ in range(5):
                    step()
                ordered = time.perf_counter() - started
                synchronize(self.device)
                found[f"{name}_ms"] = 200 * (time.perf_counter() - started)
                found[f"{name}_program_ms"] = 200 * ordered
        return found

    def checkpoint(self, network: str, folder: Path) -> dict[str, float]:
        """Measure saving and loading of weights, their average and the optimizer's state.

        Parameters
        ----------
        network : str
            Name in timm.
        folder : Path
            Where checkpoints go; created.

        Returns
        -------
        dict of str to float
            Figures.
        """
        body = self._network(network, 64)
        optimizer = torch.optim.AdamW(body.parameters(), fused=True)
        for parameter in body.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()

        folder.mkdir(parents=True, exist_ok=True)

        def save(_number: int) -> None:
            weights = tensors_of(body)
            history = [{"epoch": 1, "validation_micro_f1": 0.5}]
            save_checkpoint(folder, Checkpoint(1, weights, weights, optimizer.state_dict(), history, 1), weights)

        seconds = self._seconds(save)
        n_bytes = sum(path.stat().st_size for path in folder.iterdir())
        return {
            "save_seconds": statistics.median(seconds),
            "load_seconds": statistics.median(self._seconds(lambda _: load_checkpoint(folder))),
            "mebibytes": n_bytes / 2**20,
        }

    def hidden_checkpoints(self, network: str, folder: Path, n_epochs: int, n_photos: int) -> dict[str, float]:
        """Measure how much of the checkpoints' time a whole training is spared.

        Parameters
        ----------
        network : str
            Name in timm.
        folder : Path
            Where checkpoints go; created.
        n_epochs : int
            Epochs, each with a checkpoint.
        n_photos : int
            Photos of an epoch.

        Returns
        -------
        dict of str to float
            Figures; of the last checkpoint, behind which nothing is left to train, by itself.
        """
        training = TrainingConfig(n_epochs, 256, augmentation="mirror", precision="bfloat16", ema_decay=0.99)
        member = MemberConfig("member", network, size=64, training=training)
        rows, held = np.resize(np.arange(32, len(self.manifest)), n_photos), np.arange(32)
        task = MemberTask(member, self.source(64, kept=True), self.manifest.y_true, rows, held)
        trained = train_member(task, folder, device=self.device)
        seconds, waited = (trained.figures[f"checkpoint_seconds{part}"] for part in ("", "_waited"))
        epochs = [row["seconds"] for row in trained.history]
        return {
            "hidden_share": 1 - sum(waited[:-1]) / sum(seconds[:-1]),
            "checkpoint_seconds": statistics.median(seconds),
            "waited_seconds": statistics.median(waited[:-1]),
            "last_waited_seconds": waited[-1],
            "epoch_seconds": statistics.median(epochs),
        }

    def choice(self, case: Case) -> dict[str, Any]:
        """Let ``precision = "auto"`` choose, and say what its trial found and took.

        Parameters
        ----------
        case : Case
            Network, size and batch.

        Returns
        -------
        dict of str to float
            Figures.
        """
        member = MemberConfig("m", case.network, size=case.size, training=TrainingConfig(batch_size=case.batch_size))
        rows = np.resize(np.arange(len(self.manifest)), case.n_photos)
        task = MemberTask(member, self.source(case.size, kept=True), self.manifest.y_true, rows, rows[:0])
        network, started = self._network(case.network, case.size), time.perf_counter()
        chosen, trial = choose_precision(network, task, self.device, n_shown=math.inf)
        return {"chosen": chosen, **trial, "trial_seconds": time.perf_counter() - started}

    def doctor(self, case: Case, folder: Path, n_epochs: int) -> dict[str, Any]:
        """Hold what ``labelstack doctor`` says of a small run against the run.

        Parameters
        ----------
        case : Case
            Network, size and batch.
        folder : Path
            Where the run goes.
        n_epochs : int
            Epochs of each of two folds.

        Returns
        -------
        dict of str to float
            Figures.
        """
        training = TrainingConfig(n_epochs, case.batch_size, augmentation="mirror", precision="bfloat16")
        member = MemberConfig("m", case.network, size=case.size, training=training)
        run = TrainingRun("r", DataConfig("folder", str(self.photos)), (member,), folds=FoldConfig(2))
        from experiments.estimates.estimate import estimate_run

        started = time.perf_counter()
        expected = estimate_run(run, self.manifest, self.device)
        tried = time.perf_counter()
        run_training(run, folder, recipe_folder=self.photos, device=self.device)
        ended = time.perf_counter()
        return {
            "expected_seconds": expected.seconds,
            "measured_seconds": ended - tried,
            "ratio": expected.seconds / (ended - tried),
            "trial_seconds": tried - started,
            "bottleneck": expected.members[0].bottleneck,
            "expected_gib": expected.device_bytes / 2**30,
        }

    def _network(self, name: str, size: int) -> Any:
        """Create a network on the device."""
        torch.manual_seed(0)
        member = MemberConfig("member", name, size=size, training=TrainingConfig(epochs=1))
        network = create_network(member, np.full(self.n_labels, 0.03))
        return network.to(self.device).to(memory_format=torch.channels_last)

    def _made_up(self, case: Case) -> Tensor:
        """Return a batch of noise on the device."""
        photos = torch.randn(case.batch_size, 3, case.size, case.size, device=self.device)
        return photos.contiguous(memory_format=torch.channels_last)

    def _seconds(self, epoch: Callable[[int], Any]) -> list[float]:
        """Time some passes after one that does not count."""
        seconds = []
        for number in range(1 + self.n_turns):
            synchronize(self.device)
            started = time.perf_counter()
            epoch(number)
            synchronize(self.device)
            seconds.append(time.perf_counter() - started)
        return seconds[1:]

    def _speeds(self, epoch: Callable[[int], Any], n_photos: int) -> dict[str, float]:
        """Turn the seconds of passes into photos per second."""
        seconds = self._seconds(epoch)
        return {
            "photos_per_second": n_photos / statistics.median(seconds),
            "slowest": n_photos / max(seconds),
            "fastest": n_photos / min(seconds),
        }


def _plain_step(
    network: nn.Module, optimizer: torch.optim.Optimizer, photos: Tensor, target: Tensor, precision: str
) -> None:
    """Take one step as the shortest training script would."""
    kind = torch.bfloat16 if precision == "bfloat16" else torch.float16
    with torch.autocast(photos.device.type, kind, enabled=precision in ("bfloat16", "float16")):
        logits = network(photos)
    optimizer.zero_grad(set_to_none=True)
    functional.binary_cross_entropy_with_logits(logits.float(), target).backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()


def list_measurements(bench: LoopBench, scratch: Path, *, quick: bool) -> dict[str, Callable[[], dict[str, Any]]]:
    """List what is measured, the most wanted first.

    Parameters
    ----------
    bench : LoopBench
        Photos and device.
    scratch : Path
        Folder for checkpoints.
    quick : bool
        Whether to take tiny cases.

    Returns
    -------
    dict of str to callable
        By name; each returns figures.
    """
    small = Case("mobilenetv1_100", 64, 512, 60, goal=20_000)
    large = Case("resnet50", 224, 256, 12, goal=2_500)
    if quick:
        small, large = Case("test_resnet", 32, 8, 2), Case("test_vit", 160, 4, 2)
    found: dict[str, Callable[[], dict[str, Any]]] = {}
    places = {
        case: f"{case.network} at {case.size} px, batches of {case.batch_size}, {case.precision}"
        for case in (small, large)
    }
    for case, place in places.items():
        found[f"{place}: ours against synthetic tensors"] = partial(_beside_synthetic, bench, case)
        found[f"{place}: ours, every kernel launched"] = partial(bench.loop, case, kept=True, cuda_graphs=False)
        found[f"{place}: what precision auto takes"] = partial(bench.choice, case)
        found[f"{place}: a step's parts"] = partial(bench.parts_of_a_step, case)
        found[f"{place}: ours, augmentation light"] = partial(bench.loop, case, kept=True, augmentation="light")
        found[f"{place}: scoring"] = partial(bench.scoring, case)
    network = "test_resnet" if quick else "resnet50"
    found[f"checkpoint of {network}"] = partial(bench.checkpoint, network, scratch / "checkpoint")
    hidden = (3, 32) if quick else (6, 36_000)  # epochs of about two seconds
    found[f"checkpoints of {network} behind its training"] = partial(
        bench.hidden_checkpoints, network, scratch / "hidden", *hidden
    )
    for size in (64, 224)[: 1 if quick else None]:
        n_photos = 64 if quick else 4096
        found[f"loading at {size} px, from memory"] = partial(bench.loading, size, kept=True, n_photos=n_photos)
        found[f"loading at {size} px, from the packed store"] = partial(
            bench.loading, size, kept=False, packed=True, n_photos=n_photos
        )
        found[f"loading at {size} px, from JPEG"] = partial(bench.loading, size, kept=False, n_photos=n_photos)
    for case, place in places.items():
        fewer = replace(case, n_steps=max(2, case.n_steps // 4))
        found[f"{place}: ours, from the packed store"] = partial(bench.loop, case, kept=False, packed=True)
        found[f"{place}: ours, decoded every epoch"] = partial(bench.loop, fewer, kept=False)
        found[f"{place}: timm's loop, decoded every epoch"] = partial(bench.timm, fewer)
    fewer = replace(large, n_steps=max(2, large.n_steps // 3))
    quarter = replace(fewer, batch_size=max(2, large.batch_size // 4))  # cuDNN tries slow algorithms for a minute else
    for precision, case in (("float16", fewer), ("tf32", fewer), ("float32", quarter)):
        name = f"{case.network} at {case.size} px, batches of {case.batch_size}: ours in {precision}"
        found[name] = partial(bench.loop, replace(case, precision=precision), kept=True)
    tried = small if quick else replace(small, batch_size=64)  # an epoch of the few photos has steps enough
    found[f"doctor before a run of {small.network}"] = partial(bench.doctor, tried, scratch / "run", 2 if quick else 10)
    return found


def _beside_synthetic(bench: LoopBench, case: Case) -> dict[str, Any]:
    """Measure our loop from memory and the same network on tensors that are on the device, and compare."""
    ours, theirs = bench.loop(case, kept=True), bench.synthetic(case)
    found: dict[str, Any] = {
        **ours,
        "synthetic": theirs["photos_per_second"],
        "share_of_synthetic": ours["photos_per_second"] / theirs["photos_per_second"],
    }
    return found | ({"goal": case.goal} if case.goal else {})
