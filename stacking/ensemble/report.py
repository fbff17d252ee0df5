"""What an ensemble says of itself: what was chosen, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stacking._earlier_names import warn_of_earlier_name
from stacking.decision_rules import never_predicted
from stacking.metrics.named import DEFAULT_METRIC, Metric
from stacking.report.notebook import Card, render_card
from stacking.report.writing import write_gain, write_score

if TYPE_CHECKING:
    from stacking.combiners.combiner import Combiner
    from stacking.decision_rules.choice import ThresholdChoice
    from stacking.predictions import PredictionSet


class EnsembleReport(dict[str, Any]):
    """What was chosen and why, as a dict that prints as a few lines."""

    @property
    def metric_title(self) -> str:
        """What the metric that was fitted for is called in reports."""
        return str(self.get("metric_title", "micro-F1"))

    @property
    def rule_title(self) -> str:
        """What the decision rules were chosen by: micro-F1 where the metric looks at scores only."""
        return str(self.get("rule_title", "micro-F1"))

    @property
    def estimate(self) -> float | None:
        """The metric by cross-fitting; None where nothing could be held out."""
        value: float | None = self["cross_fitted_score" if "metric" in self else "cross_fitted_micro_f1"]
        return value

    def __str__(self) -> str:
        title, estimate = self.metric_title, self.estimate
        worth = "nothing could be held out" if estimate is None else f"cross-fitted {title} {write_score(estimate)}"
        lines = [f"method {self['method']}: {worth}"]
        tried = ", ".join(f"{rule} {write_score(score)}" for rule, score in self["rules"].items())
        lines.append(f"decision rule {self['rule']} ({tried})")
        if self["n_never_predicted"]:
            lines.append(f"{self['n_never_predicted']:,} of {self['n_labels']:,} labels are never predicted")
        lines += [*describe_gain(self.get("gain_steps", []), title), *(str(note) for note in self["notes"])]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Show the same lines in a notebook."""
        return render_card(Card("What was chosen, and why", str(self).splitlines()))

    def __missing__(self, key: str) -> Any:
        """Answer to what version 0.1 called the steps."""
        if key != "rungs":
            raise KeyError(key)
        warn_of_earlier_name("report_['rungs']", "report_['gain_steps']", stacklevel=3)
        return self["gain_steps"]


def describe_choice(
    choice: ThresholdChoice, method: str, combiner: Combiner, metric: Metric, predictions: PredictionSet
) -> EnsembleReport:
    """Say what was chosen by out-of-fold scores.

    Parameters
    ----------
    choice : ThresholdChoice
        The decision rule, and what each of those tried scored.
    method : str
        Name of the method.
    combiner : Combiner
        Fitted; its notes and the gain of its steps are taken over.
    metric : Metric
        What was chosen by.
    predictions : PredictionSet
        What was fitted on.

    Returns
    -------
    EnsembleReport
        The estimate of a metric of scores is left to whoever has the scores.
    """
    steps = [dict(step) for step in getattr(combiner, "gain_steps_", ())]
    race = metric.rules.race
    if steps and metric.needs_decisions and race in choice.scores:
        # The race ends with one threshold (or the rule that the metric is raced with), the ensemble with its rule.
        steps[-1]["gain"] += choice.scores[choice.rule] - choice.scores[race]
    estimate, is_default = choice.scores.get(choice.rule), metric.name == DEFAULT_METRIC
    report = EnsembleReport(
        method=method,
        rule=choice.rule,
        rules=choice.scores,
        cross_fitted_micro_f1=estimate if is_default or not metric.needs_decisions else None,
        n_samples=predictions.n_samples,
        n_labels=predictions.n_labels,
        n_never_predicted=int(never_predicted(choice.thresholds).sum()),
        notes=list(getattr(combiner, "notes_", ())),
        gain_steps=steps,
    )
    if not is_default:
        rule_title = metric.title if metric.needs_decisions else "micro-F1"
        score = estimate if metric.needs_decisions else None
        report |= {
            "metric": metric.name,
            "metric_title": metric.title,
            "rule_title": rule_title,
            "cross_fitted_score": score,
        }
    return report


def describe_gain(steps: list[dict[str, Any]], title: str = "micro-F1") -> list[str]:
    """Write the steps of a fitted ensemble as lines.

    Parameters
    ----------
    steps : list of dict
        ``cause``, ``gain`` (None if not measured) and ``explanation`` of each.
    title : str, default="micro-F1"
        The metric's.

    Returns
    -------
    list of str
        One line each, after a heading; none where there are no steps.
    """
    lines = [f"what each step brought, in cross-fitted {title}, from the best member with one threshold:"]
    for step in steps:
        lines.append(f"  {step['cause']:<17} {write_gain(step['gain']):<5}  {step['explanation']}")
    return lines if steps else []
