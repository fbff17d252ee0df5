"""The forms of labels that other tools write, and which of them a file or folder has."""

from __future__ import annotations

from pathlib import Path

from base_models.manifest.json_table import JSON_SUFFIXES, load_any_json
from base_models.manifest.tool_forms import coco, fiftyone, img2dataset, label_studio
from base_models.manifest.tool_forms.tool_form import ToolForm, ToolLabels, ToolSource
from base_models.recipe.data import DataConfig
from stacking.predictions.forms.label_cells import LabelList

TOOL_FORMS: tuple[ToolForm, ...] = (
    coco.COCO,
    label_studio.TASKS,
    label_studio.FLAT,
    fiftyone.SAMPLES,
    fiftyone.LABELS,
    img2dataset.IMG2DATASET,
)
"""No content is recognized by two of them; a test asks."""


def open_labels(path: Path, photos: Path, config: DataConfig, known: LabelList | None = None) -> ToolSource:
    """Open a file or folder of labels; JSON is parsed once, for whoever reads it.

    Parameters
    ----------
    path : Path
        The file or folder.
    photos : Path
        The folder of photos.
    config : DataConfig
        Names of fields.
    known : LabelList, optional
        The labels, where there is a list of them.

    Returns
    -------
    ToolSource
        Its `data` is None unless the file is JSON.

    Raises
    ------
    ValueError
        If it is no valid JSON.
    """
    is_json = not path.is_dir() and path.suffix.lower() in JSON_SUFFIXES
    return ToolSource(path, load_any_json(path) if is_json else None, photos, config, known)


def find_tool_form(source: ToolSource) -> ToolForm | None:
    """Find the form of labels by what is in them.

    Parameters
    ----------
    source : ToolSource
        A file or folder.

    Returns
    -------
    ToolForm or None
        None where it is no other tool's.
    """
    return next((form for form in TOOL_FORMS if form.recognizes(source)), None)


def read_tool_labels(source: ToolSource) -> ToolLabels | None:
    """Read labels if they have the form of another tool.

    Parameters
    ----------
    source : ToolSource
        A file or folder.

    Returns
    -------
    ToolLabels or None
        None where it is no other tool's.

    Raises
    ------
    ValueError
        If an entry cannot be understood.
    """
    form = find_tool_form(source)
    return None if form is None else form.read(source)
