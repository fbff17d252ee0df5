"""Modules under the names they had in version 0.1: they answer for one more version, with a FutureWarning.

Files moved into the room of their stage. Whoever imported one by its old name gets the new one; a real module of that
name always comes first. This file, `base_models/_earlier_names.py`, `experiments/_earlier_names.py` and the
`__getattr__` of four packages go together, with version 0.3.
"""

import sys
import warnings
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class _EarlierModules(MetaPathFinder, Loader):
    """Find modules by their earlier names, after every other finder has failed."""

    def __init__(self, homes: Mapping[str, str]) -> None:
        """Remember where each module's names live now: one or more modules, separated by spaces."""
        self.homes = homes

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return a specification for a module that has moved."""
        return ModuleSpec(fullname, self) if fullname in self.homes else None

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Let the import system make an empty module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Let the module look its names up where they live now."""
        homes = self.homes[module.__name__]
        _warn(module.__name__, homes)
        module.__getattr__ = _look_up(module.__name__, homes)  # type: ignore[method-assign]


def find_earlier_modules(homes: Mapping[str, str]) -> None:
    """Make modules importable by their earlier names.

    Parameters
    ----------
    homes : mapping of str to str
        By earlier dotted name: where its names live now, one or more modules separated by spaces.
    """
    sys.meta_path.append(_EarlierModules(homes))


def names_of_the_module(package: str, home: str) -> Callable[[str], Any]:
    """Return a ``__getattr__`` for a package that was a module of the same name.

    Parameters
    ----------
    package : str
        Its dotted name.
    home : str
        The module that holds what the package's module held.

    Returns
    -------
    callable
        Looks a name up there, with a FutureWarning.
    """
    look_up = _look_up(package, home)

    def find(name: str) -> Any:
        value = look_up(name)
        if not name.startswith("_"):
            _warn(f"{package}.{name}", f"{home}.{name}")
        return value

    return find


def _look_up(earlier: str, homes: str) -> Callable[[str], Any]:
    """Return a function that finds a name in the first of some modules that has it."""

    def find(name: str) -> Any:
        if not name.startswith("__"):
            for home in homes.split():
                found = getattr(import_module(home), name, None)
                if found is not None:
                    return found
        raise AttributeError(f"module {earlier!r} has no attribute {name!r}")

    return find


def _warn(earlier: str, now: str) -> None:
    """Say where something lives now."""
    warnings.warn(f"{earlier} is now {now}; the earlier name goes with version 0.3.", FutureWarning, stacklevel=4)


