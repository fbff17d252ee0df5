"""What a recipe's members and the whole run cost, what holds them up, and what to change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experiments.estimates.crew import Crew
from experiments.estimates.doctor import device_memory
from experiments.estimates.feature_estimate import FeatureCost
from experiments.estimates.passes import RowCounts, decodes_once
from stacking.process.memory import GIB

if TYPE_CHECKING:
    from base_models.manifest import Manifest
    from base_models.recipe.run import TrainingRun


@dataclass(frozen=True)
class MemberCost:
    """What one member costs.

    Attributes
    ----------
    member : str
        Its name.
    seconds : float
        Expected time of all folds: decoding, training, validation, scoring; of folds side by side, their share.
    weight_bytes : int
        One copy of the weights of one fold.
    peak_bytes : int
        Highest resident memory of this process while the member was tried; 0 where the system does not tell.
    parts : dict of str to float
        Seconds of ``decoding``, ``copying`` and ``arithmetic``, each by itself, as they count in `seconds`.
    device_bytes : int
        Memory that it takes of a GPU; 0 on a CPU.
    precision : str
        The arithmetic that was tried: what ``auto`` takes here.
    fold_seconds : float
        Of one network in one process.
    before : float
        Seconds of what is done before the folds.
    """

    member: str
    seconds: float
    weight_bytes: int
    peak_bytes: int
    parts: Mapping[str, float] = field(default_factory=dict)
    device_bytes: int = 0
    precision: str = "float32"
    fold_seconds: float = 0.0
    before: float = 0.0

    @property
    def bottleneck(self) -> str:
        """Return what takes longest: decoding, copying or arithmetic."""
        return max(self.parts, key=lambda part: self.parts[part]) if self.parts else "arithmetic"


@dataclass(frozen=True)
class RunCost:
    """What a whole run costs.

    Attributes
    ----------
    device : str
        Where.
    members : tuple of MemberCost
        In the recipe's order.
    features : tuple of FeatureCost
        Stores of features that are computed once.
    seconds : float
        Of everything, the ensemble left out.
    memory_bytes : int
        Highest resident memory of all processes; 0 where the system does not tell.
    disk_bytes, fullest_bytes : int
        Disk in the end, and at the fullest.
    rows : RowCounts
        What is learned from, held out and scored.
    crew : Crew
        The processes that train.
    waiting : float
        Share of the processes' time in which the last folds are trained by others, in [0, 1).
    """

    device: str
    members: tuple[MemberCost, ...]
    features: tuple[FeatureCost, ...]
    seconds: float
    memory_bytes: int
    disk_bytes: int
    fullest_bytes: int
    rows: RowCounts
    crew: Crew = field(default_factory=Crew)
    waiting: float = 0.0

    @property
    def device_bytes(self) -> int:
        """Return the memory that the run takes of a GPU."""
        return max(cost.device_bytes for cost in self.members) * self.crew.n_on_a_device


def describe_parts(cost: MemberCost, device: str) -> str:
    """Say what the time goes into.

    Parameters
    ----------
    cost : MemberCost
        Of a member.
    device : str
        Where.

    Returns
    -------
    str
        The longest part and what the others take, as shares of the time.
    """
    whole = max(cost.seconds, 1e-9)
    order = sorted(cost.parts, key=lambda part: -cost.parts[part])
    shares = ", ".join(f"{part} {100 * cost.parts[part] / whole:.0f} %" for part in order if cost.parts[part] > 0)
    together = " of the time, side by side" if device.startswith("cuda") else " of the time"
    return f"in {cost.precision}: {shares}{together}"


def advise(cost: MemberCost, run: "TrainingRun", manifest: "Manifest", device: str) -> list[str]:
    """Say what would make a member faster, or let it fit.

    Parameters
    ----------
    cost : MemberCost
        Of a member.
    run : TrainingRun
        Its recipe.
    manifest : Manifest
        Its photos.
    device : str
        Where it would train.

    Returns
    -------
    list of str
        What to change; nothing where all is well.
    """
    member = next(member for member in run.members if member.name == cost.member)
    found = []
    kept = len(manifest) * 3 * member.size**2
    if cost.bottleneck == "decoding" and not decodes_once(run, member, len(manifest)) and member.features == "live":
        sizes = {other.size for other in run.members if other.features == "live"}
        needed = -(-sum(3 * size**2 for size in sizes) * len(manifest) // GIB)
        found.append(
            f"photos are decoded in every epoch, which takes longest: photos_gib = {max(1, needed)} packs them once"
        )
    if cost.bottleneck == "copying":
        found.append(
            f"copying photos takes longest: {kept / GIB:.1f} GiB do not lie on the device; a smaller size might"
        )
    if device.startswith("cuda") and member.training.precision == "float32" and member.features == "live":
        found.append('float32 leaves the matrix units idle: precision = "auto" tries tf32 and bfloat16')
    room = device_memory(device)
    if room and cost.device_bytes > room:
        found.append(
            f"{cost.device_bytes / GIB:.1f} GiB do not fit into the {room / GIB:.1f} of the device, so batches will go "
            f"through in parts: lower batch_size from {member.training.batch_size}, or size"
        )
    return found
