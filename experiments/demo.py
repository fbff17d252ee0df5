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

if TYPE_CHECKING:
    from base_models.manifest import Manifest
    from base_models.training.progress import TrainingEvent
    from stacking.comparison import Comparison
    from stacking.predictions import PredictionSet
    from stacking.report import Section

RECIPE = Path(__file__).parent / "recipes" / "demo.toml"
N_TRAIN, N_TEST = 1800, 600  # photos: a choice, few enough for minutes on a CPU
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
    from base_models.manifest import load_manifest
    from experiments.fashionblocks import synthesize
    from experiments.recipe import load_recipe
    from stacking.comparison import compare
    from stacking.ensemble.ensemble import StackingEnsemble
    from stacking.predictions import load_predictions

    started = time.monotonic()
    data, run = out / "data", out / "run"
    recipe = load_recipe(plan.recipe)
    plan.say(f"drawing {plan.n_train + plan.n_test:,} photos …")
    synthesize(data, n_train=plan.n_train, n_validation=0, n_test=plan.n_test, random_state=recipe.seed)
    plan.say(f"training {len(recipe.members)} members, {recipe.folds.n_networks} networks each …")
    run_training(recipe, run, recipe_folder=data, progress=plan.progress)
    fitting, held_out = load_predictions(run / "oof"), load_predictions(run / "test")
    plan.say("fitting the ensemble …")
    ensemble = StackingEnsemble(method="auto", random_state=0, time_limit=plan.time_limit).fit(fitting)
    ensemble.save(out / "ensemble", overwrite=True)  # of an earlier demo: the folder is its own
    plan.say("comparing on held-out photos …")
    found = compare(fitting, holdout=held_out, random_state=0, time_limit=plan.time_limit)
    sections = _photo_sections(run, load_manifest(recipe.data, data), found, (fitting, held_out))
    title = "FashionBlocks: the demo"
    write_comparison(found, out / "report", title=title, extra_sections=sections, overwrite=True)
    return [
        f"drew {plan.n_train:,} training and {plan.n_test:,} held-out photos",
        f"trained {len(recipe.members)} members ({recipe.folds.n_networks} networks each)",
        *_outcome(found),
        f"report: {out / 'report' / 'report.html'} ({duration(time.monotonic() - started)})",
    ]


def _photo_sections(
    run: Path, manifest: "Manifest", found: "Comparison", predictions: "tuple[PredictionSet, PredictionSet]"
) -> "list[Section]":
    """Build the sections that need the run folder and the photos."""
    from experiments.reports.label_explanations import explanation_section
    from experiments.reports.training_report import learning_curves_section, photos_section, worst_errors_section

    sections = [learning_curves_section(run)]
    members = [row.method for row in found.rows if row.kind == "member" and (run / "members" / row.method).is_dir()]
    if members:
        sections.insert(0, explanation_section(run, manifest, members[0], *predictions))
    if found.ensemble is not None:
        answer = found.held_out(found.ensemble.method)
        sections = [photos_section(answer, manifest), worst_errors_section(answer, manifest), *sections]
    return sections


def _outcome(found: "Comparison") -> list[str]:
    """Say the scores in two lines."""
    member, ensemble = found.best_member, found.ensemble
    if member is None or ensemble is None:
        return [
            "no member or no ensemble could be scored: see the report",
            f"constant answer {found.constant_answer:.3f}",
        ]
    gain = found.difference(ensemble.method, member.method)
    return [
        f"best member {member.method}: micro-F1 {member.score:.3f} on held-out photos (constant answer "
        f"{found.constant_answer:.3f})",
        f"ensemble ({ensemble.method}): {ensemble.score:.3f}, {gain.value:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})",
    ]
