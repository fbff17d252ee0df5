"""Everything that is wrong with a configuration, told at once."""

from collections.abc import Iterable


class RecipeError(ValueError):
    """Say all that is wrong with a configuration, one sentence each.

    Parameters
    ----------
    problems : sequence of str
        The sentences; each begins with the setting that it is about.
    heading : str, default=""
        What stands before them; where there are several, their number follows it.

    Attributes
    ----------
    problems : tuple of str
        The sentences.
    """

    def __init__(self, problems: Iterable[str], heading: str = "") -> None:
        self.problems = tuple(problems)
        several = len(self.problems) > 1 and bool(heading)
        parts = [f"{heading} {len(self.problems)} problems:" if several else heading, *self.problems]
        super().__init__(("\n  " if several else " ").join(part for part in parts if part))


def refuse(problems: Iterable[str]) -> None:
    """Refuse a configuration if anything is wrong with it.

    Parameters
    ----------
    problems : iterable of str
        One sentence each.

    Raises
    ------
    RecipeError
        If there are any.
    """
    found = tuple(problems)
    if found:
        raise RecipeError(found)
