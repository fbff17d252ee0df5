"""Annotations in the form of the iMaterialist Fashion 2018 contest.

``{"images": [{"imageId": "1", "url": …}], "annotations": [{"imageId": "1", "labelId": ["66", "105"]}]}``; the
contest's files also occur with ``image_id`` and ``label_id``. Ids are text. A manifest finds photos by their ids; only
the download reads the urls.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from base_models.manifest.annotations import AnnotationTable, check_photo_id, list_some
from stacking.files.untrusted import load_strictly

_IMAGE_KEYS = ("imageId", "image_id", "id")
_LABEL_KEYS = ("labelId", "label_id", "labels")


def read_imaterialist_json(
    path: Path, *, split: str = "train", prefix: str = "", data: Any = None
) -> tuple[AnnotationTable, tuple[str, ...]]:
    """Read one contest file.

    Parameters
    ----------
    path : Path
        The file, UTF-8, with or without a byte order mark.
    split : str, default="train"
        The split that its photos belong to.
    prefix : str, default=""
        Put before every photo id.
    data : object, optional
        The file's content, if it was parsed before.

    Returns
    -------
    table : AnnotationTable
        The annotated photos, in the order of the file's annotations.
    unannotated : tuple of str
        Ids of photos that are listed in ``images`` and have no annotation.

    Raises
    ------
    ValueError
        If the file is missing or no such JSON, repeats a key, holds NaN or Infinity, holds no annotations, annotates an
        image that it does not list, or lists or annotates an image twice.
    """
    data = load_json(path) if data is None else data
    if not isinstance(data, dict) or not isinstance(data.get("annotations"), list) or not data["annotations"]:
        raise ValueError(
            f"{path.name} must hold an object with a list 'annotations': got none; photos without labels are for "
            "`labelstack predict`."
        )
    table = AnnotationTable(path.name)
    table.kind = "ids"
    for position, annotation in enumerate(data["annotations"]):
        where = f"{path.name}, annotations[{position}]"
        labels = _value(annotation, _LABEL_KEYS, where)
        if not isinstance(labels, list):
            raise ValueError(f"{where} must hold a list of label ids: got {str(labels)[:60]!r}; write a list.")
        photo_id = prefix + _text(_value(annotation, _IMAGE_KEYS, where), where)
        table.add(photo_id, [_text(label, where) for label in labels], split=split)
    if "images" not in data:
        return table, ()
    listed = _listed_images(data["images"], path, prefix)
    known = set(listed)
    if len(known) != len(listed):
        twice = [photo_id for photo_id, count in Counter(listed).items() if count > 1]
        raise ValueError(
            f"{path.name} must list every image once: got {list_some(twice)} again; remove the repeated entries."
        )
    strangers = [photo_id for photo_id in table.ids if photo_id not in known]
    if strangers:
        raise ValueError(
            f"{path.name} must annotate images that it lists: got unknown photos {list_some(strangers)}; "
            "correct the annotations."
        )
    annotated = set(table.ids)
    return table, tuple(photo_id for photo_id in listed if photo_id not in annotated)


def read_photo_urls(path: Path) -> list[tuple[str, str]]:
    """Read where the photos of one contest file are.

    Parameters
    ----------
    path : Path
        The file, UTF-8, with or without a byte order mark; it need not hold annotations.

    Returns
    -------
    list of (str, str)
        Id and url of every photo, in the order of the file. A list of urls, as some contests write, counts as its
        first.

    Raises
    ------
    ValueError
        If the file is missing or no such JSON, lists no image, or an image has no id, an unsafe id, the id of another,
        or no url.
    """
    data = load_json(path)
    images = data.get("images") if isinstance(data, dict) else None
    if not isinstance(images, list) or not images:
        raise ValueError(f"{path.name} must hold a list 'images' with ids and urls: got none; give the contest's file.")
    urls: dict[str, str] = {}
    for position, image in enumerate(images):
        where = f"{path.name}, images[{position}]"
        photo_id = _text(_value(image, _IMAGE_KEYS, where), where)
        check_photo_id(photo_id, where)
        if photo_id in urls:
            raise ValueError(f"{where} must have an id of its own: got {photo_id!r} again; remove the repeated entry.")
        url = image.get("url")
        if isinstance(url, list) and url:
            url = url[0]
        if not isinstance(url, str) or not url.strip():
            raise ValueError(f"{where} must have a text 'url': got {str(url)[:60]!r}; add it.")
        urls[photo_id] = url.strip()
    return list(urls.items())


def _listed_images(images: Any, path: Path, prefix: str) -> list[str]:
    """Return the ids of the file's ``images``."""
    if not isinstance(images, list):
        raise ValueError(f"{path.name} must hold 'images' as a list: got {type(images).__name__}; write a list.")
    ids = []
    for position, image in enumerate(images):
        where = f"{path.name}, images[{position}]"
        ids.append(prefix + _text(_value(image, _IMAGE_KEYS, where), where))
    return ids


def load_json(path: Path) -> Any:
    """Parse JSON; refuse repeated keys and constants that JSON does not have.

    Parameters
    ----------
    path : Path
        The file, UTF-8, with or without a byte order mark.

    Returns
    -------
    object
        Its content.

    Raises
    ------
    ValueError
        If it is missing or no such JSON.
    """
    try:
        return load_strictly(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(
            f"annotations must be a readable JSON file: got {str(path)!r} ({error.strerror}); correct the path."
        ) from error
    except RecursionError as error:
        raise ValueError(f"{path.name} must be contest JSON: it is nested too deeply; write it again.") from error
    except ValueError as error:  # JSONDecodeError and UnicodeDecodeError are ValueErrors too
        raise ValueError(f"{path.name} must be valid JSON in UTF-8: {error}; write it again.") from error


def _value(entry: Any, keys: tuple[str, ...], where: str) -> Any:
    """Return the value of the first spelling that the entry has."""
    if isinstance(entry, dict):
        for key in keys:
            if key in entry:
                return entry[key]
    raise ValueError(
        f"{where} must be an object with {keys[0]!r} or {keys[1]!r}: got {str(entry)[:60]!r}; correct the entry."
    )


def _text(value: Any, where: str) -> str:
    """Return an id as text; whole numbers are written out, anything else is refused."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise ValueError(f"{where} must use ids that are text or whole numbers: got {value!r}; correct the entry.")
