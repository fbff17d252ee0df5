"""The command `optimize`."""

from typing import Annotated

import typer

from experiments.cli.options import (
    FromLogits,
    Ids,
    Labels,
    Models,
    OutFolder,
    Predictions,
    Quiet,
    Seed,
    Truth,
    open_predictions,
)
from experiments.cli.reporting import session


def optimize(
    out: OutFolder,
    predictions: Predictions = None,
    optimizer: Annotated[str, typer.Option(help="greedy, hill-climbing, pso or slsqp.")] = "greedy",
    objective: Annotated[
        str,
        typer.Option(
            help="micro-f1-best (one threshold), micro-f1-half (.5), micro-f1-per-label, macro-f1, "
            "mean-average-precision or log-loss."
        ),
    ] = "micro-f1-best",
    mean: Annotated[str, typer.Option(help="arithmetic or geometric.")] = "arithmetic",
    truth: Truth = None,
    model: Models = None,
    ids: Ids = None,
    labels: Labels = None,
    from_logits: FromLogits = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Search the weights of a vote; write weights.json, history.csv and history.svg."""
    with session(quiet) as show:
        from experiments.weight_search import search_weights

        opened = open_predictions(predictions, truth, model, ids, labels, from_logits=from_logits)
        found = search_weights(opened, out, optimizer=optimizer, objective=objective, mean=mean, random_state=seed)
        for name, weight in zip(found["models"], found["weights"], strict=True):
            show.result(f"{weight:.4f}  {name}")
        show.result(
            f"micro-F1 {found['in_sample_micro_f1']:.4f} at threshold {found['threshold']:.3f}, on the rows that chose "
            f"the weights ({found['n_evaluations']:,} evaluations)"
        )
        show.result(f"weights: {out / 'weights.json'}")
