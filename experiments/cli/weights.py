"""The command `optimize`."""

from typing import Annotated

import typer

from experiments.cli.options import (
    FromLogits,
    Ids,
    Labels,
    LogitsOf,
    Models,
    OutFolder,
    Overwrite,
    Predictions,
    Quiet,
    Seed,
    Truth,
    check_out_folder,
    choose_logits,
    input_paths,
    is_there,
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
    start: Annotated[str, typer.Option(help="Weights to start from: uniform, convex or greedy.")] = "uniform",
    max_members: Annotated[int | None, typer.Option(help="Most members with weight.")] = None,
    member_cost: Annotated[
        list[str] | None, typer.Option(metavar="NAME=COST", help="What a member costs, any unit. Once per member.")
    ] = None,
    max_cost: Annotated[float | None, typer.Option(help="Most that members with weight may cost together.")] = None,
    truth: Truth = None,
    model: Models = None,
    ids: Ids = None,
    labels: Labels = None,
    from_logits: FromLogits = False,
    logits_of: LogitsOf = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Search the weights of a vote; write weights.json, history.csv and history.svg."""
    with session(quiet) as show:
        from experiments.reports.result_manifest import build_manifest, result_folder
        from experiments.weight_search import search_weights

        check_out_folder(out)
        opened = open_predictions(
            predictions, truth, model, ids, labels, from_logits=choose_logits(from_logits, logits_of)
        )
        limits = {
            "start": start,
            "max_members": max_members,
            "member_costs": split_member_costs(member_cost),
            "max_cost": max_cost,
        }
        options = {"optimizer": optimizer, "objective": objective, "mean": mean, "random_state": seed}
        request = build_manifest("optimize", {"predictions": opened.fingerprint}, {**options, "limits": limits})
        inputs = input_paths(predictions, truth, model, ids, labels)
        with result_folder(out, "optimize", overwrite=overwrite, inputs=inputs, request=request) as output:
            if is_there(output, show):
                return
            found = search_weights(
                opened, output, optimizer=optimizer, objective=objective, mean=mean, random_state=seed, limits=limits
            )
        for name, weight in zip(found["models"], found["weights"], strict=True):
            show.result(f"{weight:.4f}  {name}")
        show.result(
            f"micro-F1 {found['in_sample_micro_f1']:.4f} at threshold {found['threshold']:.3f}, on the rows that chose "
            f"the weights ({found['n_evaluations']:,} evaluations)"
        )
        show.result(f"weights: {out / 'weights.json'}")


def split_member_costs(values: list[str] | None) -> dict[str, float] | None:
    """Read ``NAME=COST`` options; a name may hold an equals sign itself.

    Parameters
    ----------
    values : list of str or None
        What was given to ``--member-cost``.

    Returns
    -------
    dict of str to float or None
        Cost by name; None where none is given.

    Raises
    ------
    ValueError
        If a value has another form or a name is given twice.

    Examples
    --------
    >>> split_member_costs(["resnet=12.5", "vit=40"])
    {'resnet': 12.5, 'vit': 40.0}
    """
    if not values:
        return None
    costs: dict[str, float] = {}
    for value in values:
        name, _, cost = value.rpartition("=")
        try:
            number = float(cost)
        except ValueError:
            name = ""
        if not name or name in costs:
            raise ValueError(f"--member-cost must be NAME=COST, once per member: got {value!r}.")
        costs[name] = number
    return costs
