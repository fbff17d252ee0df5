"""Score a saved ensemble on truth that it has not seen.

The rows must not be among those the ensemble was fitted on: they are refused, or left out if asked for. Members and
their plain mean are scored beside it at the threshold .5, because nothing may be tuned on these rows.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.reports.report_files import write_report
from experiments.reports.result_manifest import build_manifest, claimed, commit_result
from experiments.reports.threshold_files import write_threshold_page
from stacking._checks import check_choice
from stacking.comparison.held_out import HeldOut
from stacking.decision_rules.rematch import REMATCHES
from stacking.files.atomic_files import atomic_write_json
from stacking.files.row_table import write_rows
from stacking.metrics import (
    hamming_loss,
    log_loss,
    macro_f1,
    mean_average_precision,
    micro_f1,
    samples_f1,
    subset_accuracy,
)
from stacking.metrics.bootstrap import bootstrap_micro_f1, percentile_interval, resample
from stacking.metrics.named import DEFAULT_METRIC, Metric, find_metric
from stacking.report import Chart, Column, Figure, Paragraph, Report, Section, Table
from stacking.report.figures import (
    draw_figure,
    label_f1_figure,
    never_predicted_table,
    reliability_figure,
    threshold_figure,
)
from stacking.report.writing import write_count, write_estimate, write_interval

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

    from stacking.ensemble.ensemble import StackingEnsemble
    from stacking.files.output_folder import OutputFolder
    from stacking.predictions import PredictionSet

N_BINS = 20  # of the reliability curve, which alone depends on it: a choice
CHARTS = ("labels", "thresholds", "reliability")  # in the order of the report
IMAGE_RULES_NOTE = "The ensemble also has rules on the labels of one sample; the counts here are those before them."
HALF = 0.5  # the threshold where none may be tuned: right for calibrated scores and equal costs of both errors


@dataclass(frozen=True)
class Evaluation:
    """A saved ensemble, its members and their mean, scored on truth that the ensemble has not seen.

    Attributes
    ----------
    leaderboard : dict
        The form of ``leaderboard.json`` without its manifest.
    report : Report
        Sections as data.
    answer : HeldOut
        Scores and decisions of the ensemble.
    inputs : dict of str to str
        Hashes of the ensemble and the predictions.
    options : dict
        Options as used.
    notes : tuple of str
        What the counts of the page of thresholds leave out.
    metric_title : str
        What the metric that was scored by is called in reports.
    needs_decisions : bool
        Whether that metric looks at decisions, so that thresholds play a part in it.
    """

    leaderboard: dict[str, Any] = field(repr=False)
    report: Report = field(repr=False)
    answer: HeldOut = field(repr=False)
    inputs: dict[str, str] = field(repr=False)
    options: dict[str, Any]
    notes: tuple[str, ...] = ()
    metric_title: str = "micro-F1"
    needs_decisions: bool = True

    @property
    def table(self) -> "pd.DataFrame":
        """The scores, best first, one column per metric."""
        import pandas as pd

        return pd.DataFrame(self.leaderboard["rows"])

    def verdict(self) -> str:
        """Say the result in one sentence.

        Returns
        -------
        str
            Plain text.
        """
        return self.report.verdict

    def __repr__(self) -> str:
        """Say the verdict, and list the ensemble and its members with their scores and limits."""
        rows = self.leaderboard["rows"]
        width = max((len(row["method"]) for row in rows), default=0)
        lines = [f"{row['method']:<{width}}  {write_estimate(row['score'], row['low'], row['high'])}" for row in rows]
        return "\n".join([self.verdict(), *lines])

    def _repr_html_(self) -> str:
        """Show the verdict and the scores in a notebook."""
        from stacking.report.notebook import Card, render_card

        scores = next(block for block in self.report.sections[0].blocks if isinstance(block, Table))
        note = "Next: .plot(), .table, labelstack.report(result, folder)"
        return render_card(Card(self.report.title, [self.report.verdict], scores, note))

    def plot(self, chart: str = "labels") -> "matplotlib.figure.Figure":
        """Draw one chart of the report as a matplotlib figure.

        Parameters
        ----------
        chart : {"labels", "thresholds", "reliability"}, default="labels"
            Which.

        Returns
        -------
        matplotlib.figure.Figure
            Of no pyplot: notebooks show it, ``.savefig(path)`` keeps it.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        ValueError
            If there is no such chart.
        """
        check_choice(chart, list(CHARTS), name="chart")
        figures = [block for section in self.report.sections for block in section.blocks if isinstance(block, Figure)]
        drawn = figures[CHARTS.index(chart)].svg
        return draw_figure(drawn if isinstance(drawn, Chart) else Chart(drawn))

    def write(self, folder: "str | Path | OutputFolder", *, overwrite: bool = False) -> None:
        """Write the report, ``thresholds.html``, ``leaderboard.json``, the same as CSV and, last, ``manifest.json``.

        Parameters
        ----------
        folder : str, Path or OutputFolder
            Made if it is absent.
        overwrite : bool, default=False
            Replace an earlier evaluation; nothing else is ever replaced.
        """
        manifest = build_manifest("evaluate", self.inputs, self.options)
        with claimed(folder, "evaluate", overwrite=overwrite) as output:
            write_report(self.report, output)
            write_rows(output.path_of("leaderboard.csv"), self.leaderboard["rows"])
            if self.answer.thresholds is not None:
                write_threshold_page(self.answer, self.answer.thresholds, output, self.notes)
            atomic_write_json(output.path_of("leaderboard.json"), {**self.leaderboard, "manifest": manifest})
            commit_result(output, manifest)


def evaluate_ensemble(
    ensemble: "StackingEnsemble",
    predictions: "PredictionSet",
    *,
    without: tuple[str, ...] = (),
    drop_seen: bool = False,
    n_bootstrap: int = 1000,
    random_state: int = 0,
    metric: "str | Metric | Callable[..., Any] | None" = None,
) -> Evaluation:
    """Score an ensemble, its members and their mean on labeled rows.

    Parameters
    ----------
    ensemble : StackingEnsemble
        A fitted ensemble.
    predictions : PredictionSet
        Scores of its members, with the truth.
    without : tuple of str, default=()
        Members to leave out.
    drop_seen : bool, default=False
        Leave out the samples that the ensemble was fitted on, instead of refusing them.
    n_bootstrap : int, default=1000
        Resamples for the intervals, by group where there are groups.
    random_state : int, default=0
        Seed of the resamples.
    metric : str, Metric or callable, optional
        What to score by; by default what the ensemble was fitted for. Where that is a function of the user's, which a
        saved ensemble must not import, it is to be given.

    Returns
    -------
    Evaluation
        Leaderboard, report and the ensemble's own answer.

    Raises
    ------
    ValueError
        If the predictions carry no truth, hold samples the ensemble was fitted on, or lack a member or label.
    """
    if predictions.y_true is None:
        raise ValueError(
            "predictions must carry the truth to be evaluated: give --truth, or a bundle or store with y_true."
        )
    if predictions.fingerprint == ensemble.fitted_on_:
        raise ValueError(
            "predictions must be rows that the ensemble has not seen: these are the ones it was fitted on; hold rows "
            "back with pack --split, and fit again."
        )
    found = find_metric(ensemble.metric, import_code=ensemble.fitted_here_) if metric is None else find_metric(metric)
    found.check_truth(predictions.truth)
    given = predictions
    predictions, n_dropped = _unseen(ensemble, predictions, drop_seen=drop_seen)
    y_score = ensemble.predict_proba(predictions, without=without)
    y_pred = ensemble.decide(y_score)
    counted = y_score if predictions.counted is None else y_score[predictions.counted]
    can_rematch = ensemble.predicted_share_ is not None and ensemble.sample_rule_ is None
    rematched = {how: ensemble.rematch(counted, how) for how in REMATCHES} if can_rematch else {}
    kept = [model for model in ensemble.models_ if model not in without]
    aligned = predictions.subset(models=kept, labels=list(ensemble.labels_))
    # A rule that decides sample by sample has no thresholds to try others beside.
    limits = ensemble.thresholds_ if ensemble.sample_rule_ is None else None
    main = HeldOut("ensemble", aligned.ids, aligned.labels, aligned.truth, y_score, y_pred, limits)
    moved = [
        replace(main, method=f"ensemble, rematched {how}", y_pred=ensemble.decide(y_score, thresholds))
        for how, thresholds in rematched.items()
    ]
    others = [*moved, _mean_answer(aligned), *(_member_answer(aligned, model) for model in aligned.models)]
    scores, draws = _score([main, *others], found, n_bootstrap, random_state)
    intervals = [percentile_interval(values) for values in draws]
    kinds = ["auto", *["rematch"] * len(moved), "vote", *["member"] * aligned.n_models]
    rows: list[dict[str, Any]] = [
        {"method": answer.method, "kind": kind, "score": score, **_metrics(answer, found), "low": low, "high": high}
        for answer, kind, score, (low, high) in zip([main, *others], kinds, scores, intervals, strict=True)
    ]
    rows.sort(key=lambda row: -found.sign * row["score"])
    sizes = {"n_samples": aligned.n_samples, "n_labels": aligned.n_labels, "n_seen_dropped": n_dropped}
    leaderboard: dict[str, Any] = {"metric": found.name.replace("-", "_"), **sizes, "rows": rows}
    if found.name != DEFAULT_METRIC:
        leaderboard["greater_is_better"] = found.greater_is_better
    inputs = {"ensemble": ensemble.fingerprint, "predictions": given.fingerprint}
    options = {"without": without, "drop_seen": drop_seen, "n_bootstrap": n_bootstrap, "random_state": random_state}
    options |= {} if metric is None else {"metric": found.name}
    notes = () if ensemble.image_rules is None else (IMAGE_RULES_NOTE,)
    report = _report(main, rows, aligned, found)
    return Evaluation(leaderboard, report, main, inputs, options, notes, found.title, found.needs_decisions)


def _score(
    answers: list[HeldOut], metric: Metric, n_bootstrap: int, random_state: int
) -> tuple[list[float], list[np.ndarray[Any, np.dtype[np.float64]]]]:
    """Return the metric of each answer, and on resamples that all answers share."""
    truth = answers[0].truth
    if metric.name == DEFAULT_METRIC:
        counts = [answer.counts for answer in answers]
        draws = bootstrap_micro_f1(truth, counts, n_bootstrap=n_bootstrap, random_state=random_state)
        masks: dict[str, Any] = {"y_known": truth.y_known, "sample_weight": truth.sample_weight}
        return [micro_f1(answer.y_true, answer.y_pred, **masks) for answer in answers], list(draws)
    measured = [metric.measure(truth, answer.y_pred, answer.y_score) for answer in answers]
    resampled = [resample(one, n_bootstrap=n_bootstrap, random_state=random_state) for one in measured]
    return [one.value for one in measured], resampled


def _unseen(
    ensemble: "StackingEnsemble", predictions: "PredictionSet", *, drop_seen: bool
) -> tuple["PredictionSet", int]:
    """Return the samples that the ensemble was not fitted on, and how many others were left out."""
    seen = ensemble.has_seen(predictions.ids)
    n_seen = int(seen.sum())
    if n_seen == 0:
        return predictions, 0
    if n_seen == len(seen) or not drop_seen:
        advice = (
            "hold rows back with pack --split, and fit again"
            if n_seen == len(seen)
            else f"leave them out with --drop-seen and score the other {len(seen) - n_seen:,}"
        )
        raise ValueError(
            f"predictions must be rows that the ensemble has not seen: it was fitted on {n_seen:,} of these "
            f"{len(seen):,} ids, the first is {str(predictions.ids[seen.argmax()])!r}; {advice}."
        )
    return predictions.subset(samples=~seen), n_seen


def labels_section(answer: HeldOut) -> Section:
    """Show F1 per label against how often the label occurs, and the labels never predicted.

    Parameters
    ----------
    answer : HeldOut
        Held-out labels of one method.

    Returns
    -------
    Section
        A figure and a table, or a sentence where there is nothing to list.
    """
    counts, truth = answer.counts, answer.truth
    f1, positives = counts.f1_per_label(truth), truth.positives()
    figure = label_f1_figure({answer.method: f1}, positives, answer.labels)
    predicted = counts.label_predicted / truth.mean_weight
    never = never_predicted_table(answer.labels, predicted, positives, method=answer.method)
    last = never if never.rows else Paragraph(never.caption)
    return Section("Labels", [Figure(figure, "F1 of every label against how often it occurs."), last])


def _scores_section(answers: list[HeldOut]) -> Section:
    """Show micro-F1 against one threshold, and whether scores are probabilities."""
    thresholds = answers[0].histogram.threshold_curve()[0]
    by_threshold = {answer.method: answer.histogram.threshold_curve()[1] for answer in answers}
    curves = {answer.method: answer.histogram.reliability_curve(N_BINS) for answer in answers}
    reliability, counts = {name: curve[:2] for name, curve in curves.items()}, curves[answers[0].method][2]
    return Section(
        "Thresholds and reliability",
        [
            Figure(threshold_figure(thresholds, by_threshold), "Held-out micro-F1 if all labels had one threshold."),
            Figure(reliability_figure(reliability, counts=counts), "How often a label is true, given its score."),
        ],
    )


def _member_answer(predictions: "PredictionSet", model: str) -> HeldOut:
    """Answer with one member at the threshold .5; labels it does not cover are never predicted."""
    y_score = np.nan_to_num(predictions.model_scores(model), nan=0.0)
    return HeldOut(model, predictions.ids, predictions.labels, predictions.truth, y_score, y_score >= HALF)


def _mean_answer(predictions: "PredictionSet") -> HeldOut:
    """Answer with the plain mean of the members at the threshold .5."""
    from stacking.combiners.voting import SoftVoting
    from stacking.ensemble.answered import spread

    heard = predictions.only_answered()
    y_score = spread(SoftVoting().fit(heard).predict_proba(heard), heard.labels, predictions.labels)
    return HeldOut("mean", predictions.ids, predictions.labels, predictions.truth, y_score, y_score >= HALF)


def _metrics(answer: HeldOut, metric: Metric) -> dict[str, float]:
    """Return the usual metrics of one answer; micro-F1 too, where it is not the score itself."""
    truth = answer.truth
    masks: dict[str, Any] = {"y_known": truth.y_known, "sample_weight": truth.sample_weight}
    of_labels: dict[str, Callable[..., float]] = {
        **({} if metric.name == DEFAULT_METRIC else {"micro_f1": micro_f1}),
        "macro_f1": macro_f1,
        "samples_f1": samples_f1,
        "subset_accuracy": subset_accuracy,
        "hamming_loss": hamming_loss,
    }
    of_scores: dict[str, Callable[..., float]] = {
        "mean_average_precision": mean_average_precision,
        "log_loss": log_loss,
    }
    return {
        **{name: float(metric(answer.y_true, answer.y_pred, **masks)) for name, metric in of_labels.items()},
        **{name: float(metric(answer.y_true, answer.y_score, **masks)) for name, metric in of_scores.items()},
    }


def _report(main: HeldOut, rows: list[dict[str, Any]], predictions: "PredictionSet", metric: Metric) -> Report:
    """Lay the evaluation out as a report."""
    others = {"micro-F1": "micro_f1", "macro-F1": "macro_f1", "mAP": "mean_average_precision"}
    others.pop(metric.title, None)
    columns = [Column("method"), Column(metric.title, "score"), Column("95 % limits", "interval")]
    columns += [Column(title, "score") for title in others]
    cells = [
        (row["method"], row["score"], write_interval(row["low"], row["high"]), *(row[key] for key in others.values()))
        for row in rows
    ]
    strong = [place for place, row in enumerate(rows) if row["method"] == main.method]
    caption = (
        "Members and their mean answer at the threshold .5. Rematched: thresholds moved, without the truth, until "
        "these samples are predicted as often as those that the ensemble was fitted on. Limits by bootstrap."
    )
    ensemble = rows[strong[0]]
    verdict = (
        f"The ensemble scores {write_estimate(ensemble['score'], ensemble['low'], ensemble['high'])} {metric.title}"
        f"{'' if metric.greater_is_better else ' (lower is better)'} on "
        f"{write_count(predictions.n_samples, 'sample')} with {write_count(predictions.n_labels, 'label')} that it was "
        "not fitted on."
    )
    sections = [
        Section("Scores", [Table(columns, cells, caption, strong)]),
        labels_section(main),
        _scores_section([main]),
    ]
    return Report("Evaluation of a saved ensemble", sections, verdict=verdict)
