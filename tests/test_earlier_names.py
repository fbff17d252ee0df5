"""What version 0.1 called a module still answers, with a warning that says where it lives now."""

import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec

import numpy as np
import pytest

from base_models._earlier_names import MODULES as BASE_MODELS
from stacking import StackingEnsemble
from stacking._earlier_names import MODULES as STACKING
from stacking.combiners.registry import create_method, list_methods
from stacking.metrics.gain_ladder import Ladder
from stacking.predictions import PredictionMetadata
from stacking.testing import make_predictions


@pytest.mark.parametrize("earlier", sorted({**STACKING, **BASE_MODELS}))
def test_every_place_named_exists(earlier):
    homes = {**STACKING, **BASE_MODELS}[earlier]
    for home in (homes,) if isinstance(homes, str) else homes:
        import_module(home)


EARLIER = {
    "stacking.methods": "create_method",
    "stacking.decision_rules.labelled_scores": "LabelledScores",
    "stacking.cross_fitting": "nested_decisions",
    "stacking.deadline": "within",
    "stacking.paired_gain": "paired_gain",
    "stacking.predictions.truth": "read_label_list",
    "stacking._kernels": "stratify",
    "stacking.ensemble": "StackingEnsemble",
    "base_models.data_config": "DataConfig",
    "base_models.member_config": "recipe_hash",
    "base_models.vocabulary": "load_vocabulary",
    "base_models.photos": "decode_photo",
}


def test_earlier_names_answer_and_warn():
    code = "\n".join(f"from {module} import {name}; {name}.__name__" for module, name in EARLIER.items())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("the earlier name goes with version") == len(EARLIER)
    assert done.stderr.count("FutureWarning") == len(EARLIER)


def test_every_earlier_module_can_be_imported_also_inside_an_earlier_package():
    names = sorted({**STACKING, **(BASE_MODELS if find_spec("torch") else {})})
    code = f"from importlib import import_module\nfor name in {names}:\n    import_module(name)"
    run = [sys.executable, "-W", "ignore::FutureWarning", "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


def test_the_earlier_counts_of_units_are_those_of_today():
    with pytest.warns(FutureWarning, match="is now stacking"):
        sys.modules.pop("stacking.paired_gain", None)
        from stacking.paired_gain import UnitCounts, count_units, paired_gain
    predictions = make_predictions(2, 60, 4)
    counts = count_units(np.ones((60, 4), dtype=bool), predictions)
    assert isinstance(counts, UnitCounts)
    assert counts.n_units == 60
    assert paired_gain(counts, counts).gain == 0.0


def test_the_earlier_folds_are_those_of_today():
    from stacking.folds import deal_folds

    predictions = make_predictions(2, 60, 4)
    with pytest.warns(FutureWarning, match="is now stacking"):
        sys.modules.pop("stacking.cross_fitting", None)
        from stacking.cross_fitting import make_folds, sample_rows
    assert np.array_equal(make_folds(predictions, 3), deal_folds(predictions.truth, 3))
    assert sample_rows(predictions, 20).n_samples == 20


def test_a_name_that_never_was_is_no_module():
    with pytest.raises(ModuleNotFoundError, match=r"stacking\.nowhere"):
        import_module("stacking.nowhere")
    import stacking.ensemble

    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = stacking.ensemble.Nothing


def test_what_is_gone_says_what_to_use_instead():
    with pytest.raises(ImportError, match=r"stacking\.calibration is gone: .* use StackingEnsemble\('logistic'\)"):
        from stacking.calibration import PlattScaling  # noqa: F401


def test_earlier_attributes_and_methods_answer_and_warn():
    predictions = make_predictions(2, 60, 3)
    folds = np.arange(60) % 3
    with pytest.warns(FutureWarning, match=r"PredictionSet\.facts is now metadata"):
        assert predictions.facts().keys() == predictions.metadata().keys()
    combiner = create_method("ridge-context")
    with pytest.warns(FutureWarning, match="is now fit_out_of_fold"):
        combiner, y_score = combiner.fit_cross_fitted(predictions, folds=folds)
    with pytest.warns(FutureWarning, match="is now predict_out_of_fold"):
        np.testing.assert_array_equal(combiner.cross_fit_predict(predictions, folds=folds), y_score)
    with pytest.warns(FutureWarning, match=r"RidgeContext\.fusing_ is now pool_weights_"):
        assert combiner.fusing_ is combiner.pool_weights_
    ladder = Ladder("a", 0.5, "b", 0.5, ())
    with pytest.warns(FutureWarning, match=r"Ladder\.rungs is now steps"):
        assert ladder.rungs == ()
    ensemble = StackingEnsemble("mean", n_splits=2)
    with pytest.warns(FutureWarning, match="is now fit_out_of_fold"):
        ensemble.fit_cross_fitted(predictions)
    with pytest.warns(FutureWarning, match="is now report_"):
        assert ensemble.report_["rungs"] == ensemble.report_["gain_steps"]
    with pytest.raises(KeyError, match="nothing"):
        _ = ensemble.report_["nothing"]


def test_earlier_keywords_and_public_names_answer_and_warn():
    with pytest.warns(FutureWarning, match="with_dear is now include_slow"):
        assert list_methods(with_dear=False) == list_methods(include_slow=False)
    with pytest.warns(FutureWarning, match="PredictionMetadata"):
        from stacking.predictions import PredictionFacts
    assert PredictionFacts is PredictionMetadata
    pytest.importorskip("torch")
    with pytest.warns(FutureWarning, match="factorize_co_occurrence"):
        from base_models.networks.heads import factorise_co_occurrence
    assert factorise_co_occurrence.__name__ == "factorize_co_occurrence"
