"""A fitted combiner with its thresholds, and the folder that it is saved in."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Find what was here while this package was a module."""
    from stacking._earlier_names import find_earlier_name

    return find_earlier_name(__name__, "stacking.ensemble.ensemble", name)
