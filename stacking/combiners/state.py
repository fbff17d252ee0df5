"""Combiners made of combiners: their plain-data states side by side, under numbered names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt

from stacking.combiners.combiner import Combiner, CombinerState

__all__ = ["pack_combiners", "unpack_combiners"]


def pack_combiners(combiners: Sequence[Combiner]) -> CombinerState:
    """Put fitted combiners' states together.

    Parameters
    ----------
    combiners : sequence of Combiner
        Fitted.

    Returns
    -------
    values : dict
        ``{"members": [{"class": …, "values": …}, …]}``.
    arrays, texts : dict
        Each entry under the number of its combiner: ``0/coefficients_``.
    """
    members: list[dict[str, Any]] = []
    arrays: dict[str, npt.NDArray[Any]] = {}
    texts: dict[str, str] = {}
    for number, combiner in enumerate(combiners):
        own_values, own_arrays, own_texts = combiner._state()
        kind = type(combiner)
        members.append({"class": f"{kind.__module__}:{kind.__qualname__}", "values": own_values})
        arrays |= {f"{number}/{name}": array for name, array in own_arrays.items()}
        texts |= {f"{number}/{name}": text for name, text in own_texts.items()}
    return {"members": members}, arrays, texts


def unpack_combiners(
    members: Sequence[dict[str, Any]], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]
) -> list[Combiner]:
    """Rebuild what `pack_combiners` put together.

    Parameters
    ----------
    members : sequence of dict
        Class and values of each combiner.
    arrays, texts : dict
        As packed; other entries are ignored.

    Returns
    -------
    list of Combiner
        Fitted.

    Raises
    ------
    ValueError
        If a class is no combiner of this package.
    """
    from stacking.ensemble.folder import find_combiner_class

    return [
        find_combiner_class(stored["class"])._from_state(
            stored["values"], _under(arrays, f"{number}/"), _under(texts, f"{number}/")
        )
        for number, stored in enumerate(members)
    ]


def _under(entries: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}
