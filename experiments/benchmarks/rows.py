"""A row of the benchmark: one job done by one system, what it cost, what it scored, and the goal it was given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

QUANTITIES = {
    "cpu_seconds": "CPU s",
    "wall_seconds": "wall s",
    "peak_gib": "GiB at peak",
    "test_micro_f1": "held-out micro-F1",
    "test_macro_f1": "held-out macro-F1",
    "test_mean_average_precision": "held-out mAP",
    "test_log_loss": "held-out log loss",
    "train_micro_f1": "micro-F1 on the tuning rows",
    "log_loss": "log loss on the tuning rows",
    "weight_difference": "largest difference of a weight",
    "cpu_ratio": "times the peer's CPU s",
    "wall_ratio": "times the peer's wall s",
    "mean_rank": "mean rank",
    "worst_gain": "worst difference to the mean",
    "mean_gain": "mean difference to the mean",
    "lead": "difference to the better of mean and best single",
    "worst_lead": "worst difference to the better of mean and best single",
    "mean_lead": "mean difference to the better of mean and best single",
    "gain_low": "lower 95 % limit of the gain",
    "cell_ratio": "times the cost of a cell where labels are few",
    "growth": "cost of one more unit, last step over first",
    "photos_per_cpu_second": "photos per CPU s",
    "copy_share": "of the plain copy's photos per CPU s",
    "bare_share": "of the bare loop's photos per CPU s",
    "low_share": "lower quartile of the turns",
    "high_share": "upper quartile",
    "images_per_second": "images/s",
    "images_ratio": "times the peer's images/s",
    "requests_per_second": "requests/s",
    "p50_milliseconds": "ms, the median",
    "p99_milliseconds": "ms, the 99th percentile",
    "cpu_milliseconds_per_request": "CPU ms per request",
    "cpu_milliseconds_per_image": "CPU ms per image",
}
"""What is measured, and how it is written."""


@dataclass(frozen=True)
class Goal:
    """A number to reach.

    Parameters
    ----------
    quantity : str
        A key of `QUANTITIES`.
    limit : float
        The number.
    at_most : bool, default=True
        Whether smaller is better.
    source : str, default=''
        Where the limit comes from if it is not DESIGN's own number, such as "1.2 × sklearn.ensemble".

    Raises
    ------
    ValueError
        If the quantity is unknown.
    """

    quantity: str
    limit: float
    at_most: bool = True
    source: str = ""

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise ValueError(f"quantity must be one of {', '.join(QUANTITIES)}: got {self.quantity!r}.")

    def wanted(self) -> str:
        """Write the goal.

        Returns
        -------
        str
            Such as ``≤ 0.08 CPU s``.

        Examples
        --------
        >>> Goal("test_micro_f1", 0.684, at_most=False).wanted()
        '≥ 0.684 held-out micro-F1'
        """
        sign = "≤" if self.at_most else "≥"
        source = f" ({self.source})" if self.source else ""
        return f"{sign} {self.limit:.5g} {QUANTITIES[self.quantity]}{source}"

    def verdict(self, values: Mapping[str, Any]) -> str:
        """Say whether the goal was reached, and if not by how much it was missed.

        Parameters
        ----------
        values : mapping
            What was measured.

        Returns
        -------
        str
            ``reached``, ``missed by …``, or ``not measured``.

        Examples
        --------
        >>> Goal("cpu_seconds", 0.08).verdict({"cpu_seconds": 0.1})
        'missed by 0.02 CPU s'
        """
        value = values.get(self.quantity)
        if value is None:
            return "not measured"
        excess = value - self.limit if self.at_most else self.limit - value
        return "reached" if excess <= 0 else f"missed by {excess:.2g} {QUANTITIES[self.quantity]}"


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Parameters
    ----------
    job : str
        What was done, in words; rows with the same job are shown together.
    system : str
        Who did it.
    ours : bool
        Whether that is labelstack.
    values : dict
        What was measured: ``cpu_seconds``, ``wall_seconds``, ``first_call_seconds`` (fresh process, compiled code
        cached), ``compiling_seconds`` (the same with nothing cached), ``peak_gib`` and scores.
    goals : tuple of Goal
        The numbers it should reach.
    note : str
        A sentence that belongs to the row.
    trouble : str
        Why there are no values: data or a package is absent, or the error.
    """

    job: str
    system: str
    ours: bool
    values: dict[str, Any] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()
    note: str = ""
    trouble: str = ""

    def verdicts(self) -> list[str]:
        """Judge every goal.

        Returns
        -------
        list of str
            One sentence per goal.
        """
        if self.trouble:
            return [self.trouble for _ in self.goals]
        return [goal.verdict(self.values) for goal in self.goals]

    def as_dict(self) -> dict[str, Any]:
        """Turn the row into JSON-able values.

        Returns
        -------
        dict
            All fields, with each goal's verdict.
        """
        goals = [
            {"goal": goal.wanted(), "quantity": goal.quantity, "limit": goal.limit, "verdict": verdict}
            for goal, verdict in zip(self.goals, self.verdicts(), strict=True)
        ]
        return {
            "job": self.job,
            "system": self.system,
            "ours": self.ours,
            "values": self.values,
            "goals": goals,
            "note": self.note,
            "trouble": self.trouble,
        }
