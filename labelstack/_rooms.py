"""Load our own packages, also where a user's file or folder of the same name hides one.

The packages have everyday names: `optimizers`, `stacking`, `base_models`, `experiments`. A file ``stacking.py`` beside
a script, or a folder of that name on ``PYTHONPATH``, comes first on the search path, and Python keeps one module a
name. So the hidden package, and those that import it, are loaded under a second name, ``labelstack._rooms.stacking``,
and import each other under it; ``import stacking`` stays the user's. Where nothing is hidden, which is nearly always,
the packages have their own names and this module does no more than look.

The second name needs no second copy of the code: this module is a package whose folder is the one that holds ours, and
the modules loaded through it have an ``__import__`` of their own among their builtins, which Python looks up for every
``import`` statement.
"""

import builtins
import os
import sys
from functools import cache
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from types import ModuleType
from typing import Any

ROOMS = ("optimizers", "stacking", "base_models", "experiments")
"""From the lowest to the one that imports them all."""

ROOT = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))  # noqa: PTH120 - pathlib costs 5 ms here
__path__ = [ROOT]


def load(name: str) -> ModuleType:
    """Import one of our modules, whatever else has its name.

    Parameters
    ----------
    name : str
        As it is imported where nothing hides it: ``"stacking.comparison"``.

    Returns
    -------
    module
        Ours.

    Examples
    --------
    >>> load("stacking.links").logit(0.5).tolist()
    0.0
    """
    return import_module(_our_name(name))


@cache
def find_renamed() -> frozenset[str]:
    """Find the packages that go by their second name: the lowest that is hidden, and all that import it.

    Returns
    -------
    frozenset of str
        Mostly empty. It is settled by the first look, since a module cannot change its name later.
    """
    lowest = next((place for place, room in enumerate(ROOMS) if _is_hidden(room)), len(ROOMS))
    return frozenset(ROOMS[lowest:])


def _our_name(name: str) -> str:
    """Return the name under which a module of ours is imported."""
    return f"{__name__}.{name}" if name.partition(".")[0] in find_renamed() else name


def _is_hidden(room: str) -> bool:
    """Tell whether importing a package by its own name gives, or would give, something else."""
    loaded = sys.modules.get(room)
    try:
        spec = find_spec(room) if loaded is None else None
    except (ImportError, ValueError):  # a finder of the user's own
        return True
    origin = spec.origin if spec is not None else getattr(loaded, "__file__", None)
    return origin is None or os.path.realpath(origin) != os.path.join(ROOT, room, "__init__.py")  # noqa: PTH118


class _RoomLoader(SourceFileLoader):
    """Run a module of ours with imports that find ours."""

    def exec_module(self, module: ModuleType) -> None:
        """Run the module with builtins of its own."""
        vars(module)["__builtins__"] = _our_builtins()
        super().exec_module(module)


class _RoomFinder(MetaPathFinder):
    """Find our modules by their second names."""

    def find_spec(self, fullname: str, path: Any = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Find one in the folder of its package."""
        prefix, _, name = fullname.partition(f"{__name__}.")
        if prefix or name.partition(".")[0] not in ROOMS:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _RoomLoader(fullname, spec.loader.path)
        return spec


@cache
def _our_builtins() -> dict[str, Any]:
    """Make the builtins of the modules that go by their second name."""
    return {**vars(builtins), "__import__": _import}


def _import(name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0) -> ModuleType:
    """Import as Python does, but ours where a package of ours is meant."""
    if level or name.partition(".")[0] not in find_renamed():
        return builtins.__import__(name, globals, locals, fromlist, level)
    if fromlist:
        return builtins.__import__(_our_name(name), globals, locals, fromlist)
    import_module(_our_name(name))
    return sys.modules[_our_name(name.partition(".")[0])]  # `import a.b` binds a


sys.meta_path.insert(0, _RoomFinder())
