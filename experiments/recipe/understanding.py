"""Look at a folder of photos and a file of their labels, and say what was understood."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from base_models.manifest import Manifest, load_manifest
from base_models.manifest.annotations import list_some, normalize_split
from base_models.manifest.csv_table import find_photo_column
from base_models.manifest.folder import list_folder_photos
from base_models.manifest.json_table import frame_of_json, is_contest_form
from base_models.manifest.tar_shards import list_tar_photos
from base_models.manifest.tool_forms import open_labels, read_tool_labels
from base_models.photos.vocabulary import load_vocabulary
from base_models.recipe.data import DataConfig
from stacking.predictions.forms.label_cells import SEPARATOR_WORDS, SEPARATORS, WHITE_SPACE, split_cells
from stacking.predictions.forms.label_tables import LabelTable, read_label_table
from stacking.predictions.forms.tables import HeldFrame, read_header_row, read_texts

if TYPE_CHECKING:
    from stacking.predictions.forms.label_cells import LabelList

GROUP_COLUMNS, SPLIT_COLUMNS = ("group", "groups"), ("split", "splits")
FEW_PHOTOS = 10
"""Labels with fewer training photos are counted: two for each of five folds. A choice; nothing depends on it."""

WORD_COMES_AGAIN = 3
"""So often each word occurs on average in distinct cells that are then taken for labels with spaces between them. A
choice; the recipe says it, and so does what is understood."""


@dataclass(frozen=True)
class GivenData:
    """What a person gives: photos, labels, and how to read them where the file leaves that open.

    Attributes
    ----------
    photos : Path
        A folder of photos, or of tar shards.
    labels : Path
        The file that says which labels each photo has.
    label_list : Path, optional
        The list of labels.
    id_column, labels_column, separator : str, optional
        Columns, and what separates labels in a cell.
    """

    photos: Path
    labels: Path
    label_list: Path | None = None
    id_column: str | None = None
    labels_column: str | None = None
    separator: str | None = None


@dataclass(frozen=True)
class Understanding:
    """What photos and labels are.

    Attributes
    ----------
    config : DataConfig
        How a recipe names them, with every column written out.
    manifest : Manifest
        The photos and their labels.
    columns : tuple of str
        The keys of `config` that name columns of the file.
    facts : tuple of str
        What was understood, with counts, one line each.
    """

    config: DataConfig
    manifest: Manifest
    columns: tuple[str, ...]
    facts: tuple[str, ...]


def understand(given: GivenData, folder: Path) -> Understanding:
    """Look at photos and labels.

    Parameters
    ----------
    given : GivenData
        Where they are.
    folder : Path
        Where the recipe is to lie; its paths start from there.

    Returns
    -------
    Understanding
        The data as a recipe names it, read once, and what was understood.

    Raises
    ------
    ValueError
        If a file is missing, cannot be understood or could be understood in several ways, or no photo is found.
    """
    for path, what in ((given.photos, "folder of photos"), (given.labels, "file of labels")):
        if "$" in str(path) or str(path).startswith("~"):
            raise ValueError(f"the path of the {what} must hold no '$' and no '~' at its beginning: got {str(path)!r}.")
    if not given.photos.is_dir():
        raise ValueError(f"the photos must be in a folder: got {str(given.photos)!r}, which is none; correct the path.")
    if not given.labels.exists():
        raise ValueError(f"the labels must be in a file: got {str(given.labels)!r}, which is none; correct the path.")
    in_tar = any(given.photos.glob("*.tar"))
    names = {"root": given.photos, "annotations": given.labels, "labels": given.label_list}
    paths: dict[str, Any] = {key: _from_folder(path, folder) for key, path in names.items() if path is not None}
    config, facts = DataConfig(format="tar" if in_tar else "csv", **paths), []
    columns: tuple[str, ...] = ()
    known = load_vocabulary(given.label_list).labels if given.label_list is not None else None
    source = open_labels(given.labels, given.photos, _map_given(config, given), known)
    read_by_tool = read_tool_labels(source)
    if read_by_tool is not None:
        facts.append(read_by_tool.fact)
        given_columns: dict[str, Any] = read_by_tool.columns
        config, columns = replace(source.config, **given_columns), tuple(given_columns)
    elif given.labels.is_dir():
        raise ValueError(
            f"the labels must be in a file, or in a folder that img2dataset has written: got {str(given.labels)!r}."
        )
    elif is_contest_form(source.data):
        config = config if in_tar else replace(config, format="imaterialist-json")
        facts.append(f"{given.labels.name}: JSON in the form of the iMaterialist contest")
    else:
        table = given.labels if source.data is None else frame_of_json(source.data, given.labels)
        config, read = _map_columns(config, table, given, known)
        facts += _describe_table(table, config, read, given.separator is None)
        columns = ("id_column",) if read.column is None else ("id_column", "labels_column")
    manifest = load_manifest(config, folder)
    n_files = len((list_tar_photos if in_tar else list_folder_photos)(given.photos)[0])
    return Understanding(config, manifest, columns, (*facts, *_count(manifest, given.photos, n_files, config)))


def _from_folder(path: Path, folder: Path) -> str:
    """Write a path as the recipe names it: absolute if it was given so, else from the recipe's folder."""
    return Path(path if path.is_absolute() else os.path.relpath(path, folder)).as_posix()


def _map_given(config: DataConfig, given: GivenData) -> DataConfig:
    """Take over what was said of columns."""
    given_columns: dict[str, Any] = {
        "id_column": given.id_column,
        "labels_column": given.labels_column,
        "label_separator": given.separator,
    }
    return replace(config, **{key: value for key, value in given_columns.items() if value is not None})


