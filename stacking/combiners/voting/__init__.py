"""Combine the members' scores by a mean: plain, weighted by hand, or with weights searched for a metric."""

from stacking.combiners.voting.shards import fit_on_shards
from stacking.combiners.voting.soft_voting import SoftVoting
from stacking.combiners.voting.weighted_voting import WeightedVoting

__all__ = ["SoftVoting", "WeightedVoting", "fit_on_shards"]
