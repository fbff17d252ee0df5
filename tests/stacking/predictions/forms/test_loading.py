"""Tables, raw matrices, truths and label lists are brought together by name."""

import numpy as np
import pandas as pd
import pytest

from stacking.predictions import PredictionSet, align_predictions, load_predictions, save_predictions
from stacking.predictions.forms.name_lists import read_ids, read_label_list
from stacking.predictions.forms.tables import read_header_row, read_numbers
from stacking.predictions.forms.truth import read_truth

IDS = ["007", "NA", "7"]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def a(tmp_path):
    return write(tmp_path / "a.csv", "id,dress,red\n007,0.1,0.2\nNA,0.3,0.4\n7,0.5,0.6\n")


@pytest.fixture
def b(tmp_path):
    """The same samples and labels in another order."""
    return write(tmp_path / "b.csv", "photo,red,dress\n7,0.9,0.8\n007,0.7,0.6\nNA,0.5,0.4\n")


def test_tables_are_aligned_by_id_and_label(a, b):
    found = load_predictions(models=[a, ("second", b)])
    assert found.ids.tolist() == IDS and found.models == ("a", "second") and found.labels == ("dress", "red")
    expected = [[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], [[0.6, 0.7], [0.4, 0.5], [0.8, 0.9]]]
    np.testing.assert_array_equal(found.to_array(), np.array(expected, np.float32))


def test_the_lists_decide_the_order(a, b, tmp_path):
    ids = write(tmp_path / "ids.txt", "NA\n7\n007\n")
    labels = write(tmp_path / "labels.csv", "labelId,name,group\n12,red,color\n3,dress,kind\n")
    found = load_predictions(models=[a, b], ids=ids, labels=labels)
    assert found.ids.tolist() == ["NA", "7", "007"] and found.labels == ("red", "dress")
    assert found.label_groups == ("color", "kind")
    np.testing.assert_allclose(found.model_scores("a"), [[0.4, 0.3], [0.6, 0.5], [0.2, 0.1]], rtol=1e-6)


@pytest.mark.parametrize("suffix", [".tsv", ".csv.gz", ".parquet"])
def test_other_tables(tmp_path, suffix):
    frame = pd.DataFrame({"id": IDS, "dress": [0.1, 0.3, 0.5], "red": [0.2, 0.4, np.nan]})
    path = tmp_path / f"model.one{suffix}"
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
        frame.set_index("id").to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == ".tsv" else ",")
    table = read_numbers(path)
    assert table.ids.tolist() == IDS and table.columns == ("dress", "red")
    np.testing.assert_array_equal(table.values, frame[["dress", "red"]].to_numpy(np.float32))
    with pytest.raises(ValueError, match=r"model 'model\.one', row '7', label 'red': the score must be a number"):
        load_predictions(models=[path])


def test_an_empty_column_is_a_label_not_covered(a, tmp_path):
    part = write(tmp_path / "part.csv", "id,red,dress\n007,0.7,\nNA,0.5,NaN\n7,0.9,\n")
    found = load_predictions(models=[a, part])
    assert found.covers.tolist() == [[True, True], [False, True]]
    assert np.isnan(found.to_array()[1, :, 0]).all()


def test_a_missing_column_is_a_label_not_covered(a, tmp_path):
    part = write(tmp_path / "part.csv", "id,red\n7,0.9\n007,0.7\nNA,0.5\n")
    found = load_predictions(models=[a, part], labels=["dress", "red"])
    assert found.covers.tolist() == [[True, True], [False, True]]
    np.testing.assert_array_equal(
        found.to_array()[1], np.array([[np.nan, 0.7], [np.nan, 0.5], [np.nan, 0.9]], np.float32)
    )
    with pytest.warns(UserWarning, match="models name different labels, such as 'dress' of 'part': all are kept"):
        load_predictions(models=[a, part])
    with pytest.warns(UserWarning, match="no model answers 1 labels: 'dress'"):
        load_predictions(models=[part], labels=["dress", "red"])


