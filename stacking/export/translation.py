"""Fitted combiners as programs: which function translates which class, and the votes and averages among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stacking.combiners.auto.race import AutoCombiner
from stacking.combiners.blend import Blend
from stacking.combiners.combiner import Combiner
from stacking.combiners.voting.soft_voting import N_RANK_BINS, RANK_SHIFT, SoftVoting
from stacking.combiners.voting.weighted_voting import WeightedVoting
from stacking.export.program import BOOL, DOUBLE, FLOAT, Program, Value, logit, sigmoid, where
from stacking.links import SMALLEST_SCORE


@dataclass(frozen=True)
class Given:
    """What a combiner reads.

    Attributes
    ----------
    program : Program
        Where operations are appended.
    scores : Value
        Of type float32, shape (n_models, n_samples, n_labels), without gaps: .5 where nothing is known.
    covers : Value
        Truths of shape (n_models, n_labels): which member answers which label now, among those that did when fitted.
    """

    program: Program
    scores: Value
    covers: Value

    @property
    def present(self) -> Value:
        """Return `covers` beside scores: (n_models, 1, n_labels)."""
        return self.covers.expand(1)


Translator = Callable[[Given, Any], Value]
_TRANSLATORS: dict[type[Combiner], Translator] = {}


def translates(*kinds: type[Combiner]) -> Callable[[Translator], Translator]:
    """Enter the function that translates combiners of some classes, as a decorator.

    Parameters
    ----------
    *kinds : type
        Classes of combiners.

    Returns
    -------
    callable
        The decorator, which returns the function unchanged.
    """

    def enter(function: Translator) -> Translator:
        _TRANSLATORS.update(dict.fromkeys(kinds, function))
        return function

    return enter


def translate(given: Given, combiner: Combiner) -> Value:
    """Append what a combiner computes.

    Parameters
    ----------
    given : Given
        What it reads.
    combiner : Combiner
        Fitted.

    Returns
    -------
    Value
        Scores of type float32, shape (n_samples, n_labels).

    Raises
    ------
    ValueError
        If there is no translation of its class.
    """
    function = _TRANSLATORS.get(type(combiner))
    if function is None:
        raise ValueError(
            f"ensemble must be of a method of labelstack to be exported: {type(combiner).__name__} is none; take "
            "another."
        )
    return function(given, combiner).clip(0.0, 1.0)


@translates(SoftVoting)
def _soft_voting(given: Given, combiner: SoftVoting) -> Value:
    """Average by given weights."""
    scores = given.scores
    if combiner.mean == "rank":
        table = given.program.constant(combiner.rank_table_, FLOAT)
        settings = {"shift": RANK_SHIFT, "n_bins": N_RANK_BINS}
        scores = given.program.add("Lookup", [scores, table], FLOAT, **settings)
    return _mean(given, scores, combiner._given_weights(), combiner.mean)


@translates(WeightedVoting)
def _weighted_voting(given: Given, combiner: WeightedVoting) -> Value:
    """Average by the weights that were found."""
    shared = combiner.weights_per == "model"
    weights = np.broadcast_to(
        combiner.shared_weights_[:, None] if shared else combiner.weights_, combiner.covers_.shape
    )
    return _mean(given, given.scores, weights, combiner.mean)


def _mean(given: Given, scores: Value, weights: Any, mean: str) -> Value:
    """Combine scores as `stacking.combiners.voting.means.combine` does."""
    share = _covered(given, weights).cast(FLOAT).expand(1)
    values = where(share > 0.0, scores, 1.0)
    if mean == "majority":
        values = (values >= 0.5).cast(FLOAT)
    elif mean == "harmonic":
        values = 1.0 / values
    elif mean == "geometric":
        smallest = np.float32(SMALLEST_SCORE)
        clipped = values.clip(float(smallest), float(1 - smallest))
        values = (clipped / (1.0 - clipped)).log()
    total = (share * values).sum(0)
    if mean == "harmonic":
        return 1.0 / total
    return sigmoid(total) if mean == "geometric" else total


def _covered(given: Given, weights: Any) -> Value:
    """Renormalize weights over the members that are there, as `covered_weights` does."""
    here = given.covers.cast(DOUBLE)
    shares = here * weights
    shares = where(shares.sum(0, keep=True) > 0.0, shares, here)
    total = shares.sum(0, keep=True)
    return shares / where(total > 0.0, total, 1.0)


@translates(Blend)
def _blend(given: Given, combiner: Blend) -> Value:
    """Average the methods."""
    n_members = len(combiner.members_)
    return _average(given, combiner.members_, combiner.scale, [1.0 / n_members] * n_members)


@translates(AutoCombiner)
def _auto(given: Given, combiner: AutoCombiner) -> Value:
    """Average what was chosen."""
    return _average(given, combiner.chosen_, "logit", combiner.shares_, combiner.line_)


def _average(
    given: Given,
    combiners: Sequence[Combiner],
    scale: str,
    shares: Sequence[float],
    line: tuple[float, float] = (1.0, 0.0),
) -> Value:
    """Average scores as `stacking.combiners.blend.average_scores` does."""
    scores = [translate(given, combiner) for combiner in combiners]
    if len(scores) == 1 and line == (1.0, 0.0):
        return scores[0]
    total = None
    for share, score in zip(shares, scores, strict=True):
        part = (score if scale == "probability" else logit(score)).cast(DOUBLE) * share
        total = part if total is None else total + part
    if total is None:
        raise ValueError("an average must have members: got none")
    return (total if scale == "probability" else sigmoid(total * line[0] + line[1])).cast(FLOAT)


def begin_program(covers: Any) -> tuple[Given, Value]:
    """Begin a program: a label that is NaN in every row of a member is one that it does not answer, as everywhere.

    Parameters
    ----------
    covers : ndarray of bool, shape (n_models, n_labels)
        Which member answered which label when fitted.

    Returns
    -------
    given : Given
        What a combiner reads.
    sound : Value
        Truths of shape (n_samples, 1): whether the scores of a row are all there and in [0, 1], and every label has a
        member.
    """
    program = Program()
    scores = program.input("scores", FLOAT)
    here = program.constant(covers, BOOL) & (scores.is_number()).any(1)
    present = here.expand(1)
    wrong = present & ~((scores >= 0.0) & (scores <= 1.0))
    bare = (~here.any(0)).any(0)
    sound = ~(wrong.any(0).any(1) | bare).expand(1)
    return Given(program, where(present, scores, 0.5), here), sound
