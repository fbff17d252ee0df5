"""Run the command line by its earlier name, ``python -m experiments``; it is ``python -m labelstack`` now.

The working directory leaves the search path here as there, see `labelstack.__main__`. This file goes with version 0.3.
"""

import os
import sys


def _leave_working_directory_out() -> None:
    """Take the working directory off the search path; where the packages lie in it, search it last."""
    here, root = os.getcwd(), os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH109, PTH120
    if sys.path and sys.path[0] in ("", here) and not sys.flags.safe_path:
        del sys.path[0]
        if os.path.realpath(here) == os.path.realpath(root) and root not in sys.path:
            sys.path.append(root)


if __name__ == "__main__":
    _leave_working_directory_out()

    from importlib import import_module

    import_module("labelstack.__main__").main()  # by name: this room knows nothing of the one above
