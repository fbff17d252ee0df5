"""Progress of a verb where a person waits for it: in a notebook, or at Python's prompt; scripts stay silent.

A notebook gets one line of HTML that is written anew, which every front end shows; bars of rich and tqdm need
ipywidgets there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

from stacking.files.ending import ending_with

Progress = Callable[..., None]
SECONDS_BETWEEN = 0.2
"""How often the line is written anew, at most; a choice."""


@contextmanager
def live_progress(description: str) -> Iterator[Progress | None]:
    """Show the progress of one long step.

    Parameters
    ----------
    description : str
        What is being done.

    Yields
    ------
    callable or None
        ``progress(done, total, name="")`` for the library to call; None where nobody watches.
    """
    if _in_notebook():
        with _notebook_line(description) as progress:
            yield progress
        return
    with _prompt_bar(description) as progress:
        yield progress


def _in_notebook() -> bool:
    """Tell whether a Jupyter kernel runs this."""
    module = sys.modules.get("IPython")  # a kernel has loaded it
    shell = module.get_ipython() if module is not None else None
    return shell is not None and hasattr(shell, "kernel")


def _prompt_bar(description: str) -> Any:
    """Show a bar at Python's prompt in a terminal."""
    if not hasattr(sys, "ps1") or not sys.stderr.isatty():
        return nullcontext()
    from experiments.cli.reporting import Reporter

    return Reporter().progress(description)


@contextmanager
def _notebook_line(description: str) -> Iterator[Progress]:
    """Show a line that says what is done, how much of it, and how long the rest takes; it goes at the end."""
    shown: Any = import_module("IPython.display")
    handle = shown.display(shown.HTML(_line(description, 0.0, 0.0)), display_id=True)
    started = time.monotonic()
    last = started

    def show(done: float, total: float, name: str = "") -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN and total > 0:
            last = now
            text = f"{description}: {name}" if name else description
            handle.update(shown.HTML(_line(text, done / total, now - started)))

    with ending_with(lambda: handle.update(shown.HTML(""))):
        yield show


def _line(text: str, share: float, seconds: float) -> str:
    """Write the line; names of methods and members are foreign text."""
    from html import escape

    from stacking.report.writing import visible

    left = f", about {seconds * (1 - share) / share:,.0f} s left" if share > 0 else ""
    bar = (
        '<div style="display: inline-block; width: 12em; height: .6em; margin-right: .8em; border: 1px solid; '
        'opacity: .7">'
        f'<div style="width: {100 * share:.0f}%; height: 100%; background: currentColor"></div></div>'
    )
    return f'<div style="font: 13px system-ui, sans-serif">{bar}{escape(visible(text))}, {share:.0%}{left}</div>'
