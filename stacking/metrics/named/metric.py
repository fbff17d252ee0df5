"""What a metric is: a name, a direction, what it looks at, and a value that resamples of the rows follow.

Fitting, auto, comparison, evaluation and weight search go by one `Metric`. It measures answers against a `Truth`, whose
unknown cells, weights and groups it honors, and returns a `Measurement`: the value, each unit's influence on it (for
paired differences) and its values on resamples (for intervals). A unit is a row, or a group of rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from stacking._checks import check_mask, check_y_score
from stacking._typing import BoolArray
from stacking.metrics.measurement import Measurement
from stacking.named_arrays import align_by_name
from stacking.truth import Truth

Needs: TypeAlias = Literal["decisions", "scores", "probabilities"]
ScoreArray: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]


def spell_number(value: float) -> str:
    """Write a number of a metric's name with all its digits and without an exponent, so that the name is read back.

    Parameters
    ----------
    value : float
        Finite.

    Returns
    -------
    str
        As short as can be.

    Examples
    --------
    >>> spell_number(2.0), spell_number(1e6), spell_number(0.00001)
    ('2', '1000000', '0.00001')
    """
    return str(np.format_float_positional(value, trim="-"))


@dataclass(frozen=True)
class ServingRules:
    """The decision rules that serve a metric, spelled as `get_decision_rule` takes them.

    Attributes
    ----------
    choices : tuple of str
        Among which cross-fitting chooses, the steadier first; ``micro-F1``'s where thresholds play no part.
    race : str
        Which judges candidates before a rule is chosen.
    single : str
        One threshold for all labels.
    per_label : str
        One threshold for each label.
    margin : float
        Standard errors by which a rule must beat a steadier one to be chosen.
    """

    choices: tuple[str, ...] = ("half", "single", "cross-validated", "exact-micro-f1")
    race: str = "single"
    single: str = "single"
    per_label: str = "exact-micro-f1"
    margin: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Metric(ABC):
    """How good answers are, and which way is better.

    Attributes
    ----------
    name : str
        As typed on the command line; `find_metric` takes it.
    title : str
        As reports write it.
    description : str
        One line.
    needs : {"decisions", "scores", "probabilities"}
        What it looks at. Scores count by their order only, probabilities by their size.
    greater_is_better : bool
        False for losses.
    rules : ServingRules
        The decision rules that serve it.
    bounds : tuple of float
        Lowest and highest value that it can have.
    is_code : bool
        Whether the name stands for code that is imported; such a name in a stranger's file is never looked up.
    """

    name: str
    title: str
    description: str
    needs: Needs = "decisions"
    greater_is_better: bool = True
    rules: ServingRules = ServingRules()
    bounds: tuple[float, float] = (0.0, 1.0)
    is_code: bool = False

    @property
    def sign(self) -> int:
        """Return 1 where larger is better, −1 for losses."""
        return 1 if self.greater_is_better else -1

    @property
    def needs_decisions(self) -> bool:
        """Whether decisions count, and so thresholds."""
        return self.needs == "decisions"

    @property
    def averages_labels(self) -> bool:
        """Whether it is the mean of a value of each label, in which those with few positives count like others."""
        return False

    def check_truth(self, truth: Truth) -> None:  # noqa: B027 - most metrics measure any truth
        """Refuse a truth that the metric cannot measure answers against, before anything is fitted for it.

        Parameters
        ----------
        truth : Truth
            The right answers, and what counts of them.

        Raises
        ------
        ValueError
            If it looks at more labels than there are, or it is a function that takes no unknown cells or no weights
            where there are some, or fails on a truth of this shape.
        """

    @abstractmethod
    def measure(self, truth: Truth, y_pred: BoolArray | None, y_score: ScoreArray | None) -> Measurement:
        """Measure answers.

        Parameters
        ----------
        truth : Truth
            The right answers, and what counts of them.
        y_pred : ndarray of bool, shape (n_samples, n_labels), or None
            Decisions, for a metric that needs them.
        y_score : ndarray of float, shape (n_samples, n_labels), or None
            Scores in [0, 1], for a metric that needs them.

        Returns
        -------
        Measurement
            Value, influences, resamples.
        """

    def __call__(
        self,
        y_true: npt.ArrayLike,
        answers: npt.ArrayLike | None = None,
        *,
        y_pred: npt.ArrayLike | None = None,
        y_score: npt.ArrayLike | None = None,
        y_known: npt.ArrayLike | None = None,
        sample_weight: npt.ArrayLike | None = None,
    ) -> float:
        """Score decisions or scores.

        Parameters
        ----------
        y_true : array of shape (n_samples, n_labels)
            The truth, 0 or 1.
        answers : array of shape (n_samples, n_labels), optional
            What the metric needs, decisions or scores, as scikit-learn's metrics take it second.
        y_pred : array of shape (n_samples, n_labels), optional
            The decisions, 0 or 1; for a metric that needs decisions.
        y_score : array of shape (n_samples, n_labels), optional
            Scores in [0, 1]; for a metric that needs scores or probabilities.
        y_known : array of bool, shape (n_samples, n_labels), optional
            False where a cell is not annotated; such a cell counts neither way.
        sample_weight : array of shape (n_samples,), optional
            Weight of each sample, not negative; 1 by default.

        Returns
        -------
        float
            The metric.

        Raises
        ------
        ValueError
            If what the metric needs is missing or given twice, shapes differ, or a value is out of range.
        """
        if answers is not None:
            if (y_pred if self.needs_decisions else y_score) is not None:
                raise ValueError(f"answers must be given once: got them twice to measure {self.title}.")
            y_pred, y_score = (answers, y_score) if self.needs_decisions else (y_pred, answers)
        y_true, y_pred, y_score, y_known, sample_weight = align_by_name(
            y_true=y_true, y_pred=y_pred, y_score=y_score, y_known=y_known, sample_weight=sample_weight
        )
        truth = Truth.check(y_true, y_known=y_known, sample_weight=sample_weight)
        if not truth.y_true.size:
            raise ValueError(f"y_true must hold at least one sample and one label: got shape {truth.y_true.shape}.")
        n_samples, n_labels = truth.y_true.shape
        decided = None if y_pred is None else check_mask(y_pred, n_samples=n_samples, n_labels=n_labels, name="y_pred")
        scores: ScoreArray | None = None
        if y_score is not None:
            scores = check_y_score(y_score, n_samples=n_samples, n_labels=n_labels)
            given = np.asarray(y_score)
            scores = given if given.dtype == np.float64 else scores
        return self.measure(truth, decided, scores).value

    def given_decisions(self, y_pred: BoolArray | None) -> BoolArray:
        """Return the decisions, or say that they are missing.

        Parameters
        ----------
        y_pred : ndarray of bool or None
            What was given.

        Returns
        -------
        ndarray of bool
            The same.

        Raises
        ------
        ValueError
            If nothing was given.
        """
        if y_pred is None:
            raise ValueError(f"y_pred must be given to measure {self.title}: it looks at decisions.")
        return y_pred

    def given_scores(self, y_score: ScoreArray | None) -> ScoreArray:
        """Return the scores, or say that they are missing.

        Parameters
        ----------
        y_score : ndarray of float or None
            What was given.

        Returns
        -------
        ndarray of float
            The same.

        Raises
        ------
        ValueError
            If nothing was given.
        """
        if y_score is None:
            raise ValueError(f"y_score must be given to measure {self.title}: it looks at scores.")
        return y_score
