"""HDF5 files: arrays by name, and the data frames that pandas writes into them.

h5py reads them, an extra (``pip install 'labelstack[h5]'``). What a file keeps as Python objects is pickle and is never
loaded, nor is anything that lies in another file.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from stacking.files.untrusted import MOST_RATIO, SMALL_ARCHIVE
from stacking.process.memory import check_memory

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".h5", ".hdf5", ".hdf")


def read_hdf5(path: str | os.PathLike[str]) -> dict[str, npt.NDArray[Any]] | pd.DataFrame:
    """
    Read an HDF5 file.

    Parameters
    ----------
    path : path-like
        Arrays at the top of the file, or one data frame that pandas has written with ``to_hdf`` and whose names are
        text or numbers.

    Returns
    -------
    dict of str to ndarray, or DataFrame
        The arrays by name; texts are str.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If h5py is not installed.
    ValueError
        If the file is damaged, holds Python objects or something in another file, or would unpack to far more than its
        size.
    """
    place = Path(path)
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"{place}: reading HDF5 needs h5py: pip install 'labelstack[h5]'.") from error
    if not place.is_file():
        raise FileNotFoundError(f"{place} must be an HDF5 file: there is no such file.")
    try:
        with h5py.File(place, "r") as file:
            links = {name: file.get(name, getlink=True) for name in file}
            if not all(isinstance(link, h5py.HardLink) for link in links.values()):
                raise ValueError(f"{place} must hold its arrays itself: it links to something else.")
            frames = [name for name in file if isinstance(file[name], h5py.Group) and "axis0" in file[name]]
            if len(frames) == 1:
                return _read_frame(file[frames[0]], place)
            held = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
            _check_sizes(list(held.values()), place)
            if not held:
                raise ValueError(
                    f"{place} must hold arrays at its top, or one data frame of pandas: it holds "
                    f"{', '.join(file) or 'nothing'}; save it as .parquet or .csv, or with format='fixed'."
                )
            return {name: _read(item, place) for name, item in held.items()}
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(f"{place} must be an undamaged HDF5 file: {error}.") from error


def _check_sizes(datasets: list[Any], place: Path) -> None:
    """Refuse a file that would unpack to far more than it holds."""
    size, packed = sum(item.nbytes for item in datasets), max(1, place.stat().st_size)
    if size > SMALL_ARCHIVE and size > MOST_RATIO * packed:
        raise ValueError(f"{place} would unpack to {size // packed} times its size and is not opened.")
    check_memory(float(size), f"{place}", "pack its source into a store instead (labelstack pack)")


def _read(item: Any, place: Path) -> npt.NDArray[Any]:
    """Read one array, text as str; never objects, and never from another file."""
    import h5py

    if item.is_virtual or item.external:
        raise ValueError(f"{place}, {item.name!r}: the array must lie in this file: it lies in another.")
    if h5py.check_string_dtype(item.dtype) is not None:
        return np.asarray(item.asstr()[()], dtype=str) if item.shape else np.asarray([item.asstr()[()]], dtype=str)
    if item.dtype.kind not in "biufS":
        raise ValueError(
            f"{place}, {item.name!r}: the array must hold numbers or text: got {item.dtype}, which may be Python "
            "objects; save it as .parquet or .csv."
        )
    return np.asarray(item[()])


def _read_frame(group: Any, place: Path) -> pd.DataFrame:
    """Read what pandas calls a fixed frame: blocks of columns of one type each, beside the names of both axes."""
    import pandas as pd

    _check_sizes([item for item in group.values() if hasattr(item, "nbytes")], place)
    parts = [
        pd.DataFrame(_read(group[f"block{number}_values"], place), columns=_names(group[f"block{number}_items"], place))
        for number in range(int(group.attrs["nblocks"]))
    ]
    frame = pd.concat(parts, axis=1)[_names(group["axis0"], place)]
    return frame.set_axis(_names(group["axis1"], place), axis=0)


def _names(item: Any, place: Path) -> list[Any]:
    """Read the names of an axis; pandas writes text as bytes of one length."""
    names = _read(item, place)
    return [name.decode("utf-8") for name in names.tolist()] if names.dtype.kind == "S" else names.tolist()
