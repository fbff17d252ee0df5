"""Labels in the files of other tools: COCO, FiftyOne, img2dataset, Label Studio."""

from base_models.manifest.tool_forms.registry import find_tool_form, open_labels, read_tool_labels
from base_models.manifest.tool_forms.tool_form import ToolForm, ToolLabels, ToolSource

__all__ = ["ToolForm", "ToolLabels", "ToolSource", "find_tool_form", "open_labels", "read_tool_labels"]
