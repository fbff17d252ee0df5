"""The store: a folder with one ``.npy`` file per model, the native form of predictions at any size.

``StoreWriter`` takes scores in any order of rows, each exactly once, and makes a store of them only if all came.
``load_store`` reads nothing but names, truth and headers; scores are read when they are asked for.
"""

import os
import threading
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Unpack

import numpy as np
import numpy.typing as npt

from stacking._checks import check_choice, check_model_scores, first_names
from stacking._typing import BoolArray, IntArray
from stacking.files.atomic_files import atomic_write_npy, check_writable, create_file, preallocate
from stacking.files.ending import ending_with, run_all
from stacking.files.output_folder import OutputFolder
from stacking.files.remote import local_copy
from stacking.files.untrusted import damage_of, read_npy
from stacking.predictions.checked_source import CheckedSource
from stacking.predictions.forms.matrix_files import FileSource, MatrixFile, header_bytes
from stacking.predictions.forms.store_index import ARRAY_METADATA, STORE, StoreIndex, describe_file, read_index
from stacking.predictions.prediction_set import PredictionMetadata, PredictionSet
from stacking.predictions.selection import select_positions
from stacking.predictions.sources import PendingSource, hash_rows, iter_blocks


class StoreWriter:
    """
    Write a prediction store piece by piece.

    Space is reserved at once, so a full disk is an error before any work. Rows may come in any order and from several
    threads, each row of a model exactly once. Used as a context manager it commits at the end and leaves nothing behind
    after an exception.

    Parameters
    ----------
    folder : path-like or OutputFolder
        The store; created where it does not exist. It is locked until the commit. One that was claimed before stays so.
    ids, models, labels : array-like of str or int
        Unique names.
    dtype : {"float32", "float16"}, default="float32"
        Type on disk. float16 halves the size and rounds scores to about three digits (above .9998 to 1).
    overwrite : bool, default=False
        Replace a store that is already there; the old one stays until the commit.
    **metadata : dict
        The optional arguments of `PredictionSet`: ``y_true``, ``covers``, ``folds`` and so on.

    Raises
    ------
    FileExistsError
        If there is a store already, or the folder holds something else.
    OSError
        If the folder cannot be written, another run works in it, or the disk has too little space.
    ValueError
        If names or metadata are invalid.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> with StoreWriter(folder, ids=["a", "b"], models=["cnn"], labels=["dress"]) as writer:
    ...     writer.write("cnn", [1, 0], [[0.25], [0.75]])
    >>> load_store(folder).to_array().tolist()
    [[[0.75], [0.25]]]
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | OutputFolder,
        ids: npt.ArrayLike,
        models: npt.ArrayLike,
        labels: npt.ArrayLike,
        *,
        dtype: str = "float32",
        overwrite: bool = False,
        **metadata: Unpack[PredictionMetadata],
    ) -> None:
        check_choice(dtype, ("float32", "float16"), name="dtype")
        shape = (len(np.asarray(models)), len(np.asarray(ids)), len(np.asarray(labels)))
        self._frame = PredictionSet(PendingSource(shape), ids, models, labels, **metadata)
        self._extras = _plain_extras(self._frame.extras)
        self._dtype = np.dtype(dtype)
        self._written: BoolArray = np.zeros(shape[:2], np.bool_)
        self._lock = threading.Lock()
        self._header = header_bytes(shape[1:], self._dtype)
        self._files: list[BinaryIO] = []
        self.wants_by_label = False
        self._is_own = not isinstance(folder, OutputFolder)
        self._output = folder if isinstance(folder, OutputFolder) else OutputFolder(folder, STORE, overwrite=overwrite)
        self.folder = self._output.path
        self._output.check()
        size = len(self._header) + shape[1] * shape[2] * self._dtype.itemsize
        check_writable(self.folder, size * shape[0])
        if self._is_own:
            self._output.__enter__()
        try:
            self._scores = [f"scores/{position:04d}.npy" for position in range(self._frame.n_models)]
            for name in self._scores:
                self._reserve(name, size)
        except BaseException as error:
            run_all(self.abort, after=error)
            raise

    def __enter__(self) -> "StoreWriter":
        """Start writing."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or clean up after an exception."""
        if kind is None:
            self.commit()
        else:
            run_all(self.abort, after=error)

    def write(self, model: int | str, rows: npt.ArrayLike | slice, scores: npt.ArrayLike) -> None:
        """
        Write some rows of one model.

        Parameters
        ----------
        model : int or str
            The model's position or name.
        rows : array-like of int or bool, or slice
            Which rows, in the order of `scores`; a mask that is a series is matched by its index.
        scores : array-like or data frame of shape (n_rows, n_labels)
            Probabilities in [0, 1], NaN exactly where the model does not cover the label; a data frame is matched by
            its index and columns.

        Raises
        ------
        ValueError
            If a row was written before, or a score is invalid; the error names model, row and label.
        """
        position = int(select_positions([model], self._frame.models, "models")[0])
        name = self._frame.models[position]
        (rows,) = self._frame.align_masks(samples=rows)
        index = select_positions(rows, self._frame.n_samples, "rows")
        if type(scores) is not np.ndarray:
            (scores,) = self._frame.subset(samples=index).align(y_score=scores)
        block = np.asarray(scores)
        if block.shape != (len(index), self._frame.n_labels):
            raise ValueError(
                f"scores of model {name!r} must have one row per row given and one column per label, "
                f"{(len(index), self._frame.n_labels)}: got {block.shape}."
            )
        if block.dtype.kind not in "buif":
            raise TypeError(f"scores of model {name!r} must hold numbers: got dtype {block.dtype}.")
        check_model_scores(
            block, self._frame.covers[position], model=name, ids=self._frame.ids[index], labels=self._frame.labels
        )
        self._claim(position, index)
        self._put(position, index, np.ascontiguousarray(block, dtype=self._dtype))

    def commit(self) -> Path:
        """
        Check that every row came and make the folder a store.

        Returns
        -------
        Path
            The folder.

        Raises
        ------
        ValueError
            If a row was never written; the error names model and row, and nothing is left behind.
        """
        with ending_with(self.abort):
            self._check_complete()
            index = self._describe([self._finish(position) for position in range(self._frame.n_models)])
            if not self._is_there(index):
                self._output.commit(index.as_dict())
        return self.folder

    def abort(self) -> None:
        """Remove what was written and give up; a store that was there before stays."""
        files, self._files = self._files, []
        run_all(*(file.close for file in files), self._output.close if self._is_own else self._output.discard)

    def _reserve(self, name: str, size: int) -> None:
        """Create one model's file at its full size."""
        file = create_file(self._output.path_of(name))
        self._files.append(file)
        preallocate(file, size)
        file.write(self._header)
        file.flush()

    def _claim(self, position: int, index: IntArray) -> None:
        """Mark rows as written, each once."""
        with self._lock:
            twice = self._written[position, index]
            if not twice.any():
                twice = np.ones(len(index), np.bool_)
                twice[np.unique(index, return_index=True)[1]] = False
            if twice.any():
                row = str(self._frame.ids[index[twice.argmax()]])
                raise ValueError(
                    f"model {self._frame.models[position]!r}, row {row!r}: every row must be written exactly once: "
                    "got it twice; do two folds hold it?"
                )
            self._written[position, index] = True

    def _put(self, position: int, index: IntArray, block: npt.NDArray[Any]) -> None:
        """Write rows at their places, neighboring rows together."""
        if not self._files:
            raise ValueError("the store must still be open for writing: it was committed or aborted.")
        order = np.argsort(index, kind="stable")
        ascending = index[order]
        block = block if bool((np.diff(order) == 1).all()) else block[order]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(ascending) != 1) + 1, [len(ascending)]]).tolist()
        descriptor = self._files[position].fileno()
        row_bytes = self._frame.n_labels * self._dtype.itemsize
        for start, stop in pairwise(starts):
            write_at(descriptor, block[start:stop], len(self._header) + int(ascending[start]) * row_bytes)

    def _check_complete(self) -> None:
        """Raise where rows are missing."""
        missing = ~self._written
        if missing.any():
            position = int(missing.any(axis=1).argmax())
            rows = self._frame.ids[missing[position]].tolist()
            raise ValueError(
                f"model {self._frame.models[position]!r}: every row must be written: "
                f"{len(rows)} of {self._frame.n_samples} were not, {first_names(rows)}; did a fold fail?"
            )

    def _finish(self, position: int) -> str:
        """Sync one model's file and hash its scores."""
        if not self._files:
            raise ValueError("the store must still be open for writing: it was committed or aborted.")
        os.fsync(self._files[position].fileno())
        self._files[position].close()
        return hash_matrix(MatrixFile.open(self._output.path_of(self._scores[position])))

    def _describe(self, content: list[str]) -> StoreIndex:
        """Write the arrays that go with the scores; describe all files."""
        frame = self._frame
        arrays: dict[str, npt.NDArray[Any]] = {"ids.npy": frame.ids}
        metadata = {}
        for key in ARRAY_METADATA:
            values = getattr(frame, key)
            if values is not None and not (key == "covers" and values.all()):
                metadata[key] = f"{key}.npy"
                arrays[metadata[key]] = values
        extras = {key: f"extras/{number:04d}.npy" for number, key in enumerate(self._extras)}
        arrays |= {name: self._extras[key] for key, name in extras.items()}
        for name, values in arrays.items():
            atomic_write_npy(self._output.path_of(name), values)
        return StoreIndex(
            n_samples=frame.n_samples,
            models=list(frame.models),
            labels=list(frame.labels),
            dtype=self._dtype.name,
            scores=self._scores,
            content=content,
            label_groups=None if frame.label_groups is None else list(frame.label_groups),
            label_ids=None if frame.label_ids is None else list(frame.label_ids),
            facts=metadata,
            extras=extras,
            wants_by_label=self.wants_by_label,
            files={name: describe_file(self._output.path_of(name)) for name in [*self._scores, *arrays]},
        )

    def _is_there(self, index: StoreIndex) -> bool:
        """Return whether the folder holds these very predictions, so that a run that goes on changes no byte."""
        if self._output.earlier is None:
            return False
        try:
            return read_index(self.folder, verify=True).contents == index.contents
        except (OSError, ValueError):  # damaged: it is replaced
            return False