@pytest.mark.parametrize(("text", "message"), [
    ("id,dress,red\n007,1,1\nNA,1,1\n", "model 'x' lacks 1 of 3 rows, first row '7'"),
    ("id,dress,red\n007,1,1\nNA,1,1\n7,1,1\n8,1,1\n", "model 'x' has 1 rows that the others lack, first row '8'"),
    ("id,dress,red\n007,1,1\nNA,1,1\n7,1,1\n7,1,1\n", r"x\.csv: ids must be unique: got '7' 2 times"),
    ("id,dress,rad\n007,1,1\nNA,1,1\n7,1,1\n", r"model 'x' has 1 unknown labels, .*'rad'.* Did you mean 'red'\?"),
    ("id,dress,dress\n007,1,1\n", r"x\.csv must name every column once: got 'dress' twice"),
    ("id,dress,red\n007,1,oops\n", r"x\.csv, row '007', column 'red': the cell must be a number: got 'oops'"),
    ("id,dress,red\n007,1,1,1\n", r"x\.csv must be a table with equally long rows"),
    ("id,dress,red\n0,1,1,\n1,1,1,\n", r"x\.csv must be a table with equally long rows"),
    ("id,dress,red\n007,1,1\nNA,1,1,1\n", r"x\.csv must be a table with equally long rows"),
    ("id,dress,red\n007,1,1\nNA,1,1\n7,1\n", "model 'x', row '7', label 'red': the score must be a number"),
    ("id,dress,red\n007,1,1\nNA,1,1\n7,1,4\n", "model 'x', row '7', label 'red': .*got 4.0"),
    ("id,dress,red\n007,1,1\nNA,1,1\n7,1,inf\n", "model 'x', row '7', label 'red': .*got inf"),
    ("id,dress,red\n007,1,1\nNA,1,1\n7,1,-2\n", "model 'x', row '7', label 'red': .*got -2.0; .*from_logits=True"),
    ("id,dress,red\n", r"x\.csv must hold at least one row"),
    ("id\n007\n", r"x\.csv must have an id column and at least one more"),
    ("", r"x\.csv must hold a table: it is empty"),
    (",id,red\n0,007,1\n1,NA,1\n", r"x\.csv must hold the ids in its first column: got row numbers there and 'id'"),
    ("007,0.125,0.8125\nNA,0.5,0.5\n", r"x\.csv must name its columns in the first row: got numbers such as '0.125'"),
    ("id,dress,red\n7,1,1\nNA,1,1\n07,1,1\n", "'007' and '7' differ by zeros in front: write ids as text everywhere"),
    ("id,dress,red\n007,1,1\nNA,1,1\n7,1,1.0000001\n", r"by rounding only: clip the scores to \[0, 1\]"),
])  # fmt: skip
def test_bad_tables(a, tmp_path, text, message):
    path = write(tmp_path / "x.csv", text)
    with pytest.raises(ValueError, match=message):
        load_predictions(models=[a, path], labels=["dress", "red"])


