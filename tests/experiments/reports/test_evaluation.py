import numpy as np
import pytest

import labelstack as ls
from experiments.reports.evaluation import labels_section
from stacking.comparison.held_out import HeldOut
from stacking.report import Figure, Paragraph, Table
from stacking.truth import Truth


@pytest.mark.parametrize(("threshold", "last"), [(0.5, Paragraph), (0.95, Table)])
def test_labels_that_are_never_predicted_are_listed_where_there_are_any(rng, threshold, last):
    y_true = rng.random((40, 3)) < 0.4
    y_score = np.where(y_true, 0.9, 0.1).astype(np.float32)
    ids = np.array([f"s{row}" for row in range(40)])
    section = labels_section(HeldOut("mean", ids, ("a", "b", "c"), Truth.check(y_true), y_score, y_score >= threshold))
    assert [type(block) for block in section.blocks] == [Figure, last]


def test_a_fitted_ensemble_is_evaluated_by_its_own_function_and_a_loaded_one_by_none_that_its_file_names(tmp_path):
    scores = ls.example_scores(200)
    fitting, new = scores.subset(samples=slice(100)), scores.subset(samples=slice(100, None))
    ensemble = ls.fit(fitting, "mean", metric="sklearn.metrics:zero_one_loss")
    evaluated = ls.evaluate(ensemble, new, n_bootstrap=20).table
    assert evaluated.equals(ls.evaluate(ensemble, new, metric="sklearn.metrics:zero_one_loss", n_bootstrap=20).table)
    with pytest.raises(ValueError, match="is code, which a file may not ask for"):
        ls.evaluate(ensemble.save(tmp_path / "ensemble") or tmp_path / "ensemble", new)


@pytest.mark.parametrize("metric", ["recall-at-30", "micro-f1+matthews_corrcoef"])
def test_a_metric_that_the_truth_does_not_suit_is_refused(metric):
    scores = ls.example_scores(200)
    fitting, new = scores.subset(samples=slice(100)), scores.subset(samples=slice(100, None))
    with pytest.raises(ValueError, match=metric.removeprefix("micro-f1+")):
        ls.evaluate(ls.fit(fitting, "mean"), new, metric=metric)
    with pytest.raises(ValueError, match=metric.removeprefix("micro-f1+")):
        ls.study_weights(scores, ["greedy"], metric=metric)
