"""The commands `methods`, `rules`, `optimizers`, `metrics`, `networks` and `keys`: what may be chosen."""

import importlib.util
import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.failures import EXTRA_OF
from experiments.cli.options import Json
from experiments.cli.reporting import Reporter, session

if TYPE_CHECKING:
    from stacking.report import Cell, Column

COUNTED_MEMBERS = 10
"""Members for which the evaluations of a search are listed. A choice."""
NETWORKS = (
    ("mobilenetv1_100", "small and quick; the first to try"),
    ("resnet34", "a plain residual network"),
    ("resnet50", "its larger sister, the usual yardstick"),
    ("inception_v3", "branches of several sizes; from 299 px on with its auxiliary output"),
    ("legacy_xception", "the Keras Xception"),
    ("tf_efficientnet_lite0", "its pretrained weights come with the extra 'pretrained', without a download"),
)
"""Networks that the recipes of this package use, and what for; every other name of timm's works too."""
MOST_NETWORKS = 200
"""Names of timm's that are listed at most: it has more than a thousand."""


def methods(as_json: Json = False) -> None:
    """List the methods of combining members, cheap ones first."""
    from stacking.combiners.registry import find_method, list_methods

    rows: list[list[Cell]] = []
    for name in list_methods():
        method = find_method(name)
        rows.append([name, method.kind, method.cost, _needs(method.requires), "no" if method.is_slow else "yes",
                     method.description])  # fmt: skip
    columns: list[Column | str] = ["method", "kind", _number("cost"), "needs", "in all", "what it does"]
    with session(as_json=as_json) as show:
        _show(show, "methods", columns, rows)
        show.note('cost: usual time beside the others\'; "in all": whether compare takes it if no methods are named')
        show.next("fit", "PREDICTIONS", "--method", "auto", "--out", "ensemble")


def rules(as_json: Json = False) -> None:
    """List the decision rules that turn scores into labels."""
    from stacking.decision_rules.registry import get_decision_rule, list_decision_rules

    found = [get_decision_rule(name) for name in list_decision_rules()]
    rows: list[list[Cell]] = [[rule.name, rule.average, rule.summary] for rule in found]
    rows.insert(
        0, ["auto", "the metric", "Chooses among the rules that serve the metric, on folds that did not tune them."]
    )
    with session(as_json=as_json) as show:
        _show(show, "rules", ["rule", "optimizes", "what it does"], rows)
        show.next("fit", "PREDICTIONS", "--rule", "auto", "--out", "ensemble")


def optimizers(as_json: Json = False) -> None:
    """List the optimizers that search weights of a vote."""
    from optimizers.registry import OPTIMIZERS, expect_evaluations, list_optimizer_options, list_optimizers

    rows: list[list[Cell]] = []
    for name in list_optimizers():
        found = OPTIMIZERS.find(name)
        rows.append([name, expect_evaluations(name, COUNTED_MEMBERS), _needs(found.requires), _summary(found.method)])
    options = {name: list_optimizer_options(name) for name in list_optimizers()}
    with session(as_json=as_json) as show:
        columns: list[Column | str] = ["optimizer", _number("cost"), "needs", "what it does"]
        _show(show, "optimizers", columns, rows, options=options)
        show.note(f"cost: weights that a search of {COUNTED_MEMBERS} members usually tries, in batches for most")
        show.next("optimize", "PREDICTIONS", "--optimizer", "greedy", "--out", "weights")


def metrics(as_json: Json = False) -> None:
    """List the metrics that decisions and scores are measured by."""
    from stacking.metrics import list_metrics

    rows: list[list[Cell]] = [[name, summary] for name, summary in list_metrics().items()]
    with session(as_json=as_json) as show:
        _show(show, "metrics", ["metric", "what it measures"], rows)
        show.next("compare", "PREDICTIONS", "--metric", "macro-f1", "--out", "comparison")


def networks(
    pattern: Annotated[
        str, typer.Argument(help="Part of a name, or a pattern such as 'resnet*', of timm's names.")
    ] = "",
    as_json: Json = False,
) -> None:
    """List networks that a recipe may name; with a pattern, all of timm's that match."""
    rows: list[list[Cell]] = [[name, what] for name, what in NETWORKS if not pattern or pattern.strip("*") in name]
    explained = "every name that timm knows works too: labelstack networks 'resnet*' lists them"
    if pattern and importlib.util.find_spec("timm") is None:
        raise ValueError("a pattern is looked up in timm, which is not installed: pip install 'labelstack[train]'.")
    if pattern:
        import timm

        known = {name for name, _ in NETWORKS}
        found = timm.list_models(pattern if "*" in pattern else f"*{pattern}*")
        for name in [name for name in found if name not in known][:MOST_NETWORKS]:
            rows.append([name, ""])
        explained = f"{len(found):,} names of timm's match"
        if not rows:
            raise ValueError(f"pattern must match a name that timm knows: {pattern!r} matches none.")
    with session(as_json=as_json) as show:
        _show(show, "networks", ["network", "what it is"], rows)
        show.note(f"{explained}; all need the extra 'train'")
        show.next("train", "RECIPE.toml", "--out", "run")


def keys(
    pattern: Annotated[str, typer.Argument(help="Part of a key's name, table included, such as data or epochs.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Write all keys as a JSON schema, for editors.")] = False,
) -> None:
    """List the keys that a recipe may hold; as JSON they are a schema by which editors check and complete."""
    from experiments.recipe.keys import list_keys, recipe_schema

    rows: list[list[Cell]] = [
        [key.place, key.type, "must be given" if key.is_required else key.default, key.meaning]
        for key in list_keys()
        if pattern.lower() in key.place
    ]
    if not rows:
        raise ValueError(
            f"pattern must be part of a key of a recipe: {pattern!r} is in none; labelstack keys lists all."
        )
    with session(as_json=as_json) as show:
        show.data(recipe_schema() if as_json else {})
        show.table(["key", "value", "default", "what it does"], rows)
        show.next("init", "PHOTOS", "LABELS.csv")


def _show(
    show: Reporter,
    name: str,
    columns: "Sequence[Column | str]",
    rows: "Sequence[Sequence[Cell]]",
    **more: object,
) -> None:
    """Write the list as a table, or as JSON, which has room for more."""
    titles = [column if isinstance(column, str) else column.title for column in columns]
    keys = [title.replace(" ", "_") for title in titles]
    show.data({name: [dict(zip(keys, row, strict=True)) for row in rows], **more})
    show.table(columns, rows)


def _number(title: str) -> "Column":
    """Make a column of numbers."""
    from stacking.report import Column

    return Column(title, "number")


def _needs(package: str) -> str:
    """Name the extra that brings a package, and whether it is there."""
    if not package:
        return "–"
    extra = EXTRA_OF.get(package, package)
    return extra if importlib.util.find_spec(package) is not None else f"{extra} (not installed)"


def _summary(function: object) -> str:
    """Return the first line of a manual."""
    lines = (inspect.getdoc(function) or "").strip().splitlines()
    return lines[0] if lines else ""
