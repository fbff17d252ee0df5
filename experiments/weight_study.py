"""Search weights with several optimizers, objectives and seeds, and score all of them on held-out rows."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from experiments.reports.report_files import write_report
from experiments.reports.result_manifest import commit_result
from stacking.combiners.combiner import Combiner
from stacking.combiners.voting import SoftVoting, WeightedVoting
from stacking.combiners.voting.means import Mean
from stacking.comparison.splits import align_holdout
from stacking.decision_rules.choice import tune_rule
from stacking.ensemble.answered import answered_by, spread
from stacking.files.atomic_files import atomic_write_json, atomic_write_text
from stacking.files.csv_cells import to_csv
from stacking.metrics import Metric, find_metric
from stacking.metrics.bootstrap import percentile_interval, resample
from stacking.predictions import PredictionSet
from stacking.process.progress import advance, steps
from stacking.report import Cell, Chart, Column, Figure, KeyFigure, Paragraph, Report, Section, Table
from stacking.report.figures.searches import cost_figure, search_band_figure
from stacking.report.writing import write_gain, write_interval, write_score

if TYPE_CHECKING:
    from stacking.files.output_folder import OutputFolder

BASELINE = "plain mean"


@dataclass(frozen=True)
class StudyPlan:
    """What is searched.

    Attributes
    ----------
    optimizers : sequence of str
        Names, with options after a colon: ``pso:n_iterations=2000,n_particles=15``.
    objectives : sequence of str
        What the weights are searched for.
    seeds : sequence of int
        Of the searches.
    mean : str, default="arithmetic"
        How scores are averaged.
    metric : str, default="micro-f1"
        What all votes are scored by.
    limits : mapping
        More parameters of `WeightedVoting`.
    n_bootstrap : int, default=1000
        Resamples behind the 95 % limits.
    """

    optimizers: Sequence[str]
    objectives: Sequence[str] = ("micro-f1-best",)
    seeds: Sequence[int] = (0,)
    mean: str = "arithmetic"
    metric: str = "micro-f1"
    limits: Mapping[str, Any] = field(default_factory=dict)
    n_bootstrap: int = 1000

    def check(self) -> None:
        """Refuse what cannot be searched, before anything is.

        Raises
        ------
        ValueError
            If no name is given, one is unknown or repeated, or an option of an optimizer is unknown or no number.
        """
        for what, names in (("--optimizer", self.optimizers), ("--objective", self.objectives)):
            if isinstance(names, str) or not names:
                raise ValueError(f"{what} must be a list of names: got {names!r}.")
            twice = next((name for name in names if list(names).count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{what} must name each once: got {twice!r} {list(names).count(twice)} times.")
        for name in self.optimizers:
            split_optimizer(name)
        find_metric(self.metric)
        if not self.seeds:
            raise ValueError("--seeds must be at least 1.")


def split_optimizer(text: str) -> tuple[str, dict[str, Any]]:
    """Split ``NAME:OPTION=VALUE,OPTION=VALUE``.

    Parameters
    ----------
    text : str
        What was given to ``--optimizer``.

    Returns
    -------
    tuple of str and dict
        The optimizer and its options.

    Raises
    ------
    ValueError
        If the optimizer or an option is unknown, or a value is no number.

    Examples
    --------
    >>> split_optimizer("pso:n_iterations=2000")
    ('pso', {'n_iterations': 2000})
    """
    from optimizers import list_optimizer_options
    from optimizers.registry import nearest_name

    name, _, spelled = text.partition(":")
    known = list_optimizer_options(name)
    options: dict[str, Any] = {}
    for part in filter(None, spelled.split(",")):
        key, _, value = (piece.strip() for piece in part.partition("="))
        if key not in known:
            near = nearest_name(key, list(known))
            hint = f"did you mean {near!r}?" if near else f"it has {', '.join(known) or 'none'}."
            raise ValueError(f"optimizer {name!r} must be given options that it has: got {key!r}; {hint}")
        if key in options:
            raise ValueError(f"optimizer {name!r} must be given each option once: got {key!r} twice.")
        options[key] = _read_value(value, known[key], f"{name}:{key}")
    return name, options


def _read_value(text: str, default: Any, who: str) -> Any:
    """Read a value of the kind that the default is of."""
    if isinstance(default, bool) and text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        number = float(text)
    except ValueError:
        if isinstance(default, str):
            return text
        raise ValueError(f"the option {who} must be a number: got {text!r}.") from None
    whole = number.is_integer() and not isinstance(default, float)
    return int(number) if whole else number


@dataclass(frozen=True)
class SearchRun:
    """One search and what its weights are worth.

    Attributes
    ----------
    optimizer, objective, seed : str, str, int
        What searched for what.
    loss : float
        Reached on the rows that chose the weights.
    n_evaluations : int
        Weights tried.
    cpu_seconds : float
        Of the search.
    fitted_score, held_out_score : float
        Of the vote on the rows that chose the weights and the threshold, and on the others.
    weights : tuple of float
        In the order of the models.
    history : list of (int, float)
        Course of the search.
    draws : ndarray of shape (n_bootstrap,)
        The held-out score on resamples, the same for all searches.
    """

    optimizer: str
    objective: str
    seed: int
    loss: float
    n_evaluations: int
    cpu_seconds: float
    fitted_score: float
    held_out_score: float
    weights: tuple[float, ...]
    history: list[tuple[int, float]]
    draws: npt.NDArray[np.float64]


@dataclass(frozen=True)
class StudyRow:
    """The searches of one optimizer for one objective.

    Attributes
    ----------
    optimizer, objective : str
        Which.
    score, lowest, highest : float
        Mean, worst and best held-out score over the seeds.
    gain, gain_low, gain_high : float
        To the plain mean, of the mean over seeds, with paired 95 % limits.
    fitted_score, loss, n_evaluations, cpu_seconds : float
        Means over the seeds.
    """

    optimizer: str
    objective: str
    score: float
    lowest: float
    highest: float
    gain: float
    gain_low: float
    gain_high: float
    fitted_score: float
    loss: float
    n_evaluations: float
    cpu_seconds: float


@dataclass(frozen=True)
class WeightStudy:
    """All searches.

    Attributes
    ----------
    runs : tuple of SearchRun
        One per optimizer, objective and seed.
    rows : tuple of StudyRow
        Seeds together, best first.
    baseline : float
        Held-out score of the plain mean.
    metric : Metric
        What is scored.
    models : tuple of str
        The members.
    n_fitted, n_held_out : int
        Rows.
    failures : dict of (str, str) to str
        Why an optimizer could not search for an objective.
    """

    runs: tuple[SearchRun, ...]
    rows: tuple[StudyRow, ...]
    baseline: float
    metric: Metric
    models: tuple[str, ...]
    n_fitted: int
    n_held_out: int
    failures: Mapping[tuple[str, str], str]

    def as_dict(self) -> dict[str, Any]:
        """Return all numbers as plain values.

        Returns
        -------
        dict
            What ``study.json`` holds.
        """
        runs = [
            {key: value for key, value in asdict(run).items() if key not in ("history", "draws")} for run in self.runs
        ]
        return {
            "metric": self.metric.name,
            "plain_mean": self.baseline,
            "n_fitted": self.n_fitted,
            "n_held_out": self.n_held_out,
            "models": list(self.models),
            "rows": [asdict(row) for row in self.rows],
            "runs": runs,
            "failures": [
                {"optimizer": name, "objective": objective, "reason": reason}
                for (name, objective), reason in self.failures.items()
            ],
        }

    def report(self) -> Report:
        """Lay the study out.

        Returns
        -------
        Report
            For the renderers.
        """
        best, title = self.rows[0], self.metric.title
        gain = write_interval(best.gain_low, best.gain_high, signed=True)
        verdict = (
            f"Best on held-out rows: {best.optimizer} for {best.objective}, {title} {write_score(best.score)}, "
            f"{write_gain(best.gain)} {gain} to the plain mean"
            f"{'' if self.metric.greater_is_better else ' (lower is better)'}."
        )
        figures = [
            KeyFigure(f"best {title}", write_score(best.score), f"{best.optimizer}, {best.objective}"),
            KeyFigure("plain mean", write_score(self.baseline)),
            KeyFigure("searches", f"{len(self.runs):,}"),
            KeyFigure("rows", f"{self.n_fitted:,} + {self.n_held_out:,}", "chose the weights + held out"),
        ]
        subtitle = ", ".join(self.models[:9]) + (" …" if len(self.models) > 9 else "")
        sections = [self._table(), self._cost(), *self._courses()]
        if self.failures:
            rows = [[*names, reason] for names, reason in self.failures.items()]
            sections.append(Section("Not searched", [Table(["optimizer", "objective", "why"], rows)]))
        return Report("Weight search", sections, verdict=verdict, subtitle=subtitle, key_figures=figures)

    def _repr_html_(self) -> str:
        """Show the verdict and the rows in a notebook."""
        from stacking.report.notebook import Card, render_card

        (table,) = self._table().blocks
        note = "Next: .plot(), .rows, .report()"
        return render_card(Card("Weight search", [self.report().verdict], cast(Table, table), note))

    def plot(self) -> Any:
        """Draw cost against score, one point per search.

        Returns
        -------
        matplotlib.figure.Figure
            Also shown by a notebook.
        """
        from stacking.report.figures import draw_figure

        return draw_figure(self._cost_chart())

    def _table(self) -> Section:
        """List optimizers and objectives, best first."""
        title = self.metric.title
        columns: list[Column | str] = [
            "optimizer", "objective", Column(title, "score"), Column("over seeds", "interval"),
            Column("to the mean", "gain"),
            Column("95 % interval", "interval"), Column("on its own rows", "score"), Column("evaluations", "count"),
            Column("CPU time", "seconds"),
        ]  # fmt: skip
        rows: list[list[Cell]] = [
            [row.optimizer, row.objective, row.score, write_interval(row.lowest, row.highest), row.gain,
             write_interval(row.gain_low, row.gain_high, signed=True), row.fitted_score, round(row.n_evaluations),
             row.cpu_seconds]
            for row in self.rows
        ]  # fmt: skip
        caption = (
            "Scores on rows that chose neither weights nor threshold, means over the seeds; the interval of the gain "
            "is paired, from resampled rows. Where the score on its own rows is much better, noise was learned."
        )
        return Section("What the weights are worth", [Table(columns, rows, caption=caption)])

    def _cost(self) -> Section:
        """Show cost against score."""
        return Section(
            "Cost and score", [Figure(self._cost_chart(), "One point per seed; the line is the plain mean.")]
        )

    def _cost_chart(self) -> Chart:
        """Draw cost against score."""
        points: dict[str, tuple[list[float], list[float]]] = {}
        for run in self.runs:
            seconds, scores = points.setdefault(self._name(run), ([], []))
            seconds.append(run.cpu_seconds)
            scores.append(run.held_out_score)
        return cost_figure(points, score=self.metric.title, reference=(BASELINE, self.baseline))

    def _courses(self) -> list[Section]:
        """Draw the courses of the searches, a chart for each objective."""
        blocks: list[Figure | Paragraph] = []
        for objective in dict.fromkeys(run.objective for run in self.runs):
            histories: dict[str, list[list[tuple[int, float]]]] = {}
            for run in self.runs:
                if run.objective == objective and run.history:
                    histories.setdefault(run.optimizer, []).append(run.history)
            if histories:
                chart: Chart = search_band_figure(histories, loss=f"loss of {objective}")
                blocks.append(
                    Figure(chart, f"{objective}: median over the seeds; the band is from the best to the worst.")
                )
        return [Section("Courses of the searches", blocks)] if blocks else []

    def _name(self, run: SearchRun) -> str:
        """Name a search, by its objective too where there are several."""
        several = len({each.objective for each in self.runs}) > 1
        return f"{run.optimizer}, {run.objective}" if several else run.optimizer

    def write(self, output: OutputFolder, manifest: Mapping[str, Any]) -> None:
        """Write the report, ``study.json``, ``runs.csv``, ``history.csv`` and, last, ``manifest.json``.

        Parameters
        ----------
        output : OutputFolder
            A claimed folder.
        manifest : mapping
            From `build_manifest`.
        """
        write_report(self.report(), output)
        atomic_write_json(output.path_of("study.json"), self.as_dict())
        keys = ("optimizer", "objective", "seed")
        atomic_write_text(output.path_of("runs.csv"), to_csv([
            [*keys, "held_out_score", "fitted_score", "loss", "n_evaluations", "cpu_seconds", *self.models],
            *([run.optimizer, run.objective, run.seed, run.held_out_score, run.fitted_score, run.loss,
               run.n_evaluations, run.cpu_seconds, *run.weights] for run in self.runs),
        ]))  # fmt: skip
        histories = [[run.optimizer, run.objective, run.seed, *step] for run in self.runs for step in run.history]
        atomic_write_text(output.path_of("history.csv"), to_csv([[*keys, "n_evaluations", "best_loss"], *histories]))
        commit_result(output, manifest)


def study_weights(predictions: PredictionSet, held_out: PredictionSet, plan: StudyPlan) -> WeightStudy:
    """Search weights on some rows and score the votes on others.

    Parameters
    ----------
    predictions : PredictionSet
        Rows that choose weights and thresholds.
    held_out : PredictionSet
        Others, with the same models and labels, which are matched by name.
    plan : StudyPlan
        What is searched.

    Returns
    -------
    WeightStudy
        ``.rows`` with means over the seeds, ``.runs``, ``.report()``.

    Raises
    ------
    ValueError
        If a name or option is unknown, a truth is missing, or a row that is scored also chose the weights.
    """
    plan.check()
    if predictions.y_true is None:
        raise ValueError("predictions must carry the truth to search and score weights: give it (--truth).")
    held_out = align_holdout(predictions, held_out)
    metric, heard = find_metric(plan.metric), predictions.only_answered()
    for part in (predictions, held_out):
        metric.check_truth(part.truth)
    searches = [
        (opt, objective, seed) for opt in plan.optimizers for objective in plan.objectives for seed in plan.seeds
    ]
    names = [f"{optimizer}, {objective}, seed {seed}" for optimizer, objective, seed in searches]
    runs: list[SearchRun] = []
    failures: dict[tuple[str, str], str] = {}
    with steps({"mean": 0.1, **dict.fromkeys(names, 1.0)}) as begin:
        begin("mean")
        mean = SoftVoting(cast(Mean, plan.mean)).fit(heard)
        _, baseline, base_draws = _score(mean, predictions, held_out, metric, plan)
        for name, (optimizer, objective, seed) in zip(names, searches, strict=True):
            begin(name)
            kind, options = split_optimizer(optimizer)
            vote = WeightedVoting(kind, objective, plan.mean, seed, optimizer_options=options or None, **plan.limits)
            started = time.process_time()
            try:
                vote.fit(heard)
            except (
                TypeError,
                ValueError,
            ) as error:  # an optimizer that cannot search for this objective never sinks the others
                failures[optimizer, objective] = str(error)
                continue
            spent = time.process_time() - started
            fitted, score, draws = _score(vote, predictions, held_out, metric, plan)
            weights = tuple(float(weight) for weight in vote.shared_weights_)
            loss, history = float(vote.loss_), [(int(n), float(value)) for n, value in vote.history_]
            n_evaluations = int(vote.n_evaluations_)
            found = SearchRun(
                optimizer, objective, seed, loss, n_evaluations, spent, fitted, score, weights, history, draws
            )
            runs.append(found)
            advance(1.0, 1.0)
    if not runs:
        raise ValueError(f"no search could be made: {next(iter(failures.values()))}")
    rows = [_join_seeds(group, baseline, base_draws) for group in _by_search(runs)]
    rows.sort(key=lambda row: -metric.sign * row.score)
    return WeightStudy(tuple(runs), tuple(rows), baseline, metric, predictions.models, predictions.n_samples,
                       held_out.n_samples, failures)  # fmt: skip


def _score(
    vote: Combiner, predictions: PredictionSet, held_out: PredictionSet, metric: Metric, plan: StudyPlan
) -> tuple[float, float, npt.NDArray[np.float64]]:
    """Score a vote with one threshold, tuned where the weights were, on both sides; resample the other."""
    known, labels = list(vote.labels_), predictions.labels  # the others no member answers: 0 and never
    own, other = (
        spread(vote.predict_proba(part.subset(labels=known)), known, labels) for part in (predictions, held_out)
    )
    tuned = tune_rule(own, predictions.truth, metric.rules.single, metric, answered_by(vote, labels))
    fitted = metric.measure(predictions.truth, tuned.decide(own), own).value
    measured = metric.measure(held_out.truth, tuned.decide(other), other)
    return fitted, measured.value, resample(measured, n_bootstrap=plan.n_bootstrap, random_state=0)


def _by_search(runs: Sequence[SearchRun]) -> list[list[SearchRun]]:
    """Put the seeds of one search together."""
    groups: dict[tuple[str, str], list[SearchRun]] = {}
    for run in runs:
        groups.setdefault((run.optimizer, run.objective), []).append(run)
    return list(groups.values())


def _join_seeds(runs: Sequence[SearchRun], baseline: float, base_draws: npt.NDArray[np.float64]) -> StudyRow:
    """Average over seeds; the limits of the gain are paired."""
    scores = [run.held_out_score for run in runs]
    low, high = percentile_interval(np.mean([run.draws for run in runs], axis=0) - base_draws)

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values))

    return StudyRow(
        runs[0].optimizer,
        runs[0].objective,
        mean(scores),
        min(scores),
        max(scores),
        mean(scores) - baseline,
        low,
        high,
        mean([run.fitted_score for run in runs]),
        mean([run.loss for run in runs]),
        mean([float(run.n_evaluations) for run in runs]),
        mean([run.cpu_seconds for run in runs]),
    )