def test_encodings(a, tmp_path):
    path = tmp_path / "bom.csv"
    path.write_bytes(b"\xef\xbb\xbf" + a.read_bytes())
    assert read_header_row(path) == ("id", "dress", "red")
    path.write_bytes("id,größe\n1,0.5\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"bom\.csv must be UTF-8 text"):
        load_predictions(models=[path])


def test_logits_in_tables(tmp_path):
    path = write(tmp_path / "x.csv", "id,a\n1,0\n2,-1000\n")
    assert load_predictions(models=[path], from_logits=True).to_array().ravel().tolist() == [0.5, 0.0]


def test_raw_matrices_stay_on_disk(rng, tmp_path):
    scores = rng.random((2, 5, 3), dtype=np.float32)
    scores[1][:, 2] = np.nan
    np.save(tmp_path / "m.npy", scores[0])
    np.save(tmp_path / "n.npy", np.asfortranarray(scores[1].astype(">f8")))
    names = {"ids": list("abcde"), "labels": ["x", "y", "z"]}
    found = load_predictions(models=[tmp_path / "m.npy", ("other", tmp_path / "n.npy")], **names)
    assert found.models == ("m", "other") and type(found.source).__name__ == "StackedSource"
    np.testing.assert_array_equal(found.to_array(), scores)
    assert found.covers.tolist() == [[True] * 3, [True, True, False]]
    logits = np.log(scores[0] / (1 - scores[0]))
    np.save(tmp_path / "l.npy", logits)
    again = load_predictions(models=[tmp_path / "l.npy"], from_logits=True, **names)
    np.testing.assert_allclose(again.to_array()[0], scores[0], rtol=1e-5)


@pytest.mark.parametrize(("row", "column", "value", "message"), [
    (3, 1, np.nan, "model 'm', row 'd', label 'y': the score must be a number"),
    (4, 2, 7.0, "model 'm', row 'e', label 'z': .*got 7.0"),
    (4, 2, -7.0, "model 'm', row 'e', label 'z': .*got -7.0; .*from_logits"),
])  # fmt: skip
def test_bad_raw_matrices(rng, tmp_path, monkeypatch, row, column, value, message):
    monkeypatch.setattr("stacking.predictions.alignment.rows_per_block", lambda columns: 2)
    scores = rng.random((5, 3))
    scores[row, column] = value
    np.save(tmp_path / "m.npy", scores)
    with pytest.raises(ValueError, match=message):
        load_predictions(models=[tmp_path / "m.npy"], ids=list("abcde"), labels=["x", "y", "z"])


def test_raw_matrices_need_names(rng, tmp_path):
    np.save(tmp_path / "m.npy", rng.random((5, 3)))
    with pytest.raises(ValueError, match=r"m\.npy is a matrix without names: .* ids= and labels="):
        load_predictions(models=[tmp_path / "m.npy"], ids=list("abcde"))
    with pytest.raises(
        ValueError, match=r"model 'm' must have 5 rows and 4 columns, as ids and labels say: .* has 5 and 3"
    ):
        load_predictions(models=[tmp_path / "m.npy"], ids=list("abcde"), labels=list("wxyz"))


@pytest.mark.parametrize("text", [
    "id,labels\n7,red|dress\n007,\nNA,dress\n",
    "photo,labelIds,group\n7,3 12,g1\n007,,g2\nNA,3,g2\n",
    "id,dress,red\n7,1,1\n007,0,0\nNA,1,0\n",
    "id,red,dress\nNA,0,1\n007,0,0\n7,1,1\n",
    "id,labels\n7,dress red\n007,\nNA,dress\n",
])  # fmt: skip
def test_truth_in_many_forms(a, b, tmp_path, text):
    labels = write(tmp_path / "labels.csv", "labelId,labelName,taskName\n3,dress,kind\n12,red,color\n")
    found = load_predictions(models=[a, b], truth=write(tmp_path / "truth.csv", text), labels=labels)
    assert found.y_true.tolist() == [[0, 0], [1, 0], [1, 1]] and found.y_known is None
    if "group" in text:
        assert found.groups.tolist() == ["g2", "g2", "g1"]


def test_truth_as_arrays(a, tmp_path):
    truth = np.array([[0, 0], [1, 0], [1, 1]])
    np.save(tmp_path / "t.npy", truth)
    np.savez(tmp_path / "t.npz", y_true=truth[::-1], ids=IDS[::-1], labels=["dress", "red"], groups=np.arange(3))
    names = {"ids": IDS, "labels": ["dress", "red"]}
    assert load_predictions(models=[a], truth=tmp_path / "t.npy", **names).y_true.tolist() == truth.tolist()
    assert load_predictions(models=[a], truth=truth, **names).y_true.tolist() == truth.tolist()
    found = load_predictions(models=[a], truth=tmp_path / "t.npz")
    assert found.y_true.tolist() == truth.tolist() and found.groups.tolist() == [2, 1, 0]
    with pytest.raises(ValueError, match=r"t\.npy has no names of rows and columns: give them as ids= and labels="):
        load_predictions(models=[a], truth=tmp_path / "t.npy")


def test_truth_for_a_bundle(full_set, tmp_path):
    path = save_predictions(full_set, tmp_path / "store")
    found = load_predictions(path, truth=1 - full_set.y_true)
    np.testing.assert_array_equal(found.y_true, 1 - full_set.y_true)
    assert found.y_known is None
    frame = pd.DataFrame(full_set.y_true, full_set.ids, full_set.labels).iloc[::-1]
    frame.to_csv(tmp_path / "t.csv", index_label="id")
    np.testing.assert_array_equal(load_predictions(path, truth=tmp_path / "t.csv").y_true, full_set.y_true)


def test_names_of_several_words_need_no_list(tmp_path):
    scores = write(tmp_path / "a.csv", "id,size 7,red\n1,0.5,0.5\n2,0.5,0.5\n")
    truth = write(tmp_path / "t.csv", "id,labels\n1,size 7\n2,red\n")
    assert load_predictions(models=[scores], truth=truth).y_true.tolist() == [[1, 0], [0, 1]]


def test_blank_truth_is_not_known(a, tmp_path):
    truth = write(tmp_path / "t.csv", "id,dress,red\n7,1,\n007,0,0\nNA,,1\n")
    with pytest.warns(UserWarning, match="2 blank cells count as labels that were not annotated"):
        found = load_predictions(models=[a], truth=truth)
    assert found.y_true.tolist() == [[0, 0], [0, 1], [1, 0]]
    assert found.y_known.tolist() == [[True, True], [False, True], [True, False]]


@pytest.mark.parametrize(("text", "message"), [
    ("id,labels\n7,red\n007,\n", "truth lacks 1 of 3 rows, first row 'NA'"),
    ("id,labels\n7,red\n007,\nNA,\nextra,red\n", "truth has 1 rows that the others lack, first row 'extra'"),
    ("id,labels\n7,red\n7,\nNA,\n", r"t\.csv: ids must be unique: got '7' 2 times"),
    ("id,labels\n7,red|dres\n007,\nNA,\n", r"truth, row '7': label 'dres' must be .* Did you mean 'dress'\?"),
    ("id,dress,red\n7,1,2\n007,0,0\nNA,0,0\n", r"t\.csv must hold only 0 and 1: got 2"),
    ("id,dress,rot\n7,1,1\n007,0,0\nNA,0,0\n", "model 'a' has 1 unknown labels, first label 'red'"),
    ("id,dress,red\n7,1,0.5\n007,0,0\nNA,0,0\n", r"got 0\.5 at row 0, column 1; these look like scores"),
    ("id,labels\n7,red;dress\n007,red\nNA,dress&red\n", "row 'NA': label 'dress&red' must be one of the 2 known"),
    ("id,labels\n7,1 2\n007,\nNA,\n", "give a table with the columns labelId,labelName as labels="),
    ("id,styles\n7,red|dress\n007,\nNA,\n", "If 'styles' lists the labels of a sample, call it 'labels'"),
])  # fmt: skip
def test_bad_truths(a, tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_predictions(models=[a], truth=write(tmp_path / "t.csv", text))


def test_lists_of_labels_in_a_parquet_file_are_a_truth(a, tmp_path):
    pytest.importorskip("pyarrow")
    pd.DataFrame({"id": IDS, "labels": [["red"], [], ["red", "dress"]]}).to_parquet(tmp_path / "t.parquet")
    found = load_predictions(models=[a], truth=tmp_path / "t.parquet")
    assert found.y_true.tolist() == [[0, 1], [0, 0], [1, 1]]


def test_data_frames_are_matched_by_index_and_columns(a, b):
    frames = [pd.read_csv(path, index_col=0, dtype={0: str}, keep_default_na=False) for path in (a, b)]
    before = [frame.copy() for frame in frames]
    truth = pd.DataFrame({"red": [0, 1, 1], "dress": [True, False, True]}, index=["NA", "7", "007"])
    found = load_predictions(models=[("a", frames[0]), ("b", frames[1])], truth=truth)
    from_files = load_predictions(models=[a, b])
    assert found.models == ("a", "b") and found.ids.tolist() == IDS and found.labels == ("red", "dress")
    np.testing.assert_array_equal(found.subset(labels=["dress", "red"]).to_array(), from_files.to_array())
    assert found.y_true.tolist() == [[1, 1], [0, 1], [1, 0]]
    with pytest.warns(UserWarning, match="as probabilities do"):
        load_predictions(models=[("a", frames[0])], from_logits=True)
    for frame, old in zip(frames, before, strict=True):
        pd.testing.assert_frame_equal(frame, old)
    with pytest.raises(ValueError, match="models must name every data frame"):
        load_predictions(models=[frames[0]])
    read = load_predictions(models=[("a", frames[0].reset_index())])  # as read_csv gives it, the ids in a column
    assert read.ids.tolist() == frames[0].index.tolist() and read.labels == tuple(frames[0].columns)
    with pytest.raises(ValueError, match=r"model 'a' must hold numbers: .*set_index"):
        load_predictions(models=[("a", frames[0].assign(note="x"))])


def test_logits_of_some_models(a, tmp_path):
    logits = write(tmp_path / "z.csv", "id,dress,red\n007,-1,3\nNA,0,2\n7,-4,5\n")
    found = load_predictions(models=[a, logits], from_logits=["z"])
    np.testing.assert_allclose(found.model_scores("a")[0], [0.1, 0.2], rtol=1e-6)
    np.testing.assert_allclose(found.model_scores("z")[:, 0], 1 / (1 + np.exp([1.0, 0.0, 4.0])), rtol=1e-6)
    with pytest.raises(ValueError, match=r"from_logits .* got 'zz' beside 'a', 'z'\. Did you mean 'z'\?"):
        load_predictions(models=[a, logits], from_logits=["zz"])
    with pytest.raises(TypeError, match="from_logits must be a bool or a collection of names"):
        load_predictions(models=[a, logits], from_logits="z")
    with pytest.warns(UserWarning, match=r"model 'a': its logits all lie in \[0, 1\], as probabilities do"):
        load_predictions(models=[a, logits], from_logits=True)


def test_unused_columns_of_a_truth_are_said_aloud(a, tmp_path):
    truth = write(
        tmp_path / "t.csv", "id,labels,split,fold,sample_weight\n7,red,train,0,1\n007,,test,1,2\nNA,,test,2,.5\n"
    )
    with pytest.warns(UserWarning, match="columns 'split' are not used"):
        found = load_predictions(models=[a], truth=truth)
    assert found.folds.tolist() == [1, 2, 0] and found.sample_weight.tolist() == [2.0, 0.5, 1.0]


@pytest.mark.parametrize(("name", "text"), [
    ("i.txt", "007\nNA\n7\n"), ("i.json", '["007", "NA", "7"]'), ("i.csv", "id\n007\nNA\n7\n"),
    ("i2.csv", "id,x\n007,1\nNA,2\n7,3\n"),
])  # fmt: skip
def test_id_lists(tmp_path, name, text):
    assert read_ids(write(tmp_path / name, text)).tolist() == IDS
    assert read_ids(IDS).tolist() == IDS


def test_label_lists(tmp_path):
    np.save(tmp_path / "l.npy", np.array(["a", "b"]))
    assert read_label_list(tmp_path / "l.npy").names == ("a", "b")
    assert read_label_list(write(tmp_path / "l.txt", "a\nb c\n")).names == ("a", "b c")
    found = read_label_list(write(tmp_path / "l.csv", "labelId,labelName,taskName\n1,a,g\n2,b,h\n"))
    assert (found.names, found.ids, found.groups) == (("a", "b"), ("1", "2"), ("g", "h"))
    with pytest.raises(ValueError, match=r"m\.csv must have a column of label names \('name'\): it has 'x', 'y'"):
        read_label_list(write(tmp_path / "m.csv", "x,y\n1,2\n"))
    with pytest.raises(ValueError, match=r"n\.txt: labels must be unique: got 'a' 2 times"):
        read_label_list(write(tmp_path / "n.txt", "a\na\n"))
    with pytest.raises(ValueError, match=r"o\.json must be a JSON list"):
        read_label_list(write(tmp_path / "o.json", "{"))
    with pytest.raises(ValueError, match=r"p\.txt: labels must hold at least one name"):
        read_label_list(write(tmp_path / "p.txt", "\n"))
    (tmp_path / "q.txt").write_bytes("grün\nblau\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"q\.txt must be UTF-8 text"):
        read_label_list(tmp_path / "q.txt")
    with pytest.raises(FileNotFoundError, match="label list must be an existing file"):
        read_label_list(tmp_path / "none.txt")


def test_other_truth_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"truth must be a \.csv, .* file: got 't\.xlsx'"):
        read_truth(write(tmp_path / "t.xlsx", "x"))
    with pytest.raises(FileNotFoundError, match="truth must be an existing file"):
        read_truth(tmp_path / "none.csv")
    np.savez(tmp_path / "t.npz", other=np.zeros(1))
    with pytest.raises(ValueError, match=r"t\.npz must hold y_true: it holds 'other'"):
        read_truth(tmp_path / "t.npz")
    with pytest.raises(ValueError, match=r"t\.npy must be an undamaged \.npy file"):
        read_truth(write(tmp_path / "t.npy", "hello"))


@pytest.mark.parametrize(("arguments", "error", "message"), [
    ({}, ValueError, "needs either path .* or models"),
    ({"path": "x", "models": ["y"]}, ValueError, "needs either path .* or models"),
    ({"path": "none.npz"}, FileNotFoundError, r"none\.npz must be a file or folder of predictions: it does not exist"),
    ({"models": ["none.csv"]}, FileNotFoundError, r"none\.csv must be a file or folder of predictions"),
])  # fmt: skip
def test_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        load_predictions(**arguments)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"predictions must be a \.npz bundle, .*: got 'x\.pkl'"):
        load_predictions(write(tmp_path / "x.pkl", "x"))


def test_files_of_one_name_need_names(a, tmp_path):
    (tmp_path / "other").mkdir()
    twin = write(tmp_path / "other" / "a.csv", a.read_text())
    with pytest.raises(ValueError, match=r"models must have unique names: got 'a' twice; rename one \(NAME=FILE\)"):
        load_predictions(models=[a, twin])
    assert load_predictions(models=[a, ("twin", twin)]).models == ("a", "twin")


def test_bundles_and_stores_among_the_models(a, full_set, tmp_path):
    one = PredictionSet([[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]], IDS[::-1], ["ensemble"], ["red", "dress"])
    bundle, store = save_predictions(one, tmp_path / "b.npz"), save_predictions(one, tmp_path / "s")
    found = load_predictions(models=[a, ("bundle", bundle), store])
    assert found.models == ("a", "bundle", "ensemble")
    np.testing.assert_allclose(found.to_array()[2], [[0.6, 0.5], [0.4, 0.3], [0.2, 0.1]], rtol=1e-6)
    many = save_predictions(full_set, tmp_path / "many")
    with pytest.raises(ValueError, match="holds 3 models: it cannot take the one name 'x'"):
        load_predictions(models=[("x", many)])
    with pytest.raises(ValueError, match="is a store, which always holds probabilities: leave out from_logits"):
        load_predictions(store, from_logits=True)


def test_alignment_keeps_metadata(full_set, rng):
    order = rng.permutation(40)
    shuffled = full_set.subset(samples=order, labels=[5, 3, 1, 0, 2, 4])
    other = PredictionSet(rng.random((1, 40, 6)), full_set.ids, ["new"], full_set.labels)
    joined = align_predictions([other, shuffled])
    assert joined.models == ("new", *full_set.models)
    np.testing.assert_array_equal(joined.to_array()[1:], full_set.to_array())
    for name in ("y_true", "y_known", "groups", "folds", "sample_weight", "train_frequency"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(full_set, name))
    assert joined.label_groups == full_set.label_groups and joined.extras == full_set.extras


def test_alignment_refuses(full_set):
    with pytest.raises(ValueError, match="sets must hold at least one set of predictions"):
        align_predictions([])
    with pytest.raises(ValueError, match="models must have unique names: got 'cnn/a' twice"):
        align_predictions([full_set, full_set])
    renamed = PredictionSet(
        full_set.to_array(), full_set.ids, ["p", "q", "r"], full_set.labels, y_true=1 - full_set.y_true
    )
    with pytest.raises(ValueError, match="model 'p' comes with another truth than the models before it"):
        align_predictions([full_set, renamed])


def test_the_contest_lists(shared_data):
    labels = shared_data / "imaterialist2018" / "label_counts.csv"
    found = read_label_list(labels)
    assert len(found.names) == 228 and len(set(found.groups)) == 8 and found.ids[0] == "1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"7": "red", "7": "dress"}', "the key '7' occurs twice"),
        ('[{"name": "red", "name": "dress"}]', "the key 'name' occurs twice"),
        ('["red", NaN]', "NaN is no JSON value"),
        ("[" * 100_000, "nested too deeply"),
        ("{" + ", ".join(f'"{k}": "l{k}"' for k in range(100_000)) + ', "5": "again"}', "the key '5' occurs twice"),
        ('[{"id": 1, "name": null}, {"id": 2, "name": "red"}]', "labels"),
        ('[{"id": 1, "name": ["red"]}, {"id": 2, "name": "dress"}]', "labels"),
        ('[{"id": null, "name": "red"}, {"id": 2, "name": "dress"}]', "label ids"),
        ('[{"id": 1.5, "name": "red"}, {"id": 2, "name": "dress"}]', "label ids"),
        ('[{"id": true, "name": "red"}, {"id": 2, "name": "dress"}]', "label ids"),
    ],
    ids=lambda value: value[:20],
)
def test_json_lists_in_which_something_would_be_lost_or_invented(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"l\.json.*{message}"):
        read_label_list(write(tmp_path / "l.json", text))


