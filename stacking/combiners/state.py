"""Combiners made of combiners: their plain-data states side by side, under numbered names."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy.typing as npt

from stacking.combiners.combiner import Combiner, CombinerState

__all__ = ["class_name", "find_combiner_class", "pack_combiners", "unpack_combiners"]

_COMBINERS = "stacking.combiners"
_MODULES = {
    "AutoCombiner": "auto.race",
    "Blend": "blend",
    "ClassifierCombiner": "classifier",
    "ConvolutionalStacker": "meta_learners.convolutional",
    "LabelContextStacker": "meta_learners.label_context",
    "LabelwiseLogistic": "meta_learners.labelwise_logistic",
    "PairLightGBM": "meta_learners.trees.pair_lightgbm",
    "PerLabelStacker": "meta_learners.trees.per_label_lightgbm",
    "RidgeContext": "meta_learners.ridge_context",
    "SoftVoting": "voting.soft_voting",
    "WeightedVoting": "voting.weighted_voting",
}
"""Where each class that is saved lives today: files hold its name alone, so that modules may move."""


def class_name(combiner: Combiner) -> str:
    """Return the name under which a combiner's class is saved.

    Parameters
    ----------
    combiner : Combiner
        Of this package.

    Returns
    -------
    str
        The class's own name.

    Raises
    ------
    ValueError
        If its class is none of this package's, so that no reader could find it again.
    """
    kind = type(combiner)
    if kind.__module__ != f"{_COMBINERS}.{_MODULES.get(kind.__name__)}":
        raise ValueError(f"only combiners of this package can be saved: got one of class {kind.__qualname__!r}.")
    return kind.__name__


def find_combiner_class(name: str) -> type[Combiner]:
    """Import a combiner class by the name in a saved ensemble.

    Parameters
    ----------
    name : str
        The class's name; earlier versions wrote ``module:class``, of which the class counts.

    Returns
    -------
    type
        A subclass of `Combiner`.

    Raises
    ------
    ValueError
        If no combiner of this package has that name.
    """
    home = _MODULES.get(name.rpartition(":")[2])
    if home is None:
        raise ValueError(f"ensemble must hold a combiner of this package: got {name!r}.")
    found: type[Combiner] = getattr(import_module(f"{_COMBINERS}.{home}"), name.rpartition(":")[2])
    return found


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
        members.append({"class": class_name(combiner), "values": own_values})
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
    return [
        find_combiner_class(stored["class"])._from_state(
            stored["values"], _under(arrays, f"{number}/"), _under(texts, f"{number}/")
        )
        for number, stored in enumerate(members)
    ]


def _under(entries: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return the entries under a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in entries.items() if name.startswith(prefix)}
