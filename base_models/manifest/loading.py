"""From the recipe's ``[data]`` table to a manifest.

Read the annotations, find the photos, join the two by id, then cut to what the recipe asks for. A photo that is not
there is recorded and counted, and the run goes on; an annotation that cannot be understood ends it before any costly
work.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from base_models.manifest.annotations import AnnotationTable, list_some
from base_models.manifest.csv_table import read_csv_table
from base_models.manifest.folder import FolderPhotos, list_folder_photos, scan_folder
from base_models.manifest.imaterialist_json import read_imaterialist_json
from base_models.manifest.json_table import frame_of_json, is_contest_form
from base_models.manifest.manifest import Manifest
from base_models.manifest.photo_names import match_photos, name_photos, normalize_path
from base_models.manifest.tar_shards import TarPhotos, list_tar_photos, scan_tar_shards
from base_models.manifest.tool_forms import ToolLabels, find_tool_form, open_labels, read_tool_labels
from base_models.photos.vocabulary import Vocabulary, load_vocabulary
from base_models.recipe.data import DataConfig
from stacking._checks import check_groups, check_names
from stacking.predictions.forms.label_cells import LabelList
from stacking.truth import number_groups

logger = logging.getLogger(__name__)


def load_manifest(config: DataConfig, folder: Path) -> Manifest:
    """Read the data set that a recipe names.

    Parameters
    ----------
    config : DataConfig
        Files, columns and limits.
    folder : Path
        The recipe's folder, from which relative paths are taken.

    Returns
    -------
    Manifest
        Annotated photos that were found, in the order of the annotations; `missing` lists the others.

    Raises
    ------
    ValueError
        If a file is missing or unreadable, a column is absent, an id is unsafe or repeated, labels are unknown, two
        photos have equal ids, or no photo is left.
    """
    root = _resolve(config.root, folder)
    vocabulary = load_vocabulary(_resolve(config.labels, folder)) if config.labels else None
    table, unannotated = _read_annotations(config, folder, root, None if vocabulary is None else vocabulary.labels)
    table.check_ids()
    if vocabulary is None:
        vocabulary = Vocabulary(table.columns) if table.columns else Vocabulary.from_keys(table.keys)
    y_true = table.to_matrix(vocabulary)
    place_of_row, photos = _find_photos(config, root, table)
    rows = np.flatnonzero(place_of_row >= 0)
    missing = tuple(table.ids[row] for row in np.flatnonzero(place_of_row < 0))
    if not len(rows):
        raise ValueError(
            f"data.root must hold the annotated photos: none of {len(table):,} was found in {str(root)!r} (which holds "
            f"{len(photos):,} photos); correct the path or the id column."
        )
    if missing:
        logger.warning(
            "%d of %d annotated photos were not found and are left out: %s",
            len(missing),
            len(table),
            list_some(missing),
        )
    if unannotated:
        logger.warning("%d photos have no annotation and are left out: %s", len(unannotated), list_some(unannotated))
    groups = np.array(table.groups, dtype=np.str_)[rows] if config.group_column else None
    manifest = Manifest(
        np.array(table.ids, dtype=np.str_)[rows],
        vocabulary,
        y_true[rows],
        photos.select(place_of_row[rows]),
        split=np.array(table.splits, dtype=np.str_)[rows],
        groups=groups,
        missing=missing,
        unannotated=unannotated,
    )
    return _cut(manifest, config)


def load_photo_folder(root: Path) -> tuple[NDArray[np.str_], FolderPhotos | TarPhotos]:
    """Find photos without labels, for prediction.

    Parameters
    ----------
    root : Path
        A folder of photos, or of tar shards.

    Returns
    -------
    ids : ndarray of str, shape (n_photos,)
        File names without extension.
    photos : FolderPhotos or TarPhotos
        Their source.

    Raises
    ------
    ValueError
        If the folder does not exist, holds no photo, or holds two photos with equal ids.
    """
    ids, photos = scan_tar_shards(root) if root.is_dir() and any(root.glob("*.tar")) else scan_folder(root)
    if not ids:
        raise ValueError(f"the folder of photos must hold at least one: got {str(root)!r} with none; correct the path.")
    return check_names(ids, name="photo ids"), photos


def _resolve(path: str, folder: Path) -> Path:
    """Expand ``~`` and variables; take relative paths from the recipe's folder."""
    return folder / Path(os.path.expandvars(path)).expanduser()