def write_store(
    predictions: PredictionSet,
    folder: str | os.PathLike[str] | OutputFolder,
    *,
    dtype: str = "float32",
    overwrite: bool = False,
    wants_by_label: bool = False,
) -> Path:
    """
    Write a set as a store, a block at a time.

    Parameters
    ----------
    predictions : PredictionSet
        The scores; they may be in another store.
    folder : path-like or OutputFolder
        Where to.
    dtype : {"float32", "float16"}, default="float32"
        Type on disk.
    overwrite : bool, default=False
        Replace a store that is already there.
    wants_by_label : bool, default=False
        Note that a copy by label is to follow, so that it is gone on with after a kill.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileExistsError
        If there is a store already, or the folder holds something else.
    OSError
        If the folder cannot be written or the disk has too little space.
    """
    names = (predictions.ids, predictions.models, predictions.labels)
    with StoreWriter(folder, *names, dtype=dtype, overwrite=overwrite, **predictions.metadata()) as writer:
        _copy_scores(predictions, writer)
        writer.wants_by_label = wants_by_label
    return writer.folder


def _copy_scores(predictions: PredictionSet, writer: StoreWriter) -> None:
    """Write all scores of a set, model by model and block by block."""
    for model in range(predictions.n_models):
        for rows, scores in iter_blocks(partial(predictions.source.read, model), predictions.source.shape[1:]):
            writer.write(model, rows, scores)


