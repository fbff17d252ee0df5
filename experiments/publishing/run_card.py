"""The card of a training run: which networks it holds, what they are worth on held-out photos, how they are used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stacking.decision_rules.choice import nested_decisions, tune_rule
from stacking.ensemble.card import MICRO_F1
from stacking.files.atomic_files import atomic_write_text
from stacking.files.output_rules import is_regular
from stacking.files.untrusted import read_json
from stacking.metrics import find_metric
from stacking.metrics.bootstrap import percentile_interval, resample
from stacking.metrics.counts import DecisionCounts
from stacking.predictions import load_predictions
from stacking.report import Cell, Code, Column, Paragraph, Report, Section, Table, columns_of
from stacking.report.front_matter import front_matter
from stacking.report.markdown import render_markdown
from stacking.report.writing import write_count

if TYPE_CHECKING:
    from stacking._typing import DoubleArray
    from stacking.predictions import PredictionSet

MOST_CELLS = 50_000_000
"""Scores of one member up to which it is measured for the card, some seconds; `labelstack report` measures any run."""

MOST_ROWS = 12
MARK = 'library_name: "labelstack"'
"""In the head of every card: a README.md that lacks it is the user's own and stays."""


def write_run_card(run: Path) -> bool:
    """Write README.md into the folder of a finished run.

    Parameters
    ----------
    run : Path
        The folder.

    Returns
    -------
    bool
        False where a README.md of the user's own is there, which stays.

    Raises
    ------
    ValueError
        If the run is damaged.
    """
    place = run / "README.md"
    is_there = place.exists() or place.is_symlink()
    if is_there and not (is_regular(place) and MARK in place.read_text(encoding="utf-8", errors="replace")[:200]):
        return False
    atomic_write_text(place, _describe_run(run))
    return True


def _describe_run(run: Path) -> str:
    """Write the card of a finished run."""
    manifest = read_json(run / "manifest.json", f"the run folder's {run / 'manifest.json'}")
    held_out = load_predictions(run / "oof")
    rows, f1, results = _measure(held_out)
    data, recipe = manifest["data"], manifest["recipe"]
    report = Report(
        f"{recipe.get('name') or run.name}: {write_count(held_out.n_models, 'member')} for "
        f"{write_count(held_out.n_labels, 'label')} of photos",
        [
            Section("What it is", _what_it_is(manifest)),
            Section("Use it", _use(held_out)),
            Section("Members", _members(run, manifest, rows, _measure_test(run, held_out))),
            Section("Labels", _labels(held_out, f1)),
            Section("When it fails", _failures(held_out, manifest)),
            Section("How it was made", _origin(manifest)),
        ],
    )
    found = [{**one, "data": data["y_true_sha256"]} for one in results]
    return f"{front_matter(['photos', 'out-of-fold'], 'image-classification', found)}\n{render_markdown(report)}"


def _measure(held_out: PredictionSet) -> tuple[dict[str, list[Cell]], DoubleArray | None, list[dict[str, Any]]]:
    """Measure each member on rows that it did not see, at one threshold tuned on the other folds."""
    metric = find_metric("micro-f1")
    rows: dict[str, list[Cell]] = {}
    results: list[dict[str, Any]] = []
    best, f1 = -1.0, None
    if held_out.y_true is None or held_out.n_samples * held_out.n_labels > MOST_CELLS:
        return rows, f1, results
    rated = held_out.only_counted()
    folds = rated.folds
    if folds is None or len(np.unique(folds)) < 2:
        folds = np.arange(rated.n_samples) % 2  # only the threshold is tuned: any halves do
    for place, name in enumerate(rated.models):
        covered = np.flatnonzero(rated.covers[place])
        own = rated.subset(models=[name], labels=covered)
        y_score = own.to_array()[0]
        decided = nested_decisions(y_score, own, np.asarray(folds), rule="single", metric=metric)
        measured = metric.measure(own.truth, decided, y_score)
        low, high = percentile_interval(resample(measured))
        rows[name] = [len(covered), measured.value, low, high]
        if len(covered) == rated.n_labels and measured.value > best:
            best, f1 = measured.value, DecisionCounts.count(decided, own.truth).f1_per_label(own.truth)
            results = [{"metric": "micro-f1", "title": f"micro-F1 of {name}", "value": best}]
    return rows, f1, results


def _measure_test(run: Path, held_out: PredictionSet) -> dict[str, float]:
    """Measure each member on the test photos at one threshold tuned on all held-out ones; none without their truth."""
    if held_out.y_true is None or not (run / "test").is_dir():
        return {}
    test = load_predictions(run / "test")
    if test.y_true is None or max(held_out.n_samples, test.n_samples) * test.n_labels > MOST_CELLS:
        return {}
    metric, found = find_metric("micro-f1"), {}
    rated, test = held_out.only_counted(), test.only_counted()
    for name, covers in zip(rated.models, rated.covers, strict=True):
        tuning, own = (each.subset(models=[name], labels=np.flatnonzero(covers)) for each in (rated, test))
        tuned = tune_rule(tuning.to_array()[0], tuning.truth, "single")
        y_score = own.to_array()[0]
        found[name] = metric.measure(own.truth, tuned.decide(y_score), y_score).value
    return found


def _what_it_is(manifest: dict[str, Any]) -> list[Any]:
    """Say what the folder holds."""
    data, folds = manifest["data"], manifest["recipe"].get("folds", {})
    scheme = manifest.get("scheme", {})
    return [
        Paragraph(
            f"Networks that labelstack train trained on {data['n_train']:,} of {data['n_photos']:,} photos, and what "
            "they say of photos that they did not see: oof, and test where there is a test split."
        ),
        Paragraph(f"Held-out rows: {scheme.get('oof', 'as the recipe says')}. Folds: {folds.get('n_folds', 5)}."),
        Paragraph(f"New photos: {scheme.get('new_photos', 'as the recipe says')}."),
    ]


