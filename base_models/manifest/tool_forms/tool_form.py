"""What every reader of another tool's labels is, takes and gives; what is the same for all of them.

A reader says whether it knows the content of a file or folder, reads it into an `AnnotationTable`, and cuts it to some
of its photos, so that the labels of photos that an ingest has kept stay in the form they had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from base_models.manifest.annotations import AnnotationTable, list_some
from base_models.manifest.photo_names import name_photos, normalize_path
from base_models.recipe.data import DataConfig
from stacking.predictions.forms.label_cells import LabelList

_LOCAL_FILES = "/local-files/"  # where Label Studio serves files of its own disk: /data/local-files/?d=PATH
_SPLIT_WORDS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
DEFAULT = DataConfig("folder", "")


@dataclass(frozen=True)
class ToolSource:
    """A file or folder that may be another tool's.

    Attributes
    ----------
    path : Path
        The file, or the folder.
    data : object
        The content of a JSON file; None for a folder.
    photos : Path
        The folder of photos.
    config : DataConfig
        Says which field holds the photos (``id_column``) and which the labels (``labels_column``), where the tool lets
        its users name them; at their defaults they are found.
    known : LabelList, optional
        The labels, where there is a list of them.
    """

    path: Path
    data: Any
    photos: Path
    config: DataConfig
    known: LabelList | None = None

    @property
    def id_column(self) -> str | None:
        """Return the field of the photos if one was named."""
        return None if self.config.id_column == DEFAULT.id_column else self.config.id_column

    @property
    def labels_column(self) -> str | None:
        """Return the field of the labels if one was named."""
        return None if self.config.labels_column == DEFAULT.labels_column else self.config.labels_column


@dataclass(frozen=True)
class ToolLabels:
    """What was read.

    Attributes
    ----------
    table : AnnotationTable
        Ids, paths, labels and splits of the photos.
    entries : list of str
        What the file calls each photo, for `ToolForm.keep`.
    fact : str
        What was understood, in one line.
    unannotated : tuple of str
        Photos that the file lists and says nothing about; they are left out.
    left_out : tuple of str
        What else was not read, one sentence each, with its count.
    columns : dict of str to str
        ``id_column`` and ``labels_column`` as they were found, where the tool's users name them.
    """

    table: AnnotationTable
    entries: list[str]
    fact: str
    unannotated: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolForm:
    """A form of labels that another tool writes.

    Attributes
    ----------
    title : str
        What it is called.
    recognizes : callable
        Tells by the content whether a source has this form.
    read : callable
        Reads it.
    keep : callable
        Takes the source and the entries of some photos; returns the content of a file of the same form that holds
        only these.
    suffix : str, default='.json'
        Of such a file.
    """

    title: str
    recognizes: Callable[[ToolSource], bool]
    read: Callable[[ToolSource], ToolLabels]
    keep: Callable[[ToolSource, Set[str]], str]
    suffix: str = ".json"


def fill_table(
    source: ToolSource,
    photos: Mapping[str, Iterable[str]],
    *,
    labels: tuple[str, ...] | None = None,
    splits: Mapping[str, str] | None = None,
    groups: Mapping[str, str] | None = None,
) -> AnnotationTable:
    """Make the table of photos and their labels.

    Parameters
    ----------
    source : ToolSource
        Where they are from.
    photos : mapping of str to iterable of str
        Label names by the path of the photo.
    labels : tuple of str, optional
        All labels, where the file lists them; a label without a photo is a label too.
    splits, groups : mapping, optional
        By path.

    Returns
    -------
    AnnotationTable
        Its labels are names; a photo's id is the name of its file, or its path where names repeat.
    """
    table = AnnotationTable(source.path.name)
    table.kind, table.columns = "names", labels
    table.paths = [normalize_path(path) for path in photos]
    names = name_photos(table.paths)
    for photo_id, (path, keys) in zip(names, photos.items(), strict=True):
        table.add(photo_id, keys, split=(splits or {}).get(path, "train"), group=(groups or {}).get(path, ""))
    return table


def photo_path(value: Any, where: str) -> str:
    """Return the path of a photo that a tool names by a path or by an address.

    Parameters
    ----------
    value : object
        ``images/a.jpg``, ``s3://bucket/a.jpg``, ``https://host/a.jpg?size=2``, ``/data/local-files/?d=images/a.jpg`` …
    where : str
        The entry, for the error.

    Returns
    -------
    str
        With slashes, without host and without ``..``.

    Raises
    ------
    ValueError
        If it names no file.

    Examples
    --------
    >>> photo_path("/data/local-files/?d=my%20photos/a.jpg", "tasks[0]"), photo_path("s3://shop/new/b.png", "tasks[1]")
    ('my photos/a.jpg', 'new/b.png')
    """
    if not isinstance(value, str) or not value.strip() or value.startswith("data:"):
        raise ValueError(f"{where} must name the photo's file: got {str(value)[:60]!r}; correct the entry.")
    path = value.strip().replace("\\", "/")
    try:
        address = urlsplit(path)
    except ValueError:  # such as a bracket that could begin an address of IPv6
        address = urlsplit("")
    if address.path.endswith(_LOCAL_FILES):
        path = parse_qs(address.query).get("d", [""])[-1]
    elif len(address.scheme) > 1 and address.netloc:  # one letter is a disk of Windows
        path = unquote(address.path)
    elif path.startswith("/data/"):
        path = unquote(path)
    parts = [part for part in path.split("/") if part not in ("", ".", "..")]
    if not parts:
        raise ValueError(f"{where} must name the photo's file: got {value[:60]!r}; correct the entry.")
    return "/".join(parts)


def as_label(value: Any, where: str) -> str:
    """Return a label as text.

    Parameters
    ----------
    value : object
        A text, or a whole number.
    where : str
        The entry, for the error.

    Returns
    -------
    str
        Without blanks around it.

    Raises
    ------
    ValueError
        If it is neither, or blank.
    """
    text = str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text:
        raise ValueError(f"{where} must hold labels that are text: got {str(value)[:60]!r}; correct the entry.")
    return text


def as_list(value: Any, where: str) -> list[Any]:
    """Return a list; refuse anything else.

    Parameters
    ----------
    value : object
        The value.
    where : str
        The entry, for the error.

    Returns
    -------
    list
        The same.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, list):
        raise ValueError(f"{where} must be a list: got {str(value)[:60]!r}; correct the entry.")
    return value


