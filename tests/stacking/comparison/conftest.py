"""Small predictions and combiners whose right answers are known."""

import numpy as np
import pytest

from stacking import testing
from stacking.combiners.combiner import Combiner


class PlainMean(Combiner):
    """Averages; learns nothing."""

    fits_from = "counts"
    requires_truth = False

    def _fit(self, predictions):
        self.weights_ = np.full(predictions.n_models, 1 / predictions.n_models)

    def _combine_block(self, scores, covers):
        return np.nanmean(scores, axis=0)


class Memorizer(Combiner):
    """Knows the truth of every row that it was fitted on, by the row's scores, and guesses elsewhere."""

    def _fit(self, predictions):
        scores = predictions.to_array()
        self.seen_ = {scores[:, row].tobytes(): predictions.y_true[row] for row in range(predictions.n_samples)}

    def _combine_block(self, scores, covers):
        rows = []
        for row in range(scores.shape[1]):
            known = self.seen_.get(np.ascontiguousarray(scores[:, row]).tobytes())
            rows.append(scores[0, row] if known is None else known.astype(np.float32))
        return np.stack(rows)


class Recorder(PlainMean):
    """Writes down the samples it was fitted on and asked about; a list shared by clones through its class."""

    log: list = []  # noqa: RUF012

    def _fit(self, predictions):
        super()._fit(predictions)
        type(self).log.append(("fit", tuple(predictions.ids)))

    def predict_out_of_fold(self, predictions, *, folds):
        type(self).log.append(("folds", tuple(np.asarray(folds).tolist())))
        return super().predict_out_of_fold(predictions, folds=folds)

    def predict_proba(self, predictions, *, without=()):
        type(self).log.append(("predict", tuple(predictions.ids)))
        return super().predict_proba(predictions, without=without)


class Broken(PlainMean):
    """Fails."""

    def _fit(self, predictions):
        raise ArithmeticError("no such <luck> | today")


@pytest.fixture
def combiners():
    Recorder.log = []
    return {"mean": PlainMean(), "memorizer": Memorizer(), "recorder": Recorder(), "broken": Broken()}


def make_predictions(rng, n_samples=300, n_labels=6, n_models=3, signal=2.0, **metadata):
    """Labels of falling frequency and models with names."""
    frequency, names = np.linspace(0.4, 0.08, n_labels), [f"net{m}" for m in range(n_models)]
    settings = {"frequency": frequency, "signal": 2 * signal, "offset": -signal - 1, "models": names}
    return testing.make_predictions(n_models, n_samples, n_labels, random_state=rng, **settings, **metadata)


@pytest.fixture
def make():
    return make_predictions
