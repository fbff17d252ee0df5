"""Annotations in the form of COCO: images, categories, and annotations that name one of each.

A photo has every category that one of its annotations has, boxes, masks and crowds alike; a photo without annotations
has none. Panoptic files name the categories of segments; iNaturalist's name one for the whole photo; LVIS names photos
by their addresses. Source: cocodataset.org, "Data format".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from typing import Any

from base_models.manifest.annotations import list_some
from base_models.manifest.tool_forms.tool_form import (
    ToolForm,
    ToolLabels,
    ToolSource,
    as_label,
    as_list,
    as_object,
    fill_table,
    photo_path,
    refuse_repeats,
)

_CONTEST_KEYS = ("labelId", "label_id", "labels")


def _recognizes(source: ToolSource) -> bool:
    """Tell COCO from the contest's files, which list labels by photo and have no categories."""
    data = source.data
    if isinstance(data, list):  # results of a detector
        return bool(data) and isinstance(data[0], dict) and {"image_id", "category_id"} <= data[0].keys()
    if not isinstance(data, dict) or not isinstance(data.get("images"), list):
        return False
    image, annotation = (_first(data.get(name)) for name in ("images", "annotations"))
    if any(key in annotation for key in _CONTEST_KEYS):
        return False
    return "categories" in data or "category_id" in annotation or "file_name" in image


def _first(entries: Any) -> dict[str, Any]:
    """Return the first entry of a list if it is an object."""
    return entries[0] if isinstance(entries, list) and entries and isinstance(entries[0], dict) else {}


def _read(source: ToolSource) -> ToolLabels:
    """Read the photos and the categories of each."""
    name, data = source.path.name, source.data
    if isinstance(data, list):
        raise ValueError(f"{name} must name photos and categories: got results of COCO; give the annotations.")
    if not data.get("annotations"):
        raise ValueError(f"{name} must hold annotations: got none; photos without labels are for `labelstack predict`.")
    categories = _categories(data, name)
    files, labels = {}, {}
    for image, where in _entries(data, "images", name):
        key = as_label(image.get("id"), f"{where}, id")
        if key in files:
            raise ValueError(f"{where} must have an id of its own: got {key!r} again; remove the repeated entry.")
        files[key], labels[key] = _file_of(image, where), dict[str, None]()
    refuse_repeats(files.values(), f"{name}, images", "file name")
    n_crowds = 0
    for annotation, where in _entries(data, "annotations", name):
        image_id = as_label(annotation.get("image_id"), f"{where}, image_id")
        if image_id not in labels:
            raise ValueError(f"{where} must have an image that the file lists: got {image_id!r}; correct the entry.")
        n_crowds += annotation.get("iscrowd") == 1
        for part in as_list(annotation.get("segments_info", [annotation]), f"{where}, segments_info"):
            category = as_label(as_object(part, where).get("category_id"), f"{where}, category_id")
            if category not in categories:
                some = list_some([f"{key} ({label})" for key, label in categories.items()], 3)
                raise ValueError(f"{where} must have a category that the file lists: got {category!r}, not {some}.")
            labels[image_id][categories[category]] = None
    photos = {files[key]: found for key, found in labels.items()}
    n_empty = sum(not found for found in labels.values())
    counts = f"{len(data['annotations']):,} annotations ({n_crowds:,} crowds) of {len(categories):,} categories"
    fact = (
        f"{name}: COCO, {counts} in {len(files):,} photos, {n_empty:,} without annotations, which have no label; a "
        "photo has every category that one of its annotations has"
    )
    table = fill_table(source, photos, labels=tuple(categories.values()))
    return ToolLabels(table, list(files), fact, left_out=tuple(_not_read(data)))


def _categories(data: dict[str, Any], name: str) -> dict[str, str]:
    """Return the names of the categories by id."""
    found: dict[str, str] = {}
    for category, where in _entries(data, "categories", name):
        key = as_label(category.get("id"), f"{where}, id")
        if key in found:
            raise ValueError(f"{where} must have an id of its own: got {key!r} again; remove the repeated entry.")
        found[key] = as_label(category.get("name"), f"{where}, name")
    refuse_repeats(found.values(), f"{name}, categories", "name")
    return found


def _not_read(data: dict[str, Any]) -> Iterator[str]:
    """Say what a file holds beside categories that could have been meant."""
    asked = sum("neg_category_ids" in image for image in data["images"])
    if asked:
        yield (
            f"{asked:,} photos say which categories were looked for (LVIS); one that was not looked for counts as "
            "absent here"
        )
    attributes = sum(bool(annotation.get("attribute_ids")) for annotation in data["annotations"])
    if attributes:
        yield f"the attributes of {attributes:,} annotations are not read, only their categories"


def _file_of(image: dict[str, Any], where: str) -> str:
    """Return the path of a photo; LVIS gives an address only."""
    return photo_path(image.get("file_name") or image.get("coco_url"), f"{where}, file_name")


def _entries(data: dict[str, Any], key: str, name: str) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the objects of a list, and how errors call them."""
    for place, entry in enumerate(as_list(data.get(key), f"{name}, {key}")):
        yield as_object(entry, f"{name}, {key}[{place}]"), f"{name}, {key}[{place}]"


def _keep(source: ToolSource, entries: Set[str]) -> str:
    """Leave out the other images and their annotations."""
    content = dict(source.data)
    content["images"] = [image for image in content["images"] if str(image["id"]).strip() in entries]
    content["annotations"] = [a for a in content["annotations"] if str(a["image_id"]).strip() in entries]
    return json.dumps(content, ensure_ascii=False) + "\n"


COCO = ToolForm("COCO", _recognizes, _read, _keep)
