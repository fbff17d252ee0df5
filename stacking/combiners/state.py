"""Combiners made of combiners: their plain-data states side by side, under numbered names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking.combiners.combiner import Combiner, CombinerState
from stacking.combiners.registry import find_method, list_methods

_OURS = __name__.removesuffix("combiners.state")
"""How the names of our modules begin: ``stacking.``, or that under its second name (`labelstack._rooms`)."""


def _classes() -> dict[str, type[Combiner]]:
    """Return the package's combiner classes by name: files hold the name alone, so that modules may move."""
    from stacking.combiners.classifier import ClassifierCombiner

    found: list[type[Combiner]] = [ClassifierCombiner]
    found += [find_method(name).combiner for name in list_methods()]
    return {kind.__name__: kind for kind in found if kind.__module__.startswith(_OURS)}


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
    if _classes().get(kind.__name__) is not kind:
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
    found = _classes().get(name.rpartition(":")[2])
    if found is None:
        raise ValueError(f"ensemble must hold a combiner of this package: got {name!r}.")
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


def check_savable_seeds(*seeds: Any) -> None:
    """Refuse seeds that no file could hold, before the fit: afterwards nothing could be saved.

    Parameters
    ----------
    *seeds : object
        Values of ``random_state``.

    Raises
    ------
    ValueError
        If one is a generator.
    """
    for seed in seeds:
        if isinstance(seed, np.random.Generator | np.random.RandomState):
            raise ValueError(
                "random_state must be a non-negative integer or None, which can be saved with the ensemble: got a "
                f"{type(seed).__name__}; give the seed that it was made of."
            )