def load_store(folder: str | os.PathLike[str], *, verify: bool | None = None) -> PredictionSet:
    """
    Open a store without reading its scores.

    Parameters
    ----------
    folder : path-like
        The store; a URL is copied to this machine, see `stacking.files.remote`.
    verify : bool, optional
        True hashes every file, False compares sizes only; by default small stores (below 256 MiB) are hashed.

    Returns
    -------
    PredictionSet
        Backed by the files.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If it is damaged or newer than this version.
    """
    place = local_copy(folder, STORE, "store")
    index = read_index(place, verify=verify)
    with damage_of(f"{place}", "write the store again"):
        source = _open_scores(place, index)
        if source.shape != (len(index.models), index.n_samples, len(index.labels)):
            raise ValueError(
                f"{place} is damaged: its index does not agree with the shape of its scores, {source.shape}."
            )
        metadata: dict[str, Any] = {
            key: read_npy(place / name) for key, name in index.facts.items() if key in ARRAY_METADATA
        }
        extras = {key: read_npy(place / name) for key, name in index.extras.items()}
        metadata |= {"label_groups": index.label_groups, "label_ids": index.label_ids, "extras": extras}
        frame = PredictionSet(source, read_npy(place / index.ids), index.models, index.labels, **metadata)
        checked = CheckedSource(source, frame.covers, frame.ids, frame.models, frame.labels)
        return PredictionSet(checked, frame.ids, frame.models, frame.labels, **frame.metadata())


