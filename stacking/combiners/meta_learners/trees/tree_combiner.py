"""What combiners made of LightGBM trees share: the trees' texts are their state, the parsed trees are derived."""

from __future__ import annotations

from typing import Any, Self

import numpy.typing as npt

from stacking.combiners.combiner import Combiner, CombinerState


class TreeCombiner(Combiner):
    """Base of the combiners that keep LightGBM trees as text in ``_texts`` and parse them in ``_load_boosters``."""

    _texts: dict[str, str]

    def _load_boosters(self) -> None:
        """Parse ``_texts`` into ``_boosters``."""
        raise NotImplementedError

    def _state(self) -> CombinerState:
        """Add the trees' texts to the state."""
        values, arrays, _ = super()._state()
        return values, arrays, dict(self._texts)

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild the trees too."""
        combiner = super()._from_state(values, arrays, texts)
        combiner._texts = dict(texts)
        combiner._load_boosters()
        return combiner

    def __getstate__(self) -> dict[str, Any]:
        """Leave the parsed trees out of pickles; their texts hold all."""
        state = dict(super().__getstate__())
        state.pop("_boosters", None)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Parse the trees again."""
        super().__setstate__(state)
        if hasattr(self, "_texts"):
            self._load_boosters()
