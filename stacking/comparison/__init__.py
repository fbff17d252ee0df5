"""Compare members, votes and meta-learners on samples that tuned nothing."""

from stacking.comparison.compare import compare
from stacking.comparison.held_out import HeldOut
from stacking.comparison.plan import Progress
from stacking.comparison.result import Comparison
from stacking.comparison.results import Difference, LeaderboardRow
from stacking.metrics.gain_ladder import GainStep, Ladder

__all__ = ["Comparison", "Difference", "GainStep", "HeldOut", "Ladder", "LeaderboardRow", "Progress", "compare"]
