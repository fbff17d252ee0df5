"""Which rows the members of a run are scored on without having seen them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from base_models.recipe.problems import refuse

SCHEMES = ("out-of-fold", "holdout", "validation-split")
NEW_PHOTOS = ("mean", "logit-mean", "refit")
SETTING_OF_SCHEME = {"n_folds": "out-of-fold", "new_photos": "out-of-fold", "holdout_fraction": "holdout"}


@dataclass(frozen=True)
class FoldConfig:
    """Say which rows the members are scored on without having seen them, for the ensemble to learn from.

    Parameters
    ----------
    n_folds : int
        Number of folds, at least 2; for scheme ``out-of-fold`` only.
    seed : int
        Seed of the deal.
    validation_fraction : float
        Share of each network's training rows that is cut off to choose the epoch, in (0, .5].
    scheme : {"out-of-fold", "holdout", "validation-split"}
        ``out-of-fold``: one network per member and fold, and every training row is scored by the one that did not see
        it. The other two train one network per member and score a holdout: a stratified share of the training rows,
        or the data's own validation split.
    holdout_fraction : float
        Share of the training rows that is the holdout, in (0, .5]; for scheme ``holdout`` only.
    new_photos : {"mean", "logit-mean", "refit"}
        What scores the test split and new photos, for scheme ``out-of-fold`` only: the mean of the fold networks'
        probabilities, the mean of their logits, or one more network that is trained on the rows of all folds.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    n_folds: int = 5
    seed: int = 0
    validation_fraction: float = 0.1
    scheme: Literal["out-of-fold", "holdout", "validation-split"] = "out-of-fold"
    holdout_fraction: float = 0.2
    new_photos: Literal["mean", "logit-mean", "refit"] = "mean"

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        """Say what is wrong with the settings."""
        if self.scheme not in SCHEMES:
            yield f"scheme must be one of {', '.join(SCHEMES)}: got {self.scheme!r}."
        if self.n_folds < 2:
            yield f"n_folds must be at least 2: got {self.n_folds}; use scheme 'holdout' for one network."
        for name, value in (("validation", self.validation_fraction), ("holdout", self.holdout_fraction)):
            if not 0 < value <= 0.5:
                yield f"{name}_fraction must lie in (0, .5]: got {value}."
        if self.new_photos not in NEW_PHOTOS:
            yield f"new_photos must be one of {', '.join(NEW_PHOTOS)}: got {self.new_photos!r}."
        for name, scheme in SETTING_OF_SCHEME.items():
            if self.scheme != scheme and getattr(self, name) != getattr(FoldConfig, name):
                yield f"{name} must be left out with scheme {self.scheme!r}: it is for {scheme!r} only."

    @property
    def n_networks(self) -> int:
        """Return how many networks a member has: the folds and a refit, if any; 1 where a holdout is scored."""
        if self.scheme != "out-of-fold":
            return 1
        return self.n_folds + (self.new_photos == "refit")

    @property
    def networks_for_new_photos(self) -> range:
        """Return which of a member's networks score photos that are in no fold: all of them, or the refit alone."""
        return range(self.n_folds if self.new_photos == "refit" else 0, self.n_networks)
