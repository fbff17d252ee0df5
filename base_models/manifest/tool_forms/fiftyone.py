"""Labels in the two forms that FiftyOne exports for photos.

``samples.json`` of a ``FiftyOneDataset`` holds one object per sample, with fields of labels that its users name;
``labels.json`` of a ``FiftyOneImageClassificationDataset`` holds names or numbers of labels by the name of the photo's
file, and null where there is none, which FiftyOne writes for an empty list as well. What a detection, a polyline or a
keypoint is called counts as a label of the photo. Source: docs.voxel51.com, "Exporting datasets", and fiftyone 1.22.
"""

from __future__ import annotations

import json
from collections.abc import Set
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
    split_of_tags,
)

_LISTS = {
    "Classifications": "classifications",
    "Detections": "detections",
    "Polylines": "polylines",
    "Keypoints": "keypoints",
}
_SINGLE = ("Classification", "Detection", "Polyline", "Keypoint")
_USUAL = "ground_truth"
"""How FiftyOne calls the field of the labels where nobody names it."""


def _is_samples(source: ToolSource) -> bool:
    """Tell ``samples.json`` by its one list."""
    data = source.data
    if not isinstance(data, dict) or not isinstance(data.get("samples"), list):
        return False
    first = data["samples"][0] if data["samples"] else {}
    return isinstance(first, dict) and "filepath" in first


def _read_samples(source: ToolSource) -> ToolLabels:
    """Read the labels of one field."""
    name, samples = source.path.name, source.data["samples"]
    samples = [as_object(sample, f"{name}, samples[{place}]") for place, sample in enumerate(samples)]
    fields = dict.fromkeys(key for sample in samples for key, value in sample.items() if _is_label_field(value))
    chosen = _choose_field(source, tuple(fields))
    photos: dict[str, list[str]] = {}
    tags: dict[str, list[str]] = {}
    entries, unannotated, paths = [], [], []
    for place, sample in enumerate(samples):
        where = f"{name}, samples[{place}]"
        path = photo_path(sample.get("filepath"), f"{where}, filepath")
        paths.append(path)
        if sample.get(chosen) is None:
            unannotated.append(path)
            continue
        photos[path] = _labels_of(sample[chosen], f"{where}, {chosen}")
        tags[path] = [str(tag) for tag in as_list(sample.get("tags") or [], f"{where}, tags")]
        entries.append(str(sample["filepath"]))
    refuse_repeats(paths, name, "photo")
    if not photos:
        raise ValueError(f"{name} must hold labeled samples: none of {len(samples):,} has the field {chosen!r}.")
    splits = split_of_tags(tags)
    fact = f"{name}: FiftyOne, {len(samples):,} samples, labels in the field {chosen!r}" + (
        ", splits by their tags" if splits else ""
    )
    table = fill_table(source, photos, splits=splits)
    columns = {"id_column": "filepath", "labels_column": chosen}
    return ToolLabels(table, entries, fact, unannotated=tuple(unannotated), columns=columns)


def _is_label_field(value: Any) -> bool:
    """Tell a field of labels by the class that FiftyOne writes into it."""
    return isinstance(value, dict) and value.get("_cls") in (*_LISTS, *_SINGLE)


def _choose_field(source: ToolSource, fields: tuple[str, ...]) -> str:
    """Take the field that was named, the usual one, or the only one."""
    wanted = source.labels_column
    found = list_some(fields) or "none"
    if wanted is not None:
        if wanted not in fields:
            raise ValueError(f"{source.path.name} must have labels in the field {wanted!r}: got {found}; name another.")
        return wanted
    if _USUAL in fields:
        return _USUAL
    if len(fields) != 1:
        raise ValueError(
            f"{source.path.name} must have one field of labels, or one called {_USUAL!r}: got {found}; name the one "
            "that is meant (--labels-column, data.labels_column)."
        )
    return fields[0]


def _labels_of(value: Any, where: str) -> list[str]:
    """Return the names in a field of labels."""
    if not _is_label_field(value):
        raise ValueError(f"{where} must hold labels of FiftyOne: got {str(value)[:60]!r}; correct the field.")
    inside = _LISTS.get(value["_cls"])
    parts = [value] if inside is None else as_list(value.get(inside) or [], f"{where}.{inside}")
    return [as_label(as_object(part, where).get("label"), where) for part in parts]


def _keep_samples(source: ToolSource, entries: Set[str]) -> str:
    """Leave out the other samples."""
    samples = [sample for sample in source.data["samples"] if str(sample["filepath"]) in entries]
    return json.dumps({**source.data, "samples": samples}, ensure_ascii=False) + "\n"


def _is_labels(source: ToolSource) -> bool:
    """Tell ``labels.json`` by its two keys."""
    data = source.data
    return isinstance(data, dict) and data.keys() == {"classes", "labels"} and isinstance(data["labels"], dict)


def _read_labels(source: ToolSource) -> ToolLabels:
    """Read the labels by name, or by their number in ``classes``."""
    name, data = source.path.name, source.data
    classes = None
    if data["classes"] is not None:
        listed = as_list(data["classes"], f"{name}, classes")
        classes = tuple(as_label(label, f"{name}, classes[{place}]") for place, label in enumerate(listed))
        refuse_repeats(classes, f"{name}, classes", "label")
    photos, entries, unannotated = {}, [], []
    for key, target in data["labels"].items():
        path = photo_path(key, f"{name}, labels")
        if target is None:
            unannotated.append(path)
            continue
        where = f"{name}, labels[{key!r}]"
        photos[path] = [_label_of(part, classes, where) for part in (target if isinstance(target, list) else [target])]
        entries.append(key)
    if not photos:
        raise ValueError(f"{name} must hold labeled photos: got none of {len(unannotated):,}.")
    fact = f"{name}: FiftyOne, the labels of {len(photos):,} photos" + (
        "" if classes is None else f", of {len(classes):,} that are listed"
    )
    table = fill_table(source, photos, labels=classes)
    return ToolLabels(table, entries, fact, unannotated=tuple(unannotated))


def _label_of(part: Any, classes: tuple[str, ...] | None, where: str) -> str:
    """Return the name of one label, which may stand beside its confidence and attributes."""
    value = part.get("label") if isinstance(part, dict) else part
    if isinstance(value, int) and not isinstance(value, bool) and classes is not None:
        if not 0 <= value < len(classes):
            raise ValueError(f"{where} must be a place in 'classes', 0 to {len(classes) - 1}: got {value}.")
        return classes[value]
    label = as_label(value, where)
    if classes is not None and label not in classes:
        raise ValueError(f"{where} must be one of 'classes': got {label!r}, not {list_some(classes, 3)}.")
    return label


def _keep_labels(source: ToolSource, entries: Set[str]) -> str:
    """Leave out the other photos."""
    labels = {key: target for key, target in source.data["labels"].items() if key in entries}
    return json.dumps({**source.data, "labels": labels}, ensure_ascii=False) + "\n"


SAMPLES = ToolForm("FiftyOne", _is_samples, _read_samples, _keep_samples)
LABELS = ToolForm("FiftyOne", _is_labels, _read_labels, _keep_labels)
