"""Training one member on one fold, straight down: task, loop, losses, schedules, checkpoints."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Find what was here while this package was a module."""
    from stacking._earlier_names import find_earlier_name

    return find_earlier_name(__name__, "base_models.training.member", name)
