"""Telling what our packages say on purpose about the input from what went wrong within them."""

from __future__ import annotations

import linecache
import traceback

_OURS = ("base_models", "experiments", "labelstack", "optimizers", "stacking")


def is_our_statement(error: BaseException) -> bool:
    """Tell whether a line of our packages that begins with `raise` gave an error its sentence.

    A ValueError that comes out of numpy because of our own mistake is none.

    Parameters
    ----------
    error : BaseException
        As it was caught.

    Returns
    -------
    bool
        True where its text is meant for whoever gave the input.
    """
    for frame, line in list(traceback.walk_tb(error.__traceback__))[-1:]:  # the innermost
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        return package in _OURS and linecache.getline(frame.f_code.co_filename, line).lstrip().startswith("raise ")
    return False
