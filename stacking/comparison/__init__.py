"""Compare members, votes and meta-learners on samples that tuned nothing."""

from stacking.comparison.compare import Progress, compare
from stacking.comparison.ladder import Ladder, Rung
from stacking.comparison.result import Comparison, Difference, HeldOut, LeaderboardRow

__all__ = ["Comparison", "Difference", "HeldOut", "Ladder", "LeaderboardRow", "Progress", "Rung", "compare"]
