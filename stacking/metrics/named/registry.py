"""The metrics by name: plain names, families with a number in the name, weighted sums, functions.

====================================  ==================================================================
``micro-f1``, ``macro-f0.5`` …        F-beta, averaged micro, macro or samples
``recall-at-5``, ``precision-at-5``   among the 5 highest-scored labels of each sample
``cost:fp=1,fn=5``                    prices of false positives and false negatives
``0.5*micro-f1+0.5*map``              a weighted sum
``module:function``                   a function ``f(y_true, y_pred)`` or ``f(y_true, y_score)``
``zero_one_loss``                     a metric or scorer of scikit-learn, where no name above is the same
====================================  ==================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from optimizers.registry import Registry, did_you_mean
from stacking.metrics.named import functions, of_decisions, of_rankings, of_samples
from stacking.metrics.named.metric import Metric, Needs
from stacking.metrics.named.sums import SumMetric

DEFAULT_METRIC = "micro-f1"
"""What everything goes by unless told otherwise."""

Function = TypeVar("Function", bound=Callable[..., Any])

_METRICS: Registry[Metric] = Registry("metric")

_FAMILIES: dict[str, tuple[str, Callable[..., Metric]]] = {
    "micro-fB, macro-fB, samples-fB": (
        r"(micro|macro|samples)-f(\d+(?:\.\d*)?|\.\d+)",
        lambda average, beta: of_decisions.f_beta(average, float(beta)),
    ),
    "recall-at-K": (r"recall-at-(\d+)", lambda k: of_samples.recall_at(int(k))),
    "precision-at-K": (r"precision-at-(\d+)", lambda k: of_samples.precision_at(int(k))),
    "cost:fp=A,fn=B": (r"cost:(.*)", lambda options: of_decisions.cost(**_costs(options))),
}

_ALIASES = {
    "mean-average-precision": "map",
    "macro-map": "map",
    "average-precision": "map",
    "macro-roc-auc": "roc-auc",
    "label-ranking-average-precision": "lrap",
    "label-ranking-loss": "ranking-loss",
    "brier-score": "brier",
    "brier-score-loss": "brier",
    "neg-brier-score": "brier",
    "neg-log-loss": "log-loss",
    "accuracy": "subset-accuracy",
    "accuracy-score": "subset-accuracy",
    "f1-micro": "micro-f1",
    "f1-macro": "macro-f1",
    "f1-samples": "samples-f1",
    "jaccard-micro": "micro-jaccard",
    "jaccard-macro": "macro-jaccard",
    "jaccard-samples": "samples-jaccard",
}
"""Other names in use, scikit-learn's scorers among them; its log loss and Brier score are of classes that exclude each
other, ours of labels."""

for _metric in (
    *(of_decisions.f_beta(average, 1.0) for average in ("micro", "macro", "samples")),
    *(of_decisions.jaccard(average) for average in ("micro", "macro", "samples")),
    of_decisions.hamming_loss(),
    of_decisions.subset_accuracy(),
    of_rankings.mean_average_precision(),
    of_rankings.mean_average_precision(pooled=True),
    of_rankings.roc_auc(),
    of_rankings.roc_auc(pooled=True),
    of_samples.LRAP,
    of_samples.COVERAGE,
    of_samples.RANKING_LOSS,
    of_samples.LOG_LOSS,
    of_samples.BRIER,
):
    _METRICS.add(_metric.name, _metric, __name__)


def register_metric(
    name: str, *, needs: Needs, greater_is_better: bool, title: str = ""
) -> Callable[[Function], Function]:
    """Enter a function as a metric under a name, as a decorator.

    Parameters
    ----------
    name : str
        As typed on the command line.
    needs : {"decisions", "scores", "probabilities"}
        What the function looks at.
    greater_is_better : bool
        False for losses.
    title : str, default=""
        As reports write it; the name by default.

    Returns
    -------
    callable
        The decorator, which returns the function unchanged. The function takes truth and answers, both of shape
        (n_samples, n_labels), and by name ``sample_weight`` and ``y_known`` if it has such parameters.

    Raises
    ------
    ValueError
        If the name is taken.
    """

    def enter(function: Function) -> Function:
        metric = functions.metric_of_function(function, name, needs=needs, greater_is_better=greater_is_better)
        _METRICS.add(name, replace(metric, title=title or name, is_code=False), function.__module__)
        return function

    return enter


def unregister_metric(name: str) -> None:
    """Forget a registered metric, so that tests and notebooks can register it again.

    Parameters
    ----------
    name : str
        Its name.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    _METRICS.remove(name)


def list_metrics() -> dict[str, str]:
    """List the metrics that `find_metric` knows by name, families included.

    Returns
    -------
    dict of str to str
        One line of description by name, sorted; a capital letter in a name stands for a number.

    Examples
    --------
    >>> list_metrics()["hamming-loss"]
    'share of cells decided wrong'
    """
    listed = {name: metric.description for name, metric in _METRICS.entries().items()}
    listed |= {
        "micro-fB, macro-fB, samples-fB": "F-beta: beta above 1 favors recall, below 1 precision (micro-f0.5)",
        "recall-at-K": "share of all true labels among the K highest-scored of their sample (recall-at-5)",
        "precision-at-K": "share of true ones among the K highest-scored labels of each sample (precision-at-5)",
        "cost:fp=A,fn=B": of_decisions.cost().description,
        "A*NAME+B*NAME": "weighted sum; losses count negative (0.5*micro-f1+0.5*map)",
        "MODULE:FUNCTION": "your own f(y_true, y_pred) or f(y_true, y_score), or a scorer of scikit-learn",
    }
    return dict(sorted(listed.items(), key=lambda item: item[0].lower()))


