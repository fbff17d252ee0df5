"""The main job on the embedded data, offline: draw photos, train members, stack them, score held-out photos.

Everything is kept in one folder and the same command goes on where it was stopped::

    demo-run/data       FashionBlocks, drawn from a seed
    demo-run/run        members, out-of-fold and test predictions
    demo-run/ensemble   the fitted ensemble
    demo-run/report     report.html, report.md, leaderboard.json
    demo-run/demo.json  says that the folder is the demo's
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.estimates.doctor import duration
from experiments.reports.comparison_files import write_comparison
from stacking.files.output_folder import work_folder
from stacking.files.output_rules import ResultKind
from stacking.report.writing import write_estimate, write_score

if TYPE_CHECKING:
    from base_models.training.progress import TrainingEvent
    from stacking.comparison import Comparison

RECIPE = Path(__file__).parent / "recipes" / "demo.toml"
N_TRAIN, N_TEST = 1200, 600  # photos: a choice, few enough for minutes on a CPU
FORMAT = "labelstack demo"
DEMO = ResultKind("a demo", "demo.json", lambda marker: () if marker.get("format") == FORMAT else None)


@dataclass(frozen=True)
class DemoPlan:
    """How large the demo is and whom it tells what it does.

    Attributes
    ----------
    recipe : Path, default=recipes/demo.toml
        The members. Paths in it are taken from the folder of the drawn data.
    n_train, n_test : int
        Photos per split.
    time_limit : float, default=60
        Seconds that the automatic choice of a method may take.
    say : callable, optional
        Takes a line before each step.
    progress : callable, optional
        Takes training events.
    """

    recipe: Path = RECIPE
    n_train: int = N_TRAIN
    n_test: int = N_TEST
    time_limit: float = 60.0
    say: Callable[[str], None] = lambda line: None
    progress: "Callable[[TrainingEvent], None] | None" = None


def run_demo(out: str | Path, plan: DemoPlan | None = None) -> list[str]:
    """Do the main job from nothing to the report.

    Parameters
    ----------
    out : str or Path
        Folder for everything.
    plan : DemoPlan, optional
        Sizes and callbacks.

    Returns
    -------
    list of str
        Five lines: what happened, and where the report is.

    Raises
    ------
    OutputRefusedError
        If the folder holds something else than an earlier demo.
    """
    with work_folder(out, DEMO, {"format": FORMAT}) as place:
        return _run(place, plan or DemoPlan())


def _run(out: Path, plan: DemoPlan) -> list[str]:
    """Go through the steps in a folder that is the demo's."""
    from base_models import run_training
    from experiments.fashionblocks import synthesize
    from experiments.recipe import load_recipe
    from experiments.reports.run_report import RunReportPlan, report_run
    from stacking.ensemble.card import measure_figures
    from stacking.ensemble.ensemble import StackingEnsemble
    from stacking.predictions import load_predictions

    started = time.monotonic()
    data, run = out / "data", out / "run"
    recipe = load_recipe(plan.recipe)
    plan.say(f"drawing {plan.n_train + plan.n_test:,} photos …")
    synthesize(data, n_train=plan.n_train, n_validation=0, n_test=plan.n_test, random_state=recipe.seed)
    plan.say(f"training {len(recipe.members)} members, {recipe.folds.n_networks} networks each …")
    run_training(recipe, run, recipe_folder=data, progress=plan.progress, n_processes=None)
    plan.say("fitting the ensemble …")
    ensemble = StackingEnsemble(method="auto", random_state=0, time_limit=plan.time_limit)
    ensemble, tuned_on = ensemble.fit_out_of_fold(load_predictions(run / "oof"))
    ensemble.figures_ = measure_figures(ensemble, tuned_on, try_without_members=True)
    ensemble.save(out / "ensemble", overwrite=True)  # of an earlier demo: the folder is its own
    plan.say("comparing on held-out photos …")
    report = report_run(run, RunReportPlan(time_limit=plan.time_limit, data=data), fitted=(ensemble, tuned_on))
    found, title = report.comparison, "FashionBlocks: the demo"
    write_comparison(found, out / "report", title=title, extra_sections=report.sections, overwrite=True)
    return [
        f"drew {plan.n_train:,} training and {plan.n_test:,} held-out photos",
        f"trained {len(recipe.members)} members ({recipe.folds.n_networks} networks each)",
        *_outcome(found),
        f"report: {out / 'report' / 'report.html'} ({duration(time.monotonic() - started)})",
    ]


def _outcome(found: "Comparison") -> list[str]:
    """Say the scores in two lines."""
    member, ensemble = found.best_member, found.ensemble
    if member is None or ensemble is None:
        return [
            "no member or no ensemble could be scored: see the report",
            f"constant answer {write_score(found.constant_answer)}",
        ]
    gain = found.difference(ensemble.method, member.method)
    return [
        f"best member {member.method}: micro-F1 {write_score(member.score)} on held-out photos (constant answer "
        f"{write_score(found.constant_answer)})",
        f"ensemble ({ensemble.method}): {write_score(ensemble.score)}, "
        f"{write_estimate(gain.value, gain.low, gain.high, signed=True)} to the best member",
    ]
