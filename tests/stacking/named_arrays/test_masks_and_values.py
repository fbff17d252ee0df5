"""A mask is kept or refused; values that are no 0 and 1 are refused by name in every entry, whatever holds them."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from stacking import (
    PredictionSet,
    SoftVoting,
    StackingEnsemble,
    StackingMultilabelClassifier,
    WeightedVoting,
    compare,
    metrics,
    tune_thresholds,
)
from stacking.decision_rules import apply_thresholds
from stacking.folds import stratified_group_folds

RNG = np.random.default_rng(1)
N = 40
TRUTH = (RNG.random((N, 2)) < 0.5).astype(int)
SCORES = np.clip(0.3 * TRUTH + 0.7 * RNG.random((2, N, 2)), 0, 1).astype(np.float32)
UNKNOWN = RNG.random((N, 2)) < 0.2
HIDDEN = np.where(UNKNOWN, 7, TRUTH)  # what lies under a mask means nothing
MASKED = np.ma.masked_array(HIDDEN, mask=UNKNOWN)

WITH_MASK = {
    "PredictionSet": lambda y, **k: PredictionSet(SCORES, y_true=y, **k).y_known.tolist(),
    "with_truth": lambda y, **k: PredictionSet(SCORES).with_truth(y, **k).y_known.tolist(),
    "micro_f1": lambda y, **k: metrics.micro_f1(y, SCORES[0] > 0.5, **k),
    "log_loss": lambda y, **k: metrics.log_loss(y, SCORES[0], **k),
    "tune_thresholds": lambda y, **k: tune_thresholds(SCORES[0], y, **k).tolist(),
}


@pytest.mark.parametrize("entry", WITH_MASK)
def test_the_mask_of_a_truth_is_what_is_not_known(entry):
    call = WITH_MASK[entry]
    right = call(np.where(UNKNOWN, 0, TRUTH), y_known=~UNKNOWN)
    assert call(MASKED) == right
    assert call(MASKED.astype(float)) == right
    other = RNG.random((N, 2)) < 0.8
    assert call(MASKED, y_known=other) == call(TRUTH * ~UNKNOWN, y_known=other & ~UNKNOWN)
    assert call(np.ma.masked_array(TRUTH, mask=False), y_known=other) == call(TRUTH, y_known=other)


BLANKS = {
    "float": lambda gaps: gaps,
    "nullable": lambda gaps: gaps.astype("Int64"),
    "object": lambda gaps: gaps.astype(object),
}


@pytest.mark.parametrize("form", BLANKS)
@pytest.mark.parametrize("entry", WITH_MASK)
def test_blank_cells_of_a_frame_are_not_known_as_in_a_file(entry, form):
    right = WITH_MASK[entry](np.where(UNKNOWN, 0, TRUTH), y_known=~UNKNOWN)
    gaps = BLANKS[form](pd.DataFrame(np.where(UNKNOWN, np.nan, TRUTH), columns=["label0", "label1"]))
    other = RNG.random((N, 2)) < 0.8
    with pytest.warns(
        UserWarning, match=f"y_true: {UNKNOWN.sum()} blank cells count as labels that were not annotated"
    ):
        assert WITH_MASK[entry](gaps) == right
    with pytest.warns(UserWarning, match="blank cells"):
        found = WITH_MASK[entry](gaps, y_known=other)
    assert found == WITH_MASK[entry](TRUTH * ~UNKNOWN, y_known=other & ~UNKNOWN)


def test_ensembles_and_comparisons_keep_the_mask():
    known = PredictionSet(SCORES, y_true=TRUTH * ~UNKNOWN, y_known=~UNKNOWN)
    right = StackingEnsemble("mean").fit(known).report_["cross_fitted_micro_f1"]
    assert StackingEnsemble("mean").fit(SCORES, MASKED).report_["cross_fitted_micro_f1"] == right
    right = compare(known, ["mean"], n_splits=2, n_bootstrap=5).table["score"].tolist()
    assert compare(SCORES, ["mean"], y_true=MASKED, n_splits=2, n_bootstrap=5).table["score"].tolist() == right
    assert WeightedVoting().fit(SCORES, MASKED).loss_ == WeightedVoting().fit(known).loss_


def test_a_masked_score_is_a_missing_one():
    mask = np.zeros(SCORES.shape, bool)
    mask[1, :, 1] = True
    for scores in (np.ma.masked_array(SCORES, mask=mask), [SCORES[0], np.ma.masked_array(SCORES[1], mask=mask[1])]):
        assert PredictionSet(scores).covers.tolist() == [[True, True], [True, False]]
    mask[0, 3, 0] = True
    with pytest.raises(ValueError, match=r"model 'model0', row 'sample3', label 'label0': .*got NaN"):
        PredictionSet(np.ma.masked_array(SCORES, mask=mask))
    ensemble = StackingEnsemble("mean").fit(SCORES, TRUTH)
    with pytest.raises(ValueError, match="row 'sample3', label 'label0'"):
        ensemble.predict(np.ma.masked_array(SCORES, mask=mask))


HALF = np.arange(N) % 2 == 0
ROWS = np.ma.masked_array(np.ones(N, int), mask=HALF)
CELLS = np.ma.masked_array(TRUTH, mask=UNKNOWN)
REFUSED = {
    "y_pred": lambda: metrics.micro_f1(TRUTH, CELLS),
    "y_known": lambda: metrics.micro_f1(TRUTH, TRUTH, y_known=CELLS),
    "sample_weight": lambda: metrics.micro_f1(TRUTH, TRUTH, sample_weight=ROWS),
    "y_score": lambda: tune_thresholds(np.ma.masked_array(SCORES[0], mask=UNKNOWN), TRUTH),
    "folds": lambda: PredictionSet(SCORES, folds=ROWS),
    "covers": lambda: PredictionSet(SCORES, covers=np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2))),
    "ids": lambda: PredictionSet(SCORES, ids=np.ma.masked_array(np.arange(N), mask=HALF)),
    "train_frequency": lambda: PredictionSet(SCORES, train_frequency=np.ma.masked_array([0.1, 0.2], mask=[0, 1])),
    "thresholds": lambda: apply_thresholds(SCORES[0], np.ma.masked_array([0.1, 0.2], mask=[0, 1])),
    "weights": lambda: SoftVoting(weights=np.ma.masked_array([0.5, 0.5], mask=[0, 1])).fit(SCORES),
    "y_true": lambda: stratified_group_folds(CELLS, 2),
}


def test_a_masked_group_is_blank():
    groups = np.ma.masked_array(np.zeros(N, int), mask=HALF)
    found = PredictionSet(SCORES, y_true=TRUTH, groups=groups)
    assert found.truth.n_units == HALF.sum() + 1
    assert PredictionSet(SCORES, y_true=TRUTH).with_groups(groups).truth.n_units == HALF.sum() + 1


@pytest.mark.parametrize("argument", REFUSED)
def test_every_other_mask_is_refused(argument):
    with pytest.raises(ValueError, match=f"{argument} must not hold masked values: got [0-9]+ of [0-9]+"):
        REFUSED[argument]()


ENTRIES = {
    "PredictionSet": lambda y: PredictionSet(SCORES, y_true=y),
    "ensemble": lambda y: StackingEnsemble("mean").fit(SCORES, y),
    "combiner": lambda y: SoftVoting().fit(SCORES, y),
    "compare": lambda y: compare(SCORES, ["mean"], y_true=y),
    "micro_f1": lambda y: metrics.micro_f1(y, TRUTH),
    "log_loss": lambda y: metrics.log_loss(y, SCORES[0]),
    "y_pred": lambda y: metrics.micro_f1(TRUTH, y),
    "y_known": lambda y: metrics.micro_f1(TRUTH, TRUTH, y_known=y),
    "tune_thresholds": lambda y: tune_thresholds(SCORES[0], y),
    "folds": lambda y: stratified_group_folds(y, 2),
    "classifier": lambda y: StackingMultilabelClassifier([("a", DecisionTreeClassifier())], "mean").fit(SCORES[0], y),
}
TAKES_BLANKS = {"PredictionSet", "ensemble", "combiner", "compare", "micro_f1", "log_loss", "tune_thresholds"}
CODES = {
    "-1/1": (2 * TRUTH - 1, "-1"),
    "1/2": (TRUTH + 1, "2"),
    "0/256": (TRUTH * 256, "256"),
    "0/256 in int16": ((TRUTH * 256).astype(np.int16), "256"),
    "0/255 in uint8": ((TRUTH * 255).astype(np.uint8), "255"),
    "-1 in int8": (-TRUTH.astype(np.int8), "-1"),
    "halves": (TRUTH / 2, r"0\.5"),
    "NaN": (np.where(UNKNOWN, np.nan, TRUTH), "(?i:nan)"),
    "text booleans": (np.where(TRUTH, "True", "False"), "True"),
    "text numbers": (TRUTH.astype(str), "1"),
    "yes and no": (np.where(TRUTH, "yes", "no").astype(object), "yes"),
    "None": (np.where(UNKNOWN, None, TRUTH), "None"),
}
CONTAINERS = {
    "array": lambda values: values,
    "list": lambda values: values.tolist(),
    "frame": pd.DataFrame,
    "categories": lambda values: pd.DataFrame(values).astype("category"),
    "nullable": lambda values: pd.DataFrame(values).convert_dtypes(),
    "pyarrow": lambda values: pd.DataFrame(values).convert_dtypes(dtype_backend="pyarrow"),
}


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("entry", ENTRIES)
def test_other_codes_are_refused_naming_the_values(entry, container):
    for code, (values, named) in CODES.items():
        if container == "list" and "int8" in code:
            continue
        if code == "None" and container not in ("array", "list"):
            named = "(?i:nan|None)"
        given = CONTAINERS[container](values)
        if code in ("NaN", "None") and container not in ("array", "list") and entry in TAKES_BLANKS:
            continue  # blank cells of a frame are not known, as in a file: see above
        with pytest.raises((ValueError, TypeError), match=named) as caught, warnings.catch_warnings():
            warnings.simplefilter("error")
            ENTRIES[entry](given)
        text = str(caught.value)
        assert "y" in text and "\n" not in text, (code, text)


@pytest.mark.parametrize("entry", ENTRIES)
def test_zeros_and_ones_of_every_type_are_taken(entry):
    right = ENTRIES[entry](TRUTH)
    frame = pd.DataFrame(TRUTH)
    for given in (
        frame.astype("Int64"), frame.astype("boolean"), frame.astype("int64[pyarrow]"), frame.astype("category"),
        frame.astype("Sparse[int]"), TRUTH.astype(object),
        frame.astype({0: bool}), frame.astype({0: float}), frame.convert_dtypes(), TRUTH.astype(bool).tolist(),
    ):  # fmt: skip
        found = ENTRIES[entry](given)
        if isinstance(right, float | np.ndarray):
            np.testing.assert_array_equal(found, right)
        elif isinstance(right, PredictionSet):
            np.testing.assert_array_equal(found.y_true, right.y_true)
