"""Photos and convolutional networks: manifests, training, out-of-fold predictions, inference.

The names below are imported when they are first used, so that reading manifests does not load torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from base_models.data_config import DataConfig
    from base_models.inference import predict
    from base_models.manifest import Manifest, load_manifest
    from base_models.member_config import DerivedMember, FoldConfig, MemberConfig, TrainingConfig, TrainingRun
    from base_models.out_of_fold import run_training, train_out_of_fold
    from base_models.progress import TrainingEvent
    from base_models.training import train_member

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
    "DataConfig": "data_config",
    "DerivedMember": "member_config",
    "FoldConfig": "member_config",
    "Manifest": "manifest",
    "MemberConfig": "member_config",
    "TrainingConfig": "member_config",
    "TrainingEvent": "progress",
    "TrainingRun": "member_config",
    "load_manifest": "manifest",
    "predict": "inference",
    "run_training": "out_of_fold",
    "train_member": "training",
    "train_out_of_fold": "out_of_fold",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
