"""What a comparison has found: rows, differences, and everything they are made of."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stacking.comparison.candidates import Kind
from stacking.comparison.evaluation import FailedMethod, MethodResult
from stacking.comparison.held_out import HeldOut
from stacking.files.atomic_files import atomic_write_json
from stacking.files.output_rules import check_output_file
from stacking.files.plain_values import as_plain
from stacking.files.row_table import write_rows
from stacking.metrics.bootstrap import percentile_interval
from stacking.metrics.gain_ladder import Ladder
from stacking.metrics.named import DEFAULT_METRIC, Metric, find_metric
from stacking.truth import Truth

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Difference:
    """A paired difference of the metric.

    Attributes
    ----------
    value : float
        Difference on the held-out samples.
    low, high : float
        Its 95 % limits, both methods drawn together.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class LeaderboardRow:
    """One line of the leaderboard; scores are held-out values of the metric, micro-F1 unless another was asked for.

    Attributes
    ----------
    method, kind : str
        Name, and "member", "vote", "meta", "auto" or "saved".
    score, low, high : float
        With the rule that cross-fitting chose, and its 95 % limits.
    rule : str
        That decision rule (the most frequent one over the splits).
    score_single, low_single, high_single : float
        With one threshold for all labels.
    score_per_label, low_per_label, high_per_label : float
        With a threshold for each label, tuned by the metric's rule; as `score` where it looks at scores only.
    micro_f1, macro_f1, samples_f1 : float
        F1 averages of the chosen decisions.
    vs_best_member, vs_best_member_low, vs_best_member_high : float or None
        Paired difference of `score` to the best member's.
    vs_mean, vs_mean_low, vs_mean_high : float or None
        Paired difference to the plain mean's; None if the mean did not run.
    never_predicted : int
        Number of labels with positives that the chosen decisions never predict.
    cpu_seconds, wall_seconds : float
        For all splits together.
    peak_memory_mb : float or None
        Highest resident memory of the process meanwhile.
    options : dict
        Constructor parameters.
    notes : tuple of str
        What the method reports about itself.
    """

    method: str
    kind: Kind
    score: float
    low: float
    high: float
    rule: str
    score_single: float
    low_single: float
    high_single: float
    score_per_label: float
    low_per_label: float
    high_per_label: float
    micro_f1: float
    macro_f1: float
    samples_f1: float
    vs_best_member: float | None
    vs_best_member_low: float | None
    vs_best_member_high: float | None
    vs_mean: float | None
    vs_mean_low: float | None
    vs_mean_high: float | None
    never_predicted: int
    cpu_seconds: float
    wall_seconds: float
    peak_memory_mb: float | None
    options: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ComparisonResults:
    """What a comparison found; `stacking.comparison.Comparison`, its public face, describes the attributes."""

    rows: tuple[LeaderboardRow, ...]
    failures: tuple[FailedMethod, ...]
    constant_answer: float
    ladder: Ladder | None
    manifest: dict[str, Any]
    results: Mapping[str, MethodResult] = field(repr=False)
    replicates: Mapping[tuple[str, str], npt.NDArray[np.float64]] = field(repr=False)
    truth: Truth = field(repr=False)
    models: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    kept: Mapping[str, HeldOut] = field(default_factory=dict, repr=False)
    metric: Metric = field(default_factory=partial(find_metric, DEFAULT_METRIC))

    @property
    def table(self) -> pd.DataFrame:
        """The leaderboard, best first, one column per field of `LeaderboardRow`."""
        import pandas as pd

        return pd.DataFrame([asdict(row) for row in self.rows])

    @property
    def best_member(self) -> LeaderboardRow | None:
        """The member with the best score; None if no member was scored."""
        return next((row for row in self.rows if row.kind == "member"), None)

    @property
    def ensemble(self) -> LeaderboardRow | None:
        """The method the verdict is about: auto if it ran, else the best method that is no member, if any."""
        automatic = next((row for row in self.rows if row.kind == "auto"), None)
        return automatic or next((row for row in self.rows if row.kind != "member"), None)

    def row(self, method: str) -> LeaderboardRow:
        """Find one row.

        Parameters
        ----------
        method : str
            Its name in the table.

        Returns
        -------
        LeaderboardRow
            The row.

        Raises
        ------
        ValueError
            If no such method was scored.
        """
        for row in self.rows:
            if row.method == method:
                return row
        failed = next((failure for failure in self.failures if failure.name == method), None)
        why = f"it failed ({failed.reason})" if failed else f"choose among {', '.join(row.method for row in self.rows)}"
        raise ValueError(f"method must be one that was scored: got {method!r}; {why}.")

    def difference(self, first: str, second: str, decision: str = "chosen") -> Difference:
        """Subtract one method's score from another's, sample by sample paired.

        Parameters
        ----------
        first, second : str
            Names in the table.
        decision : {"chosen", "single", "per_label"}, default="chosen"
            With which thresholds both are compared.

        Returns
        -------
        Difference
            `first` minus `second`.

        Raises
        ------
        ValueError
            If a method was not scored or the decision is unknown.
        """
        columns = {"chosen": "score", "single": "score_single", "per_label": "score_per_label"}
        if decision not in columns:
            raise ValueError(f"decision must be one of {', '.join(columns)}: got {decision!r}.")
        value = getattr(self.row(first), columns[decision]) - getattr(self.row(second), columns[decision])
        draws = self.replicates[first, decision] - self.replicates[second, decision]
        return Difference(value, *percentile_interval(draws))

    def held_out(self, method: str) -> HeldOut:
        """Give the held-out scores and decisions of a method.

        Parameters
        ----------
        method : str
            The ensemble, the best member or the mean: others are counted, not kept.

        Returns
        -------
        HeldOut
            Scores, and decisions of the chosen rule, each sample by the thresholds of its split.

        Raises
        ------
        ValueError
            If its scores were not kept.
        """
        if method not in self.kept:
            raise ValueError(f"method must be one whose scores are kept ({', '.join(self.kept)}): got {method!r}.")
        return self.kept[method]

    def to_dict(self) -> dict[str, Any]:
        """Put everything but the counts into the form of ``leaderboard.json``.

        Returns
        -------
        dict
            Plain values; not-a-number is None.
        """
        content = {
            "metric": self.metric.name.replace("-", "_"),
            "constant_answer": self.constant_answer,
            "rows": [asdict(row) for row in self.rows],
            "failures": [asdict(failure) for failure in self.failures],
            "ladder": None if self.ladder is None else asdict(self.ladder),
            "manifest": self.manifest,
        }
        if self.metric.name != DEFAULT_METRIC:
            content["greater_is_better"] = self.metric.greater_is_better
        plain: dict[str, Any] = as_plain(content)
        return plain

    def to_json(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write ``leaderboard.json``.

        Parameters
        ----------
        path : path-like
            Its folder must exist.
        overwrite : bool, default=False
            Replace a file that is there.

        Raises
        ------
        OutputRefusedError
            If a file is there that was not to be replaced, or no regular file.
        """
        check_output_file(path, overwrite=overwrite)
        atomic_write_json(path, self.to_dict(), replace=overwrite)

    def to_csv(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write ``leaderboard.csv``: the rows of `table`, for spreadsheets and data frames.

        Parameters
        ----------
        path : path-like
            Its folder must exist.
        overwrite : bool, default=False
            Replace a file that is there.

        Raises
        ------
        OutputRefusedError
            If a file is there that was not to be replaced, or no regular file.
        """
        check_output_file(path, overwrite=overwrite)
        write_rows(path, self.to_dict()["rows"], replace=overwrite)
