"""The folder that img2dataset leaves: one Parquet file per shard, beside a tar file or a folder of photos each.

A row of the Parquet files is one address that was asked for: its ``key`` is the name of the photo, its ``status`` says
whether there is one, and the columns of the list of addresses stand beside them, the labels among them. Source:
img2dataset 1.47.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from dataclasses import replace
from pathlib import Path
from typing import Any

from base_models.manifest.annotations import list_some
from base_models.manifest.csv_table import read_csv_table
from base_models.manifest.tool_forms.tool_form import ToolForm, ToolLabels, ToolSource
from stacking.files.csv_cells import to_csv
from stacking.predictions.forms.label_tables import LIST_COLUMNS
from stacking.predictions.forms.tables import HeldFrame, read_columns

_OWN_COLUMNS = frozenset(
    {"key", "url", "status", "error_message", "width", "height", "original_width", "original_height", "exif"}
    | {"md5", "sha256", "sha512"}
)
_DONE = "success"


def _shards(folder: Path) -> list[Path]:
    """Return the Parquet files, one per shard."""
    return sorted(path for path in folder.glob("*.parquet") if path.is_file())


def _recognizes(source: ToolSource) -> bool:
    """Tell the folder by the columns of its first Parquet file."""
    if source.data is not None or not source.path.is_dir():
        return False
    shards = _shards(source.path)
    return bool(shards) and {"key", "status"} <= set(read_columns(shards[0]))


def _read(source: ToolSource) -> ToolLabels:
    """Read the rows of the photos that are there."""
    frame = _load(source.path)
    status = frame["status"].fillna("no status")
    failed = Counter(status[status != _DONE])
    column = _labels_column(source, [str(name) for name in frame.columns])
    done = frame[status == _DONE]
    labeled = done[done[column].notna()].reset_index(drop=True)
    if not len(labeled):
        raise ValueError(
            f"{source.path.name} must hold photos with labels: got {len(frame):,} addresses, {len(done):,} photos and "
            f"nothing in the column {column!r}; name another column, or download again."
        )
    groups = [name for name in (source.config.group_column,) if name is not None]
    held = HeldFrame(labeled[["key", column, *groups]], source.path.name)
    config = replace(source.config, id_column="key", labels_column=column, split_column=None)
    table = read_csv_table(held, config, source.known)
    fact = f"{source.path.name}: img2dataset, {len(done):,} of {len(frame):,} photos, labels in the column {column!r}"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in failed.most_common())
    left_out = (f"{failed.total():,} addresses have no photo: {reasons}",) if failed else ()
    unannotated = tuple(map(str, done["key"][done[column].isna()]))
    return ToolLabels(
        table,
        table.ids,
        fact,
        unannotated=unannotated,
        left_out=left_out,
        columns={"id_column": "key", "labels_column": column},
    )


def _load(folder: Path) -> Any:
    """Read all shards as one frame."""
    import pandas as pd

    frames = []
    for path in _shards(folder):
        missing = {"key", "status"} - set(read_columns(path))
        if missing:
            raise ValueError(f"{path} must be written by img2dataset: it has no column {min(missing)!r}; move it away.")
        frames.append(pd.read_parquet(path))
    return pd.concat(frames, ignore_index=True)


def _labels_column(source: ToolSource, columns: list[str]) -> str:
    """Find the column of labels."""
    usual = [name for name in columns if name.lower() in LIST_COLUMNS]
    wanted = source.labels_column or next(iter(usual), None)
    if wanted is None or wanted not in columns:
        rest = list_some([name for name in columns if name not in _OWN_COLUMNS]) or "none"
        raise ValueError(
            f"{source.path.name} must have a column of labels{'' if wanted is None else f' {wanted!r}'}: got {rest}; "
            "name the one that is meant (--labels-column, data.labels_column)."
        )
    return wanted


def _keep(source: ToolSource, entries: Set[str]) -> str:
    """Write the rows of the photos as a table."""
    frame = _load(source.path)
    column = _labels_column(source, [str(name) for name in frame.columns])
    frame = frame[(frame["status"] == _DONE) & frame["key"].isin(entries) & frame[column].notna()]
    cells = frame[column].map(lambda cell: cell if isinstance(cell, str) else list(map(str, cell)))
    return to_csv([["key", column], *zip(frame["key"], map(str, cells), strict=True)])


IMG2DATASET = ToolForm("img2dataset", _recognizes, _read, _keep, ".csv")
