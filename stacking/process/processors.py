"""How many processors this process may use."""

import os


def usable_processors() -> int:
    """Count the processors that this process may use, which the system may have limited.

    Returns
    -------
    int
        At least 1.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
