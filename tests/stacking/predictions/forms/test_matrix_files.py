"""Matrices read from disk in pieces equal the same pieces of the array."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stacking.predictions.forms import matrix_files
from stacking.predictions.forms.matrix_files import FileSource, MatrixFile
from stacking.predictions.sources import ScoreSource, SigmoidSource, StackedSource

DTYPES = ["<f4", ">f4", "<f2", "<f8", "u1", "?"]


def pieces(size):
    """Slices and lists of positions, repeated and unordered ones too."""
    bounds = st.tuples(st.integers(0, size), st.integers(0, size)).map(lambda pair: slice(min(pair), max(pair)))
    positions = st.lists(st.integers(0, size - 1), min_size=1, max_size=2 * size).map(lambda x: np.array(x, np.int64))
    return st.one_of(st.just(slice(None)), bounds, positions)


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_any_piece_of_any_file(tmp_path_factory, data):
    n_rows, n_columns = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    dtype, order = data.draw(st.sampled_from(DTYPES)), data.draw(st.sampled_from("CF"))
    matrix = np.random.default_rng(0).integers(0, 2, (n_rows, n_columns)).astype(dtype, order=order)
    path = tmp_path_factory.mktemp("matrix") / "m.npy"
    np.save(path, matrix)
    rows, columns = data.draw(pieces(n_rows)), data.draw(pieces(n_columns))
    expected = matrix[rows][:, columns].astype(np.float32)
    transposed = data.draw(st.booleans())
    out = np.full(expected.shape[::-1], 9, np.float32).T if transposed else np.full(expected.shape, 9, np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix_files, "CHUNK_BYTES", data.draw(st.sampled_from([1, 100, 2**22])))
        patch.setattr(matrix_files, "GAP_BYTES", data.draw(st.sampled_from([0, 16, 2**14])))
        source = MatrixFile.open(path)
        assert source.cost(rows, columns) >= 0
        source.read(rows, columns, out)
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(("array", "message"), [
    (np.array([["a"]]), "must hold numbers: got dtype <U1"),
    (np.zeros((2, 2, 2)), r"must hold one matrix, \(n_samples, n_labels\): got shape \(2, 2, 2\)"),
    (np.zeros((0, 2)), "must hold one matrix"),
    (np.zeros((2, 2), complex), "must hold numbers: got dtype complex128"),
])  # fmt: skip
def test_files_of_a_wrong_kind(tmp_path, array, message):
    np.save(tmp_path / "m.npy", array)
    with pytest.raises(ValueError, match=message):
        MatrixFile.open(tmp_path / "m.npy")


def test_python_objects_are_refused(tmp_path):
    np.save(tmp_path / "m.npy", np.array([[None, 1.0]], object), allow_pickle=True)
    with pytest.raises(ValueError, match="must hold numbers: got dtype object"):
        MatrixFile.open(tmp_path / "m.npy")


@pytest.mark.parametrize("change", [lambda b: b[:-1], lambda b: b + b"x"])
def test_a_wrong_length_is_found(tmp_path, change):
    path = tmp_path / "m.npy"
    np.save(path, np.zeros((3, 4), np.float32))
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(ValueError, match=r"m\.npy is damaged: its header announces 176 bytes, it has 17[57]"):
        MatrixFile.open(path)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x93NUMPY\x01\x00\x10\x00{'descr': broken"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "m.npy").write_bytes(content)
    with pytest.raises(ValueError, match=r"must be a \.npy file written by numpy"):
        MatrixFile.open(tmp_path / "m.npy")


def test_a_file_cut_while_it_is_read(tmp_path):
    path = tmp_path / "m.npy"
    np.save(path, np.zeros((3, 4), np.float32))
    source = MatrixFile.open(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="it ends early"):
        source.read(slice(None), slice(None), np.empty((3, 4), np.float32))


def test_files_of_different_shapes_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 4)))
    np.save(tmp_path / "b.npy", np.zeros((3, 5)))
    files = [MatrixFile.open(tmp_path / name) for name in ("a.npy", "b.npy")]
    with pytest.raises(ValueError, match=r"b\.npy must have the shape of the other models, \(3, 4\): got \(3, 5\)"):
        FileSource(files)
    with pytest.raises(ValueError, match="sources must agree in rows and labels"):
        StackedSource([FileSource([file]) for file in files])


def test_fortran_files_read_labels_fast(tmp_path, rng):
    np.save(tmp_path / "a.npy", np.asfortranarray(rng.random((5, 3))))
    source = FileSource([MatrixFile.open(tmp_path / "a.npy")])
    assert source.reads_labels_fast and isinstance(source, ScoreSource)


def test_sigmoid_is_stable(tmp_path):
    logits = np.array([[-np.inf, -1000, 0, 1000, np.inf, np.nan]], np.float32)
    np.save(tmp_path / "a.npy", logits)
    out = np.empty((1, 6), np.float32)
    SigmoidSource(FileSource([MatrixFile.open(tmp_path / "a.npy")])).read(0, slice(None), slice(None), out)
    np.testing.assert_array_equal(out, [[0, 0, 0.5, 1, 1, np.nan]])
