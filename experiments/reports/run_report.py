"""The report of one training run: what was trained, how it learned, how good it is, and where it fails.

Everything is read from the run folder; the photos are looked for where the run says that they were. What a run of an
earlier version did not record is named in the report instead of being left out in silence.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.reports.comparison_files import write_comparison
from experiments.reports.models_section import models_section
from experiments.reports.run_sections import (
    FittedEnsemble,
    frequency_section,
    members_section,
    rules_section,
    validation_and_test_section,
)
from experiments.reports.training_report import learning_curves_section, photos_section, worst_errors_section
from stacking.files.untrusted import read_json
from stacking.report import Paragraph, Section

if TYPE_CHECKING:
    from base_models.manifest import Manifest
    from stacking.comparison import Comparison
    from stacking.comparison.held_out import HeldOut
    from stacking.ensemble.cross_fitted import CrossFitted
    from stacking.ensemble.ensemble import StackingEnsemble
    from stacking.files.output_folder import OutputFolder
    from stacking.predictions import PredictionSet

RUN_FILES = ("manifest.json", "oof/index.json", "test/index.json")
"""What tells one run from another."""

DEFAULT_EDGES = (1, 20, 200, 2000)
"""Training positives with which the bands of labels begin, about one a decade: a choice; only shown."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunReportPlan:
    """What a run's report looks at.

    Attributes
    ----------
    methods : str or list of str, default="all"
        Methods that are compared, see `stacking.compare`.
    time_limit : float, optional
        Seconds after which no method is begun, and that ``auto`` may take.
    edges : tuple of int, default=(1, 20, 200, 2000)
        Training positives with which the bands of labels begin.
    data : Path, optional
        Folder that the recipe's paths start from, where the run does not say it or the data has moved.
    random_state : int, default=0
        Seed of everything that is random.
    """

    methods: str | list[str] = "all"
    time_limit: float | None = None
    edges: tuple[int, ...] = DEFAULT_EDGES
    data: Path | None = None
    random_state: int = 0

    def __post_init__(self) -> None:
        if list(self.edges) != sorted(set(self.edges)) or min(self.edges, default=1) < 1:
            raise ValueError(f"edges must be rising whole numbers of at least 1: got {self.edges}.")


@dataclass(frozen=True)
class RunReport:
    """A run compared and described.

    Attributes
    ----------
    comparison : Comparison
        Of its members and of the ensembles of them.
    sections : list of Section
        What the report holds beside those of the comparison.
    title : str
        Its title.
    """

    comparison: "Comparison"
    sections: list[Section]
    title: str

    def write(self, output: "OutputFolder") -> None:
        """Write the report, the page of thresholds and the leaderboard.

        Parameters
        ----------
        output : OutputFolder
            Claimed for the command `report`.
        """
        write_comparison(self.comparison, output, title=self.title, extra_sections=self.sections, command="report")


def report_run(
    run: Path,
    plan: RunReportPlan | None = None,
    *,
    fitted: "tuple[StackingEnsemble, CrossFitted] | None" = None,
    progress: Callable[..., None] | None = None,
) -> RunReport:
    """Compare the members of a run and their ensembles, and describe the run.

    Parameters
    ----------
    run : Path
        A finished run folder.
    plan : RunReportPlan, optional
        What to look at.
    fitted : tuple of StackingEnsemble and CrossFitted, optional
        What the sections on thresholds describe, from `StackingEnsemble.fit_out_of_fold` on the run's out-of-fold
        rows; by default the method that the comparison is about is fitted.
    progress : callable, optional
        As `stacking.compare` takes it.

    Returns
    -------
    RunReport
        What was found; it writes itself.

    Raises
    ------
    ValueError
        If it is no finished run.
    """
    from stacking.comparison import compare
    from stacking.ensemble.ensemble import StackingEnsemble
    from stacking.predictions import load_predictions

    plan = plan or RunReportPlan()
    recorded = _read_run(run)
    fitting = load_predictions(run / "oof")
    held_out = load_predictions(run / "test") if (run / "test" / "index.json").is_file() else None
    found = compare(
        fitting,
        plan.methods,
        holdout=held_out,
        random_state=plan.random_state,
        time_limit=plan.time_limit,
        progress=progress,
    )
    if fitted is None and found.ensemble is not None:
        method, seed = found.ensemble.method, plan.random_state
        fitted = StackingEnsemble(method, random_state=seed, time_limit=plan.time_limit).fit_out_of_fold(fitting)
    shown = None if fitted is None else FittedEnsemble(*fitted, held_out)
    sections = [validation_and_test_section(found, fitting, held_out, shown)]
    sections += [rules_section(shown)] if shown is not None else []
    answer = _answer(found)
    if answer is not None:
        training = dict(zip(fitting.labels, fitting.truth.positives().tolist(), strict=True))
        counts = np.array([training[label] for label in answer.labels], np.float64)
        sections.append(frequency_section(answer, counts, plan.edges))
    sections += _photo_sections(run, recorded, plan, found, answer, (fitting, held_out))
    sections += [learning_curves_section(run), models_section(found, run, recorded), members_section(run, recorded)]
    return RunReport(found, sections, f"Training run: {recorded['recipe'].get('name', run.name)}")


