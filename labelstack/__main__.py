"""Run the command line: ``python -m labelstack``, which is the command ``labelstack``.

Python then looks for modules in the working directory first. That is put right before anything else is imported; what
Python itself imports earlier, only ``python -P -m labelstack`` or the command ``labelstack`` keeps safe.
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


def main() -> None:
    """Run the command line, whatever hides a package of ours."""
    from labelstack._rooms import load

    load("experiments.cli").main()


if __name__ == "__main__":
    _leave_working_directory_out()
    main()
