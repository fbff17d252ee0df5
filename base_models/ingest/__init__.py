"""Strangers' photos, decoded once in limited processes and written as clean JPEG files.

The names below are imported when they are first used, so that a decoder process loads no more than it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from base_models.ingest.ingest import IngestReport, ingest_photos
    from base_models.ingest.options import IngestOptions

__all__ = ["IngestOptions", "IngestReport", "ingest_photos"]

_HOMES = {"IngestOptions": "options", "IngestReport": "ingest", "ingest_photos": "ingest"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
