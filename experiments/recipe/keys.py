"""All keys of a recipe, from the dataclasses that it is read into: as a list, a JSON schema, and a page of the manual.

    python -m experiments.recipe.keys

writes the page ``docs/recipe.md`` and the schema ``docs/recipe.schema.json`` anew.
"""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from experiments.recipe.types import dataclass_in, describe_type, hints_of, required_keys, write_value

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
TABLES = (
    ("", "The recipe itself"),
    ("data", "`[data]`: photos and labels"),
    ("members", "`[[members]]`: the networks, one table each"),
    ("training", "`[training]`, and `training` of a member"),
    ("folds", "`[folds]`: who is scored by whom"),
    ("derived", "`[[derived]]`: members made of others"),
)
"""The tables in the order in which they are read best, and how the page calls them."""
_ROLE = re.compile(r":(?:mod|func|class|meth):`~?([^`]+)`")
_SECTION = re.compile(r"^-{3,}$")


@dataclass(frozen=True)
class RecipeKey:
    """One key of a recipe.

    Attributes
    ----------
    table : str
        The table it stands in, empty for the recipe itself.
    name : str
        The key.
    type : str
        What its value is, in words.
    default : str
        What it is if left out, as TOML has it; empty for a key that must be there, and where nothing is the default.
    is_required : bool
        Whether it must be there.
    meaning : str
        What it does.
    """

    table: str
    name: str
    type: str
    default: str
    is_required: bool
    meaning: str

    @property
    def place(self) -> str:
        """Return the key with its table."""
        return f"{self.table}.{self.name}" if self.table else self.name


def list_keys() -> list[RecipeKey]:
    """List all keys that a recipe may hold.

    Returns
    -------
    list of RecipeKey
        Table by table, those of a table in the order of its dataclass.
    """
    return [key for table, _ in TABLES for key in _keys_of(table, _dataclass_of(table))]


def recipe_schema() -> dict[str, Any]:
    """Describe recipes as a JSON schema, which editors check and complete TOML files by.

    Returns
    -------
    dict
        Draft 2020-12.
    """
    from pydantic import TypeAdapter

    from base_models.recipe.run import TrainingRun

    schema = TypeAdapter(TrainingRun).json_schema()
    meanings: dict[str, dict[str, str]] = {}
    for key in list_keys():
        meanings.setdefault(_dataclass_of(key.table).__name__, {})[key.name] = key.meaning
    for name, table in {**schema["$defs"], "TrainingRun": schema}.items():
        for key_name, entry in table["properties"].items():
            entry.pop("title", None)
            entry["description"] = meanings[name][key_name]
    training = {"$ref": "#/$defs/TrainingConfig", "description": "What members do not say themselves."}
    schema["properties"]["training"] = training
    return {"$schema": SCHEMA_DIALECT, **schema, "title": "A recipe of labelstack"}


def recipe_page() -> str:
    """Write the page of all keys.

    Returns
    -------
    str
        Markdown.
    """
    lines = [
        "# All keys of a recipe",
        "",
        "<!-- Made by `python -m experiments.recipe.keys` from the dataclasses; do not edit. -->",
        "",
        "A recipe is one TOML file. `labelstack init photos/ labels.csv` writes one for photos and labels of your own,",
        "with comments; `labelstack keys` lists the keys below at the prompt, and `labelstack keys --json` writes them",
        "as a JSON schema ([`recipe.schema.json`](recipe.schema.json)), by which editors check and complete. All",
        "that is wrong with a recipe is told at once. Relative paths start from the recipe's folder; `~` and",
        "`$VARIABLES` are expanded.",
    ]
    for table, heading in TABLES:
        keys = [key for key in list_keys() if key.table == table]
        lines += ["", f"## {heading}", "", *_about(table)]
        lines += ["| key | value | default | meaning |", "|---|---|---|---|"]
        lines += [_row(key) for key in keys]
    return "\n".join(lines) + "\n"


def _about(table: str) -> list[str]:
    """Return a paragraph on a table, where there is more to say than its keys do."""
    if table == "training":
        text = "`[training]` holds what all members have in common; a member's own `training` says what differs."
        return [text, ""]
    return []


def _row(key: RecipeKey) -> str:
    """Write one key as a row of the page."""
    default = "**must be given**" if key.is_required else f"`{key.default}`" if key.default else ""
    return "| " + " | ".join(_cell(text) for text in (f"`{key.name}`", key.type, default, key.meaning)) + " |"


def _cell(text: str) -> str:
    """Guard what would end a cell of a Markdown table."""
    return text.replace("|", "\\|")


def _dataclass_of(table: str) -> Any:
    """Return the dataclass that a table is read into."""
    from base_models.recipe.run import TrainingRun
    from base_models.recipe.training import TrainingConfig

    if not table:
        return TrainingRun
    return TrainingConfig if table == "training" else dataclass_in(hints_of(TrainingRun)[table])


def _keys_of(table: str, kind: Any) -> Iterator[RecipeKey]:
    """Yield the keys of one table."""
    hints, required, meanings = hints_of(kind), required_keys(kind), _read_parameters(kind)
    for field in dataclasses.fields(kind):
        if field.name not in hints:
            continue
        given = field.default is not dataclasses.MISSING
        default = write_value(field.default) if given and field.default is not None else ""
        yield RecipeKey(
            table,
            field.name,
            describe_type(hints[field.name]),
            default,
            field.name in required,
            meanings.get(field.name, ""),
        )


def _read_parameters(kind: Any) -> dict[str, str]:
    """Read the meanings of parameters from a docstring in the form of numpydoc."""
    lines = (inspect.getdoc(kind) or "").splitlines()
    found: dict[str, list[str]] = {}
    inside = False
    here: list[str] = []
    for place, line in enumerate(lines):
        follows = lines[place + 1] if place + 1 < len(lines) else ""
        if _SECTION.match(follows):
            inside = line.strip() == "Parameters"
        elif inside and line and not line.startswith((" ", "-")):
            here = []
            for name in line.partition(" : ")[0].split(","):
                found[name.strip()] = here
        elif inside:
            here.append(line.strip())
    return {name: _markdown(" ".join(words)) for name, words in found.items()}


def _markdown(text: str) -> str:
    """Turn the markup of docstrings into that of Markdown."""
    return _ROLE.sub(r"`\1`", text).replace("``", "`").strip()


def main() -> None:
    """Write the page and the schema into the manual."""
    import json
    from pathlib import Path

    from stacking.files.atomic_files import atomic_write_text

    docs = Path(__file__).parents[2] / "docs"
    atomic_write_text(docs / "recipe.md", recipe_page())
    atomic_write_text(docs / "recipe.schema.json", json.dumps(recipe_schema(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
