"""The lines on top of a card that the Hub reads: YAML, each value as JSON, which is YAML too."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

HUB_METRICS = {"micro-f1": "f1", "macro-f1": "f1", "samples-f1": "f1", "map": "map", "roc-auc": "roc_auc"}
"""What the Hub calls our metrics; others go by their own names."""


def front_matter(tags: Sequence[str], pipeline: str, results: Sequence[Mapping[str, Any]] = ()) -> str:
    """Write the head of a card.

    Parameters
    ----------
    tags : sequence of str
        What it is found by.
    pipeline : str
        The Hub's name of the task.
    results : sequence of mapping
        ``metric`` (our name), ``title`` and ``value`` of each, and ``data``, the hash of what it was measured on.

    Returns
    -------
    str
        Between two lines of dashes.

    Examples
    --------
    >>> print(front_matter(["a"], "image-classification"))
    ---
    library_name: "labelstack"
    tags: ["labelstack", "multi-label", "a"]
    pipeline_tag: "image-classification"
    ---
    <BLANKLINE>
    """
    entries: dict[str, Any] = {
        "library_name": "labelstack",
        "tags": ["labelstack", "multi-label", *tags],
        "pipeline_tag": pipeline,
    }
    if results:
        measured = [
            {
                "task": {"type": pipeline, "name": "multi-label classification"},
                "dataset": {"type": "predictions", "name": f"sha256 {str(one['data'])[:12]}"},
                "metrics": [
                    {
                        "type": HUB_METRICS.get(one["metric"], one["metric"]),
                        "name": one["title"],
                        "value": round(float(one["value"]), 4),
                    }
                ],
            }
            for one in results
        ]
        entries["model-index"] = [{"name": "labelstack", "results": measured}]
    lines = [f"{name}: {json.dumps(value, ensure_ascii=True)}" for name, value in entries.items()]
    return "\n".join(["---", *lines, "---", ""])