def verify_store(folder: str | os.PathLike[str]) -> None:
    """
    Hash every file of a store and compare with its index.

    Parameters
    ----------
    folder : path-like
        The store.

    Raises
    ------
    FileNotFoundError
        If there is no store.
    ValueError
        If a file is missing or damaged; the error names it.
    """
    read_index(folder, verify=True)


def _open_scores(folder: Path, index: StoreIndex) -> FileSource:
    """Open the score files of a store."""
    matrices = [MatrixFile.open(folder / name) for name in index.scores]
    return FileSource(matrices, [MatrixFile.open(folder / name) for name in index.by_label], index.content)


def hash_matrix(matrix: MatrixFile) -> str:
    """
    Hash the scores of one file as `PredictionSet.fingerprint` does.

    Parameters
    ----------
    matrix : MatrixFile
        The file.

    Returns
    -------
    str
        SHA-256 of the float32 values in row order.
    """
    return hash_rows(matrix.read, (matrix.n_rows, matrix.n_columns))


def write_at(descriptor: int, block: npt.NDArray[Any], position: int) -> None:
    """
    Write an array's values at a position of a file.

    Parameters
    ----------
    descriptor : int
        The open file.
    block : ndarray
        The values.
    position : int
        Where to, in bytes.
    """
    view = np.ascontiguousarray(block).reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], position + done)


def next_number(folder: Path, *parts: str) -> int:
    """
    Return the number after the last that a file of these sub-folders has.

    Parameters
    ----------
    folder : Path
        The store.
    *parts : str
        Sub-folders that share their numbers.

    Returns
    -------
    int
        0 where they hold none.
    """
    taken = [int(path.stem) for part in parts for path in (folder / part).glob("*.npy") if path.stem.isdecimal()]
    return max(taken, default=-1) + 1


def _plain_extras(extras: dict[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Turn extras into arrays that need no pickle."""
    arrays = {key: np.asarray(value) for key, value in extras.items()}
    for key, array in arrays.items():
        if array.dtype.hasobject:
            raise TypeError(f"extras[{key!r}] must hold numbers or strings: got dtype {array.dtype}; remove it.")
    return arrays
