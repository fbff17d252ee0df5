"""The command `demo`: the main job on embedded data, from photos or from finished predictions."""

import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import Console, free_name
from experiments.cli.reporting import Reporter

N_FITTING, N_NEW = 300, 150  # garments: a choice, few enough for all steps to take 20 s of a CPU
METHODS = "mean,greedy,convex,logistic"
"""What the demo compares: a vote that learns nothing, two that learn weights, and a quick meta-learner."""


def demo(
    console: Console,
    context: typer.Context,
    predictions: Annotated[
        bool,
        typer.Option(
            "--predictions",
            help="Begin with finished scores of three models instead of photos: 20 seconds, and no torch.",
        ),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Folder for everything; demo-run, or demo-predictions, if not given.")
    ] = None,
) -> None:
    """Do the main job on embedded data, offline; the same command goes on where it was stopped."""
    if predictions:
        _from_predictions(context, out or Path("demo-predictions"), console)
    else:
        _from_photos(out or Path("demo-run"), console)


def _from_photos(out: Path, console: Console) -> None:
    """Draw photos, train networks, stack them."""
    with console.session() as show:
        from experiments.demo import DemoPlan, run_demo

        with show.training() as training:
            lines = run_demo(out, DemoPlan(say=show.note, progress=training))
        for line in lines:
            show.result(line)
        show.next(
            "predict", out / "ensemble", "--run", out / "run", "--images", "PHOTOS", "--out", free_name("labels.csv")
        )


def _from_predictions(context: typer.Context, out: Path, console: Console) -> None:
    """Write tables of scores, and run on them the commands that a user would, each shown before its results."""
    with console.session() as show:
        from experiments.demo import DEMO, FORMAT
        from experiments.fashionblocks.scores import MODELS, write_scores
        from stacking.files.output_folder import work_folder

        started = time.monotonic()
        with work_folder(out, DEMO, {"format": FORMAT}):
            write_scores(out, N_FITTING, N_NEW, random_state=0)
            show.result(
                f"Three simulated models have scored {N_FITTING} garments in {out / 'scores'} and {N_NEW} new ones in "
                f"{out / 'new-scores'}: one CSV file per model, and what is true in labels.csv."
            )
            for question, words in _steps(out, list(MODELS)).items():
                _run(context, show, question, [str(word) for word in words])
        show.detail(f"all steps took {time.monotonic() - started:.0f} s")
        show.result("")
        show.note("the same with files of your own, one per model:")
        own = ["--truth", "TRUTH.csv", "--model", "A.csv", "--model", "B.csv"]
        show.next("check", *own)
        show.next("compare", *own, "--out", free_name("comparison"))
        show.next("fit", *own, "--out", free_name("ensemble"))


def _steps(out: Path, models: list[str]) -> dict[str, list[object]]:
    """List the commands by the question that each answers."""
    fitting, new = (
        [
            *("--truth", out / name / "labels.csv"),
            *(word for model in models for word in ("--model", out / name / f"{model}.csv")),
        ]
        for name in ("scores", "new-scores")
    )
    return {
        "Is anything wrong with the files?": ["check", *fitting],
        "Which way of combining the models is best, on rows that tuned nothing?": [
            *("compare", *fitting, "--methods", METHODS, "--folds", 3, "--out", out / "comparison"),
        ],
        "Choose a way, fit it on all rows, and keep it.": ["fit", *fitting, "--out", out / "ensemble"],
        "How good is that on the new garments, which it has not seen?": [
            *("evaluate", out / "ensemble", *new, "--out", out / "evaluation"),
        ],
    }


def _run(context: typer.Context, show: Reporter, question: str, words: list[str]) -> None:
    """Show a command and run it in this process, as the shell would: only its results are shown."""
    show.result(f"\n{question}\n$ labelstack {shlex.join(words)}")
    root = context.find_root()
    with root.command.make_context("labelstack", [words[0], "--quiet", *words[1:]]) as inner:
        root.command.invoke(inner)
