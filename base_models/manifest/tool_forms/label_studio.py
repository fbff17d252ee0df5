"""Label Studio's exports: JSON, with all that is known of every task, and JSON-MIN, one flat object per annotation.

Of a task with several annotations those count that are marked as ground truth, if any is; else a label counts that at
least half of the annotations give. Canceled ones count nothing, and predictions are no labels. Choices, taxonomies and
the labels of regions (boxes, polygons, brushes, keypoints) count as labels of the photo. Where labels come from several
controls, a label is called ``control:label``, since two controls may share a choice such as ``yes``. Source:
labelstud.io, "Label Studio Task Format" and "Export", and the converter of label-studio-sdk 2.1.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from base_models.manifest.annotations import list_some
from base_models.manifest.folder import list_folder_photos
from base_models.manifest.tar_shards import list_tar_photos
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
from base_models.photos.decoding import PHOTO_SUFFIXES

_UPLOADED = re.compile(r"(?:^|/)upload/\d+/([0-9a-f]{8}-)[^/]+$")
"""Label Studio puts eight digits before the name of a file that is uploaded: ``/data/upload/1/0a1b2c3d-photo.jpg``."""
_OWN_KEYS = (
    *("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement", "completed_by"),
    "was_cancelled",
)
"""What JSON-MIN says of an annotation beside its labels."""


@dataclass
class _Task:
    """A photo and what annotators said of it."""

    photo: str  # as the file names it
    answers: list[dict[str, list[str]]] = field(default_factory=list)  # labels by control, one per annotation
    group: str = ""


def _is_tasks(source: ToolSource) -> bool:
    """Tell a list of tasks by the object ``data`` that each has, with annotations or predictions beside it."""
    first = source.data[0] if isinstance(source.data, list) and source.data else None
    own_keys = ("annotations", "completions", "predictions")
    return isinstance(first, dict) and isinstance(first.get("data"), dict) and any(key in first for key in own_keys)


def _read_tasks(source: ToolSource) -> ToolLabels:
    """Read the JSON export."""
    name = source.path.name
    tasks = [as_object(task, f"{name}, tasks[{place}]") for place, task in enumerate(source.data)]
    contents = [as_object(task.get("data"), f"{name}, tasks[{place}], data") for place, task in enumerate(tasks)]
    photo_key = _photo_key(source, contents)
    found = []
    for place, (task, content) in enumerate(zip(tasks, contents, strict=True)):
        where = f"{name}, tasks[{place}]"
        photo_path(content.get(photo_key), f"{where}, data.{photo_key}")
        read = _Task(content[photo_key], group=str(content.get(source.config.group_column or "", "")))
        for annotation in _finished(task, where):
            results = as_list(annotation.get("result") or [], f"{where}, result")
            read.answers.append(_labels_of_results(results, where))
        found.append(read)
    return _join(source, found, photo_key)


def _finished(task: dict[str, Any], where: str) -> list[dict[str, Any]]:
    """Return the annotations of a task that count."""
    given = as_list(task.get("annotations") or task.get("completions") or [], f"{where}, annotations")
    given = [as_object(annotation, f"{where}, annotations") for annotation in given]
    done = [one for one in given if not one.get("was_cancelled") and not one.get("skipped")]
    return [annotation for annotation in done if annotation.get("ground_truth")] or done


def _labels_of_results(results: Sequence[Any], where: str) -> dict[str, list[str]]:
    """Return the labels of one annotation by control; texts, ratings and relations are none."""
    labels: dict[str, list[str]] = {}
    for result in results:
        result = as_object(result, f"{where}, result")
        kind, value = str(result.get("type")), result.get("value")
        if _holds_labels(kind) and isinstance(value, dict) and kind in value:
            control = labels.setdefault(str(result.get("from_name")), [])
            control += _names(as_list(value[kind], f"{where}, {kind}"), where)
    return labels


def _holds_labels(kind: str) -> bool:
    """Tell whether a type of results names labels: choices, taxonomy, labels, rectanglelabels or the like."""
    return kind in ("choices", "taxonomy") or kind.endswith("labels")


def _names(values: Iterable[Any], where: str) -> list[str]:
    """Return names of labels; a path through nested choices or a taxonomy is written with slashes."""
    return [
        "/".join(as_label(part, where) for part in value) if isinstance(value, list) else as_label(value, where)
        for value in values
    ]


def _is_flat(source: ToolSource) -> bool:
    """Tell JSON-MIN by what it says of every annotation."""
    first = source.data[0] if isinstance(source.data, list) and source.data else None
    return isinstance(first, dict) and {"annotation_id", "lead_time"} <= first.keys()


def _read_flat(source: ToolSource) -> ToolLabels:
    """Read JSON-MIN: fields of the task and controls stand beside each other; several objects may be of one task."""
    name = source.path.name
    rows = [as_object(row, f"{name}[{place}]") for place, row in enumerate(source.data)]
    photo_key = _photo_key(source, rows)
    controls = _controls(source, rows, photo_key)
    tasks: dict[str, _Task] = {}
    for place, row in enumerate(rows):
        where = f"{name}[{place}]"
        photo_path(row.get(photo_key), f"{where}, {photo_key}")
        group = str(row.get(source.config.group_column or "", ""))
        task = tasks.setdefault(row[photo_key], _Task(row[photo_key], group=group))
        if row.get("annotation_id") is not None and not row.get("was_cancelled"):
            answer = {control: _flat_labels(row[control], where) for control in controls if row.get(control)}
            task.answers.append(answer)
    return _join(source, list(tasks.values()), photo_key)


def _controls(source: ToolSource, rows: Sequence[dict[str, Any]], photo_key: str) -> list[str]:
    """Find the fields of labels; a single choice is a plain text, as fields of the task are."""
    rest = dict.fromkeys(key for row in rows for key in row if key not in (*_OWN_KEYS, photo_key))
    if source.labels_column is not None:
        return [source.labels_column] if source.labels_column in rest else []
    sure = [key for key in rest if any(_is_flat_value(row.get(key)) for row in rows)]
    texts = [key for key in rest if any(isinstance(row.get(key), str) for row in rows)]
    if not sure and len(texts) > 1:
        raise ValueError(
            f"{source.path.name} must have one field of labels: got {list_some(texts)}; name the one that is meant "
            "(--labels-column, data.labels_column)."
        )
    return sure or texts


def _is_flat_value(value: Any) -> bool:
    """Tell several choices, or regions with labels, from other values."""
    values = value if isinstance(value, list) else [value]
    return any(isinstance(part, dict) and any(map(_holds_labels, part)) for part in values)


def _flat_labels(value: Any, where: str) -> list[str]:
    """Return the labels of one field."""
    labels = []
    for part in value if isinstance(value, list) else [value]:
        if isinstance(part, dict):
            for key in filter(_holds_labels, part):
                labels += _names(as_list(part[key], where), where)
        else:
            labels += _names([part], where)
    return labels


def _photo_key(source: ToolSource, contents: Sequence[dict[str, Any]]) -> str:
    """Find the field of the tasks that names the photo's file."""
    name, keys = source.path.name, dict.fromkeys(key for content in contents for key in content)
    if source.id_column is not None:
        if source.id_column not in keys:
            raise ValueError(f"{name} must have the field {source.id_column!r}: got {list_some(tuple(keys))}.")
        return source.id_column
    found = [key for key in keys if any(_names_photo(content.get(key)) for content in contents)]
    if "image" in found or (not found and "image" in keys):
        return "image"
    if len(found) != 1:
        raise ValueError(
            f"{name} must have one field that names the photo, or one called 'image': got "
            f"{list_some(found or tuple(keys))}; name the one that is meant (--id-column, data.id_column)."
        )
    return found[0]


