"""Blends: the average of named methods' scores, each method fitted by itself.

Methods that err differently are worth more together. A blend with the plain mean also bounds what a meta-learner can
spoil: where rows are few it pulls the learned scores back to what needs no learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from stacking._checks import check_choice
from stacking._typing import BoolArray, FloatArray, IndexArray
from stacking.combiners.combiner import Combiner, CombinerState
from stacking.combiners.registry import create_method, register_method
from stacking.combiners.state import pack_combiners, unpack_combiners
from stacking.links import logit, sigmoid
from stacking.predictions import PredictionSet
from stacking.predictions.sources import rows_per_block


@register_method("pair-blend", "average of pair-lightgbm and the mean", kind="meta", cost=26.0, is_slow=True)
class Blend(Combiner):
    """Average the scores of several methods with equal weights.

    Parameters
    ----------
    methods : sequence of str, default=("mean", "pair-lightgbm")
        Two or more different names of `stacking.combiners.registry.list_methods()`.
    scale : {"probability", "logit"}, default="probability"
        What is averaged: probabilities (arithmetic mean) or their logits.
    random_state : int, Generator or None, default=0
        Given to every method.

    Attributes
    ----------
    members_ : list of Combiner
        Fitted on all rows, in the order of `methods`.
    notes_ : list of str
        What the methods report about themselves, such as their fall-backs.

    Notes
    -----
    Cost: the sum of its methods' costs. Held-out scores average the methods' held-out scores on the same folds.

    Examples
    --------
    >>> y_true = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 20, dtype=np.uint8)
    >>> y_scores = np.stack([0.2 + 0.6 * y_true, 0.5 + 0.0 * y_true])
    >>> blend = Blend(methods=("mean", "geometric")).fit(y_scores, y_true)
    >>> [f"{score:.2f}" for score in blend.predict_proba(y_scores)[0]]
    ['0.66', '0.34']
    """

    fits_from: ClassVar[Literal["counts", "rows"]] = "rows"
    choice_sees_all_rows: ClassVar[bool] = True

    members_: list[Combiner]
    notes_: list[str]

    def __init__(
        self,
        methods: Sequence[str] = ("mean", "pair-lightgbm"),
        *,
        scale: Literal["probability", "logit"] = "probability",
        random_state: int | np.random.Generator | None = 0,
    ) -> None:
        self.methods = methods
        self.scale = scale
        self.random_state = random_state

    def _fit(self, predictions: PredictionSet) -> None:
        """Fit the methods one after the other."""
        self._keep([member.fit(predictions) for member in self._create()])

    def _fit_out_of_fold(self, predictions: PredictionSet, folds: IndexArray) -> FloatArray:
        """Fit each method on all rows and average their held-out scores."""
        fitted = [member.fit_out_of_fold(predictions, folds=folds) for member in self._create()]
        self._keep([member for member, _ in fitted])
        return average_scores([held_out for _, held_out in fitted], self.scale)

    def _keep(self, members: list[Combiner]) -> None:
        """Keep the fitted methods and what they report."""
        self.members_ = members
        self.notes_ = [str(note) for member in members for note in getattr(member, "notes_", ())]

    def _create(self) -> list[Combiner]:
        """Check the parameters and build the methods."""
        check_choice(self.scale, ("probability", "logit"), name="scale")
        names = [self.methods] if isinstance(self.methods, str) else list(self.methods)
        if len(set(names)) < 2 or len(set(names)) != len(names):
            raise ValueError(f"methods must name two or more different methods to blend: got {names}.")
        return [create_method(name, random_state=self.random_state) for name in names]

    def _moves_scores(self, covers: BoolArray) -> BoolArray:
        """Tell which members move the scores of a method."""
        return np.any([member._moves_scores(covers) for member in self.members_], axis=0)

    def _predict(self, predictions: PredictionSet, covers: BoolArray) -> FloatArray:
        """Average the methods' scores."""
        return average_scores([member._predict(predictions, covers) for member in self.members_], self.scale)

    def _state(self) -> CombinerState:
        """Nest the methods' states under numbered names."""
        self._check_fitted()
        nested, arrays, texts = pack_combiners(self.members_)
        parameters = {**self.get_params(deep=False), "methods": list(self.methods)}
        if isinstance(self.random_state, np.random.Generator):
            parameters["random_state"] = None
        values = {"parameters": parameters, "models": self.models_, "labels": self.labels_, "notes": self.notes_}
        return {**values, **nested}, {"covers": self.covers_, **arrays}, texts

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild the methods."""
        blend = cls(**values["parameters"])
        blend.models_, blend.labels_ = tuple(values["models"]), tuple(values["labels"])
        blend.covers_, blend.notes_ = arrays["covers"], values["notes"]
        blend.members_ = unpack_combiners(values["members"], arrays, texts)
        return blend


def average_scores(
    scores: Sequence[FloatArray],
    scale: Literal["probability", "logit"] = "logit",
    shares: Sequence[float] | None = None,
    line: tuple[float, float] = (1.0, 0.0),
) -> FloatArray:
    """Average several methods' scores.

    Parameters
    ----------
    scores : sequence of ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1], at least one array.
    scale : {"probability", "logit"}, default="logit"
        What is averaged.
    shares : sequence of float, optional
        Share of each method, summing to 1; equal by default.
    line : (float, float), default=(1.0, 0.0)
        Slope and intercept that the average logit is carried through.

    Returns
    -------
    ndarray of float32, shape (n_samples, n_labels)
        Scores in [0, 1].

    Examples
    --------
    >>> average_scores([np.array([[0.9]], np.float32), np.array([[0.5]], np.float32)]).round(2).tolist()
    [[0.75]]
    """
    if len(scores) == 1 and line == (1.0, 0.0):
        return scores[0]
    answer: FloatArray = np.empty(scores[0].shape, np.float32)
    step = rows_per_block(answer.shape[1])
    for begin in range(0, len(answer), step):
        rows = slice(begin, begin + step)
        total = np.zeros(answer[rows].shape, dtype=np.float64)
        for share, score in zip(shares or [1.0 / len(scores)] * len(scores), scores, strict=True):
            total += share * (score[rows] if scale == "probability" else logit(score[rows]))
        answer[rows] = total if scale == "probability" else sigmoid(line[0] * total + line[1])
    return answer
