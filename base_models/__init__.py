"""Photos and convolutional networks: manifests, training, out-of-fold predictions, inference.

The names below are imported when they are first used, so that reading manifests does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from base_models.manifest import Manifest, load_manifest
    from base_models.recipe.data import DataConfig
    from base_models.recipe.member import DerivedMember, FoldConfig, MemberConfig, TrainingConfig, TrainingRun
    from base_models.runs.inference import predict
    from base_models.runs.out_of_fold import run_training, train_out_of_fold
    from base_models.training.member import train_member
    from base_models.training.progress import TrainingEvent

__all__ = [
    "DataConfig",
    "DerivedMember",
    "FoldConfig",
    "Manifest",
    "MemberConfig",
    "TrainingConfig",
    "TrainingEvent",
    "TrainingRun",
    "load_manifest",
    "predict",
    "run_training",
    "train_member",
    "train_out_of_fold",
]

_HOMES = {
    "DataConfig": "recipe.data",
    "DerivedMember": "recipe.member",
    "FoldConfig": "recipe.member",
    "Manifest": "manifest",
    "MemberConfig": "recipe.member",
    "TrainingConfig": "recipe.training",
    "TrainingEvent": "training.progress",
    "TrainingRun": "recipe.member",
    "load_manifest": "manifest",
    "predict": "runs.inference",
    "run_training": "runs.out_of_fold",
    "train_member": "training.member",
    "train_out_of_fold": "runs.out_of_fold",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
