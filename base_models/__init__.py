"""Photos and convolutional networks: manifests, training, out-of-fold predictions, inference.

The names below are imported when they are first used, so that reading manifests does not load torch.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from base_models._earlier_names import EarlierModules

if TYPE_CHECKING:
    from base_models.manifest import Manifest as Manifest
    from base_models.manifest import load_manifest as load_manifest
    from base_models.photos.tensors import PhotoTensors as PhotoTensors
    from base_models.recipe.data import DataConfig as DataConfig
    from base_models.recipe.folds import FoldConfig as FoldConfig
    from base_models.recipe.member import MemberConfig as MemberConfig
    from base_models.recipe.run import DerivedMember as DerivedMember
    from base_models.recipe.run import TrainingRun as TrainingRun
    from base_models.recipe.training import TrainingConfig as TrainingConfig
    from base_models.runs.folder import RunFolder as RunFolder
    from base_models.runs.folder import open_run_folder as open_run_folder
    from base_models.runs.out_of_fold import run_training as run_training
    from base_models.runs.out_of_fold import train_out_of_fold as train_out_of_fold
    from base_models.runs.prediction import predict as predict
    from base_models.runs.splits import RunData as RunData
    from base_models.runs.splits import prepare_run_data as prepare_run_data
    from base_models.runs.trained_run import TrainedRun as TrainedRun
    from base_models.training.member import train_member as train_member
    from base_models.training.progress import TrainingEvent as TrainingEvent
    from base_models.training.task import MemberTask as MemberTask
    from base_models.training.task import TrainedMember as TrainedMember

_HOMES = {
    "DataConfig": "recipe.data",
    "DerivedMember": "recipe.run",
    "FoldConfig": "recipe.folds",
    "Manifest": "manifest",
    "MemberConfig": "recipe.member",
    "MemberTask": "training.task",
    "PhotoTensors": "photos.tensors",
    "RunData": "runs.splits",
    "RunFolder": "runs.folder",
    "TrainedMember": "training.task",
    "TrainedRun": "runs.trained_run",
    "TrainingConfig": "recipe.training",
    "TrainingEvent": "training.progress",
    "TrainingRun": "recipe.run",
    "load_manifest": "manifest",
    "open_run_folder": "runs.folder",
    "predict": "runs.prediction",
    "prepare_run_data": "runs.splits",
    "run_training": "runs.out_of_fold",
    "train_member": "training.member",
    "train_out_of_fold": "runs.out_of_fold",
}

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


sys.meta_path.append(EarlierModules)
