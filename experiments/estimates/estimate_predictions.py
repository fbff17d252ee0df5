"""Say how long `fit` and `compare` will take on a set of predictions, and what memory they need.

Every method is cross-fitted on a few hundred of the set's own rows, twice, which gives what a fit costs at all and
what it costs per row. The commands' numbers of fits then follow from their folds. Methods that learn label by label are
tried on some of the labels.
"""

import time
from dataclasses import dataclass

import numpy as np

from experiments.estimates.doctor import Fact, duration
from stacking.predictions import PredictionSet
from stacking.process.memory import GIB, available_memory, peak_memory, reset_peak_memory

# How much is tried, all choices: more makes the estimate better and the wait for it longer.
TRIED_ROWS = (300, 900)  # two sizes, for a line of what a fit costs at all and what per row
TRIED_LABELS = 48
TRIED_FOLDS = 2
N_FOLDS = 5  # outer and inner folds of the commands
LABELWISE = frozenset({"logistic", "lightgbm"})  # methods whose cost is that of a label times the labels
BYTES_PER_SCORE = 4
COPIES = {"fit": 4.0, "compare": 5.0}  # of the scores of all models that are in memory at once, at most


@dataclass(frozen=True)
class MethodCost:
    """What fitting one method costs here.

    Attributes
    ----------
    name : str
        The method.
    seconds_per_fit : float
        Whatever the number of rows.
    seconds_per_row : float
        For one row in one fit.
    """

    name: str
    seconds_per_fit: float
    seconds_per_row: float

    def cross_fitted(self, n_rows: float, n_folds: int = N_FOLDS) -> float:
        """Return the seconds of cross-fitting on so many rows and a final fit.

        Parameters
        ----------
        n_rows : float
            Rows.
        n_folds : int, default=5
            Folds.

        Returns
        -------
        float
            Each row is in all fits but one, and there is one fit per fold and one more.

        Examples
        --------
        >>> MethodCost("mean", 0.5, 0.001).cross_fitted(1000, n_folds=5)
        8.0
        """
        return (n_folds + 1) * self.seconds_per_fit + n_folds * n_rows * self.seconds_per_row


def estimate_predictions(predictions: PredictionSet, n_folds: int = N_FOLDS) -> list[Fact]:
    """Estimate what `fit` and `compare` cost on predictions.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth.
    n_folds : int, default=5
        Outer and inner folds of `compare`.

    Returns
    -------
    list of Fact
        The costliest methods, then one for `fit` and one for `compare`.

    Raises
    ------
    ValueError
        If the predictions carry no truth.
    """
    from stacking.combiners.auto.race import RACERS
    from stacking.combiners.registry import list_methods

    if predictions.y_true is None:
        raise ValueError("predictions must carry the truth, as fit and compare need it: pack them with --truth first.")
    reset_peak_memory()
    names = [name for name in list_methods(include_slow=False) if name != "auto"]
    costs = {name: try_method(name, predictions) for name in names}
    deciding = _seconds_of_deciding(predictions)
    raced = [costs[name] for name in RACERS if name in costs]
    n_rows, race_rows = predictions.n_samples, min(predictions.n_samples, _race_rows())
    race = sum(cost.cross_fitted(race_rows) for cost in raced)
    chosen = max(cost.cross_fitted(n_rows) for cost in raced) if n_rows > race_rows else 0.0
    fit = race + chosen + 2 * n_rows * deciding
    split_rows = n_rows * (1 - 1 / n_folds)
    split = sum(cost.cross_fitted(split_rows, n_folds) for cost in costs.values())
    split += sum(cost.cross_fitted(min(split_rows, race_rows), n_folds) for cost in raced)  # auto is one of the methods
    n_candidates = len(names) + 1 + predictions.n_models
    compare = n_folds * (split + n_candidates * n_rows * deciding)
    slowest = sorted(costs.values(), key=lambda cost: cost.cross_fitted(n_rows), reverse=True)[:3]
    findings = [Fact(f"method {cost.name}", f"{duration(cost.cross_fitted(n_rows))} to cross-fit") for cost in slowest]
    size = f"{predictions.n_models} models × {n_rows:,} samples × {predictions.n_labels} labels"
    needs = _needs(names, predictions)
    findings += _refused(needs)
    findings.append(Fact("fit", f"{size}: about {duration(fit)} with auto, {_memory(predictions, needs, 'fit')}"))
    findings.append(
        Fact("compare", f"about {duration(compare)} with all methods, {_memory(predictions, needs, 'compare')}")
    )
    return findings