def _read_run(run: Path) -> dict[str, Any]:
    """Read what a run says of itself; refuse anything else than a finished one."""
    if not (run / "manifest.json").is_file() or not (run / "oof" / "index.json").is_file():
        raise ValueError(
            f"run must be a finished run folder: {str(run)!r} has no manifest.json with out-of-fold predictions beside "
            "it; train it with `labelstack train`, or compare predictions with `labelstack compare`."
        )
    recorded = read_json(run / "manifest.json", f"the run folder's {run / 'manifest.json'}")
    if not isinstance(recorded.get("recipe"), dict):
        raise ValueError(f"run must be a run folder: {run / 'manifest.json'} holds no recipe.")
    return recorded


def _answer(found: "Comparison") -> "HeldOut | None":
    """Return the held-out scores that the sections on labels and photos describe."""
    row = found.ensemble or found.best_member
    return None if row is None else found.kept.get(row.method)


def _photo_sections(
    run: Path,
    recorded: dict[str, Any],
    plan: RunReportPlan,
    found: "Comparison",
    answer: "HeldOut | None",
    predictions: "tuple[PredictionSet, PredictionSet | None]",
) -> list[Section]:
    """Show photos, errors and maps, or say why not."""
    if answer is None:
        return []
    try:
        manifest = find_photos(run, recorded, plan.data)
        sections = [photos_section(answer, manifest, random_state=plan.random_state)]
        sections.append(worst_errors_section(answer, manifest))
    except (ValueError, OSError) as error:
        _log.warning("the report goes without photos: %s", error)
        return [Section("Photos", [Paragraph(f"The photos cannot be shown. {error}", "warning")])]
    fitting, held_out = predictions
    members = [row.method for row in found.rows if row.kind == "member" and (run / "members" / row.method).is_dir()]
    if not members:
        return sections
    from experiments.reports.label_explanations import explanation_section

    title = f"Strengths and weaknesses of {members[0]}"
    try:
        # without a test split the out-of-fold rows are explained: each was scored by a network that did not see it
        return [*sections, explanation_section(run, manifest, members[0], fitting, held_out or fitting)]
    except (ValueError, OSError) as error:
        _log.warning("the report goes without maps: %s", error)
        return [*sections, Section(title, [Paragraph(f"The maps cannot be drawn. {error}", "warning")])]


def find_photos(run: Path, recorded: dict[str, Any], data: Path | None) -> "Manifest":
    """Open the photos that a run was trained on.

    Parameters
    ----------
    run : Path
        The run's folder.
    recorded : dict
        Its manifest.
    data : Path or None
        Folder that the recipe's paths start from, if the photos have moved.

    Returns
    -------
    Manifest
        The photos with their labels.

    Raises
    ------
    ValueError
        If they are not where the run says, or it does not say.
    """
    from base_models.manifest import load_manifest
    from experiments.recipe import load_recipe

    recipe = load_recipe(run / "recipe.toml")
    if data is not None:
        return load_manifest(recipe.data, data)
    if "recipe_folder" not in recorded:
        raise ValueError("This run was made before it was recorded where its photos are: give that folder with --data.")
    return load_manifest(recipe.data, run / recorded["recipe_folder"])
