"""The sections of a run's report that are tables: members and cost, both splits, decision rules, label frequency."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from base_models.runs.fold_record import FILE, FoldRecord
from experiments.reports.training_report import fold_histories
from stacking.comparison.held_out import HeldOut
from stacking.decision_rules.choice import nested_decisions, tune_rule
from stacking.folds import deal_folds
from stacking.metrics.counts import DecisionCounts, f1_score
from stacking.report import Block, Cell, Column, Paragraph, Section, Table, columns_of
from stacking.report.writing import write_count

if TYPE_CHECKING:
    from stacking.comparison import Comparison
    from stacking.ensemble.cross_fitted import CrossFitted
    from stacking.ensemble.ensemble import StackingEnsemble
    from stacking.predictions import PredictionSet

RULE_NAMES = {
    "half": ".5 for every label",
    "single": "one for all labels",
    "exact-micro-f1": "per label, exact for micro-F1",
    "cyclic": "per label, cyclic (Fan & Lin 2007)",
    "cross-validated": "per label where they hold up",
    "own-f1": "per label, for its own F1",
}
COUNT_COLUMNS = (
    *columns_of("score", "precision", "recall"),
    *columns_of("count", "true positives", "false positives", "false negatives"),
)


def rates_and_counts(found: float, predicted: float, positives: float) -> list[Cell]:
    """Return what `COUNT_COLUMNS` show.

    Parameters
    ----------
    found, predicted, positives : float
        True positives, predictions and positives, in rows.

    Returns
    -------
    list
        Precision and recall, None without a denominator, and true positives, false positives and false negatives.
    """
    precision, recall = found / predicted if predicted else None, found / positives if positives else None
    return [precision, recall, found, predicted - found, positives - found]


@dataclass(frozen=True)
class FittedEnsemble:
    """The ensemble of a report, with the scores that its thresholds were tuned on.

    Attributes
    ----------
    ensemble : StackingEnsemble
        Fitted on the out-of-fold rows.
    tuned_on : CrossFitted
        The same rows, each scored by a fit without it.
    held_out : PredictionSet or None
        The test split, if the run has one.
    """

    ensemble: "StackingEnsemble"
    tuned_on: "CrossFitted"
    held_out: "PredictionSet | None"


def rules_section(fitted: FittedEnsemble) -> Section:
    """Show what each way of choosing thresholds brings, micro and macro side by side.

    Parameters
    ----------
    fitted : FittedEnsemble
        The ensemble.

    Returns
    -------
    Section
        A row per decision rule: on the test split by thresholds tuned on the out-of-fold rows, and on these by
        thresholds tuned on the other folds.
    """
    ensemble, rows, tuned = fitted.ensemble, fitted.tuned_on.predictions, fitted.tuned_on
    new = fitted.held_out
    new_score = None if new is None else ensemble.predict_proba(new)
    lines: list[list[Cell]] = []
    for rule, name in RULE_NAMES.items():
        decided = nested_decisions(tuned.y_score, rows, tuned.folds, rule=rule, answered=ensemble.answered_labels)
        nested = DecisionCounts.count(decided, rows.truth)
        line: list[Cell] = [name, nested.micro_f1(rows.truth), float(nested.f1_per_label(rows.truth).mean())]
        counts, truth = nested, rows.truth
        if new is not None and new_score is not None:
            aligned = new.subset(labels=list(ensemble.labels_))
            decided = tune_rule(tuned.y_score, rows.truth, rule, answered=ensemble.answered_labels).decide(new_score)
            counts, truth = DecisionCounts.count(decided, aligned.truth), aligned.truth
            line += [counts.micro_f1(truth), float(counts.f1_per_label(truth).mean())]
        never = int(counts.never_predicted(truth).sum())
        lines.append([*line, *rates_and_counts(*counts.totals(truth)), never])
    columns = [Column("thresholds"), *columns_of("score", "out-of-fold micro-F1", "out-of-fold macro-F1")]
    if new is not None:
        columns += columns_of("score", "test micro-F1", "test macro-F1")
    columns += [*COUNT_COLUMNS, Column("never predicted", "count")]
    chosen = [place for place, rule in enumerate(RULE_NAMES) if rule == ensemble.report_["rule"]]
    which = "test" if new is not None else "out-of-fold"
    caption = (
        f"The ensemble's scores decided by each rule; precision and what follows on the {which} rows. Out of fold each "
        "row is decided by thresholds that the other folds tuned. Set off: the rule that fit chose."
    )
    return Section("Thresholds, rule by rule", [Table(columns, lines, caption, chosen)])


def validation_and_test_section(
    found: "Comparison", fitting: "PredictionSet", held_out: "PredictionSet | None", fitted: FittedEnsemble | None
) -> Section:
    """Put the scores of the out-of-fold rows and of the test split side by side.

    Parameters
    ----------
    found : Comparison
        Gives the order of the members.
    fitting : PredictionSet
        The members' out-of-fold scores.
    held_out : PredictionSet or None
        Those of the test split.
    fitted : FittedEnsemble or None
        The ensemble, if there is one.

    Returns
    -------
    Section
        Micro- and macro-F1 with one threshold for all labels.
    """
    counted = fitting.only_counted()
    folds = np.zeros(0, np.intp) if counted.folds is None else np.asarray(counted.folds, np.intp)
    if len(np.unique(folds)) < 2:  # of one network, which scored photos that it had not seen
        folds = deal_folds(counted.truth, random_state=0)
    lines: list[list[Cell]] = []
    for row in found.rows:
        if row.kind == "member":
            new = None if held_out is None else held_out.model_scores(row.method)
            covers = counted.covers[counted.models.index(row.method)]
            lines.append([row.method, *_both(counted.model_scores(row.method), covers, counted, folds, new, held_out)])
    if fitted is not None:
        tuned, name = fitted.tuned_on, f"ensemble ({fitted.ensemble.report_['method']})"
        new = None if held_out is None else fitted.ensemble.predict_proba(held_out)
        ordered = None if held_out is None else held_out.subset(labels=list(fitted.ensemble.labels_))
        answered = fitted.ensemble.answered_labels
        lines.insert(0, [name, *_both(tuned.y_score, answered, tuned.predictions, tuned.folds, new, ordered)])
    columns = [Column("model"), *columns_of("score", "validation micro-F1", "validation macro-F1")]
    if held_out is not None:
        columns += [*columns_of("score", "test micro-F1", "test macro-F1"), Column("test − validation", "gain")]
    caption = (
        "With one threshold for all labels. Validation: the out-of-fold rows, each scored by a network that did not "
        "see it and decided by a threshold that other folds tuned. Test: by the mean of the folds' networks and the "
        "threshold of all out-of-fold rows."
    )
    return Section("Validation and test", [Table(columns, lines, caption, [0] if fitted is not None else [])])


def _both(
    y_score: NDArray[np.float32],
    answered: NDArray[np.bool_],
    rows: "PredictionSet",
    folds: NDArray[np.intp],
    new_score: NDArray[np.float32] | None,
    new: "PredictionSet | None",
) -> list[Cell]:
    """Score one model on both splits; a label that it does not answer is never predicted."""
    y_score = np.nan_to_num(y_score)
    old = DecisionCounts.count(nested_decisions(y_score, rows, folds, answered=answered), rows.truth)
    cells: list[Cell] = [old.micro_f1(rows.truth), float(old.f1_per_label(rows.truth).mean())]
    if new is not None and new_score is not None:
        decided = tune_rule(y_score, rows.truth, "single", answered=answered).decide(np.nan_to_num(new_score))
        counts = DecisionCounts.count(decided, new.truth)
        micro = counts.micro_f1(new.truth)
        cells += [micro, float(counts.f1_per_label(new.truth).mean()), micro - float(cells[0] or 0)]
    return cells


def frequency_section(answer: HeldOut, training: NDArray[np.float64], edges: Sequence[int]) -> Section:
    """Pool labels by how often they occur in training.

    Parameters
    ----------
    answer : HeldOut
        Held-out labels of the ensemble.
    training : ndarray of shape (n_labels,)
        Positives of each of its labels among the training rows.
    edges : sequence of int
        Positives with which the bands begin, rising.

    Returns
    -------
    Section
        A row per band that holds a label, and one for all.
    """
    truth, counts = answer.truth, answer.counts
    f1 = counts.f1_per_label(truth)
    lines: list[list[Cell]] = []
    for low, high in pairwise([0, *(edge for edge in edges if edge > 0), np.inf]):
        inside = (training >= low) & (training < high)
        if inside.any():
            name = f"{low:,.0f} or more" if np.isinf(high) else f"{low:,.0f} to {high - 1:,.0f}"
            lines.append(_band(name, inside, training, answer, f1))
    lines.append(_band("all", np.ones(len(training), bool), training, answer, f1))
    columns = [
        Column("positives in training"),
        *columns_of("count", "labels", "training positives", "held-out positives"),
        *columns_of("score", "micro-F1", "macro-F1"),
        *COUNT_COLUMNS,
        Column("never predicted", "count"),
    ]
    caption = f"{answer.method} on the held-out rows; labels pooled by their positives among the training rows."
    return Section("Frequent and rare labels", [Table(columns, lines, caption, [len(lines) - 1])])


def _band(
    name: str, inside: NDArray[np.bool_], training: NDArray[np.float64], answer: HeldOut, f1: NDArray[np.float64]
) -> list[Cell]:
    """Pool the labels of one band."""
    found, predicted, positives = answer.counts.totals(answer.truth, inside)
    never = int((inside & answer.counts.never_predicted(answer.truth)).sum())
    micro = float(f1_score(found, predicted, positives))
    size: list[Cell] = [name, int(inside.sum()), float(training[inside].sum()), positives]
    return [*size, micro, float(f1[inside].mean()), *rates_and_counts(found, predicted, positives), never]


def members_section(run: Path, recorded: Mapping[str, Any]) -> Section:
    """Describe the members and what they cost.

    Parameters
    ----------
    run : Path
        A run folder.
    recorded : mapping
        Its ``manifest.json``.

    Returns
    -------
    Section
        A row per member with networks of its own; derived members in words.
    """
    lines: list[list[Cell]] = []
    untold = False
    for folder in sorted(path for path in (run / "members").glob("*") if path.is_dir()):
        done = [FoldRecord.read(place) for place in sorted(folder.glob("fold*")) if (place / FILE).is_file()]
        if not done:
            continue
        histories, figures = fold_histories(folder), done[0].figures
        trained = max((int(np.nanmax(fold.get("trained_parameters", [-1]))) for fold in histories), default=-1)
        untold |= trained < 0
        lines.append(
            [
                folder.name,
                done[0].network,
                done[0].head,
                done[0].size,
                len(done[0].labels),
                figures.get("n_parameters"),
                trained if trained >= 0 else None,
                len(done),
                figures.get("n_train"),
                _mean(record.figures.get("epochs") for record in done),
                _mean(record.figures.get("best_epoch") for record in done),
                _mean(record.figures.get("images_per_second") for record in done),
                _sum(record.figures.get("seconds") for record in done),
                _sum(record.figures.get("cpu_seconds") for record in done),
            ]
        )
    columns = [
        *columns_of("text", "member", "network", "head"),
        *columns_of("count", "pixels", "labels", "parameters", "trained", "networks", "photos each"),
        *columns_of("number", "epochs", "epoch kept", "photos/s"),
        *columns_of("seconds", "time", "CPU time"),
    ]
    total: list[Cell] = ["all", *[""] * 2, *[None] * 9, *(_sum(line[place] for line in lines) for place in (-2, -1))]
    caption = "Members, their networks and what training them took, all folds together; trained: parameters that moved."
    blocks: list[Block] = [Table(columns, [*lines, total], caption, [len(lines)])]
    if untold:
        blocks.append(Paragraph("This run was made before the number of trained parameters was recorded.", "note"))
    for derived in recorded.get("recipe", {}).get("derived", ()):
        names = " and ".join(derived["members"])
        text = f"{derived['name']} answers each label by the mean of those of {names} that answer it"
        blocks.append(Paragraph(f"{text}: of specialists that share no label, by the one."))
    for name, reason in dict(recorded.get("failed_members", {})).items():
        blocks.append(Paragraph(f"{name} failed and is left out: {reason}", "warning"))
    n_threads = recorded.get("n_threads")
    threads = "an unknown number of threads" if n_threads is None else write_count(n_threads, "thread")
    where = f"Trained on {recorded.get('device', 'an unknown device')} with {threads}."
    return Section("Members and cost", [*blocks, Paragraph(where, "note")])


def _known(values: Any) -> list[float]:
    """Leave out what is not recorded."""
    return [float(value) for value in values if isinstance(value, int | float)]


def _mean(values: Any) -> float | None:
    """Average what is recorded."""
    known = _known(values)
    return float(np.mean(known)) if known else None


def _sum(values: Any) -> float | None:
    """Add up what is recorded."""
    known = _known(values)
    return sum(known) if known else None