def try_method(name: str, predictions: PredictionSet) -> MethodCost:
    """Cross-fit a method on some rows, twice.

    Parameters
    ----------
    name : str
        The method.
    predictions : PredictionSet
        With the truth.

    Returns
    -------
    MethodCost
        For all labels; nothing where the method cannot be fitted on so few rows.
    """
    n_labels = min(predictions.n_labels, TRIED_LABELS) if name in LABELWISE else predictions.n_labels
    labels = np.linspace(0, predictions.n_labels - 1, n_labels).round().astype(int)
    few, many = (min(predictions.n_samples, n_rows) for n_rows in TRIED_ROWS)
    seconds = []
    for n_rows in (few, few, many):  # the first call imports and compiles
        rows = np.linspace(0, predictions.n_samples - 1, n_rows).round().astype(int)
        seconds.append(_seconds_of(name, predictions.subset(samples=rows, labels=labels).in_memory()))
    scale = predictions.n_labels / n_labels
    if many == few:  # so small a set that it was tried whole
        return MethodCost(name, scale * seconds[2] / (TRIED_FOLDS + 1), 0.0)
    per_row = max(0.0, (seconds[2] - seconds[1]) / (TRIED_FOLDS * (many - few)))
    per_fit = max(0.0, seconds[2] - TRIED_FOLDS * many * per_row) / (TRIED_FOLDS + 1)
    return MethodCost(name, scale * per_fit, scale * per_row)


def _seconds_of(name: str, predictions: PredictionSet) -> float:
    """Time one cross-fitting."""
    from stacking.combiners.registry import create_method

    folds = np.arange(predictions.n_samples) % TRIED_FOLDS
    started = time.perf_counter()
    try:
        create_method(name, random_state=0).fit_out_of_fold(predictions, folds=folds)
    except (ValueError, ArithmeticError, np.linalg.LinAlgError):
        return 0.0  # the commands leave such a method out as well
    return time.perf_counter() - started


def _seconds_of_deciding(predictions: PredictionSet) -> float:
    """Time the choice of a decision rule on folds, per row."""
    from stacking.decision_rules.choice import choose_thresholds

    n_rows = min(predictions.n_samples, TRIED_ROWS[1])
    rows = np.linspace(0, predictions.n_samples - 1, n_rows).round().astype(int)
    few = predictions.subset(samples=rows).in_memory()
    y_score, folds = np.nan_to_num(few.model_scores(few.models[0])), np.arange(n_rows) % N_FOLDS
    choose_thresholds(y_score, few, folds)  # compiles
    started = time.perf_counter()
    choose_thresholds(y_score, few, folds)
    return (time.perf_counter() - started) / n_rows


def _race_rows() -> int:
    """Return how many rows auto races on at most."""
    from stacking.combiners.auto.race import AutoCombiner

    return int(AutoCombiner().max_rows or 0)


def _needs(names: list[str], predictions: PredictionSet) -> dict[str, float]:
    """Return the bytes that each method says it needs on these predictions."""
    from stacking.combiners.registry import create_method

    size = (predictions.n_models, predictions.n_samples, predictions.n_labels)
    return {name: create_method(name).memory_needed(*size) for name in names}


def _refused(needs: dict[str, float]) -> list[Fact]:
    """Name the methods that need more memory than there is: the commands will do without them."""
    available = available_memory()
    if available is None:
        return []
    return [
        Fact(
            f"memory of {name}",
            f"{needed / GIB:.1f} GiB, of which {available / GIB:.1f} GiB are available",
            "it will be refused: take fewer labels or rows",
        )
        for name, needed in needs.items()
        if needed > available
    ]


def _memory(predictions: PredictionSet, needs: dict[str, float], command: str) -> str:
    """Say the memory of a command: what trying took, and copies of the scores or the most that a method takes."""
    base = peak_memory()
    if base is None:
        return "memory unknown on this system"
    scores = predictions.n_models * predictions.n_samples * predictions.n_labels * BYTES_PER_SCORE
    available = available_memory()
    most = max((needed for needed in needs.values() if available is None or needed <= available), default=0.0)
    return f"{(base + max(COPIES[command] * scores, most)) / GIB:.2f} GiB of memory"
