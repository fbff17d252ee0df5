"""Predictions of several models: the contract, its forms on disk, alignment and packing."""

from typing import Any

from stacking.predictions.alignment import align_predictions
from stacking.predictions.forms.loading import load_predictions, save_predictions
from stacking.predictions.forms.packing import add_by_label_copy, add_models, drop_models, pack_predictions
from stacking.predictions.forms.store import StoreWriter, load_store, verify_store
from stacking.predictions.forms.store_index import is_store
from stacking.predictions.prediction_set import PredictionMetadata, PredictionSet, as_prediction_set

__all__ = [
    "PredictionMetadata",
    "PredictionSet",
    "StoreWriter",
    "add_by_label_copy",
    "add_models",
    "align_predictions",
    "as_prediction_set",
    "drop_models",
    "is_store",
    "load_predictions",
    "load_store",
    "pack_predictions",
    "save_predictions",
    "verify_store",
]


def __getattr__(name: str) -> Any:
    """Find what has another name now."""
    from stacking._earlier_names import find_earlier_name

    if name == "PredictionFacts":
        return find_earlier_name(
            __name__, "stacking.predictions.prediction_set", name, now={name: "PredictionMetadata"}
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
