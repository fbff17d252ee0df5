"""What a recipe says about its photos and labels.

One frozen dataclass, filled from the ``[data]`` table of a recipe and read by
:func:`base_models.manifest.load_manifest`. It names files and columns; it holds no data.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from base_models.recipe.problems import refuse


@dataclass(frozen=True)
class DataConfig:
    """Name the photos, the annotations and the columns of one data set.

    Relative paths are taken from the folder of the recipe; ``~`` and ``$VARIABLES`` are expanded. A photo's id is its
    file name without extension; where a table names files that are called alike in several folders, the ids of all its
    photos are their paths without extension. Two photos with equal ids are an error.

    Parameters
    ----------
    format : {"imaterialist-json", "csv", "folder", "tar"}
        ``imaterialist-json``: contest files, photos in a folder. ``csv``: a table, plain JSON or the labels of another
        tool, photos in a folder.
        ``folder``: a folder that holds its photos and its table (``annotations.csv`` unless named). ``tar``: photos in
        plain tar shards, annotations as a table or as contest JSON, by suffix.
    root : str
        The folder that holds the photos, searched with its sub-folders, or the folder of tar shards.
    annotations : str, default=""
        The annotation file: a CSV, TSV, Parquet or Feather table, JSON records or JSON lines with the same columns, an
        object with the labels of each photo, or a contest file, which holds the training split. Also the files of
        other tools: COCO, JSON and JSON-MIN of Label Studio, ``samples.json`` and ``labels.json`` of FiftyOne, the
        folder of img2dataset. Required except for ``folder``.
    validation_annotations : str, optional
        JSON of the contest and files of other tools: the file of the validation split.
    test_annotations : str, optional
        JSON of the contest and files of other tools: the file of the test split.
    labels : str, optional
        The label list in any form that `stacking.load_predictions` takes, such as a table ``labelId,name``; names may
        be written ``group:value``. Without it the labels are those that the annotations hold, sorted, or the columns of
        a table with one column per label.
    split_folders : bool, default=False
        JSON form only: photos lie in ``root/train``, ``root/validation`` and ``root/test``, and ids become
        ``train-17``, because the contest numbers every split from 1.
    id_column : str, default="image"
        Table form: the column with the photo's file name or id; at its default another usual name will do (``id``,
        ``filename``, ``path`` …). Label Studio: the field of the tasks that names the photo.
    labels_column : str, default="labels"
        Table form: the column with the photo's label ids or names; at its default another usual name will do
        (``label``, ``labelId`` …), or one column per label with 0 and 1. A column ``label`` may repeat a photo, one row
        per label. Label Studio: the control; FiftyOne: the field; img2dataset: the column.
    label_separator : str, optional
        Table form: what separates labels in a cell, ``" "`` for white space. By default it is found: ``|``, semicolons,
        commas, a Python or JSON list, or white space between ids and between labels of the vocabulary. What could be
        one label or several is refused.
    group_column : str, optional
        Table form: the column of groups, photos that must share a fold (near-duplicates, one seller).
    split_column : str, optional
        Table form: the column of splits (``train``, ``validation`` or ``test``); without it every photo is training.
    n_train : int, optional
        Use only this many training photos: whole groups, drawn with `subset_seed`. All of them by default.
    subset_seed : int, default=0
        Seed of that draw.
    min_label_count : int, default=0
        Drop labels with fewer positives among the training photos that are used.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    format: Literal["imaterialist-json", "csv", "folder", "tar"]
    root: str
    annotations: str = ""
    validation_annotations: str | None = None
    test_annotations: str | None = None
    labels: str | None = None
    split_folders: bool = False
    id_column: str = "image"
    labels_column: str = "labels"
    label_separator: str | None = None
    group_column: str | None = None
    split_column: str | None = None
    n_train: int | None = None
    subset_seed: int = 0
    min_label_count: int = 0

    def __post_init__(self) -> None:
        refuse(self._problems())

    def _problems(self) -> Iterator[str]:
        """Say what is wrong with the settings."""
        if self.format not in ("imaterialist-json", "csv", "folder", "tar"):
            yield f"data.format must be 'imaterialist-json', 'csv', 'folder' or 'tar': got {self.format!r}."
        if self.n_train is not None and self.n_train < 1:
            yield f"data.n_train must be at least 1 or absent: got {self.n_train}; correct the recipe."
        if self.min_label_count < 0:
            yield (f"data.min_label_count must be at least 0: got {self.min_label_count}; correct the recipe.")
        if not self.annotations and self.format != "folder":
            yield (f"data.annotations must name the annotation file of format {self.format!r}: got nothing; add it.")
