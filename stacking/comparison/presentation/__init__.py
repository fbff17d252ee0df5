"""A comparison as sections of a report."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Find what was here while this package was a module."""
    from stacking._earlier_names import find_earlier_name

    return find_earlier_name(__name__, "stacking.comparison.presentation.report", name)