def _map_columns(
    config: DataConfig, source: Path | HeldFrame, given: GivenData, known: LabelList | None
) -> tuple[DataConfig, LabelTable]:
    """Find what the columns of a table are."""
    header = read_header_row(source, first_is_id=False)
    labels = known.keys if known is not None else frozenset()
    config = _map_given(config, given)
    try:
        config = replace(config, id_column=find_photo_column(source, config, known))
    except ValueError:
        if given.id_column is not None or given.labels_column not in (None, *header) or not header:
            raise
        config = replace(config, id_column=header[0])  # whether it names photos is seen when they are looked for
    free = [name for name in header if name not in labels and name != config.id_column]
    group = next((name for name in free if name.lower() in GROUP_COLUMNS), None)
    split = next((name for name in free if name.lower() in SPLIT_COLUMNS and _are_splits(source, name)), None)
    config = replace(config, group_column=group, split_column=split)
    aside = [name for name in (group, split) if name is not None]

    def read_by(separator: str | None) -> LabelTable:
        return read_label_table(
            source,
            known,
            id_column=config.id_column,
            labels_column=given.labels_column,
            separator=separator,
            extra_columns=aside,
        )

    try:
        read = read_by(given.separator)
    except ValueError:
        if given.separator is not None or not _are_words(read_by(WHITE_SPACE)):
            raise
        read, config = read_by(WHITE_SPACE), replace(config, label_separator=WHITE_SPACE)
    if read.column is not None:
        config = replace(config, labels_column=read.column)
        if config.label_separator is None and not read.is_long:
            config = replace(config, label_separator=_find_separator(source, read))
    return config, read


def _are_words(read: LabelTable) -> bool:
    """Tell whether cells that could be one label each are made of few words that come again and again."""
    several = {keys for keys in read.keys or () if len(keys) > 1}
    words = {key for keys in several for key in keys}
    return read.column is not None and len(words) * WORD_COMES_AGAIN <= sum(map(len, several))


def _are_splits(source: Path | HeldFrame, column: str) -> bool:
    """Tell whether a column says which photos are for training and which for testing."""
    try:
        return bool([normalize_split(value, "") for value in set(read_texts(source, [column])[column])])
    except ValueError:
        return False


def _find_separator(source: Path | HeldFrame, read: LabelTable) -> str | None:
    """Return by what the cells were split; None for lists, and where no cell holds several labels."""
    cells = read_texts(source, [str(read.column)])[str(read.column)]
    if all(len(keys) < 2 for keys in read.keys or ()):
        return None
    return next((mark for mark in SEPARATORS if split_cells(cells, separator=mark, who="") == read.keys), None)


def _describe_table(source: Path | HeldFrame, config: DataConfig, read: LabelTable, guessed: bool) -> Iterator[str]:
    """Say how a table was read."""
    ids = f"photos in column {config.id_column!r}"
    if read.column is None:
        yield f"{source.name}: one column per label, with 0 and 1; {ids}"
    elif read.is_long:
        yield f"{source.name}: one row per photo and label; {ids}, labels in {read.column!r}"
    elif config.label_separator is not None:
        words = SEPARATOR_WORDS.get(config.label_separator, repr(config.label_separator))
        yield f"{source.name}: one row per photo; {ids}, labels in {read.column!r}, separated by {words}"
        if config.label_separator == WHITE_SPACE and guessed:
            yield "the spaces are a guess, as the same words come back; if labels hold spaces, give --separator"
    else:
        several = any(len(keys) > 1 for keys in read.keys or ())
        form = "written as lists" if several else "one each"
        yield f"{source.name}: one row per photo; {ids}, labels in {read.column!r}, {form}"
    if read.unused:
        yield f"not used: the columns {list_some(read.unused)}"


def _count(manifest: Manifest, photos: Path, n_files: int, config: DataConfig) -> Iterator[str]:
    """Say how many photos and labels there are."""
    n_listed = len(manifest) + len(manifest.missing)
    rest = n_files - len(manifest)
    yield (
        f"{photos}: {n_files:,} photos, of which {len(manifest):,} are labeled"
        + (f" and {rest:,} are not used" if rest else "")
        + (f"; {len(manifest.missing):,} of {n_listed:,} labeled photos are not there" if manifest.missing else "")
    )
    per_photo = manifest.y_true.sum(axis=1, dtype=np.int64)
    yield (
        f"{manifest.n_labels:,} labels, {per_photo.mean():.1f} per photo"
        + (f"; {int((per_photo == 0).sum()):,} photos have none" if (per_photo == 0).any() else "")
    )
    train = manifest.split_rows("train")
    counts = manifest.y_true[train].sum(axis=0, dtype=np.int64)
    order, names = np.argsort(-counts, kind="stable"), manifest.vocabulary.names
    ends = [_named_counts(part, counts, names) for part in (order[:3], order[-3:])]
    yield f"most frequent: {ends[0]}; rarest: {ends[1]}"
    few = int((counts < FEW_PHOTOS).sum())
    if few:
        yield f"{few:,} labels have fewer than {FEW_PHOTOS} training photos; data.min_label_count leaves them out"
    if config.split_column is not None:
        parts = {name: len(manifest.split_rows(name)) for name in ("train", "validation", "test")}
        shown = ", ".join(f"{count:,} {name}" for name, count in parts.items() if count)
        yield f"column {config.split_column!r}: {shown}"
    if manifest.groups is not None:
        n_groups = len({group for group in manifest.groups.tolist() if group})
        yield f"column {config.group_column!r}: {n_groups:,} groups of photos that share a fold"


def _named_counts(columns: np.ndarray, counts: np.ndarray, names: Sequence[str]) -> str:
    """List some labels with their training photos."""
    return ", ".join(f"{names[column]} ({counts[column]:,})" for column in columns)
