"""Say how long it takes to compute the features of frozen networks once, and how much disk they need."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from base_models.member_config import MemberConfig


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


def estimate_features(members: Sequence["MemberConfig"], n_photos: int) -> list[FeatureCost]:
    """Time a few steps of every frozen body whose features are computed once.

    Parameters
    ----------
    members : sequence of MemberConfig
        All members of a recipe.
    n_photos : int
        Number of photos.

    Returns
    -------
    list of FeatureCost
        One per store of features, named after its network and size; none without precomputed features.
    """
    import numpy as np
    import torch

    from base_models.networks import create_network
    from base_models.precomputed.head_network import BodyNetwork
    from base_models.precomputed.member_features import store_key, wanted_variants

    costs = []
    for member in {store_key(member): member for member in members if member.features == "precomputed"}.values():
        body = BodyNetwork(create_network(member, np.full(1, 0.1), load_weights=False))
        n_rows, photos = n_photos * len(wanted_variants(member, members)), torch.rand(64, 3, member.size, member.size)
        with torch.no_grad():
            body(photos)
            start = time.perf_counter()
            features = body(photos)
            seconds = (time.perf_counter() - start) / len(photos) * n_rows
        n_bytes = n_rows * features[0].numel() * (2 if member.feature_dtype == "float16" else 4)
        costs.append(FeatureCost(f"features of {member.network}, {member.size} pixels", seconds, n_bytes))
    return costs
