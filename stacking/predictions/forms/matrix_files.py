"""Matrices in ``.npy`` files, read piece by piece into memory that the caller brings.

Memory maps would be shorter, but resident memory counts every page they have touched; a plain ``readinto`` keeps a pass
over a million rows at the size of one block.
"""

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from stacking._typing import FloatArray
from stacking.files.untrusted import read_npy_header
from stacking.predictions.sources import Index, as_span

CHUNK_BYTES = 4 * 2**20
GAP_BYTES = 2**14


@dataclass(frozen=True)
class MatrixFile:
    """
    A two-dimensional ``.npy`` file of numbers, opened anew for every read so that it can be sent to other processes.

    Parameters
    ----------
    path : Path
        The file.
    n_rows, n_columns : int
        Its shape.
    dtype : numpy.dtype
        Its values' type, any byte order.
    offset : int
        Where the values start, in bytes.
    by_column : bool
        True for Fortran order, where a column lies together.
    """

    path: Path
    n_rows: int
    n_columns: int
    dtype: np.dtype[Any]
    offset: int
    by_column: bool

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "MatrixFile":
        """
        Read a file's header and check its size.

        Parameters
        ----------
        path : path-like
            A ``.npy`` file.

        Returns
        -------
        MatrixFile
            Ready to be read.

        Raises
        ------
        ValueError
            If it is no ``.npy`` file, is not a matrix of numbers, or is shorter or longer than its header says.
        """
        name = Path(path)
        shape, by_column, dtype, offset = read_header(name)
        if dtype.hasobject or dtype.kind not in "buif":
            raise ValueError(f"{name} must hold numbers: got dtype {dtype}; save it with astype('float32').")
        if len(shape) != 2 or 0 in shape:
            raise ValueError(f"{name} must hold one matrix, (n_samples, n_labels): got shape {shape}.")
        wanted, found = offset + math.prod(shape) * dtype.itemsize, name.stat().st_size
        if found != wanted:
            raise ValueError(f"{name} is damaged: its header announces {wanted} bytes, it has {found}; write it again.")
        return cls(name.absolute(), shape[0], shape[1], dtype, offset, by_column)

    def cost(self, rows: Index, columns: Index) -> int:
        """
        Estimate how much must be read for a piece.

        Parameters
        ----------
        rows, columns : slice with step 1, or ndarray of int
            The piece.

        Returns
        -------
        int
            Bytes.
        """
        lines, places = (columns, rows) if self.by_column else (rows, columns)
        n_lines, length = self._lines
        first, last = _bounds(places, length)
        if not _worth_narrowing(length, last - first, self.dtype.itemsize):
            first, last = 0, length
        return _count(lines, n_lines) * max(1, last - first) * self.dtype.itemsize

    def read(self, rows: Index, columns: Index, out: FloatArray) -> None:
        """
        Read a piece.

        Parameters
        ----------
        rows, columns : slice with step 1, or ndarray of int
            What to read, in the order wanted.
        out : ndarray of float32, shape (n_rows, n_columns)
            Filled with the values; any strides.

        Raises
        ------
        ValueError
            If the file ends early.
        """
        lines, places, target = (columns, rows, out.T) if self.by_column else (rows, columns, out)
        n_lines, length = self._lines
        if isinstance(lines, slice):
            lines = slice(*lines.indices(n_lines)[:2])
        if isinstance(places, slice):
            places = slice(*places.indices(length)[:2])
        with self.path.open("rb", buffering=0) as file:
            reader = cast(BinaryIO, file)
            first, last = _bounds(places, length)
            if _worth_narrowing(length, last - first, self.dtype.itemsize):
                self._read_narrow(reader, lines, places, target)
            elif self._fits(lines, places, length, target):
                self._read_straight(reader, lines, target)
            else:
                self._read_through_buffer(reader, lines, places, target)

    @property
    def _lines(self) -> tuple[int, int]:
        """Give the number of lines that lie together and their length."""
        return (self.n_columns, self.n_rows) if self.by_column else (self.n_rows, self.n_columns)

    def _fits(self, lines: Index, places: Index, length: int, target: FloatArray) -> bool:
        """Tell whether whole lines can be read straight into the target."""
        whole = isinstance(places, slice) and (places.start, places.stop) == (0, length)
        at_once = isinstance(lines, slice) and target.flags.c_contiguous
        line_by_line = target.strides[1] == 4 and 4 * length >= GAP_BYTES
        return whole and self.dtype == np.float32 and self.dtype.isnative and (at_once or line_by_line)

    def _read_straight(self, file: BinaryIO, lines: Index, target: FloatArray) -> None:
        """Read whole lines of native float32 without a buffer."""
        length = self._lines[1]
        if isinstance(lines, slice) and target.flags.c_contiguous:
            self._fill(file, lines.start * length, target)
            return
        for number, line in enumerate(_positions(lines)):
            self._fill(file, line * length, target[number : number + 1])

    def _read_narrow(self, file: BinaryIO, lines: Index, places: Index, target: FloatArray) -> None:
        """Read from every line only the stretch that is needed."""
        length = self._lines[1]
        first, last = _bounds(places, length)
        stretch = np.empty(last - first, self.dtype)
        local = slice(places.start - first, places.stop - first) if isinstance(places, slice) else places - first
        for number, line in enumerate(_positions(lines)):
            self._fill(file, line * length + first, stretch)
            target[number] = stretch[local]

    def _read_through_buffer(self, file: BinaryIO, lines: Index, places: Index, target: FloatArray) -> None:
        """Read runs of whole lines and pick from them."""
        length = self._lines[1]
        most = max(1, CHUNK_BYTES // (length * self.dtype.itemsize))
        gap = max(1, GAP_BYTES // (length * self.dtype.itemsize))
        buffer = np.empty((0, length), self.dtype)
        for start, stop, local, destination in _runs(lines, most, gap):
            if len(buffer) < stop - start:
                buffer = np.empty((stop - start, length), self.dtype)
            block = buffer[: stop - start]
            self._fill(file, start * length, block)
            if isinstance(places, slice) and isinstance(local, np.ndarray) and isinstance(destination, slice):
                part = target[destination]
                if part.flags.c_contiguous and part.dtype == block.dtype and part.shape[1] == length:
                    np.take(block, local, axis=0, out=part, mode="clip")  # half the time of fancy indexing
                    continue
            picked = block if local is None else block[local]
            target[destination] = picked[:, places]

    def _fill(self, file: BinaryIO, position: int, target: npt.NDArray[Any]) -> None:
        """Fill contiguous memory from the value at `position` on."""
        file.seek(self.offset + position * self.dtype.itemsize)
        view = target.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(view):
            count = cast(Any, file).readinto(view[done:])
            if not count:
                raise ValueError(f"{self.path} is damaged: it ends early; write it again.")
            done += count


class FileSource:
    """
    Scores in one matrix file per model, with an optional second copy in which a label lies together.

    Parameters
    ----------
    matrices : sequence of MatrixFile
        One per model, all of one shape.
    by_label : sequence of MatrixFile, optional
        The same matrices in Fortran order.
    hashes : sequence of str, optional
        The recorded content hash of every model.
    """

    def __init__(
        self,
        matrices: Sequence[MatrixFile],
        by_label: Sequence[MatrixFile] | None = None,
        hashes: Sequence[str] | None = None,
    ) -> None:
        self.matrices = tuple(matrices)
        self.by_label = tuple(by_label or ())
        self.hashes = tuple(hashes or ())
        for matrix in (*self.matrices, *self.by_label):
            if (matrix.n_rows, matrix.n_columns) != self.shape[1:]:
                raise ValueError(
                    f"{matrix.path} must have the shape of the other models, {self.shape[1:]}: "
                    f"got {(matrix.n_rows, matrix.n_columns)}."
                )

    @property
    def shape(self) -> tuple[int, int, int]:
        """
        Give the size of the whole.

        Returns
        -------
        tuple of int
            ``(n_models, n_samples, n_labels)``.
        """
        return len(self.matrices), self.matrices[0].n_rows, self.matrices[0].n_columns

    @property
    def reads_labels_fast(self) -> bool:
        """
        Tell whether one label of all rows costs no more than its own bytes.

        Returns
        -------
        bool
            True with a by-label copy or files in Fortran order.
        """
        return bool(self.by_label) or all(matrix.by_column for matrix in self.matrices)

    def read(self, model: int, rows: Index, labels: Index, out: FloatArray) -> None:
        """
        Read a piece of one model's matrix from whichever copy costs less.

        Parameters
        ----------
        model : int
            The model's position.
        rows, labels : slice with step 1, or ndarray of int
            What to read, in the order wanted.
        out : ndarray of float32, shape (n_rows, n_labels)
            Filled with the scores.
        """
        copies = [self.matrices[model], *self.by_label[model : model + 1]]
        best = min(copies, key=lambda matrix: matrix.cost(rows, labels))
        best.read(rows, labels, out)

    def content_hash(self, model: int) -> str | None:
        """
        Give the recorded hash of one model's scores.

        Parameters
        ----------
        model : int
            The model's position.

        Returns
        -------
        str or None
            SHA-256 of the float32 values in row order; None where nothing is recorded.
        """
        return self.hashes[model] if self.hashes else None


def read_header(path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """
    Read the header of a ``.npy`` file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    shape : tuple of int
        The array's shape.
    by_column : bool
        True for Fortran order.
    dtype : numpy.dtype
        The values' type.
    offset : int
        Where the values start, in bytes.

    Raises
    ------
    ValueError
        If it is no ``.npy`` file of version 1, 2 or 3.
    """
    with path.open("rb") as file:
        shape, by_column, dtype = read_npy_header(file, f"{path}")
        return shape, by_column, dtype, file.tell()


def header_bytes(shape: tuple[int, ...], dtype: npt.DTypeLike, *, by_column: bool = False) -> bytes:
    """
    Write the header of a ``.npy`` file.

    Parameters
    ----------
    shape : tuple of int
        The array's shape.
    dtype : dtype-like
        The values' type.
    by_column : bool, default=False
        True for Fortran order.

    Returns
    -------
    bytes
        What comes before the values.
    """
    import io

    buffer = io.BytesIO()
    description = np.lib.format.dtype_to_descr(np.dtype(dtype))
    header = {"descr": description, "fortran_order": by_column, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, header)
    return buffer.getvalue()


def _bounds(places: Index, length: int) -> tuple[int, int]:
    """Give the first place and the one after the last."""
    if isinstance(places, slice):
        start, stop, _ = places.indices(length)
        return start, max(start, stop)
    return (int(places.min()), int(places.max()) + 1) if len(places) else (0, 0)


def _count(lines: Index, n_lines: int) -> int:
    """Count the lines."""
    return len(range(*lines.indices(n_lines))) if isinstance(lines, slice) else len(lines)


def _positions(lines: Index) -> Iterator[int]:
    """Go through the positions of normalised lines."""
    yield from range(lines.start, lines.stop) if isinstance(lines, slice) else lines.tolist()


def _worth_narrowing(length: int, needed: int, itemsize: int) -> bool:
    """Tell whether skipping the rest of a line saves more than a system call costs."""
    return (length - needed) * itemsize > GAP_BYTES and needed * 4 < length * 3


def _runs(lines: Index, most: int, gap: int) -> Iterator[tuple[int, int, Any, Any]]:
    """Split lines into stretches of the file: first line, line after the last, lines picked from it, where they go."""
    if isinstance(lines, slice):
        for start in range(lines.start, lines.stop, most):
            stop = min(start + most, lines.stop)
            yield start, stop, None, slice(start - lines.start, stop - lines.start)
        return
    ascending = bool((np.diff(lines) >= 0).all())
    order = None if ascending else np.argsort(lines, kind="stable")
    wanted = lines if order is None else lines[order]
    jumps = np.append(np.flatnonzero(np.diff(wanted) > gap) + 1, len(wanted))
    begin = 0
    for jump in jumps.tolist():
        while begin < jump:
            start = int(wanted[begin])
            end = min(jump, int(np.searchsorted(wanted, start + most)))
            destination = slice(begin, end) if order is None else order[begin:end]
            yield start, int(wanted[end - 1]) + 1, as_span(wanted[begin:end] - start), destination
            begin = end
