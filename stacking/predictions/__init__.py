"""Predictions of several models: the contract, its forms on disk, alignment and packing."""

from stacking.predictions.alignment import align_predictions
from stacking.predictions.forms.loading import load_predictions, save_predictions
from stacking.predictions.forms.packing import add_by_label_copy, add_models, drop_models, pack_predictions
from stacking.predictions.forms.store import StoreWriter, load_store, verify_store
from stacking.predictions.forms.store_index import is_store
from stacking.predictions.prediction_set import PredictionFacts, PredictionSet, as_prediction_set

__all__ = [
    "PredictionFacts",
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
