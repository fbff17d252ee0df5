"""What version 0.1 called a module still answers, with a warning that says where it lives now."""

import subprocess
import sys
from importlib import import_module

import numpy as np
import pytest

from base_models._earlier_names import MODULES as BASE_MODELS
from stacking._earlier_names import MODULES as STACKING
from stacking.testing import make_predictions


@pytest.mark.parametrize("earlier", sorted({**STACKING, **BASE_MODELS}))
def test_every_place_named_exists(earlier):
    homes = {**STACKING, **BASE_MODELS}[earlier]
    for home in (homes,) if isinstance(homes, str) else homes:
        import_module(home)


EARLIER = {
    "stacking.methods": "create_method",
    "stacking.cross_fitting": "nested_decisions",
    "stacking.paired_gain": "count_units",
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