def test_json_lists_may_say_more_than_names(tmp_path):
    text = '[{"id": 1, "name": "red", "group": null, "points": [1, 2], "isthing": true}, {"id": 2, "name": "dress"}]'
    found = read_label_list(write(tmp_path / "l.json", text))
    assert (found.names, found.ids) == (("red", "dress"), ("1", "2"))


def test_columns_without_a_name(tmp_path):
    """Commas at the ends of rows make no label; numbers without a name are no label either."""
    found = load_predictions(models=[write(tmp_path / "a.csv", "id,red,,\nx,0.5,,\ny,1, ,\n")])
    assert found.labels == ("red",)
    with pytest.raises(ValueError, match=r"a\.csv must name every column .* column 3 has none and holds '0\.25'"):
        load_predictions(models=[write(tmp_path / "a.csv", "id,red,,\nx,0.5,0.25,\ny,1,0,\n")])
    with pytest.raises(ValueError, match="column 2 has none"):
        load_predictions(models=[write(tmp_path / "a.csv", "id,,\nx,0.5,0.25\n")])


def test_a_missing_quotation_mark_makes_no_name_of_a_thousand_lines(tmp_path):
    table = "id,red\n" + "x" * 5_000 + ",0.5\ny,1\n"
    with pytest.raises(ValueError, match="ids must have at most 4,096 characters each: got one of 5,000") as caught:
        load_predictions(models=[write(tmp_path / "a.csv", table)])
    assert len(str(caught.value)) < 400
    with pytest.raises(ValueError, match="labels must have at most 4,096 characters"):
        load_predictions(models=[write(tmp_path / "a.csv", f"id,{'r' * 5_000}\nx,0.5\n")])
    for key in ("ids", "models", "labels"):
        with pytest.raises(ValueError, match=f"{key} must have at most"):
            PredictionSet([[[0.5]]], **{key: ["x" * 5_000]})


