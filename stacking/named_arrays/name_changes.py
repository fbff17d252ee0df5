"""What programs do to names on their way through files: how two names differ that should be one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable


def _compose(name: str) -> str:
    """Write a letter and its accent as one character (Unicode's form NFC); macOS keeps file names in the other form."""
    return unicodedata.normalize("NFC", name)


_CHANGES: tuple[tuple[str, str, Callable[[str], str]], ...] = (
    ("zeros in front", "write ids as text everywhere", lambda name: name.lstrip("0") or "0"),
    ("spaces around them", "write ids without spaces everywhere", str.strip),
    ("a fraction of zero", "write ids as text everywhere", lambda name: name.removesuffix(".0")),
    ("an apostrophe", "write predictions without --guard", lambda name: name.removeprefix("'")),
    ("folder or suffix", "write ids alike everywhere", lambda name: re.sub(r"^.*/|\.[A-Za-z]{3,4}$", "", name)),
    ("how accents are written", "write names in one form of Unicode (NFC) everywhere", _compose),
    ("capital letters", "write ids alike everywhere", str.casefold),
)
"""What programs do to names, what to do about it, and what is left of a name without it."""


def find_difference(missing: str, found: Iterable[str]) -> str:
    """
    Say so where a name is there but for what programs add to names or take away: zeros, spaces, suffixes.

    Parameters
    ----------
    missing : str
        The name that is not there.
    found : iterable of str
        The names that are.

    Returns
    -------
    str
        A part of a sentence; empty where no name is like it.
    """
    for what, remedy, bare in _CHANGES:
        wanted = bare(missing)
        other = next((name for name in found if bare(name) == wanted), None)
        if other is not None:
            return f"{missing!r} and {other!r} differ by {what}: {remedy}"
    return ""
