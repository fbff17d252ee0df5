"""The command `pack`."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import (
    FromLogits,
    Ids,
    Labels,
    LogitsOf,
    Models,
    Predictions,
    Quiet,
    Seed,
    Truth,
    choose_logits,
    input_paths,
    open_predictions,
    split_model_option,
)
from experiments.cli.reporting import session

Add = Annotated[list[str] | None, typer.Option(metavar="[NAME=]FILE", help="Add this model. May be repeated.")]
Drop = Annotated[list[str] | None, typer.Option(metavar="MODEL", help="Leave this model out. May be repeated.")]


def _share_out(
    logits: bool | tuple[str, ...], added: Collection[str]
) -> tuple[bool | tuple[str, ...], bool | tuple[str, ...]]:
    """Say which of the opened and which of the added scores are logits; --from-logits is about the added if any."""
    if isinstance(logits, bool):
        return logits and not added, logits and bool(added)
    return tuple(name for name in logits if name not in added), tuple(name for name in logits if name in added)


def pack(
    out: Annotated[Path, typer.Option(help="A folder for a store, or a file ending in .npz for a bundle.")],
    predictions: Predictions = None,
    truth: Truth = None,
    model: Models = None,
    ids: Ids = None,
    labels: Labels = None,
    add: Add = None,
    drop: Drop = None,
    from_logits: FromLogits = False,
    logits_of: LogitsOf = None,
    by_label: Annotated[bool, typer.Option("--by-label", help="Add a copy that is fast to read per label.")] = False,
    split: Annotated[float | None, typer.Option(help="Share of rows for --out. No group is split.")] = None,
    rest_out: Annotated[Path | None, typer.Option(help="Where the rows that --split holds back go.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a store or bundle that is there.")] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Convert predictions of any form to a store or bundle; add or drop models; hold rows back.

    With --out naming the store that is read, models are added and dropped in place. With --add, --from-logits is about
    the added files.
    """
    with session(quiet) as show:
        from experiments.packing import PackingPlan, repack

        added = dict(split_model_option(value) for value in add or [])
        logits = choose_logits(from_logits, logits_of)
        of_opened, of_added = _share_out(logits, added)
        opened = open_predictions(predictions, truth, model, ids, labels, from_logits=of_opened)
        inputs = tuple(input_paths(predictions, truth, model, ids, labels, add))
        plan = PackingPlan(added, of_added, tuple(drop or ()), by_label, overwrite, split, rest_out, seed, inputs)
        for path, packed in repack(opened, out, plan, source=predictions):
            models = "1 model" if packed.n_models == 1 else f"{packed.n_models} models"
            size = f"{models} × {packed.n_samples:,} samples × {packed.n_labels} labels"
            show.result(f"{size}: {path}")
