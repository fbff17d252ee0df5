"""The decision rules by name, each with the average it optimizes.

A rule may be spelled with options: ``own-f1:fbr=0.2``, ``cost:fp=1,fn=5``, ``recall-at-least:recall=0.95``.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from optimizers.registry import Registry, did_you_mean

TuneFunction = Callable[..., Any]


@dataclass(frozen=True)
class DecisionRule:
    """A way to decide, tuned on scores with their truth.

    Parameters
    ----------
    name : str
        The name that `tune_thresholds` takes, with the options that were spelled with it.
    average : str
        What the rule optimizes: ``"micro-F1"``, ``"macro-F1"``, ``"micro-F1 + macro-F1"``, ``"samples-F1"``,
        ``"cost"``, ``"recall"``, ``"any"`` (the metric that it is told) or ``"none"``.
    summary : str
        One sentence on how it chooses.
    tune : callable
        ``tune(scores, **options)`` with a `LabeledScores` returns thresholds of shape (n_labels,), or a `SampleRule`.
    by_sample : bool, default False
        Whether it decides sample by sample, so that it has no thresholds of labels.
    """

    name: str
    average: str
    summary: str
    tune: Callable[..., Any]
    by_sample: bool = False

    @property
    def options(self) -> list[str]:
        """The names of the options that `tune` takes."""
        return list(inspect.signature(self.tune).parameters)[1:]

    def check_options(self, options: dict[str, Any]) -> None:
        """Raise for an option that the rule does not take.

        Parameters
        ----------
        options : dict
            Values by name.

        Raises
        ------
        TypeError
            If there is one.
        """
        known = self.options
        for option in options:
            if option not in known:
                takes = ", ".join(known) if known else "none"
                hint = did_you_mean(option, known)
                raise TypeError(f"options must be those of rule {self.name!r} ({takes}): got {option!r}.{hint}")


_RULES: Registry[DecisionRule] = Registry("rule")


def register(name: str, *, average: str, by_sample: bool = False) -> Callable[[TuneFunction], TuneFunction]:
    """Register a tuning function under a name; its summary is the first line of its docstring.

    Parameters
    ----------
    name : str
        Name of the rule, in kebab case.
    average : str
        What the rule optimizes, as `DecisionRule` lists it.
    by_sample : bool, default False
        Whether the function returns a `SampleRule` instead of thresholds.

    Returns
    -------
    callable
        The decorator, which returns the function unchanged.

    Raises
    ------
    ValueError
        If the name is taken.
    """

    def enter(tune: TuneFunction) -> TuneFunction:
        summary = (tune.__doc__ or "").strip().split("\n")[0]
        _RULES.add(name, DecisionRule(name, average, summary, tune, by_sample), tune.__module__)
        return tune

    return enter


def get_decision_rule(name: str) -> DecisionRule:
    """Look a decision rule up by name.

    Parameters
    ----------
    name : str
        One of `list_decision_rules`, with options after a colon if wanted: ``"own-f1:fbr=0.2"``.

    Returns
    -------
    DecisionRule
        The rule with the average it optimizes, its options set.

    Raises
    ------
    ValueError
        If there is no such rule, the error suggests the nearest name; or if an option is unknown or has no value.

    Examples
    --------
    >>> get_decision_rule("exact-micro-f1").average
    'micro-F1'
    >>> get_decision_rule("own-f1:fbr=0.2").name
    'own-f1:fbr=0.2'
    """
    plain, colon, spelled = str(name).partition(":")
    rule = _RULES.find(plain if colon else name)
    if not colon:
        return rule
    options: dict[str, Any] = {}
    for part in spelled.split(","):
        option, equals, value = part.partition("=")
        if not equals or not option.strip() or not value.strip():
            raise ValueError(f"options of a rule must read like own-f1:fbr=0.2: got {name!r}.")
        if option.strip() in options:
            raise ValueError(f"options of a rule must be named once each: got {option.strip()!r} twice in {name!r}.")
        options[option.strip()] = _read(value.strip())
    try:
        rule.check_options(options)
    except TypeError as error:
        raise ValueError(str(error)) from error
    for option, value in options.items():
        _check_kind(rule, option, value)
    if "metric" in options:
        from stacking.metrics.named import find_metric

        options["metric"] = find_metric(str(options["metric"]), import_code=False)  # the rule may stand in a file
    return replace(rule, name=name, tune=partial(rule.tune, **options))


def _check_kind(rule: DecisionRule, option: str, value: int | float | str) -> None:
    """Raise where an option that was spelled is no number though its default is one, or a fraction of a whole one."""
    default = inspect.signature(rule.tune).parameters[option].default
    if isinstance(default, str) or isinstance(value, int):
        return
    if isinstance(value, str) or value != value or isinstance(default, int):
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise ValueError(f"option {option} of rule {rule.name!r} must be {kind}: got {str(value)!r}.")


def _read(value: str) -> int | float | str:
    """Read a number where it is one."""
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


def check_rule(rule: str) -> None:
    """Raise for a rule that there is not.

    Parameters
    ----------
    rule : str
        ``"auto"``, or as `get_decision_rule` takes it.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if rule == "auto":
        return
    try:
        get_decision_rule(rule)
    except ValueError as error:
        if ":" in str(rule):
            raise
        known = ["auto", *list_decision_rules()]
        names = ", ".join(map(repr, known))
        raise ValueError(f"rule must be one of {names}: got {rule!r}.{did_you_mean(str(rule), known)}") from error


def list_decision_rules() -> list[str]:
    """List the names of the decision rules.

    Returns
    -------
    list of str
        The names, sorted.

    Examples
    --------
    >>> "single" in list_decision_rules()
    True
    """
    return list(_RULES.entries())
