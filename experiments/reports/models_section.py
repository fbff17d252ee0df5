"""One table of members and ensembles: what each scores, and how many parameters, photos and hours that took."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from base_models.runs.fold_record import FILE, FoldRecord
from experiments.reports.run_sections import COUNT_COLUMNS, rates_and_counts
from experiments.reports.training_report import fold_histories
from stacking.report import Cell, Column, Section, Table, columns_of

if TYPE_CHECKING:
    from stacking.comparison import Comparison

COST = ("parameters", "trained", "photos", "seconds")


def models_section(found: "Comparison", run: Path, recorded: Mapping[str, Any]) -> Section:
    """Put members and ensembles into one table, best first.

    Parameters
    ----------
    found : Comparison
        Of the run's members and of the ensembles of them.
    run : Path
        A run folder.
    recorded : mapping
        Its ``manifest.json``.

    Returns
    -------
    Section
        A row per member and method: micro- and macro-F1, precision and recall, parameters of one network each (of an
        ensemble, of all its members), photos that each network was trained on, and the time of training.
    """
    costs = {place.name: member_cost(place) for place in sorted((run / "members").glob("*")) if place.is_dir()}
    own = {name: cost for name, cost in costs.items() if cost}
    for derived in recorded.get("recipe", {}).get("derived", ()):
        parts = [own[name] for name in derived["members"] if name in own]
        own[derived["name"]] = _together(parts)
    networks = [own[name] for name in costs if name in own]
    lines: list[list[Cell]] = []
    truth = found.truth
    for row in found.rows:
        counts = found.results[row.method].counts["chosen"]
        cost = own.get(row.method.removesuffix(" (member)"), {}) if row.kind == "member" else _together(networks)
        scores: list[Cell] = [row.method, row.kind, row.micro_f1, row.macro_f1]
        rates, never = rates_and_counts(*counts.totals(truth)), int(counts.never_predicted(truth).sum())
        lines.append([*scores, *rates, never, *(cost.get(name) for name in COST)])
    columns = [
        *columns_of("text", "model", "kind"),
        *columns_of("score", "micro-F1", "macro-F1"),
        *COUNT_COLUMNS,
        *columns_of("count", "never predicted", "parameters", "trained", "photos each"),
        Column("training time", "seconds"),
    ]
    caption = (
        "Members and ensembles by score, each with the decision rule that it chose. Parameters of one network; of an "
        "ensemble, those of all members together, and the time that training all of them took."
    )
    strong = [place for place, row in enumerate(found.rows) if row.kind != "member"][:1]
    return Section("Members and ensembles side by side", [Table(columns, lines, caption, strong)])


def member_cost(folder: Path) -> dict[str, float]:
    """Add up what a member's networks record.

    Parameters
    ----------
    folder : Path
        ``RUN/members/NAME``.

    Returns
    -------
    dict of str to float
        ``parameters`` and ``trained`` of one network, ``photos`` it was trained on, ``seconds`` of all; empty without a
        finished network.
    """
    done = [FoldRecord.read(place) for place in sorted(folder.glob("fold*")) if (place / FILE).is_file()]
    if not done:
        return {}
    n_trained = [
        int(np.nanmax(fold["trained_parameters"])) for fold in fold_histories(folder) if "trained_parameters" in fold
    ]
    figures = [record.figures for record in done]
    cost = {"seconds": float(sum(one.get("seconds", 0.0) for one in figures))}
    for name, key in (("parameters", "n_parameters"), ("photos", "n_train")):
        known = [one[key] for one in figures if key in one]
        cost |= {name: float(known[0])} if known else {}
    return cost | ({"trained": float(max(n_trained))} if n_trained else {})


def _together(parts: list[dict[str, float]]) -> dict[str, float]:
    """Add up members; the photos of several are not added, since they share them."""
    if not parts:
        return {}
    total = {name: sum(part[name] for part in parts) for name in COST if all(name in part for part in parts)}
    total.pop("photos", None)
    return total