@pytest.mark.parametrize("text", ["id,red\nx\0,0.5\n", "id,re\0d\nx,0.5\n", "id,red\n".encode("utf-16-le").decode()])
def test_characters_that_only_numbers_have(tmp_path, text):
    """A NUL is cut off by pandas, and a file in UTF-16 without its mark is full of them."""
    path = write(tmp_path / "a.csv", text)
    for read in (lambda: load_predictions(models=[path]), lambda: read_ids(path), lambda: read_label_list(path)):
        with pytest.raises(ValueError, match=r"a\.csv must be UTF-8 text: it holds a NUL character"):
            read()


def test_scores_are_no_ids(tmp_path):
    for suffix, write in ((".csv", pd.DataFrame.to_csv), (".tsv", lambda f, p, **k: f.to_csv(p, sep="\t", **k))):
        path = tmp_path / f"nameless{suffix}"
        write(pd.DataFrame({"dress": [0.25, 1e-5, 1.0], "red": [0.5, 0.1, 0.2]}), path, index=False)
        with pytest.raises(
            ValueError, match=r"must hold the ids in its first column: got scores there, such as '0\.25'"
        ):
            load_predictions(models=[path])
    path.write_text("version\tred\n0.25\t.5\n2.1\t.25\n")
    assert load_predictions(models=[path]).ids.tolist() == ["0.25", "2.1"]


