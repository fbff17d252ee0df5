"""A mutant: a line that must not be lost, how to break it, and the tests that must notice."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One broken line.

    `old` must occur in `file` exactly once: when the line changes, the mutant must change with it, or what it guards is
    no longer tried.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, source: str) -> str:
        """Return the broken source."""
        times = source.count(self.old)
        if times != 1:
            raise ValueError(
                f"mutant {self.name!r} must find its line once in {self.file}: found {times} times; adapt it to the "
                f"source. Looked for: {self.old!r}"
            )
        return source.replace(self.old, self.new)