def _use(held_out: PredictionSet) -> list[Any]:
    """Show how it is loaded and asked."""
    python = (
        "from base_models import predict  # pip install 'labelstack[train]'\n"
        'scores = predict("RUN", "new-photos")\n'
        "probabilities = scores.to_array()  # (n_models, n_photos, n_labels)"
    )
    shell = (
        "labelstack fit RUN/oof --out ensemble\n"
        "labelstack predict ensemble --run RUN --images new-photos --out labels.csv"
    )
    return [
        Paragraph("With this folder as RUN; the first command combines the members, once:"),
        Code(shell),
        Code(python),
        Paragraph(f"labelstack report RUN --out report shows curves. {held_out.n_samples:,} rows in oof."),
    ]


def _members(run: Path, manifest: dict[str, Any], rows: dict[str, list[Cell]], tested: dict[str, float]) -> list[Any]:
    """List the members with their worth and their cost."""
    columns: list[Column | str] = [
        "member",
        "network",
        *columns_of("count", "pixels", "labels"),
        *columns_of("score", "micro-F1", "low", "high"),
        Column("training", "seconds"),
    ]
    table: list[list[Cell]] = []
    for entry in manifest["recipe"]["members"]:
        name = entry["name"]
        if name in manifest.get("failed_members", {}):
            continue
        places = sorted((run / "members" / name).glob("fold*/done.json"))
        records = [read_json(place, f"the fold's {place}") for place in places]
        seconds = sum(float(record.get("seconds", 0.0)) for record in records) or None
        size = records[0]["size"] if records else None
        table.append([name, entry["network"], size, *rows.get(name, [None] * 4), seconds])
    table += [
        [entry["name"], " and ".join(entry["members"]), None, *rows.get(entry["name"], [None] * 4), None]
        for entry in manifest["recipe"].get("derived", [])
    ]
    caption = (
        f"{MICRO_F1} It is over the labels that the member answers, on photos that it did not see, at one threshold "
        "tuned on the other folds, with 95 % limits. Training is of all folds together."
    )
    if tested:
        columns.append(Column("test", "score"))
        table = [[*row, tested.get(str(row[0]))] for row in table]
        caption += " Test is micro-F1 on the photos of the test split, at one threshold tuned on the held-out ones."
    return [Table(columns, table, caption)]


def _labels(held_out: PredictionSet, f1: DoubleArray | None) -> list[Any]:
    """List the labels with their positives, the best and the worst of the best member."""
    if held_out.y_true is None:
        return [Paragraph(", ".join(held_out.labels))]
    positives = held_out.truth.positives()
    columns: list[Column | str] = ["label", Column("positives", "count"), Column("F1 of the best member", "score")]
    rows: list[list[Cell]] = [
        [name, round(float(positives[place])), None if f1 is None or not positives[place] else float(f1[place])]
        for place, name in enumerate(held_out.labels)
    ]
    if len(rows) > 2 * MOST_ROWS:  # those without positives, of which nothing is known, are told below
        rows = [row for row, number in zip(rows, positives, strict=True) if number]
    rows.sort(key=lambda row: -float(row[2] if isinstance(row[2], float) else -1.0))
    if held_out.n_labels <= 2 * MOST_ROWS:
        return [Table(columns, rows)]
    worst = rows[MOST_ROWS:][-MOST_ROWS:]
    return [
        Table(columns, rows[:MOST_ROWS], f"The {len(rows[:MOST_ROWS])} best."),
        *([Table(columns, worst, f"The {len(worst)} worst that have positives.")] * bool(worst)),
        Paragraph(f"All labels: {', '.join(held_out.labels)}."),
    ]


def _failures(held_out: PredictionSet, manifest: dict[str, Any]) -> list[Any]:
    """Say where not to trust it."""
    lines = [f"{name} was not trained: {reason}" for name, reason in manifest.get("failed_members", {}).items()]
    data = manifest["data"]
    if data.get("n_unreadable") or data.get("n_missing"):
        lines.append(
            f"{data.get('n_unreadable', 0)} photos could not be read and {data.get('n_missing', 0)} were missing."
        )
    if held_out.y_true is not None:
        positives = held_out.truth.positives()
        for what, chosen in (
            ("Labels without a positive, so nothing is known of them", positives == 0),
            ("Labels with fewer than 20 positives, hardly learned", (positives > 0) & (positives < 20)),
        ):
            named = [held_out.labels[place] for place in np.flatnonzero(chosen)]
            more = f" and {len(named) - MOST_ROWS} more" if len(named) > MOST_ROWS else ""
            lines += [f"{what}: {', '.join(named[:MOST_ROWS])}{more}."] * bool(named)
    lines.append(
        "Photos of another kind (another camera, background or shop) are scored as if they were like the training's: "
        "measure with labelstack evaluate on labels of your own first."
    )
    return [Paragraph(line) for line in lines]


def _origin(manifest: dict[str, Any]) -> list[Any]:
    """Tell the recipe, the data and the versions."""
    names = ("recipe_hash", "seed", "device", "n_threads", "versions", "created")
    made = {name: manifest[name] for name in names if name in manifest}
    made["data"] = {name: manifest["data"].get(name) for name in ("fingerprint", "y_true_sha256")}
    return [
        Paragraph("recipe.toml holds the recipe; labelstack train recipe.toml --out RUN makes the run again."),
        Code(json.dumps(made, indent=1, ensure_ascii=False)),
    ]
