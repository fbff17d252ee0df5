"""Say how long it takes to compute the features of frozen networks once, and how much disk they need."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    import numpy as np
    import torch

    from base_models.recipe.member import MemberConfig
    from base_models.training.learner import Learner
    from base_models.training.task import MemberTask


@dataclass(frozen=True)
class FeatureCost:
    """What one store of features costs.

    Attributes
    ----------
    name : str
        Whose features they are.
    seconds : float
        Expected time to compute them.
    n_bytes : int
        Disk.
    """

    name: str
    seconds: float
    n_bytes: int


def estimate_features(members: Sequence["MemberConfig"], n_photos: int, device: str = "cpu") -> list[FeatureCost]:
    """Time a few steps of every frozen body whose features are computed once.

    Parameters
    ----------
    members : sequence of MemberConfig
        All members of a recipe.
    n_photos : int
        Number of photos.
    device : str, default='cpu'
        Where they would be computed.

    Returns
    -------
    list of FeatureCost
        One per store of features, named after its network and size; none without precomputed features.
    """
    import numpy as np
    import torch

    from base_models.device import arithmetic, synchronize
    from base_models.networks.network import create_network
    from base_models.precomputed.head_network import BodyNetwork
    from base_models.runs.features import store_key, wanted_variants

    costs = []
    for member in {store_key(member): member for member in members if member.features == "precomputed"}.values():
        body = BodyNetwork(create_network(member, np.full(1, 0.1), load_weights=False)).to(device)
        n_rows = n_photos * len(wanted_variants(member, members))
        photos = torch.rand(64, 3, member.size, member.size, device=device)
        with torch.no_grad(), arithmetic("float32", device):
            body(photos)
            synchronize(device)
            start = time.perf_counter()
            features = body(photos)
            synchronize(device)
            seconds = (time.perf_counter() - start) / len(photos) * n_rows
        n_bytes = n_rows * features[0].numel() * (2 if member.feature_dtype == "float16" else 4)
        costs.append(FeatureCost(f"features of {member.network}, {member.size} pixels", seconds, n_bytes))
    return costs


def features_in_memory(learner: "Learner", task: "MemberTask") -> "tuple[Learner, MemberTask]":
    """Let a head learn on features of the task's photos, as a member with precomputed features does.

    Parameters
    ----------
    learner : Learner
        With the whole network.
    task : MemberTask
        With the photos.

    Returns
    -------
    learner : Learner
        With the head only.
    task : MemberTask
        With the features of the photos and of their mirror images.
    """
    import numpy as np
    import torch

    from base_models.precomputed.extraction import compute_features
    from base_models.precomputed.head_network import BodyNetwork, HeadNetwork
    from base_models.recipe.member import resolve_features
    from base_models.training.optimization import create_average, create_optimizer

    body, head = BodyNetwork(learner.network), HeadNetwork(learner.network)
    _, photos = next(iter(task.photos.iter_batches([np.arange(len(task.photos))])))
    variants = [torch.from_numpy(compute_features(body, shown)) for shown in (photos, photos.flip(-1))]
    n_channels = int(cast(Any, learner.network.body).num_features)
    features = torch.stack([variant.view(len(photos), n_channels, -1) for variant in variants], dim=-1)
    member = resolve_features(task.member)
    average, optimizer = create_average(head, member.training), create_optimizer(head, member.training)
    learner = replace(learner, network=head, average=average, optimizer=optimizer)
    return learner, replace(task, member=member, photos=cast(Any, _FeaturesInMemory(features)))


class _FeaturesInMemory:
    """Serve features as a source of photos is asked for them."""

    def __init__(self, features: "torch.Tensor") -> None:
        self.features = features
        self.failures: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self.features)

    def keep(self) -> None:
        """Do nothing: they are in memory."""

    def iter_batches(
        self, batches: "Sequence[np.ndarray[Any, Any]]", *, reuse: bool = False
    ) -> "Iterator[tuple[np.ndarray[Any, Any], torch.Tensor]]":
        """Serve them batch by batch."""
        for rows in batches:
            yield rows, self.features[rows]