def as_object(value: Any, where: str) -> dict[str, Any]:
    """Return an object of JSON; refuse anything else.

    Parameters
    ----------
    value : object
        The value.
    where : str
        The entry, for the error.

    Returns
    -------
    dict
        The same.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be an object: got {str(value)[:60]!r}; correct the entry.")
    return value


def refuse_repeats(paths: Iterable[str], who: str, what: str) -> None:
    """Refuse a file that names something twice.

    Parameters
    ----------
    paths : iterable of str
        Names.
    who : str
        The file.
    what : str
        What is named, one of them.

    Raises
    ------
    ValueError
        If a name repeats.
    """
    twice = [path for path, count in Counter(paths).items() if count > 1]
    if twice:
        raise ValueError(f"{who} must hold every {what} once: got {list_some(twice)} again; remove the repeats.")


def split_of_tags(tags: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """Find the split that a tag of every photo names.

    Parameters
    ----------
    tags : mapping of str to iterable of str
        Tags by photo.

    Returns
    -------
    dict of str to str
        ``train``, ``validation`` or ``test`` by photo; empty unless every photo has exactly one such tag.
    """
    found = {photo: {_SPLIT_WORDS[tag] for tag in own if tag in _SPLIT_WORDS} for photo, own in tags.items()}
    return {photo: next(iter(own)) for photo, own in found.items()} if all(len(o) == 1 for o in found.values()) else {}
