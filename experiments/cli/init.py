"""The command `init`, and what `train` does with photos and labels instead of a recipe."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.options import JsonConsole
from experiments.cli.reporting import Reporter

if TYPE_CHECKING:
    from base_models.recipe.run import TrainingRun

Hours = Annotated[float, typer.Option(help="How long the training may take on this machine; folds and size follow.")]
LabelList = Annotated[
    Path | None, typer.Option("--label-list", help="The labels, one per line, or a table labelId,labelName.")
]


def init(
    console: JsonConsole,
    photos: Annotated[Path, typer.Argument(help="Folder of photos, searched with its sub-folders, or of tar shards.")],
    labels: Annotated[
        Path,
        typer.Argument(
            help="Their labels: a table with one column per label, one row per photo, or one row per photo and label; "
            "JSON; or what COCO, Label Studio, FiftyOne or img2dataset has written."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The recipe to write; a file that is there is never replaced.")] = Path(
        "recipe.toml"
    ),
    hours: Hours = 2.0,
    size: Annotated[int | None, typer.Option(help="Side of the photos in pixels; else measured.", min=32)] = None,
    label_list: LabelList = None,
    id_column: Annotated[str | None, typer.Option(help="The column or field of file names or ids; else found.")] = None,
    labels_column: Annotated[str | None, typer.Option(help="The column or field of labels; else found.")] = None,
    separator: Annotated[str | None, typer.Option(help="What separates labels in a cell; else found.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Look at photos and labels, say what was understood, and write a recipe for them that fits this machine."""
    with console.session() as show:
        from experiments.recipe.understanding import GivenData
        from experiments.recipe.writing import FirstPlan, begin_recipe
        from stacking.files.atomic_files import atomic_write_text, check_writable
        from stacking.files.output_rules import check_output_file

        check_output_file(out, overwrite=True, inputs=[photos, labels, label_list])
        if out.exists():
            raise ValueError(
                f"--out must be a new file: {str(out)!r} is there already; choose another name, or remove it."
            )
        check_writable(out.parent)
        given = GivenData(photos, labels, label_list, id_column, labels_column, separator)
        show.note("looking at the photos and labels, and timing a few steps of training …")
        first = begin_recipe(given, out.parent, FirstPlan(hours, size, device))
        out.parent.mkdir(parents=True, exist_ok=True)
        atomic_write_text(out, first.text, replace=False)
        for fact in first.facts:
            show.result(fact)
        show.result(f"recipe: {out}")
        show.data({"recipe": out, "facts": first.facts})
        show.next("train", out, "--out", "run")


def begin_run(photos: Path, labels: Path, out: Path, hours: float, device: str, show: Reporter) -> "TrainingRun":
    """Take a first recipe for photos and labels, or the one that this run was begun with.

    Parameters
    ----------
    photos, labels : Path
        As `init` takes them.
    out : Path
        The run folder.
    hours : float
        How long the training may take.
    device : str
        Where.
    show : Reporter
        Of the command.

    Returns
    -------
    TrainingRun
        Its paths start from the working directory.

    Raises
    ------
    ValueError
        If the photos or labels cannot be understood, or the run in the folder has others.
    """
    from experiments.recipe import load_recipe
    from experiments.recipe.understanding import GivenData, understand
    from experiments.recipe.writing import FirstPlan, begin_recipe

    given = GivenData(photos, labels)
    if not (out / "recipe.toml").is_file():
        first = begin_recipe(given, Path(), FirstPlan(hours, device=device))
        for fact in first.facts:
            show.result(fact)
        return first.run
    run, data = load_recipe(out / "recipe.toml"), understand(given, Path()).config
    if run.data != data:
        raise ValueError(
            f"--out must be a new folder, or that of the same photos and labels: {str(out)!r} was begun with "
            f"{run.data.root!r} and {run.data.annotations!r}; choose another name."
        )
    return run
