"""Metrics that are someone's function: a callable, ``module:function``, or one of scikit-learn's.

The function is asked on whole sets of rows only. Influences come from a delete-a-group jackknife over at most 50 blocks
of units, and resamples are of those blocks, linear around the value: a bootstrap would ask it a thousand times.

References
----------
P. S. Kott, "The delete-a-group jackknife", Journal of Official Statistics 17(4), 2001.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from typing import Any

import numpy as np

from stacking._typing import BoolArray, DoubleArray
from stacking.metrics.measurement import Measurement
from stacking.metrics.named.metric import Metric, Needs, ScoreArray, ServingRules
from stacking.truth import Truth

N_BLOCKS = 50
"""Most blocks of the jackknife. With 50 a standard error is known to about 10 %, which intervals do not show."""

_SCORE_NAMES = ("y_score", "y_scores", "y_prob", "y_proba", "scores", "score", "probabilities")


@dataclass(frozen=True, kw_only=True)
class FunctionMetric(Metric):
    """A function ``f(y_true, y_pred or y_score)``.

    Attributes
    ----------
    function : callable
        Takes the truth and the answers, both (n_samples, n_labels), and by name `sample_weight` and `y_known` where it
        has such parameters; returns a number.
    """

    function: Callable[..., Any]

    def check_truth(self, truth: Truth) -> None:
        """Ask about the truth as its own answer, to refuse unfit functions at once; see `Metric.check_truth`."""
        truth = truth if truth.counted is None else truth.only_counted()
        right = truth.y_true.view(np.uint8) if self.needs_decisions else truth.y_true.astype(np.float32)
        try:
            self._call(truth.y_true.view(np.uint8), right, self._facts(truth))
        except (ArithmeticError, MemoryError):  # what it makes of other answers is seen when it is asked about them
            return
        except Exception as error:
            if str(error).startswith(f"metric {self.name} "):
                raise
            raise ValueError(
                f"metric {self.name} must take truth and answers of shape {truth.y_true.shape}, samples by labels: got "
                f"{type(error).__name__}: {str(error).rstrip('.')}; `labelstack metrics` lists those for many labels."
            ) from error

    def measure(self, truth: Truth, y_pred: BoolArray | None, y_score: ScoreArray | None) -> Measurement:
        """Ask the function; see `Metric.measure`."""
        answer = self.given_decisions(y_pred) if self.needs_decisions else self.given_scores(y_score)
        return MeasuredByBlocks(self.sign, self.ask, truth, [answer])

    def ask(self, truth: Truth, answer: Any) -> float:
        """Call the function on the rows that count.

        Parameters
        ----------
        truth : Truth
            The right answers.
        answer : ndarray, shape (n_samples, n_labels)
            Decisions or scores.

        Returns
        -------
        float
            What it returned.

        Raises
        ------
        ValueError
            If cells are unknown and the function has no parameter `y_known`, rows weigh differently and it has none
            called `sample_weight`, or it raised or returned no finite number.
        """
        if truth.counted is not None:
            truth, answer = truth.only_counted(), answer[truth.counted]
        given = self._facts(truth)
        if answer.dtype == np.bool_:
            answer = answer.view(np.uint8)
        try:
            value = self._call(truth.y_true.view(np.uint8), answer, given)
        except MemoryError:
            raise
        except Exception as error:
            if str(error).startswith(f"metric {self.name} "):
                raise
            raise ValueError(
                f"metric {self.name} must return a number for any answers: on {len(answer)} samples it raised "
                f"{type(error).__name__}: {str(error).rstrip('.')}."
            ) from error
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = np.nan
        if not np.isfinite(number):
            raise ValueError(f"metric {self.name} must return a finite number: got {value!r}.")
        return number

    def _facts(self, truth: Truth) -> dict[str, Any]:
        """Return the weights and known cells that the function must be told, or say that it does not take them."""
        facts: dict[str, Any] = {}
        for name, value in (("sample_weight", truth.sample_weight), ("y_known", truth.y_known)):
            if value is None or (name == "y_known" and value.all()):
                continue
            if name not in _parameters(self.function):
                what = "cells are unknown" if name == "y_known" else "samples have weights"
                raise ValueError(f"metric {self.name} must take {name}, since {what} here: got a function without it.")
            facts[name] = value
        return facts

    def _call(self, y_true: Any, answer: Any, given: dict[str, Any]) -> Any:
        """Call the function on arrays that it cannot change: others look at the same memory."""
        shown = {name: value.view() for name, value in {"y_true": y_true, "answer": answer, **given}.items()}
        for value in shown.values():
            value.flags.writeable = False
        try:
            return self.function(shown.pop("y_true"), shown.pop("answer"), **shown)
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            raise ValueError(
                f"metric {self.name} must leave its arguments as they are: got a function that writes into them "
                f"({error}); let it copy them first."
            ) from error


class MeasuredByBlocks(Measurement):
    """The value of all rows, and the value without each block of units.

    Parameters
    ----------
    sign : int
        1 where larger is better, −1 for losses.
    ask : callable
        ``ask(truth, *answers)`` returns the value of some rows.
    truth : Truth
        Of the rows that count.
    answers : list of ndarray or None
        What `ask` is given of them.
    """

    def __init__(self, sign: int, ask: Callable[..., float], truth: Truth, answers: Sequence[Any]) -> None:
        self.sign, self.ask, self.truth, self.answers = sign, ask, truth, list(answers)
        if truth.counted is not None:
            self.truth, self.answers = truth.only_counted(), self._rows(truth.counted)

    def _rows(self, rows: BoolArray) -> list[Any]:
        """Return the answers of some rows."""
        return [None if answer is None else answer[rows] for answer in self.answers]

    @cached_property
    def value(self) -> float:
        """The value of all rows."""
        return self.ask(self.truth, *self.answers)

    @property
    def n_units(self) -> int:
        """How many blocks are resampled."""
        return max(min(N_BLOCKS, self.truth.n_units), 1)

    @cached_property
    def influence(self) -> DoubleArray:
        """Half a jackknife: the value minus the value without each block."""
        n_rows = len(self.truth.y_true)
        unit = np.arange(n_rows) if self.truth.groups is None else np.unique(self.truth.groups, return_inverse=True)[1]
        n_units = int(unit.max(initial=-1)) + 1
        if self.n_units < 2:
            return np.zeros(self.n_units)
        # Blocks of equal numbers of units, dealt at random so that the order of the rows plays no part.
        block = (np.random.default_rng(0).permutation(n_units) % self.n_units)[unit]
        without = []
        for number in range(self.n_units):
            kept = block != number
            without.append(self.ask(self.truth.rows(kept), *self._rows(kept)))
        change = self.value - np.asarray(without)
        scale = (self.n_units - 1) / self.n_units  # leaving a block out moves the mean by 1/(K − 1) of its deviation
        return self.sign * scale * (change - change.mean())

    def resample(self, draws: DoubleArray) -> DoubleArray:
        """Move the value by the influence of each block as often as it was drawn; see `Measurement.resample`."""
        return self.value + self.sign * (draws - 1.0) @ self.influence


def metric_of_function(
    function: Callable[..., Any], name: str = "", *, needs: Needs | None = None, greater_is_better: bool | None = None
) -> FunctionMetric:
    """Make a metric of a function.

    Parameters
    ----------
    function : callable
        ``f(y_true, y_pred)`` or ``f(y_true, y_score)``; the name of its second parameter tells which, and its
        attributes ``needs`` and ``greater_is_better`` may say so.
    name : str, default=""
        Its name; by default ``module:function``.
    needs : {"decisions", "scores", "probabilities"}, optional
        What it looks at, where that is known.
    greater_is_better : bool, optional
        The direction, where that is known; by default False for names that end in loss or error.

    Returns
    -------
    FunctionMetric
        The metric.

    Raises
    ------
    TypeError
        If it does not take two arguments.
    """
    own_name, module = _own_name(function), _own_module(function)
    parameters = _parameters(function)
    if len(parameters) < 2:
        raise TypeError(f"metric must be a function of y_true and y_pred or y_score: got {own_name}{parameters}.")
    if needs is None:
        by_name: Needs = "scores" if parameters[1] in _SCORE_NAMES else "decisions"
        needs = getattr(function, "needs", by_name)
    if greater_is_better is None:
        greater_is_better = bool(getattr(function, "greater_is_better", not own_name.endswith(("loss", "error"))))
    return FunctionMetric(
        name=name or f"{module}:{own_name}",
        title=own_name.replace("_", " "),
        description=((function.__doc__ or "").strip().split("\n")[0]) or "a function of the user's",
        needs=needs or "decisions",
        greater_is_better=greater_is_better,
        rules=ServingRules(("half", "best-single"), "best-single", "best-single", "exact-micro-f1"),
        bounds=(-np.inf, np.inf),
        is_code=True,
        function=function,
    )


def import_metric(name: str) -> FunctionMetric:
    """Import ``module:function``.

    Parameters
    ----------
    name : str
        The module must be found by Python (installed, or on ``PYTHONPATH``).

    Returns
    -------
    FunctionMetric
        The metric.

    Raises
    ------
    ValueError
        If there is no such module or function.
    """
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"metric must name a function that Python finds: got {name!r} ({error}); install its module, or set "
            "PYTHONPATH to its folder."
        ) from error
    return metric_of_scorer(found, name) if hasattr(found, "_score_func") else metric_of_function(found, name)


def metric_of_scorer(scorer: Any, name: str = "") -> FunctionMetric:
    """Make a metric of a scikit-learn scorer.

    Parameters
    ----------
    scorer : scorer
        As ``sklearn.metrics.make_scorer`` returns it.
    name : str, default=""
        Its name; by default that of its function.

    Returns
    -------
    FunctionMetric
        The scorer's function with its options; a loss is one here too, not turned.
    """
    function, options = scorer._score_func, dict(scorer._kwargs)
    response = scorer._response_method
    wanted = (response,) if isinstance(response, str) else tuple(response)
    needs: Needs = (
        "decisions" if wanted == ("predict",) else "probabilities" if wanted == ("predict_proba",) else "scores"
    )
    return metric_of_function(
        _WithOptions(function, options) if options else function,
        name or f"{_own_module(function)}:{_own_name(function)}",
        needs=needs,
        greater_is_better=scorer._sign > 0,
    )


def find_in_sklearn(name: str) -> FunctionMetric | None:
    """Look a scorer or a metric of scikit-learn up by name.

    Parameters
    ----------
    name : str
        Such as ``neg_brier_score`` or ``zero_one_loss``.

    Returns
    -------
    FunctionMetric or None
        None where it has neither.
    """
    import sklearn.metrics

    if name in sklearn.metrics.get_scorer_names():
        scorer = sklearn.metrics.get_scorer(name)
        return None if _is_binary(scorer._score_func, scorer._kwargs) else metric_of_scorer(scorer, name)
    function = getattr(sklearn.metrics, name, None)
    if name in sklearn.metrics.__all__ and inspect.isfunction(function) and _parameters(function)[:1] == ["y_true"]:
        return None if _is_binary(function, {}) else metric_of_function(function, name)
    return None


def _is_binary(function: Callable[..., Any], options: dict[str, Any]) -> bool:
    """Tell a function that takes one label only unless it is told how to average."""
    average = inspect.signature(function).parameters.get("average")
    return average is not None and options.get("average", average.default) == "binary"


class _WithOptions:
    """A function with options set, which still tells its name and parameters."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self.function, self.options = function, options
        self.__name__, self.__module__, self.__doc__ = _own_name(function), _own_module(function), function.__doc__
        self.__signature__ = inspect.signature(function)

    def __eq__(self, other: object) -> bool:
        """Tell whether it is the same function with the same options, so that one metric looked up twice is one."""
        return isinstance(other, _WithOptions) and (self.function, self.options) == (other.function, other.options)

    def __hash__(self) -> int:
        """Hash the function: values of options need not be hashable."""
        return hash(self.function)

    def __call__(self, y_true: Any, answer: Any, **given: Any) -> Any:
        """Call with the options."""
        return self.function(y_true, answer, **self.options, **given)


def _own_name(function: Any) -> str:
    """Return the name of a function, of the one that a partial calls, or of an object's class."""
    inner = function.func if isinstance(function, partial) else function
    return str(getattr(inner, "__name__", type(inner).__name__))


def _own_module(function: Any) -> str:
    """Return the module of a function, of the one that a partial calls, or of an object's class."""
    inner = function.func if isinstance(function, partial) else function
    return str(getattr(inner, "__module__", ""))


def _parameters(function: Callable[..., Any]) -> list[str]:
    """Return the names of the parameters of a function."""
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ["y_true", "y_pred"]