def _read_annotations(
    config: DataConfig, folder: Path, root: Path, labels: LabelList | None
) -> tuple[AnnotationTable, tuple[str, ...]]:
    """Read the table or plain JSON, or one file per split: the contest's, or another tool's."""
    path = _resolve(config.annotations, folder) if config.annotations else root / "annotations.csv"
    files = {"train": path}
    if config.validation_annotations:
        files["validation"] = _resolve(config.validation_annotations, folder)
    if config.test_annotations:
        files["test"] = _resolve(config.test_annotations, folder)
    data = None
    if config.format != "imaterialist-json":
        source = open_labels(path, root, config, labels)
        form = find_tool_form(source)
        if form is not None:
            rest = [open_labels(file, root, config, labels) for file in list(files.values())[1:]]
            return _join_tool_files(files, [form.read(source), *map(read_tool_labels, rest)])
        data = source.data
        if data is None:
            return read_csv_table(path, config, labels), ()
        if not is_contest_form(data):
            return read_csv_table(frame_of_json(data, path), config, labels), ()
    table = AnnotationTable(" + ".join(file.name for file in files.values()))
    unannotated: tuple[str, ...] = ()
    for split, file in files.items():
        prefix = f"{split}-" if config.split_folders else ""
        read, without = read_imaterialist_json(file, split=split, prefix=prefix, data=data if file == path else None)
        table.extend(read)
        unannotated += without
    return table, unannotated


def _join_tool_files(
    files: Mapping[str, Path], found: Sequence[ToolLabels | None]
) -> tuple[AnnotationTable, tuple[str, ...]]:
    """Bring the files of another tool together, one per split, and say what was left out."""
    table = AnnotationTable(" + ".join(file.name for file in files.values()))
    unannotated: tuple[str, ...] = ()
    for (split, file), read in zip(files.items(), found, strict=True):
        if read is None:
            raise ValueError(f"{file.name} must have the form of the other annotations; export it in the same way.")
        if len(files) > 1:
            read.table.splits = [split] * len(read.table)
        table.extend(read.table)
        unannotated += read.unannotated
        for sentence in read.left_out:
            logger.warning("%s: %s", file.name, sentence)
    table.ids = name_photos(table.paths)
    return table, unannotated


def _find_photos(
    config: DataConfig, root: Path, table: AnnotationTable
) -> tuple[NDArray[np.int64], FolderPhotos | TarPhotos]:
    """Find the photo of every row of the table, −1 where there is none."""
    paths, photos = list_tar_photos(root) if config.format == "tar" else list_folder_photos(root)
    short = [normalize_path(path) for path in paths]
    prefixes = {split: f"{split}-" for split in ("train", "validation", "test")} if config.split_folders else None
    names = name_photos(short, prefixes)
    return match_photos(table.paths or table.ids, short, names, who=table.source), photos


def _cut(manifest: Manifest, config: DataConfig) -> Manifest:
    """Apply `n_train` and `min_label_count`."""
    if config.n_train is not None:
        train = manifest.split_rows("train")
        if config.n_train > len(train):
            raise ValueError(
                f"data.n_train must be at most the number of training photos: got {config.n_train} for {len(train)}; "
                "lower it."
            )
        chosen = _draw_groups(train, manifest.groups, config.n_train, config.subset_seed)
        rows = np.sort(np.concatenate([chosen, np.flatnonzero(manifest.split != "train")]))
        missing, unannotated = manifest.missing, manifest.unannotated
        manifest = manifest.select(rows)
        manifest.missing, manifest.unannotated = missing, unannotated
    if config.min_label_count:
        counts = manifest.y_true[manifest.split_rows("train")].sum(axis=0, dtype=np.int64)
        kept = np.flatnonzero(counts >= config.min_label_count)
        if not len(kept):
            raise ValueError(
                f"data.min_label_count must leave a label: got {config.min_label_count}, but the most frequent label "
                f"has {counts.max()} training photos; lower it."
            )
        manifest = manifest.select_labels(kept)
    return manifest


def _draw_groups(
    train: NDArray[np.int64], groups: NDArray[np.str_] | None, n_train: int, seed: int
) -> NDArray[np.int64]:
    """Draw whole groups in random order while they fit; without groups every photo is its own."""
    rng = np.random.default_rng(seed)
    if groups is None:
        return rng.permutation(train)[:n_train]
    numbers = number_groups(check_groups(groups[train], len(train)))  # a photo of no group is a group of its own
    numbers = np.arange(len(train)) if numbers is None else numbers
    _, group_of_row, sizes = np.unique(numbers, return_inverse=True, return_counts=True)
    chosen = np.zeros(len(sizes), dtype=bool)
    left = n_train
    for group in rng.permutation(len(sizes)):
        if sizes[group] <= left:
            chosen[group] = True
            left -= int(sizes[group])
        if not left:
            break
    return train[chosen[group_of_row]]
