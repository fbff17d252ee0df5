"""The whole predictor: a combiner of any method, thresholds tuned on scores it did not fit, saved without pickle."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Collection, Sequence
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from stacking._checks import check_at_least
from stacking._earlier_names import Renamed
from stacking._typing import BoolArray
from stacking.combiners.auto.budget import plan_budget
from stacking.combiners.combiner import Combiner
from stacking.combiners.label_rows import teach_label_rows
from stacking.combiners.registry import create_method, find_method, method_kind
from stacking.combiners.state import check_savable_seeds
from stacking.decision_rules import ImageRules, apply_image_rules, apply_thresholds, check_rule, rematch_thresholds
from stacking.decision_rules.choice import RuleTuner, TunedRule, choose_thresholds
from stacking.decision_rules.image_rules import group_of_labels, refuse_other_rules
from stacking.ensemble.answered import answered_by, fit_answered, predict_answered, unanswered_note
from stacking.ensemble.cross_fitted import CrossFitted, hash_fit
from stacking.ensemble.folder import ensemble_folder, read_ensemble_folder, write_ensemble_folder
from stacking.ensemble.notebook import ShownEnsemble
from stacking.ensemble.report import describe_choice
from stacking.ensemble.restoring import put_together, take_apart
from stacking.ensemble.seen_samples import find_seen, hash_ids, ids_of_fit
from stacking.files.output_folder import OutputFolder
from stacking.files.untrusted import damage_of
from stacking.folds import deal_folds
from stacking.metrics.named import DEFAULT_METRIC, Metric, find_metric, metric_name, name_or_metric
from stacking.named_arrays import AxisNames, align_by_name, read_scores
from stacking.predictions import PredictionSet, as_prediction_set
from stacking.predictions.answers import give_answer
from stacking.process.progress import steps

if TYPE_CHECKING:
    from stacking.ensemble.card import CardFigures

NO_POSITIVE = "no label has a positive: neither weights nor thresholds could be learned from such a truth"
TUNING_COST = 1.0
"""Usual time of tuning thresholds beside that of the methods (`Method.cost`). Only estimates of time depend on it."""


class StackingEnsemble(ShownEnsemble, BaseEstimator):  # type: ignore[misc]
    """Combine several models' scores for many labels, and decide.

    The combiner of `method` is fitted on all rows. Its cross-fitted scores, which saw neither their row nor its group,
    tune the thresholds; the decision rule among .5, one threshold, per-label thresholds where they hold up, and exact
    per-label thresholds is chosen on folds that did not tune it (`stacking.decision_rules.choice`).

    Parameters
    ----------
    method : str or Combiner, default="auto"
        One of `stacking.combiners.registry.list_methods()`, or an unfitted combiner, which is cloned.
    random_state : int or None, default=0
        Seed of the folds and of the method.
    time_limit : float or None, default=None
        Wall seconds that ``auto`` may take to fit, thresholds included; it takes fewer rows and fewer candidates where
        they would not fit in. Other methods ignore it.
    n_splits : int, default=5
        Folds of the cross-fitting.
    image_rules : ImageRules or None, default=None
        What the labels of every image must keep; `predict` honors it, and so does the estimate in the report. Groups
        are the prediction set's label groups, or what stands before the colon of names like ``color:red``.
    rule : str, default="auto"
        Decision rule that tunes the thresholds, one of `stacking.decision_rules.list_decision_rules()`, for example
        ``"micro-macro-f1"`` where rare labels count, with options after a colon (``"recall-at-least:recall=0.95"``);
        ``"auto"`` chooses for the metric.
    metric : str, Metric or callable, default="micro-f1"
        What auto chooses by, weights are searched for and decision rules serve, as `stacking.metrics.find_metric` takes
        it. One that looks at scores only, such as ``"map"``, leaves the decisions to micro-F1's rules.

    Attributes
    ----------
    combiner_ : Combiner
        Fitted on all rows.
    thresholds_ : ndarray of float64, shape (n_labels,)
        A label fires where its score reaches its threshold; +inf never fires.
    sample_rule_ : SampleRule or None
        Moves the scores of each sample before the thresholds, .5 then, where the rule decides sample by sample.
    predicted_share_ : ndarray of float64, shape (n_labels,), or None
        Share of the fitted rows that each label is predicted for, by cross-fitted scores; None in earlier folders.
    models_, labels_ : tuple of str
        Names in fitted order.
    label_groups_ : tuple of str
        Group of each label, empty for a label of none.
    label_ids_ : tuple of str or None
        The data set's id of each label, where the predictions that were fitted on have them.
    fitted_ids_ : ndarray of uint64, shape (n_samples,), or None
        Hashes of the samples it was fitted on; None in folders that do not hold them.
    report_ : EnsembleReport
        What was chosen, why, and what cross-fitting says it is worth.
    figures_ : CardFigures or None
        What the card in its folder says of its worth; None after `fit_out_of_fold`, whose caller may measure them
        (`stacking.ensemble.card.measure_figures`).
    fitted_here_ : bool
        Whether `fit` made it, no folder: what its metric names may then be imported.
    fingerprint : str
        Hash of what was fitted, for manifests.

    Examples
    --------
    >>> import numpy as np
    >>> y_true = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 10, dtype=np.uint8)
    >>> y_scores = np.stack([0.2 + 0.6 * y_true, 0.4 + 0.2 * y_true]).astype(np.float32)
    >>> StackingEnsemble(method="mean").fit(y_scores, y_true).predict(y_scores)[:2].tolist()
    [[True, False], [False, True]]
    """

    figures_: CardFigures | None
    fitted_here_ = False

    def __init__(
        self,
        method: str | Combiner = "auto",
        *,
        random_state: int | None = 0,
        time_limit: float | None = None,
        n_splits: int = 5,
        image_rules: ImageRules | None = None,
        rule: str = "auto",
        metric: str | Metric | Callable[..., Any] = "micro-f1",
    ) -> None:
        self.method = method
        self.random_state = random_state
        self.time_limit = time_limit
        self.n_splits = n_splits
        self.image_rules = image_rules
        self.rule = rule
        self.metric = metric

    def fit(
        self,
        predictions: PredictionSet | npt.ArrayLike,
        y_true: npt.ArrayLike | None = None,
        *,
        groups: npt.ArrayLike | None = None,
        label_rows: Any = None,
    ) -> Self:
        """Fit the combiner and tune the thresholds.

        Parameters
        ----------
        predictions : PredictionSet, array of shape (n_models, n_samples, n_labels), or data frames by model
            Scores in [0, 1] that no model produced for its own training rows.
        y_true : array or data frame of shape (n_samples, n_labels), optional
            The truth, 0 or 1; needed unless the prediction set carries it. A data frame is matched by its index and
            columns, as frames of scores are; where a masked array masks a cell, it counts neither way.
        groups : array of shape (n_samples,), optional
            Samples of one group share a fold; by default the groups of the prediction set.
        label_rows : path, data frame or array of shape (n_rows, n_labels), optional
            Truth of further rows that no member has scored, in any form that a truth has. They teach ``label-context``,
            and ``auto`` through it, what labels go together, where held-out log loss falls by it. Rows that are scored
            are left out; arrays name no rows, so they must be others.

        Returns
        -------
        StackingEnsemble
            Itself, fitted.

        Raises
        ------
        ValueError
            If the method, the rule or the metric is unknown, the truth is missing or does not fit, no label is covered
            by a model, no image could keep the image rules, or the method learns nothing from label rows.
        """
        from stacking.ensemble.card import measure_figures

        given = as_prediction_set(predictions, y_true)
        given = given if groups is None else given.with_groups(groups)
        tuned_on = self.fit_out_of_fold(teach_label_rows(given, label_rows, [self.method]))[1]
        self.figures_ = measure_figures(self, tuned_on)
        return self

    fit_cross_fitted = Renamed("fit_out_of_fold")

    def fit_out_of_fold(
        self, predictions: PredictionSet, *, folds: npt.NDArray[np.intp] | None = None
    ) -> tuple[Self, CrossFitted]:
        """Fit the combiner and tune the thresholds, and give the held-out scores that they were tuned on.

        Parameters
        ----------
        predictions : PredictionSet
            As `fit` takes it.
        folds : ndarray of int, shape (n_samples,), optional
            The folds that `fit` would deal, if they are known already; only where every row counts.

        Returns
        -------
        ensemble : StackingEnsemble
            Itself, fitted as `fit` does.
        tuned_on : CrossFitted
            The rows that the thresholds were tuned on, with their cross-fitted scores and folds.

        Raises
        ------
        ValueError
            As in `fit`.
        """
        started = time.monotonic()
        self.figures_ = None
        if predictions.y_true is None:
            missing = "y_true= or truth= (--truth) must be given to fit an ensemble, or predictions that carry it."
            raise ValueError(missing)
        self.label_groups_ = self.check_parameters(predictions.labels, predictions.label_groups)
        self.label_ids_, self.fitted_on_ = predictions.label_ids, predictions.fingerprint
        self.models_, self.labels_ = predictions.models, predictions.labels
        counted = predictions.only_counted()
        find_metric(self.metric).check_truth(counted.truth)
        self.fitted_here_ = True
        self.fitted_ids_: npt.NDArray[Any] | None = np.sort(hash_ids(ids_of_fit(counted)))
        if isinstance(self.method, Combiner):
            tuned_on = self._fit_method(counted, clone(self.method), folds)
        elif method_kind(self.method) == "auto":
            tuned_on = self._fit_auto(counted, started, folds)
        else:
            method = create_method(self.method, random_state=self.random_state, metric=name_or_metric(self.metric))
            tuned_on = self._fit_method(counted, method, folds)
        if not counted.truth.y_true.any():
            self.report_["notes"] += [NO_POSITIVE]
        return self, tuned_on

    def check_parameters(
        self, labels: Sequence[str] | None = None, label_groups: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        """Check all parameters, before anything is read or fitted.

        Parameters
        ----------
        labels : sequence of str, optional
            Names of the labels; without them the image rules are not checked.
        label_groups : sequence of str, optional
            Their groups.

        Returns
        -------
        tuple of str
            Group of each label, empty for a label of none.

        Raises
        ------
        ValueError
            If the method, the rule or the metric is unknown, a number is out of range, or no image could keep the image
            rules.
        """
        if not isinstance(self.method, Combiner):
            method_kind(self.method)
        check_rule(self.rule)
        find_metric(self.metric)
        check_savable_seeds(self.random_state, getattr(self.method, "random_state", None))
        check_at_least(2, n_splits=self.n_splits)
        if self.time_limit is not None and not (isinstance(self.time_limit, Real) and self.time_limit >= 0):
            raise ValueError(f"time_limit must be a number of seconds or None: got {self.time_limit}.")
        refuse_other_rules(self.image_rules)
        if labels is None:
            return ()
        groups = group_of_labels(labels, label_groups)
        if self.image_rules is not None:
            self.image_rules.check(labels, groups)
        return groups

    def _fit_method(
        self, predictions: PredictionSet, combiner: Combiner, folds: npt.NDArray[np.intp] | None
    ) -> CrossFitted:
        """Fit a combiner, and tune the thresholds on its cross-fitted scores."""
        if folds is None:
            folds = deal_folds(predictions.truth, self.n_splits, random_state=self.random_state)
        cost = find_method(self.method).cost if isinstance(self.method, str) else 1.0
        with steps({self._method_name: cost, "thresholds": TUNING_COST}) as begin:
            begin(self._method_name)
            self.combiner_, held_out, answered = fit_answered(combiner, predictions, folds)
            begin("thresholds")
            tuned_on = CrossFitted(predictions, held_out, folds, RuleTuner(held_out, predictions, answered))
            decided = self._tune(tuned_on)
        return tuned_on._replace(decided=decided)

    def _fit_auto(self, predictions: PredictionSet, started: float, folds: npt.NDArray[np.intp] | None) -> CrossFitted:
        """Race and tune on as many rows as the time allows, then fit what was chosen on all of them."""
        from stacking.combiners.auto.race import AutoCombiner

        def left() -> float:
            return np.inf if self.time_limit is None else self.time_limit - (time.monotonic() - started)

        budget = plan_budget(predictions, self.time_limit, random_state=self.random_state)
        limit = None if self.time_limit is None else max(left() - budget.reserve, 0.0)
        own: dict[str, Any] = {"image_rules": self.image_rules, "metric": name_or_metric(self.metric)}
        auto = AutoCombiner(time_limit=limit, random_state=self.random_state, **own)
        if budget.predictions is predictions:
            return self._fit_method(predictions, auto, folds)
        tuned_on = self._fit_method(budget.predictions, auto, None)
        auto.refit(predictions.only_answered(), left())
        self.report_["notes"] = [*auto.notes_, *unanswered_note(self.answered_labels, self.labels_)]
        return tuned_on

    def predict_proba(
        self,
        predictions: PredictionSet | npt.ArrayLike,
        *,
        without: Collection[str] = (),
        as_frame: bool | str | None = None,
    ) -> Any:
        """Combine the members' scores, matched by name.

        Parameters
        ----------
        predictions : PredictionSet, array of shape (n_models, n_samples, n_labels), or data frames by model
            Scores of the fitted members.
        without : collection of str, default=()
            Members to do without.
        as_frame : bool, str or None, default=None
            None answers frames by frames of the same library, and all else by arrays. True gives a data frame with ids
            and label names for all, ``"pandas"``, ``"polars"`` or ``"pyarrow"`` one of that library, False an array.

        Returns
        -------
        ndarray of float32 or data frame, shape (n_samples, n_labels)
            Scores in [0, 1], labels in fitted order.

        Raises
        ------
        ValueError
            If a member or label is missing.
        """
        check_is_fitted(self)
        asked: Any = predictions if isinstance(predictions, PredictionSet) else read_scores(predictions)
        y_score = predict_answered(self.combiner_, asked, self.labels_, without)
        return give_answer(y_score, self.labels_, asked, as_frame)

    def predict(
        self,
        predictions: PredictionSet | npt.ArrayLike,
        *,
        without: Collection[str] = (),
        as_frame: bool | str | None = None,
    ) -> Any:
        """Decide which labels each sample has.

        Parameters
        ----------
        predictions : PredictionSet, array of shape (n_models, n_samples, n_labels), or data frames by model
            Scores of the fitted members.
        without : collection of str, default=()
            Members to do without.
        as_frame : bool, str or None, default=None
            As in `predict_proba`.

        Returns
        -------
        ndarray or data frame of bool, shape (n_samples, n_labels)
            Labels in fitted order.
        """
        asked: Any = predictions if isinstance(predictions, PredictionSet) else read_scores(predictions)
        y_pred = self.decide(self.predict_proba(asked, without=without, as_frame=False))
        return give_answer(y_pred, self.labels_, asked, as_frame)

    def decide(self, y_score: npt.ArrayLike, thresholds: npt.ArrayLike | None = None) -> npt.NDArray[np.bool_]:
        """Turn scores of `predict_proba` into labels: by the thresholds, then by the image rules.

        Parameters
        ----------
        y_score : array of shape (n_samples, n_labels)
            Scores in [0, 1], labels in fitted order.
        thresholds : array of shape (n_labels,), optional
            Used instead of `thresholds_`, for example those of `rematch`.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_labels)
            Labels in fitted order.
        """
        check_is_fitted(self)
        y_score, thresholds = self._align(y_score=y_score, thresholds=thresholds)
        if thresholds is None:
            return TunedRule(self.thresholds_, self.sample_rule_).decide(y_score, self._decide)
        return self._decide(y_score, thresholds)

    def rematch(self, y_score: npt.ArrayLike, how: str = "shift") -> npt.NDArray[np.float64]:
        """Move the thresholds until new rows are predicted as often as the rows that the ensemble was fitted on.

        New photos are scored by the mean of fold models, the fitted rows by one each, so their scores are distributed
        otherwise. It assumes that labels are equally frequent on both (`stacking.decision_rules.rematch_thresholds`).

        Parameters
        ----------
        y_score : array of shape (n_samples, n_labels)
            Scores of the new rows by `predict_proba`; no truth is needed.
        how : {"shift", "per-label"}, default="shift"
            One shift for all thresholds, or one each where enough predictions are expected.

        Returns
        -------
        ndarray of float64, shape (n_labels,)
            Thresholds for `decide`.

        Raises
        ------
        ValueError
            If an earlier version saved the ensemble, which does not know how often it predicts, or `how` is unknown.
        """
        return rematch_thresholds(self.thresholds_, self.check_rematch(), self._align(y_score=y_score)[0], how)

    def check_rematch(self) -> npt.NDArray[np.float64]:
        """Raise where thresholds cannot be rematched, before scores are computed.

        Returns
        -------
        ndarray of float64, shape (n_labels,)
            `predicted_share_`.

        Raises
        ------
        ValueError
            If an earlier version saved it, which does not know how often it predicts, or it decides sample by sample.
        """
        check_is_fitted(self)
        if self.predicted_share_ is None:
            raise ValueError(
                "ensemble must know how often it predicts each label to be rematched: an earlier version fitted this "
                "one; fit it again."
            )
        if self.sample_rule_ is not None:
            rule = self.report_["rule"]
            raise ValueError(f"ensemble must decide by thresholds to be rematched: {rule!r} decides sample by sample.")
        return self.predicted_share_

    def check_names(self, models: Sequence[str], labels: Sequence[str], *, without: Collection[str] = ()) -> None:
        """Raise where prediction would refuse members or labels, before scores are computed.

        Parameters
        ----------
        models, labels : sequence of str
            What the predictions will hold.
        without : collection of str, default=()
            Members to do without.

        Raises
        ------
        ValueError
            If a member or label is missing, or `without` names an unknown member.
        """
        check_is_fitted(self)
        blank = np.zeros((len(models), 1, len(labels)), np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # prediction warns of members and labels too many
            self.combiner_._align(PredictionSet(blank, models=list(models), labels=list(labels)), without)

    def members_needed(self, *, without: Collection[str] = ()) -> tuple[str, ...]:
        """Name the members whose scores can move an answer: those without any weight need not be asked.

        Parameters
        ----------
        without : collection of str, default=()
            Members to do without.

        Returns
        -------
        tuple of str
            In fitted order; leaving out the others (``without=``) moves no score by more than rounding does.
        """
        check_is_fitted(self)
        return self.combiner_.members_needed(without=without)

    def _align(self, **arguments: Any) -> tuple[Any, ...]:
        """Bring arrays about labels into fitted order where they have names."""
        return align_by_name({"label": ("the ensemble", AxisNames.of(self.labels_, "label"))}, **arguments)

    def _decide(self, y_score: npt.ArrayLike, thresholds: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Decide by given thresholds."""
        if self.image_rules is None:
            return apply_thresholds(y_score, thresholds)
        return apply_image_rules(y_score, thresholds, self.image_rules, self.label_groups_) & self.answered_labels

    def has_seen(self, ids: Sequence[str] | npt.NDArray[np.str_]) -> npt.NDArray[np.bool_]:
        """Tell which samples it was fitted on: their scores would promise too much.

        Parameters
        ----------
        ids : sequence of str
            Names of samples.

        Returns
        -------
        ndarray of bool, shape (n_samples,)
            True for a sample that was fitted on; all False for an ensemble saved before ids were recorded
            (`fitted_ids_` is None), and for arrays without ids.
        """
        check_is_fitted(self)
        return np.zeros(len(ids), dtype=np.bool_) if self.fitted_ids_ is None else find_seen(ids, self.fitted_ids_)

    def save(self, folder: str | os.PathLike[str] | OutputFolder, *, overwrite: bool = False) -> None:
        """Write the ensemble to a folder of JSON, npy and text files, with a card for people (README.md).

        Parameters
        ----------
        folder : path
            New or empty, or an earlier ensemble to replace.
        overwrite : bool, default=False
            Replace an earlier ensemble; it stays until the new one is whole. Other files in the folder are never
            touched.

        Raises
        ------
        OutputRefusedError
            If the folder holds an ensemble that was not to be replaced, or something else; a ValueError and a
            FileExistsError.
        OSError
            If it cannot be written, or another run works in it.
        """
        check_is_fitted(self)
        description, extra_arrays = take_apart(self)
        from stacking.ensemble.card import CARD, describe_ensemble

        card = describe_ensemble(self).encode("utf-8")
        if isinstance(folder, OutputFolder):  # claimed by the caller before the fit
            write_ensemble_folder(folder, description, self.combiner_, extra_arrays, {CARD: card})
            return
        with ensemble_folder(folder, overwrite=overwrite) as output:
            write_ensemble_folder(output, description, self.combiner_, extra_arrays, {CARD: card})

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Self:
        """Read an ensemble that `save` wrote.

        Parameters
        ----------
        folder : path
            An ensemble folder.

        Returns
        -------
        StackingEnsemble
            Fitted.

        Raises
        ------
        ValueError
            If a file is missing or was changed, or a later version wrote the folder.
        """
        description, combiner, extra_arrays = read_ensemble_folder(folder)
        with damage_of(f"ensemble {Path(folder)}", "fit it again"):
            return put_together(cls, description, combiner, extra_arrays)

    @property
    def answered_labels(self) -> npt.NDArray[np.bool_]:
        """Which labels it has an answer for, shape (n_labels,); the others are never predicted."""
        return answered_by(self.combiner_, self.labels_)

    @property
    def fingerprint(self) -> str:
        """Hash the parameters, names, thresholds and the data it was fitted on."""
        check_is_fitted(self)
        parts = [self._parameters(), self.models_, self.labels_, self.fitted_on_]
        return hash_fit(parts, self.thresholds_, self.sample_rule_)

    @property
    def _method_name(self) -> str:
        """The method's name; the class of a combiner that was given."""
        return self.method if isinstance(self.method, str) else type(self.method).__name__

    def _parameters(self) -> dict[str, Any]:
        """Return the constructor parameters as plain data; those at their defaults as older folders held them."""
        own = {**self.get_params(deep=False), "method": self._method_name, "metric": metric_name(self.metric)}
        rules, defaults = own.pop("image_rules"), {"rule": "auto", "metric": DEFAULT_METRIC}
        parameters = {name: value for name, value in own.items() if name not in defaults or value != defaults[name]}
        return parameters if rules is None else {**parameters, "image_rules": rules.as_dict()}

    def _tune(self, tuned_on: CrossFitted) -> BoolArray | None:
        """Choose the decision rule on folds that did not tune it, then tune it on all cross-fitted scores."""
        predictions, held_out, folds, tuner, _ = tuned_on
        metric = find_metric(self.metric)
        choice = choose_thresholds(
            held_out, predictions, folds, decide=self._decide, rule=self.rule, tuner=tuner, metric=metric
        )
        self.thresholds_, self.sample_rule_ = choice.thresholds, choice.by_sample
        fired = choice.decide(held_out)
        self.predicted_share_: npt.NDArray[Any] | None = fired.mean(axis=0, dtype=np.float64)
        self.report_ = describe_choice(choice, self._method_name, self.combiner_, metric, predictions)
        self.report_["notes"] += unanswered_note(self.answered_labels, self.labels_)
        if self.report_["cross_fitted_micro_f1"] is not None and not metric.needs_decisions:
            self.report_["cross_fitted_score"] = metric.measure(predictions.truth, None, held_out).value
        return choice.decided