@pytest.mark.parametrize("by", ["matrix", "lists", "groups"])
def test_days_are_ids_in_files_and_frames_alike(tmp_path, by):
    days = pd.date_range("2026-03-01", periods=4)
    scores = pd.DataFrame(np.linspace(0, 1, 8).reshape(4, 2), index=days, columns=["dress", "red"])
    truth = pd.DataFrame({"dress": [1, 0, 1, 0], "red": [0, 1, 1, 0]}, index=days)
    if by == "lists":
        truth = pd.DataFrame({"labels": ["dress", "red", "dress|red", ""]}, index=days)
    elif by == "groups":
        truth["group"] = ["a", "a", "b", "b"]
    scores.to_csv(tmp_path / "a.csv")
    scores.to_parquet(tmp_path / "b.parquet")
    truth.iloc[::-1].to_csv(tmp_path / "t.csv", index_label="id")
    for given in (truth.iloc[::-1], tmp_path / "t.csv"):
        found = load_predictions(models=[tmp_path / "a.csv", tmp_path / "b.parquet"], truth=given)
        assert found.ids.tolist() == [str(day.date()) for day in days]
        assert found.y_true.tolist() == [[1, 0], [0, 1], [1, 1], [0, 0]]


def test_a_column_beside_the_truth_that_holds_no_number_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("id,red\n1,.9\n2,.1\n")
    for column, cell, kind in (
        ("fold", "x", "a whole number"),
        ("fold", "", "a whole number"),
        ("sample_weight", "?", "a number"),
    ):
        (tmp_path / "t.csv").write_text(f"id,red,{column}\n1,1,0\n2,0,{cell}\n")
        with pytest.raises(ValueError, match=rf"t\.csv, row 1, column '{column}': the cell must be {kind}: got '"):
            load_predictions(models=[tmp_path / "a.csv"], truth=tmp_path / "t.csv")