def find_metric(metric: str | Metric | Callable[..., Any], *, import_code: bool = True) -> Metric:
    """Look a metric up.

    Parameters
    ----------
    metric : str, Metric or callable
        A name as the table of this module lists them, upper or lower case, hyphens or underscores; a function; or a
        scorer of scikit-learn.
    import_code : bool, default=True
        Whether ``module:function`` may be imported; False for names from files of strangers.

    Returns
    -------
    Metric
        The metric.

    Raises
    ------
    ValueError
        If there is none of that name; the error suggests the nearest.

    Examples
    --------
    >>> metric = find_metric("macro-f1")
    >>> metric.title, metric.needs, metric([[1, 0], [1, 0]], y_pred=[[1, 0], [0, 0]])
    ('macro-F1', 'decisions', 0.3333333333333333)
    """
    if isinstance(metric, Metric):
        return metric
    if not isinstance(metric, str):
        if hasattr(metric, "_score_func"):
            return functions.metric_of_scorer(metric)
        if callable(metric):
            return functions.metric_of_function(metric)
        raise TypeError(f"metric must be a name, a Metric or a function: got {type(metric).__name__}.")
    name = metric.strip()
    plain = name.lower().replace("_", "-")
    own = _find_own(name, _ALIASES.get(plain, plain))
    if own is not None:
        return own
    if "*" in name or "+" in name:
        return _find_sum(name, import_code)
    if ":" in name:
        return _find_code(name, plain, import_code)
    from_sklearn = functions.find_in_sklearn(name)
    if from_sklearn is not None:
        return replace(from_sklearn, is_code=False)
    known = [*list_metrics(), *_ALIASES]
    raise ValueError(
        f"metric must be one of {', '.join(list_metrics())}, or a metric of scikit-learn: got {metric!r}."
        f"{did_you_mean(plain, known)}"
    )


def _find_code(name: str, plain: str, import_code: bool) -> Metric:
    """Import a function, unless a metric of this registry was meant."""
    if plain.partition(":")[0] in {known.partition(":")[0] for known in (*list_metrics(), *_ALIASES)}:
        raise ValueError(
            f"metric must be written as `labelstack metrics` lists it, without options of its own after a colon: "
            f"got {name!r}; F-beta with beta 2 is micro-f2, a cost is cost:fp=1,fn=5."
        )
    if not import_code:
        raise ValueError(f"metric {name!r} is code, which a file may not ask for: name it yourself.")
    return functions.import_metric(name)


def _find_own(name: str, plain: str) -> Metric | None:
    """Find a name of this registry, or of a family; None where it is neither."""
    for spelling in (plain, name):
        if spelling in _METRICS.entries():
            return _METRICS.find(spelling)
    for pattern, build in _FAMILIES.values():
        found = re.fullmatch(pattern, plain)
        if found:
            built = build(*found.groups())
            return _METRICS.entries().get(built.name, built)  # micro-f1.0 is micro-f1
    return None


def metric_name(metric: str | Metric | Callable[..., Any]) -> str:
    """Return a metric's one name, for files and hashes; code is not imported for it.

    Parameters
    ----------
    metric : str, Metric or callable
        As `find_metric` takes it.

    Returns
    -------
    str
        What `find_metric` finds it by, if it can be found by name.
    """
    try:
        return find_metric(metric, import_code=False).name
    except ValueError:
        return str(metric)


def name_or_metric(metric: str | Metric | Callable[..., Any]) -> str | Metric:
    """Return a metric's one name where it can be found by it, else the metric.

    Parameters
    ----------
    metric : str, Metric or callable
        As `find_metric` takes it.

    Returns
    -------
    str or Metric
        A parameter that is saved as text wherever that is possible.
    """
    found = find_metric(metric)
    if isinstance(metric, str):
        return found.name
    try:
        return found.name if find_metric(found.name, import_code=False) == found else found
    except ValueError:
        return found


def _find_sum(text: str, import_code: bool) -> SumMetric:
    """Read ``A*NAME+B*NAME``; a name alone has weight 1."""
    weights, parts = [], []
    for term in text.split("+"):
        weight, star, name = term.partition("*")
        if not star:
            weight, name = "1", term
        try:
            weights.append(float(weight))
        except ValueError:
            raise ValueError(
                f"a sum of metrics must read like 0.5*micro-f1+0.5*map: got {text!r}, where {weight!r} is no number."
            ) from None
        parts.append(find_metric(name, import_code=import_code))
    return SumMetric.of(weights, parts)


def _costs(options: str) -> dict[str, float]:
    """Read ``fp=1,fn=5``."""
    costs: dict[str, float] = {}
    for option in options.split(","):
        name, _, value = (piece.strip() for piece in option.partition("="))
        try:
            cost = float(value)
        except ValueError:
            name = ""
        if name not in ("fp", "fn") or name in costs:
            raise ValueError(f"metric cost must read like cost:fp=1,fn=5: got 'cost:{options}'.")
        costs[name] = cost
    return costs
