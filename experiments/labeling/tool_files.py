"""Labels for other tools to import: tasks of Label Studio, and label files of FiftyOne.

A photo is named as the tool finds it: Label Studio serves files as ``/data/local-files/?d=PATH``, from the folder that
holds the folder of photos, which it wants as a storage of its own; FiftyOne takes their names without suffix. A sample
without a photo is named by its id. COCO has no form for labels of whole photos that its own library reads (its results
are boxes, masks, keypoints and captions), and img2dataset reads lists of addresses only: nothing is written for them.
Sources: labelstud.io, "Import pre-annotated data" and "Local storage"; docs.voxel51.com,
"FiftyOneImageClassificationDataset", and fiftyone 1.22.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from stacking.report.writing import write_score

if TYPE_CHECKING:
    from base_models.manifest import PhotoSource

TOOL_FORMATS = ("label-studio", "fiftyone")
CONTROL, PHOTO = "labels", "image"
"""Names of the control and of the photo in the labeling interface."""


@dataclass(frozen=True)
class LabeledSamples:
    """Samples and what is predicted of them.

    Attributes
    ----------
    ids : sequence of str, shape (n_samples,)
        The samples.
    labels : sequence of str, shape (n_labels,)
        The labels.
    y_pred : ndarray of bool, shape (n_samples, n_labels)
        Which labels each gets.
    y_score : ndarray of float32, shape (n_samples, n_labels)
        Their scores.
    model : str
        Name and version of what predicted.
    photos : mapping of str to str
        Path of a sample's photo below the folder of photos, where there is one.
    folder : str, default=''
        Name of that folder.
    """

    ids: Sequence[str]
    labels: Sequence[str]
    y_pred: NDArray[np.bool_]
    y_score: NDArray[np.float32]
    model: str
    photos: Mapping[str, str] = field(default_factory=dict)
    folder: str = ""


def photo_paths(ids: Iterable[str], photos: PhotoSource) -> dict[str, str]:
    """Return where photos lie below their folder, as far as they are files of one.

    Parameters
    ----------
    ids : iterable of str
        Their names.
    photos : PhotoSource
        Their source.

    Returns
    -------
    dict of str to str
        Path by name; empty for photos in tar shards.
    """
    paths = getattr(photos, "paths", None)
    return {} if paths is None else {str(name): str(path) for name, path in zip(ids, paths, strict=True)}


def write_for_tool(samples: LabeledSamples, form: str) -> bytes:
    """Write predicted labels as a file that a tool imports.

    Parameters
    ----------
    samples : LabeledSamples
        The samples.
    form : {'label-studio', 'fiftyone'}
        The tool.

    Returns
    -------
    bytes
        JSON in UTF-8.
    """
    content = _tasks(samples) if form == "label-studio" else _label_file(samples)
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode("utf-8")


def label_studio_task(
    sample: str, photo: str | None, labels: Sequence[str], *, model: str, score: float, said: Mapping[str, str]
) -> dict[str, Any]:
    """Return one task with labels that an annotator may accept or change.

    Parameters
    ----------
    sample : str
        The sample's id.
    photo : str or None
        Path of the photo below the folder that Label Studio serves, which is the one that holds the folder of photos.
    labels : sequence of str
        The labels proposed.
    model : str
        Who proposes them.
    score : float
        How sure of that it is, 0 to 1; tasks may be sorted by it.
    said : mapping of str to str
        What else is shown beside the photo.

    Returns
    -------
    dict
        For JSON.
    """
    choices = {"from_name": CONTROL, "to_name": PHOTO, "type": "choices", "value": {"choices": list(labels)}}
    address = sample if photo is None else f"/data/local-files/?d={quote(photo)}"
    prediction = {"model_version": model, "score": round(score, 6), "result": [choices] if labels else []}
    return {"data": {PHOTO: address, "id": sample, **said}, "predictions": [prediction]}


def labeling_interface(labels: Sequence[str], said: Mapping[str, str]) -> str:
    """Return the labeling interface that the tasks are for.

    Parameters
    ----------
    labels : sequence of str
        All labels.
    said : mapping of str to str
        What is shown beside the photo: the field of the data, and its title.

    Returns
    -------
    str
        XML, to be pasted into the settings of a project of Label Studio.

    Examples
    --------
    >>> print(labeling_interface(["red"], {"add": "to add"}).splitlines()[2].strip())
    <Header value="to add"/>
    """
    lines = ["<View>", f'  <Image name="{PHOTO}" value="${PHOTO}"/>']
    for name, title in said.items():
        lines += [f"  <Header value={quoteattr(title)}/>", f'  <Text name="{name}" value="${name}"/>']
    lines.append(f'  <Choices name="{CONTROL}" toName="{PHOTO}" choice="multiple" showInline="true">')
    lines += [f"    <Choice value={quoteattr(label)}/>" for label in labels]
    return "\n".join([*lines, "  </Choices>", "</View>"]) + "\n"


def _tasks(samples: LabeledSamples) -> list[dict[str, Any]]:
    """Return a task per sample; its score is that of the least certain of all its answers."""
    certainty = np.where(samples.y_pred, samples.y_score, 1 - samples.y_score).min(axis=1)
    tasks = []
    for row, sample in enumerate(samples.ids):
        found = np.flatnonzero(samples.y_pred[row]).tolist()
        scores = ", ".join(f"{samples.labels[k]} {write_score(float(samples.y_score[row, k]), 2)}" for k in found)
        proposed = [samples.labels[column] for column in found]
        path = samples.photos.get(sample)
        photo = None if path is None else f"{samples.folder}/{path}".lstrip("/")
        tasks.append(
            label_studio_task(
                sample, photo, proposed, model=samples.model, score=float(certainty[row]), said={"scores": scores}
            )
        )
    return tasks


def _label_file(samples: LabeledSamples) -> dict[str, Any]:
    """Return FiftyOne's ``labels.json``, with confidences."""
    labels = {}
    for row, sample in enumerate(samples.ids):
        path = samples.photos.get(sample)
        name = sample if path is None else str(PurePosixPath(path).with_suffix(""))
        labels[name] = [
            {"label": samples.labels[k], "confidence": round(float(samples.y_score[row, k]), 6)}
            for k in np.flatnonzero(samples.y_pred[row]).tolist()
        ]
    return {"classes": list(samples.labels), "labels": labels}


def check_tool_file(out: Path, form: str) -> None:
    """Raise before any work if a tool could not import a file by its name.

    Parameters
    ----------
    out : Path
        The file.
    form : str
        A format.

    Raises
    ------
    ValueError
        If it is one of another tool's and the name does not end in ``.json``.
    """
    if form in TOOL_FORMATS and out.suffix.lower() != ".json":
        raise ValueError(f"--out must end in .json for --format {form}: got {str(out)!r}.")