def _names_photo(value: Any) -> bool:
    """Tell whether a value ends as the names of photos do."""
    try:
        return PurePosixPath(photo_path(value, "")).suffix.lower() in PHOTO_SUFFIXES
    except ValueError:
        return False


def _join(source: ToolSource, tasks: Sequence[_Task], photo_key: str) -> ToolLabels:
    """Bring the annotations of each task together."""
    name = source.path.name
    paths = _original_names(source, [photo_path(task.photo, name) for task in tasks])
    refuse_repeats(paths, name, "photo")
    known = dict.fromkeys(control for task in tasks for answer in task.answers for control in answer)
    if source.labels_column is not None:
        if source.labels_column not in known:
            raise ValueError(f"{name} must have labels from {source.labels_column!r}: got {list_some(tuple(known))}.")
        known = dict.fromkeys([source.labels_column])
    photos = {}
    for path, task in zip(paths, tasks, strict=True):
        if task.answers:
            photos[path] = _agreed(task.answers, tuple(known))
    if not photos or not known:
        raise ValueError(f"{name} must hold finished annotations with labels: got none in {len(tasks):,} tasks.")
    several = sum(len(task.answers) > 1 for task in tasks)
    fact = f"{name}: Label Studio, {len(tasks):,} tasks, photos in {photo_key!r}, labels from {list_some(tuple(known))}"
    if len(known) > 1:
        fact += ", called control:label"
    if several:
        fact += f"; in {several:,} tasks with several annotations a label counts that at least half of them give"
    groups = {path: task.group for path, task in zip(paths, tasks, strict=True)}
    columns = {"id_column": photo_key} | ({"labels_column": next(iter(known))} if len(known) == 1 else {})
    return ToolLabels(
        fill_table(source, photos, groups=groups),
        [task.photo for task in tasks if task.answers],
        fact,
        unannotated=tuple(path for path, task in zip(paths, tasks, strict=True) if not task.answers),
        columns=columns,
    )


