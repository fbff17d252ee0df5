"""Notice a user's own file or folder that hides one of the four packages.

The packages have everyday names. ``PYTHONPATH`` comes first on the search path; a file ``optimizers.py`` in a folder of
it would be imported in place of ours and fail with a puzzling ``ImportError``. (The working directory is left out of
the path, see ``experiments/__main__.py``.) This module imports none of the packages, so it can run before them.
"""

import importlib.util
from collections.abc import Iterable
from pathlib import Path

PACKAGES = ("base_models", "experiments", "optimizers", "stacking")


def check_shadowing(packages: Iterable[str] = PACKAGES) -> None:
    """Raise when importing one of the packages would load something else than ours.

    Only looks modules up, imports nothing. The packages are installed side by side, so ours are the siblings of this
    package.

    Parameters
    ----------
    packages : iterable of str, default=PACKAGES
        Top-level names to look up.

    Raises
    ------
    ValueError
        If a name is found elsewhere than beside this package.

    Examples
    --------
    >>> check_shadowing()
    """
    house = Path(__file__).resolve().parents[1]
    for name in packages:
        found = _find(name)
        if found is not None and found.parent != house:
            raise ValueError(
                f"the file or folder {str(found)!r} hides labelstack's own package {name!r}: rename it, "
                "or run labelstack from another folder (and check PYTHONPATH)."
            )


def _find(name: str) -> Path | None:
    """Return the file or folder that `import name` would load."""
    try:
        spec = importlib.util.find_spec(name)
    except ValueError:  # already imported by hand without a spec
        return None
    if spec is None:
        return None
    if spec.origin and spec.origin not in ("built-in", "frozen"):
        origin = Path(spec.origin).resolve()
        return origin.parent if origin.name == "__init__.py" else origin
    folders = list(spec.submodule_search_locations or [])
    return Path(folders[0]).resolve() if folders else None
