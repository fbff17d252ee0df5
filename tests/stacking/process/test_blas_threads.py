"""Matrix products run in one thread while a combiner works, and afterwards in as many as before."""

from typing import ClassVar

import numpy as np
import pytest
import threadpoolctl

from stacking.combiners.combiner import Combiner
from stacking.process.blas_threads import with_one_blas_thread
from stacking.testing import make_predictions


@pytest.fixture(autouse=True)
def _two_threads():
    """Let the libraries have two threads, however many processors there are."""
    with threadpoolctl.threadpool_limits(limits=2, user_api="blas"):
        yield


def threads():
    """Return the numbers of threads of all libraries of matrix products."""
    return {one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"}


class Watched(Combiner):
    """A mean that remembers how many threads it had."""

    requires_truth = False
    seen: ClassVar[list[set[int]]] = []

    def _fit(self, predictions):
        self.seen.append(threads())

    def _combine_block(self, scores, covers):
        self.seen.append(threads())
        return np.nanmean(scores, axis=0)


@pytest.mark.parametrize("method", ["fit", "predict_proba", "predict_out_of_fold", "fit_out_of_fold"])
def test_every_public_method_of_a_combiner_is_limited(method):
    predictions = make_predictions(n_samples=40, n_labels=3)
    folds = np.arange(40) % 2
    watched = Watched().fit(predictions)
    Watched.seen.clear()
    options = {"folds": folds} if method.endswith("out_of_fold") else {}
    getattr(watched, method)(predictions, **options)
    assert Watched.seen
    assert all(seen == {1} for seen in Watched.seen)
    assert threads() == {2}


def test_calls_within_calls_and_errors_leave_the_number_as_it_was():
    @with_one_blas_thread
    def inner():
        raise ArithmeticError

    @with_one_blas_thread
    def outer():
        with pytest.raises(ArithmeticError):
            inner()
        return threads()

    assert outer() == {1}
    assert threads() == {2}