def _agreed(answers: Sequence[dict[str, list[str]]], controls: Sequence[str]) -> list[str]:
    """Return the labels that at least half of the annotations give."""
    votes: Counter[str] = Counter()
    for answer in answers:
        votes.update(list(dict.fromkeys(_called(answer, controls))))
    return [label for label, count in votes.items() if 2 * count >= len(answers)]


def _called(answer: dict[str, list[str]], controls: Sequence[str]) -> Iterator[str]:
    """Yield the labels of an annotation, with their control where there are several."""
    for control in controls:
        for label in answer.get(control, ()):
            yield f"{control}:{label}" if len(controls) > 1 else label


def _original_names(source: ToolSource, paths: list[str]) -> list[str]:
    """Take off what an upload put before the names, unless the photos at hand are those that were uploaded."""
    marks = [_UPLOADED.search(path) for path in paths]
    if not any(marks):
        return paths
    in_tar = any(source.photos.glob("*.tar"))
    there = {path.rsplit("/", 1)[-1] for path in (list_tar_photos if in_tar else list_folder_photos)(source.photos)[0]}
    if any(path.rsplit("/", 1)[-1] in there for path, mark in zip(paths, marks, strict=True) if mark):
        return paths
    return [
        path if mark is None else path[: mark.start(1)] + path[mark.end(1) :]
        for path, mark in zip(paths, marks, strict=True)
    ]


def _keep_tasks(source: ToolSource, entries: Set[str]) -> str:
    """Leave out the other tasks."""
    key = _photo_key(source, [task["data"] for task in source.data])
    return json.dumps([task for task in source.data if task["data"][key] in entries], ensure_ascii=False) + "\n"


def _keep_flat(source: ToolSource, entries: Set[str]) -> str:
    """Leave out the other annotations."""
    key = _photo_key(source, source.data)
    return json.dumps([row for row in source.data if row[key] in entries], ensure_ascii=False) + "\n"


TASKS = ToolForm("Label Studio", _is_tasks, _read_tasks, _keep_tasks)
FLAT = ToolForm("Label Studio", _is_flat, _read_flat, _keep_flat)
