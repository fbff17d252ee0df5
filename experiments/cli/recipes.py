"""The command `recipes`: the recipes that come with the package, listed or copied."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.options import Json, Overwrite
from experiments.cli.reporting import session

if TYPE_CHECKING:
    from stacking.report import Cell

FOLDER = Path(__file__).parents[1] / "recipes"


def recipes(
    name: Annotated[str, typer.Argument(help="A recipe to copy, as the list names it; none lists them.")] = "",
    out: Annotated[Path | None, typer.Option(help="Where the copy goes; by default into this folder.")] = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """List the recipes that come with the package, or copy one to change it."""
    known = {path.relative_to(FOLDER).with_suffix("").as_posix(): path for path in sorted(FOLDER.rglob("*.toml"))}
    with session(as_json=as_json) as show:
        if not name:
            rows: list[list[Cell]] = [[key, _first_sentence(path)] for key, path in known.items()]
            show.data({"recipes": [{"recipe": key, "what it is": what} for key, what in rows]})
            show.table(["recipe", "what it is"], rows)
            show.next("recipes", "seeds/000", "--out", "recipe.toml")
            return
        if name.removesuffix(".toml") not in known:
            from optimizers.registry import did_you_mean

            raise ValueError(
                f"recipe must be one of {', '.join(known)}: got {name!r}.{did_you_mean(name, list(known))}"
            )
        from stacking.files.atomic_files import atomic_write_text
        from stacking.files.output_rules import check_output_file

        source = known[name.removesuffix(".toml")]
        target = Path(source.name) if out is None else out
        check_output_file(target, overwrite=overwrite, inputs=[source])
        atomic_write_text(target, source.read_text(encoding="utf-8"))
        show.data({"recipe": str(target)})
        show.result(f"recipe: {target}")
        show.next("train", target, "--out", "run")


def _first_sentence(path: Path) -> str:
    """Return what a recipe's first line of comment says."""
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
