"""The line that mends a fault: for a table a few words of pandas, ready to paste into a shell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path


def quoted(value: str | Sequence[str] | Mapping[str, str]) -> str:
    """Write a name, or names, as Python takes them, in double quotes: the command stands in single ones.

    Parameters
    ----------
    value : str, sequence of str, or mapping of str to str
        The names.

    Returns
    -------
    str
        A literal.

    Examples
    --------
    >>> quoted(["long sleeve"])
    '["long sleeve"]'
    """
    return json.dumps(value, ensure_ascii=False)


def mend_table(path: Path | None, expression: str, name: str = "") -> str:
    """Write the command that reads a table, changes it and writes it beside the old one.

    Parameters
    ----------
    path : Path or None
        A CSV or Parquet file; None for scores in memory.
    expression : str
        What to make of the table ``t``, a data frame with the ids as its index, with ``pd`` and ``np`` at hand.
    name : str, default=""
        Name of the member, for scores in memory.

    Returns
    -------
    str
        A shell command; for scores in memory the expression alone; empty for files that are no tables.
    """
    if path is None:
        return f"{expression}  # t: the frame of {name}" if name else ""
    suffixes = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    kind = suffixes.lower()
    if kind not in (".csv", ".csv.gz", ".tsv", ".parquet"):
        return ""
    mended = path.with_name(path.name[: len(path.name) - len(suffixes)] + "-mended" + suffixes)
    tabs = ', sep="\\\\t"' if kind == ".tsv" else ""
    if kind == ".parquet":
        read = f"pd.read_parquet({quoted(str(path))}); t = t.set_index(t.columns[0])"
        write = f"reset_index().to_parquet({quoted(str(mended))})"
    else:
        read = f"pd.read_csv({quoted(str(path))}, dtype={{0: str}}{tabs}); t = t.set_index(t.columns[0])"
        write = f"to_csv({quoted(str(mended))}{tabs})"
    code = f"import numpy as np, pandas as pd; t = {read}; ({expression}).{write}"
    return f"python -c {shlex.quote(code)}"
