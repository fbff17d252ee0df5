"""The PredictionSet contract in memory: names, metadata, coverage, iterators, subsets, fingerprint."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacking.predictions import PredictionSet, as_prediction_set


def test_defaults():
    predictions = PredictionSet(np.full((2, 3, 4), 0.5))
    assert predictions.ids.tolist() == ["sample0", "sample1", "sample2"]
    assert predictions.models == ("model0", "model1")
    assert predictions.labels == ("label0", "label1", "label2", "label3")
    assert predictions.covers.shape == (2, 4) and predictions.covers.all()
    assert predictions.y_true is None and predictions.extras == {}
    assert (predictions.n_models, predictions.n_samples, predictions.n_labels) == (2, 3, 4)
    assert "2 models × 3 samples × 4 labels, without truth" in repr(predictions)


@pytest.mark.parametrize("convert", [
    lambda a: a.astype(np.float16), lambda a: a.astype(np.float64), lambda a: a.astype(">f4"), np.asfortranarray,
    lambda a: np.repeat(a, 2, axis=2)[:, :, ::2], lambda a: a.tolist(),
    lambda a: a.transpose(2, 1, 0).copy().transpose(2, 1, 0),
])  # fmt: skip
def test_every_numeric_layout_works(rng, convert):
    scores = (rng.integers(0, 5, (2, 3, 4)) / 4).astype(np.float32)
    found = PredictionSet(convert(scores)).to_array()
    assert found.dtype == np.float32 and found.flags.c_contiguous and found.dtype.isnative
    np.testing.assert_array_equal(found, scores)


@pytest.mark.parametrize("scores", [np.ones((1, 2, 2), bool), np.ones((1, 2, 2), np.int8)])
def test_decisions_are_scores_too(scores):
    assert PredictionSet(scores).to_array().tolist() == [[[1.0, 1.0], [1.0, 1.0]]]


def test_a_float32_array_is_not_copied(rng):
    scores = rng.random((2, 3, 4), dtype=np.float32)
    assert PredictionSet(scores).to_array() is scores


@pytest.mark.parametrize(("scores", "error", "message"), [
    (np.zeros((2, 3)), ValueError, r"y_scores must have three dimensions.*got shape \(2, 3\)"),
    (np.zeros((0, 3, 2)), ValueError, "at least one model, sample and label"),
    (np.array([[["a"]]]), TypeError, "y_scores must hold numbers: got dtype <U1"),
    (np.array([[[None]]]), TypeError, "y_scores must hold numbers: got dtype object"),
    (np.full((1, 1, 1), 1e300), ValueError, "beyond the range of float32"),
])  # fmt: skip
def test_scores_of_a_wrong_kind(scores, error, message):
    with pytest.raises(error, match=message):
        PredictionSet(scores)


@pytest.mark.parametrize(("value", "message"), [
    (np.nan, "the score must be a number, since the model covers this label: got NaN"),
    (1.5, r"a probability in \[0, 1\]: got 1.5\.$"),
    (-0.5, "got -0.5; the values look like logits: pass from_logits=True"),
    (87.0, "got 87.0; the values look like percentages: divide them by 100"),
    (np.inf, r"got inf\.$"),
    (-np.inf, r"got -inf\.$"),
])  # fmt: skip
def test_a_bad_score_is_named(rng, value, message):
    scores = rng.random((2, 5, 3))
    scores[1, 3, 2] = value
    with pytest.raises(ValueError, match="model 'm1', row '10', label 'c': .*" + message):
        PredictionSet(scores, np.arange(7, 12), ["m0", "m1"], ["a", "b", "c"])


def test_coverage_is_found_from_whole_columns_of_nan(rng):
    scores = rng.random((2, 5, 3))
    scores[0, :, 1] = np.nan
    assert PredictionSet(scores).covers.tolist() == [[True, False, True], [True, True, True]]


def test_coverage_given_must_agree_with_the_scores(rng):
    scores = rng.random((2, 5, 3))
    covers = np.ones((2, 3), bool)
    covers[1, 2] = False
    with pytest.raises(
        ValueError, match="model 'model1', row 'sample0', label 'label2': the score must be NaN, since covers"
    ):
        PredictionSet(scores, covers=covers)
    scores[1, :, 2] = np.nan
    assert not PredictionSet(scores, covers=covers).covers[1, 2]
    with pytest.raises(ValueError, match="model 'model1', row 'sample0', label 'label2': the score must be a number"):
        PredictionSet(scores, covers=np.ones((2, 3), bool))


@pytest.mark.parametrize(("metadata", "error", "message"), [
    ({"ids": ["a", "b"]}, ValueError, "ids must hold 3 names, as the scores do: got 2"),
    ({"ids": ["a", "b", "a"]}, ValueError, "ids must be unique: got 'a' 2 times"),
    ({"ids": ["a", "", "b"]}, ValueError, "ids must not be empty strings: got one at position 1"),
    ({"ids": [1.5, 2, 3]}, TypeError, "ids must be strings or integers: got 1.5 of type float"),
    ({"ids": ["a", None, "b"]}, TypeError, "ids must be strings or integers: got None"),
    ({"ids": ["a", "b\0", "c"]}, ValueError, "ids must not hold NUL characters"),
    ({"ids": "abc"}, TypeError, "ids must be a list of names: got the single string 'abc'"),
    ({"models": ["a", "a"]}, ValueError, "models must be unique"),
    ({"labels": ["a"]}, ValueError, "labels must hold 2 names"),
    ({"y_true": np.zeros((3, 3))}, ValueError, "y_true must have 2 columns: got 3"),
    ({"y_true": np.full((3, 2), 2)}, ValueError, "y_true must hold only 0 and 1: got 2 at row 0, column 0"),
    ({"y_true": np.full((3, 2), np.nan)}, ValueError, "y_true must hold only 0 and 1: got nan"),
    ({"y_known": np.zeros((2, 2))}, ValueError, "y_known must have 3 rows: got 2"),
    ({"sample_weight": [1, 1]}, ValueError, "sample_weight must hold one value per sample"),
    ({"sample_weight": [1, -1, 1]}, ValueError, "sample_weight must be finite and not negative: got -1.0 at row 1"),
    ({"sample_weight": [0, 0, 0]}, ValueError, "sample_weight must not be zero everywhere"),
    ({"groups": [1, 2]}, ValueError, "groups must hold one value per sample"),
    ({"groups": [1.0, 2.0, 3.5]}, TypeError, "groups must be integers, text or dates: got 3.5"),
    ({"folds": [0, 1, -2]}, ValueError, "folds must be integers from −1 up: got -2"),
    ({"folds": ["a", "b", "c"]}, ValueError, "folds must be integers"),
    ({"covers": np.ones((3, 2))}, ValueError, "covers must have 2 rows: got 3"),
    ({"label_groups": ["a"]}, ValueError, "label_groups must hold one group per label: got 1 for 2"),
    ({"train_frequency": [0.1]}, ValueError, "train_frequency must hold one value per label"),
    ({"train_frequency": [5, 7]}, ValueError, r"train_frequency must be shares in \[0, 1\]: got 5.0 to 7.0"),
])  # fmt: skip
def test_metadata_are_checked(metadata, error, message):
    with pytest.raises(error, match=message):
        PredictionSet(np.full((2, 3, 2), 0.5), **metadata)


@pytest.mark.parametrize(("ids", "expected"), [
    ([7, 8], ["7", "8"]), (["007", "NA"], ["007", "NA"]), (np.array([b"a", b"b"]), ["a", "b"]),
    (np.array(["x", "y"], object), ["x", "y"]), ([np.int64(3), "4"], ["3", "4"]),
])  # fmt: skip
def test_ids_become_text(ids, expected):
    found = PredictionSet(np.zeros((1, 2, 1)), ids).ids
    assert found.tolist() == expected and found.dtype.kind == "U"


@pytest.mark.parametrize("block", [None, 1, 7, 40, 100])
def test_iter_rows(full_set, block):
    blocks = list(full_set.iter_rows(block))
    assert [rows.start for rows, _ in blocks] == list(range(0, 40, block or 40))
    assert all(scores.flags.c_contiguous and scores.dtype == np.float32 for _, scores in blocks)
    np.testing.assert_array_equal(np.concatenate([scores for _, scores in blocks], axis=1), full_set.to_array())


@pytest.mark.parametrize("block", [1, 2, 5, 6, 9])
def test_iter_labels(full_set, block):
    blocks = list(full_set.iter_labels(block))
    assert [labels.start for labels, _ in blocks] == list(range(0, 6, block))
    assert all(scores.flags.c_contiguous and scores.shape[:2] == (3, 40) for _, scores in blocks)
    np.testing.assert_array_equal(np.concatenate([scores for _, scores in blocks], axis=2), full_set.to_array())


@pytest.mark.parametrize("method", ["iter_rows", "iter_labels"])
def test_a_block_must_be_positive(full_set, method):
    with pytest.raises(ValueError, match="block must be at least 1: got 0"):
        list(getattr(full_set, method)(0))


def test_iter_labels_goes_in_panels_when_memory_is_short(full_set, monkeypatch):
    monkeypatch.setattr("stacking.predictions.score_reader.BLOCK_BYTES", 3 * 40 * 4 * 2)
    for block in (1, 2, 4):
        found = np.concatenate([scores for _, scores in full_set.iter_labels(block)], axis=2)
        np.testing.assert_array_equal(found, full_set.to_array())


def test_model_scores(full_set):
    np.testing.assert_array_equal(full_set.model_scores("résumé"), full_set.to_array()[1])
    np.testing.assert_array_equal(full_set.model_scores(2), full_set.to_array()[2])
    with pytest.raises(ValueError, match=r"models must be among the set's 3: got 'resume'\. Did you mean 'résumé'\?"):
        full_set.model_scores("resume")


def test_subset_selects_everything_alike(full_set):
    rows, labels = [5, 3, 30], ["x|y", "dress"]
    part = full_set.subset(samples=rows, models=["specialist", "cnn/a"], labels=labels)
    np.testing.assert_array_equal(part.to_array(), full_set.to_array()[np.ix_([2, 0], rows, [5, 0])])
    assert part.ids.tolist() == ["005", "003", "030"]
    assert (part.models, part.labels, part.label_groups) == (
        ("specialist", "cnn/a"),
        ("x|y", "dress"),
        ("kind", "kind"),
    )
    for name in ("y_true", "y_known"):
        np.testing.assert_array_equal(getattr(part, name), getattr(full_set, name)[np.ix_(rows, [5, 0])])
    for name in ("sample_weight", "groups", "folds"):
        np.testing.assert_array_equal(getattr(part, name), getattr(full_set, name)[rows])
    np.testing.assert_array_equal(part.covers, full_set.covers[np.ix_([2, 0], [5, 0])])
    np.testing.assert_array_equal(part.train_frequency, full_set.train_frequency[[5, 0]])
    assert part.extras == full_set.extras


def test_subset_takes_masks_slices_positions_and_tuples(full_set):
    whole = full_set.to_array()
    np.testing.assert_array_equal(
        full_set.subset(samples=full_set.folds != 2).to_array(), whole[:, full_set.folds != 2]
    )
    np.testing.assert_array_equal(full_set.subset(samples=slice(3, 20, 4)).to_array(), whole[:, 3:20:4])
    np.testing.assert_array_equal(full_set.subset(labels=(2, "red")).to_array(), whole[:, :, [2, 1]])
    np.testing.assert_array_equal(full_set.subset(models=[True, False, True]).to_array(), whole[[0, 2]])
    np.testing.assert_array_equal(full_set.subset(samples=[1, 1, 0]).to_array(), whole[:, [1, 1, 0]])
    np.testing.assert_array_equal(full_set.subset(models=np.array(["cnn/a"])).to_array(), whole[:1])
    assert full_set.subset().to_array() is whole


@pytest.mark.parametrize(("selection", "error", "message"), [
    ({"samples": []}, ValueError, "samples must select something: got an empty selection of 40"),
    ({"samples": [40]}, ValueError, "samples must lie in 0 … 39: got 40 to 40"),
    ({"samples": [-1]}, ValueError, "samples must lie in 0 … 39: got -1"),
    ({"samples": np.ones(39, bool)}, ValueError, "samples as a mask must have 40 entries: got 39"),
    ({"samples": [0.5]}, TypeError, "samples must be positions, names or a mask: got dtype float64"),
    ({"samples": [[1]]}, ValueError, "samples must be one-dimensional"),
    ({"models": "cnn/a"}, TypeError, "models must be a list: got the single name 'cnn/a'"),
    ({"models": ["cnn/a", 0]}, ValueError, "models must be selected once each"),
    ({"labels": ["dres"]}, ValueError, r"labels must be among the set's 6: got 'dres'\. Did you mean 'dress'\?"),
])  # fmt: skip
def test_subset_refuses(full_set, selection, error, message):
    with pytest.raises(error, match=message):
        full_set.subset(**selection)


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_subsets_compose(data):
    scores = np.random.default_rng(0).random((3, 7, 5), dtype=np.float32)
    first, expected = PredictionSet(scores), scores
    for _ in range(3):
        sizes = expected.shape
        models = data.draw(st.lists(st.integers(0, sizes[0] - 1), min_size=1, unique=True))
        samples = data.draw(st.lists(st.integers(0, sizes[1] - 1), min_size=1, max_size=9))
        labels = data.draw(st.lists(st.integers(0, sizes[2] - 1), min_size=1, unique=True))
        first = first.subset(samples=samples, models=models, labels=labels)
        expected = expected[np.ix_(models, samples, labels)]
    np.testing.assert_array_equal(first.to_array(), expected)
    np.testing.assert_array_equal(np.concatenate([s for _, s in first.iter_labels(2)], axis=2), expected)
    np.testing.assert_array_equal(np.concatenate([s for _, s in first.iter_rows(2)], axis=1), expected)
    assert not hasattr(first.source.base, "base")


def test_in_memory_and_truth_leave_the_original(full_set):
    part = full_set.subset(samples=[1, 2])
    loaded = part.in_memory()
    np.testing.assert_array_equal(loaded.to_array(), part.to_array())
    assert loaded.to_array() is loaded.to_array() and part.to_array() is not part.to_array()
    other = part.with_truth(np.ones((2, 6)))
    assert other.y_true.all() and other.y_known is None and part.y_known is not None
    with pytest.raises(ValueError, match="y_true must have 2 rows: got 3"):
        part.with_truth(np.ones((3, 6)))


def test_inputs_are_not_changed(rng):
    scores, truth = rng.random((2, 5, 3), dtype=np.float32), rng.integers(0, 2, (5, 3), dtype=np.uint8)
    scores[0, :, 1] = np.nan
    before = scores.copy(), truth.copy()
    predictions = PredictionSet(scores, y_true=truth)
    _ = predictions.fingerprint, predictions.subset(samples=[0]).to_array(), list(predictions.iter_labels())
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(truth, before[1])


def test_fingerprint_tells_contents_apart(full_set):
    reference = full_set.fingerprint
    assert len(reference) == 64
    assert full_set.in_memory().fingerprint == reference == full_set.subset(samples=slice(None)).fingerprint
    scores = full_set.to_array().copy()
    scores[0, 0, 0] = 0.123
    metadata = full_set.metadata()
    names = (full_set.ids, full_set.models, full_set.labels)
    others = [
        PredictionSet(scores, *names, **metadata),
        PredictionSet(full_set.to_array(), full_set.ids, ["a", "b", "c"], full_set.labels, **metadata),
        full_set.with_truth(1 - full_set.y_true, full_set.y_known),
        full_set.with_truth(full_set.y_true),
        full_set.subset(samples=np.arange(39)),
        full_set.subset(models=[1, 0, 2]),
    ]
    assert len({reference, *(other.fingerprint for other in others)}) == 7


def test_fingerprint_ignores_which_nan_it_is(rng):
    scores = rng.random((1, 3, 2), dtype=np.float32)
    scores[0, :, 0] = np.nan
    other = scores.copy()
    other.view(np.uint32)[0, :, 0] |= 0x80000001
    assert np.isnan(other[0, :, 0]).all() and other.tobytes() != scores.tobytes()
    assert PredictionSet(scores).fingerprint == PredictionSet(other).fingerprint


def test_a_set_can_be_pickled(full_set, same_sets):
    same_sets(pickle.loads(pickle.dumps(full_set.subset(samples=[3, 4]))), full_set.subset(samples=[3, 4]))


def test_as_prediction_set(full_set, rng):
    assert as_prediction_set(full_set) is full_set
    truth = np.zeros((40, 6))
    assert not as_prediction_set(full_set, truth).y_true.any() and full_set.y_true.any()
    matrix = rng.random((4, 2))
    assert as_prediction_set(matrix).models == ("model0",)
    assert as_prediction_set(matrix[None], np.ones((4, 2))).y_true.all()
    with pytest.raises(ValueError, match="y_scores must have three dimensions"):
        as_prediction_set(matrix[0])
