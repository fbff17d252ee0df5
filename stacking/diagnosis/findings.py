"""What a check has found: one fault, and the list of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from stacking.report.notebook import MOST_ROWS, Card, render_card
from stacking.report.sections import Table

Severity = Literal["red", "yellow", "green", "skipped"]
SEVERITIES: tuple[Severity, ...] = ("red", "yellow", "green", "skipped")
CHECKS = {
    "reading": "every input can be read",
    "ids": "the same samples everywhere, each once",
    "labels": "the same label names everywhere",
    "scale": "scores are probabilities",
    "constant": "scores differ between samples",
    "rows": "each row holds the scores of its own sample",
    "inverted": "high scores mean that a label is there",
    "columns": "each column holds the scores of its own label",
    "seen-rows": "no member was trained on the rows that it scores",
    "copies": "no sample and no member is there twice",
    "groups": "no group is split over folds",
    "rare-labels": "every label has positives",
}
"""The checks in the order they run, and what each is glad to see."""


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes
    ----------
    severity : {"red", "yellow", "green", "skipped"}
        It ruins the result; it deserves a look; all is well; it could not be checked.
    check : str
        One of `CHECKS`.
    message : str
        What was found, in one sentence.
    member : str, default=""
        The member it is about.
    labels : tuple of str, default=()
        The labels it is about.
    remedy : str, default=""
        What to do.
    command : str, default=""
        A line to paste into a shell that does it, where one line can.
    evidence : mapping of str to float
        The numbers behind it.
    """

    severity: Severity
    check: str
    message: str
    member: str = ""
    labels: tuple[str, ...] = ()
    remedy: str = ""
    command: str = ""
    evidence: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values.

        Returns
        -------
        dict
            JSON-able.
        """
        return {**vars(self), "labels": list(self.labels), "evidence": dict(self.evidence)}


@dataclass(frozen=True)
class CheckReport:
    """All findings, those that ruin a result first.

    Attributes
    ----------
    findings : tuple of Finding
        Red, yellow, green, then what could not be checked.
    """

    findings: tuple[Finding, ...]

    @classmethod
    def of(cls, found: Iterable[Finding]) -> CheckReport:
        """Sort findings, and say for each check without a fault that all is well.

        Parameters
        ----------
        found : iterable of Finding
            Faults, and checks that could not be made.

        Returns
        -------
        CheckReport
            With at least one finding of every check.
        """
        faults = list(found)
        touched = {finding.check for finding in faults}
        greens = [Finding("green", check, glad) for check, glad in CHECKS.items() if check not in touched]
        order = {name: place for place, name in enumerate(CHECKS)}
        ranked = sorted([*faults, *greens], key=lambda one: (SEVERITIES.index(one.severity), order[one.check]))
        return cls(tuple(ranked))

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found that ruins a result."""
        return not self.of_severity("red")

    def of_severity(self, severity: Severity) -> tuple[Finding, ...]:
        """Return the findings of one severity.

        Parameters
        ----------
        severity : {"red", "yellow", "green", "skipped"}
            Which.

        Returns
        -------
        tuple of Finding
            In order.
        """
        return tuple(finding for finding in self.findings if finding.severity == severity)

    def as_dict(self) -> dict[str, Any]:
        """Return all as plain values.

        Returns
        -------
        dict
            JSON-able: ``is_clean``, the number of each severity, and ``findings``.
        """
        counts: dict[str, Any] = {severity: len(self.of_severity(severity)) for severity in SEVERITIES}
        return {"is_clean": self.is_clean, **counts, "findings": [finding.as_dict() for finding in self.findings]}

    def _repr_html_(self) -> str:
        """Show the faults in a notebook, and how many checks found none."""
        faults = [finding for finding in self.findings if finding.severity != "green"]
        rows = [(one.severity, one.check, one.message, one.remedy) for one in faults[:MOST_ROWS]]
        more = len(faults) - len(rows)
        table = Table(["", "check", "what was found", "what mends it"], rows, f"{more} more" if more else "")
        good = f"{len(self.of_severity('green'))} of {len(CHECKS)} checks found nothing."
        title = "Nothing ruins a fit" if self.is_clean else "Mend this before a fit"
        return render_card(Card(title, [good], table if rows else None))

    def __str__(self) -> str:
        return "\n".join(
            f"{finding.severity:<8}{finding.check}: {finding.message}"
            + (f"\n        {finding.remedy}" if finding.remedy else "")
            + (f"\n        {finding.command}" if finding.command else "")
            for finding in self.findings
        )
