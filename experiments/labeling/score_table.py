"""Write the scores of an ensemble: as a bundle, or as a table for people and other programs."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from stacking.files.csv_cells import guard_cell, to_csv
from stacking.named_arrays import name_id_column
from stacking.predictions.forms.bundle import write_bundle

if TYPE_CHECKING:
    from stacking.predictions import PredictionSet

SUFFIXES = (".npz", ".csv", ".parquet", ".feather")


def check_score_suffix(path: Path) -> None:
    """Raise before any work if scores cannot be written in the form that a file's name asks for.

    Parameters
    ----------
    path : Path
        Where the scores are to go.

    Raises
    ------
    ValueError
        If the ending is none of these.
    ImportError
        If pyarrow, which writes Parquet and Feather, is not installed.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"--scores-out must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}: got {str(path)!r}.")
    if suffix in (".parquet", ".feather") and importlib.util.find_spec("pyarrow") is None:
        raise ImportError(f"{path}: writing {suffix} needs pyarrow: pip install 'labelstack[parquet]'.")


def write_scores(scores: "PredictionSet", file: BinaryIO, suffix: str, *, guard: bool = False) -> None:
    """Write the scores of one model.

    Parameters
    ----------
    scores : PredictionSet
        Of one model, in memory.
    file : binary file
        Open for writing.
    suffix : str
        ``.npz`` for a bundle, which holds truth and groups as well; ``.csv``, ``.parquet`` or ``.feather`` for a table
        with the ids in the first column, ``id`` unless a label is called so, and one column per label. All hold every
        float32 as it is.
    guard : bool, default=False
        Put an apostrophe before ids and labels in a CSV file that a spreadsheet would run as a formula.
    """
    if suffix == ".npz":
        write_bundle(scores, file)
        return
    values, ids = scores.to_array()[0], scores.ids.tolist()
    id_column = name_id_column(scores.labels)
    if suffix == ".csv":
        keep = guard_cell if guard else str
        rows = ([keep(name), *row] for name, row in zip(ids, values.astype(str).tolist(), strict=True))
        file.write(to_csv([[id_column, *map(keep, scores.labels)], *rows]).encode("utf-8"))
        return
    import pyarrow as pa

    table: Any = pa.Table.from_arrays([pa.array(ids), *map(pa.array, values.T)], [id_column, *scores.labels])
    if suffix == ".parquet":
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, file)
    else:
        import pyarrow.feather

        pyarrow.feather.write_feather(table, file)
