"""Ensembles that were fitted before, as rows of a comparison: scored as they are, on rows that they have not seen.

A comparison fits every method itself, on other rows than it scores. A saved ensemble is not fitted again, so it may
only be scored on rows that it was not fitted on; it knows which those are, and is refused on others.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from stacking._typing import FloatArray
from stacking.comparison.candidates import Candidate
from stacking.decision_rules.choice import RuleTuner
from stacking.ensemble.cross_fitted import CrossFitted
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.folds import deal_folds
from stacking.predictions import PredictionSet


class _SavedEnsemble(StackingEnsemble):
    """A fitted ensemble that is asked, never fitted, with its labels in the order of a comparison."""

    def __init__(self, saved: StackingEnsemble, labels: tuple[str, ...]) -> None:
        super().__init__(saved.method, random_state=saved.random_state, n_splits=saved.n_splits, metric=saved.metric)
        self.saved, self.labels, self.labels_ = saved, labels, labels
        own = {label: place for place, label in enumerate(saved.labels_)}
        self._places = np.array([own[label] for label in labels], dtype=np.intp)
        self._back = np.argsort(self._places)
        self.combiner_, self.report_, self.sample_rule_ = saved.combiner_, saved.report_, saved.sample_rule_
        self.thresholds_ = None if saved.thresholds_ is None else np.asarray(saved.thresholds_)[self._places]

    def fit_out_of_fold(
        self, predictions: PredictionSet, *, folds: npt.NDArray[np.intp] | None = None
    ) -> tuple[Self, CrossFitted]:
        """Fit nothing; give the ensemble's own scores of these rows."""
        counted = predictions.only_counted()
        if folds is None:
            folds = deal_folds(counted.truth, self.n_splits, random_state=self.random_state)
        y_score = self.predict_proba(counted)
        return self, CrossFitted(counted, y_score, folds, RuleTuner(y_score, counted))

    def predict_proba(self, predictions: Any, **options: Any) -> FloatArray:
        """Return the scores, labels in the comparison's order."""
        return np.ascontiguousarray(self.saved.predict_proba(predictions, **options)[:, self._places])

    def decide(self, y_score: npt.ArrayLike, thresholds: npt.ArrayLike | None = None) -> npt.NDArray[np.bool_]:
        """Decide as the ensemble does, labels in the comparison's order."""
        own = None if thresholds is None else np.broadcast_to(np.asarray(thresholds), self._back.shape)[self._back]
        return np.ascontiguousarray(self.saved.decide(np.asarray(y_score)[:, self._back], own)[:, self._places])


def saved_candidates(
    ensembles: Mapping[str, StackingEnsemble], scored: PredictionSet, taken: frozenset[str]
) -> list[Candidate]:
    """Make rows of fitted ensembles.

    Parameters
    ----------
    ensembles : mapping of str to StackingEnsemble
        Fitted, by the name of the row.
    scored : PredictionSet
        The rows that are scored.
    taken : frozenset of str
        Names of other rows.

    Returns
    -------
    list of Candidate
        Of the kind ``saved``.

    Raises
    ------
    ValueError
        If an ensemble was fitted on a row that is scored, cannot tell, has other labels or lacks a member, or a name is
        taken.
    """
    candidates = []
    for name, ensemble in ensembles.items():
        if name in taken:
            raise ValueError(f"ensembles must have names of their own: {name!r} is a row already; call it otherwise.")
        if getattr(ensemble, "fitted_ids_", None) is None:
            raise ValueError(
                f"ensemble {name!r} must know which rows it was fitted on to be scored as it is: an earlier version "
                "saved it, or it is not fitted; fit it again."
            )
        n_seen = int(ensemble.has_seen(scored.ids).sum())
        if n_seen:
            raise ValueError(
                f"ensemble {name!r} was fitted on {n_seen:,} of the {scored.n_samples:,} rows that are scored: give "
                "rows that it has not seen (holdout=, --holdout), or its method among the methods, which is fitted "
                "anew."
            )
        if set(ensemble.labels_) != set(scored.labels):
            raise ValueError(f"ensemble {name!r} must have the predictions' labels, and has others; leave it out.")
        ensemble.check_names(scored.models, scored.labels)
        candidates.append(Candidate(name, "saved", partial(_SavedEnsemble, ensemble, scored.labels)))
    return candidates
