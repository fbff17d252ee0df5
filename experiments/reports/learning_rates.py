"""The report of a learning-rate range test: one curve per member of a recipe, and the rate that each suggests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.estimates.feature_estimate import features_in_memory
from optimizers.registry import did_you_mean
from stacking.report import Cell, Column, Figure, Paragraph, Report, Section, Table
from stacking.report.figures import learning_rate_figure

if TYPE_CHECKING:
    from base_models.manifest import Manifest
    from base_models.recipe.member import MemberConfig
    from base_models.recipe.run import TrainingRun
    from base_models.training.rate_range import RateRange
    from base_models.training.task import MemberTask
    from stacking.files.output_folder import OutputFolder

MOST_PHOTOS = 20_000  # that are held in memory; passes over them are repeated where more are asked for: a choice


@dataclass(frozen=True)
class RateRangePlan:
    """What a range test tries.

    Attributes
    ----------
    members : tuple of str, default=()
        Names of the members; none stands for all.
    lowest, highest : float
        The first and the last learning rate.
    n_steps : int, default=100
        Steps between them, each with a batch of its own.
    device : str, default="auto"
        Where to compute.
    """

    members: tuple[str, ...] = ()
    lowest: float = 1e-5
    highest: float = 1.0
    n_steps: int = 100
    device: str = "auto"


def try_learning_rates(
    run: TrainingRun,
    manifest: Manifest,
    plan: RateRangePlan | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[RateRange]:
    """Let every member of a recipe train for some steps, with a learning rate that grows from one to the next.

    Parameters
    ----------
    run : TrainingRun
        A loaded recipe.
    manifest : Manifest
        Its photos.
    plan : RateRangePlan, optional
        Which members and which rates.
    progress : callable, optional
        Called with the steps done and all steps.

    Returns
    -------
    list of RateRange
        One per member.

    Raises
    ------
    ValueError
        If a member is unknown, or there is no training photo.
    """
    import torch

    from base_models.device import own_generators
    from base_models.runs.out_of_fold import choose_device
    from base_models.training.learner import build_learner
    from base_models.training.rate_range import measure_rate_range

    plan = plan or RateRangePlan()
    members, device, found = _chosen(run, plan.members), choose_device(plan.device), list["RateRange"]()
    before = torch.get_num_threads()
    torch.set_num_threads(run.n_threads or before)
    try:
        for number, member in enumerate(members):

            def count(step: int, done: int = number * plan.n_steps) -> None:
                if progress is not None:
                    progress(done + step, len(members) * plan.n_steps)

            with torch.random.fork_rng(devices=own_generators(device)):
                torch.manual_seed(run.seed)
                task = _task(member, run, manifest, plan.n_steps)
                learner = build_learner(task, device, load_weights=True)
                if member.features == "precomputed":
                    learner, task = features_in_memory(learner, task)
                limits = {"lowest": plan.lowest, "highest": plan.highest, "n_steps": plan.n_steps}
                found.append(measure_rate_range(learner, task, **limits, on_step=count))  # type: ignore[arg-type]
    finally:
        torch.set_num_threads(before)
    return found


def _chosen(run: TrainingRun, names: Sequence[str]) -> list[MemberConfig]:
    """Return the members of these names."""
    known = {member.name: member for member in run.members}
    for name in names:
        if name not in known:
            raise ValueError(
                f"member must be one of {', '.join(known)}: got {name!r}.{did_you_mean(name, list(known))}"
            )
    return [known[name] for name in names] if names else list(run.members)


def _task(member: MemberConfig, run: TrainingRun, manifest: Manifest, n_steps: int) -> MemberTask:
    """Draw training photos, as many as the steps see, and put them before the member."""
    from base_models.photos.tensors import PhotoTensors
    from base_models.recipe.specialists import covered_labels
    from base_models.training.task import MemberTask

    there = np.flatnonzero(manifest.split == "train")
    if not len(there):
        raise ValueError("the data must hold at least one training photo: got none; look at split_column.")
    columns = covered_labels(member, manifest.y_true[there].sum(axis=0, dtype=np.int64))
    most = min(MOST_PHOTOS, n_steps * member.training.batch_size)
    rows = np.sort(np.random.default_rng((run.seed, 5)).permutation(there)[:most])
    truth = np.ascontiguousarray(manifest.y_true[np.ix_(rows, columns)])
    photos = PhotoTensors(manifest, rows, member.size, cache="memory")
    return MemberTask(member, photos, truth, np.arange(len(rows)), np.arange(0), seed=run.seed)


def rate_range_report(found: Sequence[RateRange], subtitle: str = "") -> Report:
    """Lay out what range tests have found.

    Parameters
    ----------
    found : sequence of RateRange
        One per member.
    subtitle : str, default=""
        Whose they are.

    Returns
    -------
    Report
        For `write_report`.
    """
    columns: list[Column | str] = ["member", *(Column(name) for name in RATE_COLUMNS), "what the curve says"]
    rows: list[list[Cell]] = [[*rate_row(one).values(), one.remark()] for one in found]
    intro = Paragraph(
        "The rate grows by the same factor at every step, and every step sees a batch of its own (Smith 2017, section "
        "3.3). Where the loss is lowest, the rate is the largest that training bears; a third of it is suggested as "
        "the peak. The curve tells of the first steps only, so it finds the order of magnitude."
    )
    sections = [Section("Suggestions", [intro, Table(columns, rows)])]
    for one in found:
        marks = {"the recipe's": one.configured}
        if one.suggestion is not None:
            marks = {"suggested": one.suggestion, **marks}
        figure = learning_rate_figure(one.rates, one.losses, one.smoothed, marks)
        sections.append(Section(one.member, [Figure(figure, f"{len(one.rates)} steps of {one.member}.")]))
    return Report("Learning rates", sections, subtitle=subtitle)


RATE_COLUMNS = ("suggested", "lowest loss at", "the recipe's")


def rate_row(found: RateRange) -> dict[str, str]:
    """Write the rates of a member.

    Parameters
    ----------
    found : RateRange
        What its test has found.

    Returns
    -------
    dict of str to str
        Name of the member, and rates with two digits.
    """
    rates = (found.suggestion, found.lowest_at, found.configured)
    written = ["–" if rate is None else f"{rate:.2g}" for rate in rates]
    return {"member": found.member, **dict(zip(RATE_COLUMNS, written, strict=True))}


def write_rate_ranges(
    found: Sequence[RateRange], report: Report, output: OutputFolder, request: dict[str, Any]
) -> None:
    """Write the report and the curves into a folder that is claimed.

    Parameters
    ----------
    found : sequence of RateRange
        One per member.
    report : Report
        From `rate_range_report`.
    output : OutputFolder
        Gets ``report.html``, ``report.md``, ``charts/`` and ``curves.csv``, and last ``manifest.json``.
    request : dict
        From `build_manifest`.
    """
    from experiments.reports.report_files import write_report
    from experiments.reports.result_manifest import commit_result
    from stacking.files.row_table import write_rows

    write_report(report, output)
    rows = [
        {"member": one.member, "learning_rate": rate, "loss": loss, "smoothed": smoothed}
        for one in found
        for rate, loss, smoothed in zip(one.rates.tolist(), one.losses.tolist(), one.smoothed.tolist(), strict=True)
    ]
    write_rows(output.path_of("curves.csv"), rows)
    commit_result(output, request)
