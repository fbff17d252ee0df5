"""What a person calls in Python: the twins of the commands, under the name `labelstack`.

Each verb takes scores in any form that `labelstack.load` reads, calls the rooms below, and shows its progress in a
notebook or on a terminal.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from experiments.live_progress import live_progress
from experiments.reports.comparison_files import write_comparison
from experiments.reports.evaluation import Evaluation, evaluate_ensemble
from experiments.reports.result_manifest import result_folder
from experiments.row_split import hold_back
from experiments.several_sets import are_sets, join_sets
from experiments.weight_study import StudyPlan, WeightStudy
from experiments.weight_study import study_weights as search_and_score
from stacking.comparison import Comparison
from stacking.comparison import compare as compare_methods
from stacking.decision_rules import ImageRules
from stacking.diagnosis import CheckReport, check_predictions
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.metrics import Metric
from stacking.named_arrays import AxisNames, is_frame
from stacking.predictions import PredictionSet
from stacking.predictions.alignment import name_by_position
from stacking.predictions.forms.gathering import list_members, load
from stacking.predictions.forms.text_form import member_name
from stacking.process.progress import report_progress

if TYPE_CHECKING:
    from stacking.combiners.combiner import Combiner

PathLike = str | os.PathLike[str]
Truth = PathLike | npt.ArrayLike | None


def load_ensemble(folder: PathLike) -> StackingEnsemble:
    """Open an ensemble that `save` or ``labelstack fit`` wrote.

    Parameters
    ----------
    folder : path or str
        Its folder, or ``"hf://user/name@revision"`` on the Hub (``pip install 'labelstack[hub]'``). It may be a
        stranger's: what it holds is checked, and none of it is code.

    Returns
    -------
    StackingEnsemble
        Fitted.

    Raises
    ------
    ValueError
        If a file is missing or was changed, or a later version wrote the folder.
    """
    if isinstance(folder, str) and folder.startswith("hf://"):
        from experiments.publishing.hub import fetch_ensemble

        return fetch_ensemble(folder)
    return StackingEnsemble.load(folder)


def check(
    scores: Any,
    *,
    truth: Truth = None,
    test: Any = None,
    test_truth: Truth = None,
    groups: Any = None,
    from_logits: bool | Collection[str] = False,
) -> CheckReport:
    """Look for what ruins a blend, before anything is fitted.

    Found are misspelt, missing and repeated names, rows and columns in another order than their names say, logits and
    other scores on another scale, members that were trained on the rows that they score, and more. Nothing is refused:
    all faults are listed, each with what mends it.

    Parameters
    ----------
    scores : PredictionSet, path, pattern, mapping, list or array
        Out-of-fold scores in any form that `labelstack.load` takes; files are better given by path, since a fault may
        keep them from being loaded.
    truth : path, data frame or array, optional
        The truth, unless the scores carry it.
    test : PredictionSet, path, pattern, mapping, list or array, optional
        Scores of the same members for samples that none was trained on: members that have seen their rows show beside
        them.
    test_truth : path, data frame or array, optional
        Their truth, unless `test` carries it.
    groups : path, series, mapping or array, optional
        Samples that must share a fold, as `labelstack.load` takes them.
    from_logits : bool or collection of str, default=False
        Whether scores are logits, or the members whose scores are.

    Returns
    -------
    CheckReport
        Printed, it is a list from red to green; ``.is_clean`` says that nothing ruins the result.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    """
    return check_predictions(
        _as_members(scores), truth, groups=groups, from_logits=from_logits, test=_as_members(test), test_true=test_truth
    )


def fit(  # noqa: PLR0913 - the public call: all options are keyword-only
    scores: Any,
    method: str | Combiner = "auto",
    *,
    truth: Truth = None,
    rule: str = "auto",
    metric: str | Metric | Callable[..., Any] = "micro-f1",
    image_rules: ImageRules | None = None,
    label_rows: Truth = None,
    time_limit: float | None = None,
    n_splits: int = 5,
    random_state: int | None = 0,
) -> StackingEnsemble:
    """Fit an ensemble on out-of-fold scores with their truth, and tune its thresholds.

    Parameters
    ----------
    scores : PredictionSet, or anything that `labelstack.load` takes
        Scores that no model produced for its own training rows.
    method : str or Combiner, default="auto"
        One of `labelstack.list_methods()`, or an unfitted combiner; auto races them and keeps to the plain mean where
        learning more does not pay.
    truth : path, data frame or array, optional
        The truth, unless the scores carry it.
    rule : str, default="auto"
        Decision rule that tunes the thresholds.
    metric : str, Metric or callable, default="micro-f1"
        What to go by, as `StackingEnsemble` takes it.
    image_rules : ImageRules or None, default=None
        What the labels of every sample must keep.
    label_rows : path, data frame or array, optional
        Truth of further rows that no member has scored, in any form that a truth has, labels matched by name: they
        teach label-context, and auto through it, what labels go together, as far as held-out log loss falls by it.
    time_limit : float or None, default=None
        Seconds that auto may take.
    n_splits : int, default=5
        Folds of the cross-fitting.
    random_state : int or None, default=0
        Seed.

    Returns
    -------
    StackingEnsemble
        Fitted: ``.report_`` says what was chosen and why, ``.save(folder)`` keeps it.

    Raises
    ------
    ValueError
        If the truth is missing or does not fit, or an option is out of range.

    Examples
    --------
    >>> y_true = [[1, 0], [0, 1], [1, 1], [0, 0]] * 10
    >>> ensemble = fit([[[0.2 + 0.6 * cell for cell in row] for row in y_true]], "mean", truth=y_true)
    >>> predict(ensemble, [[[0.9, 0.1]]]).tolist()
    [[True, False]]
    """
    _refuse_truth(method, "method")
    options: dict[str, Any] = {"random_state": random_state, "time_limit": time_limit, "n_splits": n_splits}
    ensemble = StackingEnsemble(method, image_rules=image_rules, rule=rule, metric=metric, **options)
    ensemble.check_parameters()
    given = _as_scores(scores, truth)
    with live_progress("fitting") as progress, report_progress(progress):
        return ensemble.fit(given, label_rows=label_rows)


def compare(
    scores: Any,
    methods: str | Sequence[str] | Mapping[str, Combiner | StackingEnsemble] = "all",
    *,
    truth: Truth = None,
    holdout: Any = None,
    **options: Any,
) -> Comparison:
    """Score every model and every method of combining them on rows that tuned nothing.

    Parameters
    ----------
    scores : PredictionSet, or anything that `labelstack.load` takes
        Out-of-fold scores; or a list or mapping of several sets, stores, bundles and run folders, whose models are
        compared together, named by their run where they are called alike.
    methods : "all", sequence of str or mapping of str to Combiner or StackingEnsemble, default="all"
        Names of `labelstack.list_methods()`, or named unfitted combiners or ensembles.
    truth : path, data frame or array, optional
        The truth, unless the scores carry it.
    holdout : PredictionSet, or what `labelstack.load` takes, optional
        Other rows with their truth: methods are fitted on all of `scores` and scored there. For several sets, as many;
        a run folder stands for its test split.
    **options : object
        As `stacking.compare` takes them: ``n_splits``, ``random_state``, ``n_bootstrap``, ``time_limit``, ``groups``,
        ``label_rows``, ``image_rules``, ``rule``, ``rules``, ``ensembles``, ``metric``, ``fit_time_limit``,
        ``progress`` (by default a line in a notebook and a
        bar at Python's prompt; None shows nothing).

    Returns
    -------
    Comparison
        ``.table`` is a data frame, ``.verdict()`` a sentence, ``.plot()`` a chart, and `labelstack.report` writes all.

    Raises
    ------
    ValueError
        If the truth is missing, a method is unknown or an option out of range.
    """
    _refuse_truth(methods, "methods")
    held_out = None if holdout is None else join_sets(holdout, "test") if are_sets(holdout) else _as_scores(holdout)
    given = join_sets(scores) if truth is None and are_sets(scores) else _as_scores(scores, truth)
    if "progress" in options:
        return compare_methods(given, methods, holdout=held_out, **options)
    with live_progress("comparing") as progress, report_progress(progress):
        return compare_methods(given, methods, holdout=held_out, **options)


def split(
    scores: Any, share: float, *, truth: Truth = None, random_state: int = 0
) -> tuple[PredictionSet, PredictionSet]:
    """Part the rows in two, labels evenly and no group split: one part to fit on, one to hold back.

    Parameters
    ----------
    scores : PredictionSet, or anything that `labelstack.load` takes
        With the truth, and with groups where rows belong together.
    share : float
        Share of the rows in the first part, between 0 and 1, both excluded.
    truth : path, data frame or array, optional
        The truth, unless the scores carry it.
    random_state : int, default=0
        Seed of the deal.

    Returns
    -------
    first, rest : PredictionSet
        About `share` of the rows, and the others.

    Raises
    ------
    ValueError
        If the share is out of range, the truth is missing, or there are too few rows or groups.
    """
    return hold_back(_as_scores(scores, truth), share, random_state=random_state)


def study_weights(
    scores: Any,
    optimizers: Sequence[str],
    *,
    truth: Truth = None,
    holdout: Any = None,
    objectives: Sequence[str] | None = None,
    seeds: int | Sequence[int] = 1,
    **options: Any,
) -> WeightStudy:
    """Search weights of a vote with several optimizers, objectives and seeds, and score them on held-out rows.

    Parameters
    ----------
    scores : PredictionSet, or anything that `labelstack.load` takes
        Out-of-fold scores.
    optimizers : sequence of str
        Names of `optimizers.list_optimizers`, with options after a colon: ``"pso:n_iterations=2000"``.
    truth : path, data frame or array, optional
        The truth, unless the scores carry it.
    holdout : PredictionSet, or what `labelstack.load` takes, optional
        Rows to score on; by default 30 % of `scores` are held back, groups whole.
    objectives : sequence of str, optional
        What the weights are searched for: by default the metric, and ``"micro-f1-best"`` where none is named.
    seeds : int or sequence of int, default=1
        Number of seeds, or the seeds.
    **options : object
        As `experiments.weight_study.StudyPlan` takes them: ``mean``, ``metric``, ``limits``, ``n_bootstrap``.

    Returns
    -------
    WeightStudy
        ``.rows`` with means over the seeds, ``.runs``, ``.plot()``, ``.report()``.

    Raises
    ------
    ValueError
        If a name or option is unknown, or a truth is missing.
    """
    given = _as_scores(scores, truth)
    fitting, held_out = hold_back(given, 0.7) if holdout is None else (given, _as_scores(holdout))
    chosen = seeds if isinstance(seeds, Sequence) else range(int(seeds))
    if objectives is None:
        objectives = [options["metric"]] if "metric" in options else ["micro-f1-best"]
    return search_and_score(fitting, held_out, StudyPlan(optimizers, objectives, list(chosen), **options))


def predict(
    ensemble: StackingEnsemble | PathLike,
    scores: Any,
    *,
    without: Collection[str] = (),
    as_frame: bool | str | None = None,
) -> Any:
    """Decide which labels each sample has.

    Parameters
    ----------
    ensemble : StackingEnsemble or path
        Fitted, or its folder.
    scores : PredictionSet, or anything that `labelstack.load` takes
        Scores of its members for new samples, matched by name.
    without : collection of str, default=()
        Members to do without.
    as_frame : bool, str or None, default=None
        None gives a data frame where the samples have names, of the library that they came in; True, False or
        ``"pandas"``, ``"polars"``, ``"pyarrow"`` as in `StackingEnsemble.predict`.

    Returns
    -------
    data frame or ndarray of bool, shape (n_samples, n_labels)
        Labels in fitted order.

    Raises
    ------
    ValueError
        If a member or label is missing.
    """
    given = _as_scores(scores)
    if as_frame is None:
        as_frame = given.form is not None or not AxisNames.of(given.ids.tolist(), "sample").is_made_up
    return _opened(ensemble).predict(given, without=without, as_frame=as_frame)


def evaluate(  # noqa: PLR0913 - the public call: all options are keyword-only
    ensemble: StackingEnsemble | PathLike,
    scores: Any,
    *,
    truth: Truth = None,
    without: Collection[str] = (),
    drop_seen: bool = False,
    n_bootstrap: int = 1000,
    random_state: int = 0,
    metric: str | Metric | Callable[..., Any] | None = None,
) -> Evaluation:
    """Score an ensemble, its members and their mean on truth that the ensemble has not seen.

    Parameters
    ----------
    ensemble : StackingEnsemble or path
        Fitted, or its folder.
    scores : PredictionSet, or anything that `labelstack.load` takes
        Scores of its members.
    truth : path, data frame or array, optional
        The truth, unless the scores carry it.
    without : collection of str, default=()
        Members to do without.
    drop_seen : bool, default=False
        Leave out samples that the ensemble was fitted on, instead of refusing them.
    n_bootstrap : int, default=1000
        Resamples behind the 95 % limits.
    random_state : int, default=0
        Seed of the resamples.
    metric : str, Metric or callable, optional
        What to score by; by default what the ensemble was fitted for.

    Returns
    -------
    Evaluation
        ``.table`` is a data frame, and `labelstack.report` writes it.

    Raises
    ------
    ValueError
        If the truth is missing, the ensemble was fitted on these samples, or a member or label is missing.
    """
    options: dict[str, Any] = {"drop_seen": drop_seen, "n_bootstrap": n_bootstrap, "random_state": random_state}
    opened = _opened(ensemble)
    given = name_by_position(_as_scores(scores, truth), opened.models_, opened.labels_)
    return evaluate_ensemble(opened, given, without=tuple(without), metric=metric, **options)


def report(result: Comparison | Evaluation | PathLike, folder: PathLike, *, overwrite: bool = False) -> Path:
    """Write the report of a result or of a training run: one HTML page, Markdown, and the numbers as JSON and CSV.

    Parameters
    ----------
    result : Comparison, Evaluation or path
        From `labelstack.compare` or `labelstack.evaluate`, or the folder of a finished training run.
    folder : path
        New or empty, or an earlier report of the same kind to replace.
    overwrite : bool, default=False
        Replace an earlier report; other files in the folder are never touched.

    Returns
    -------
    Path
        ``report.html``.

    Raises
    ------
    OutputRefusedError
        If the folder holds a report that was not to be replaced, or something else.
    TypeError
        If it is no result.
    """
    if isinstance(result, Comparison):
        write_comparison(result, Path(folder), overwrite=overwrite)
    elif isinstance(result, Evaluation):
        result.write(Path(folder), overwrite=overwrite)
    elif isinstance(result, str | os.PathLike):
        from experiments.reports.run_report import report_run  # loads torch

        with result_folder(Path(folder), "report", overwrite=overwrite, inputs=[Path(result)]) as output:
            report_run(Path(result)).write(output)
    else:
        raise TypeError(
            "result must come from labelstack.compare or labelstack.evaluate, or be the folder of a training run: got "
            f"{type(result).__name__}."
        )
    return Path(folder) / "report.html"


def _as_scores(scores: Any, truth: Truth = None) -> PredictionSet:
    """Take scores as they are, or load them."""
    if isinstance(scores, PredictionSet) and truth is None:
        return scores
    return load(scores, truth=truth)


def _refuse_truth(value: Any, name: str) -> None:
    """Refuse a truth that stands where scikit-learn's estimators take it."""
    if is_frame(value) or isinstance(value, os.PathLike) or hasattr(value, "shape"):
        raise TypeError(
            f"{name} must be a name of labelstack.list_methods() or a combiner: got {type(value).__name__}; the truth "
            "is given by name, as truth=."
        )


def _as_members(scores: Any) -> Any:
    """Put the files of a pattern in its place; everything else is checked as it came."""
    if not isinstance(scores, str | os.PathLike | list | tuple):
        return scores
    members = list_members([scores])
    if len(members) == 1 and members[0][0] is None:
        return members[0][1]
    if all(name is None for name, _ in members):
        return [Path(where) for _, where in members]
    return {name or member_name(Path(where)): where for name, where in members}


def _opened(ensemble: StackingEnsemble | PathLike) -> StackingEnsemble:
    """Open an ensemble that is given as a folder."""
    opened = load_ensemble(ensemble) if isinstance(ensemble, str | os.PathLike) else ensemble
    if not isinstance(opened, StackingEnsemble):
        raise TypeError(
            f"ensemble must come from labelstack.fit or labelstack.load_ensemble: got {type(opened).__name__}; a stack "
            "of classifiers has its own predict."
        )
    check_is_fitted(opened)
    return opened
