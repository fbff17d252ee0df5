"""Where the modules of version 0.1 live now, for one more version; see `stacking._earlier_names`.

That is imported only when an earlier name is asked for: the processes that decode photos load nothing of `stacking`.
"""

from importlib.machinery import ModuleSpec
from typing import Any

MODULES: dict[str, str | tuple[str, ...]] = {
    "base_models.checkpoints": "base_models.training.checkpoints",
    "base_models.data_config": "base_models.recipe.data",
    "base_models.dataset": "base_models.photos.tensors",
    "base_models.epoch": ("base_models.training.epoch", "base_models.training.learner"),
    "base_models.explanation.asking": "base_models.explanation.targets",
    "base_models.feature_maps": "base_models.networks.feature_maps",
    "base_models.fold_chunks": (
        "base_models.runs.fold_chunks",
        "base_models.runs.stores",
        "base_models.runs.fold_record",
    ),
    "base_models.frozen_layers": "base_models.networks.frozen_layers",
    "base_models.heads": "base_models.networks.heads",
    "base_models.heads.attention": "base_models.networks.heads.attention",
    "base_models.heads.auxiliary": "base_models.networks.heads.auxiliary",
    "base_models.heads.body_output": "base_models.networks.heads.body_output",
    "base_models.heads.linear": "base_models.networks.heads.linear",
    "base_models.heads.mlp": "base_models.networks.heads.mlp",
    "base_models.heads.recurrent": "base_models.networks.heads.recurrent",
    "base_models.heads.wide": "base_models.networks.heads.wide",
    "base_models.hub": "base_models.networks.hub",
    "base_models.inference": ("base_models.runs.inference", "base_models.runs.prediction"),
    "base_models.labelwise_network": "base_models.networks.per_label",
    "base_models.losses": "base_models.training.losses",
    "base_models.member_config": (
        "base_models.recipe.member",
        "base_models.recipe.run",
        "base_models.recipe.folds",
        "base_models.recipe.canonical",
    ),
    "base_models.member_task": "base_models.training.task",
    "base_models.optimization": "base_models.training.optimization",
    "base_models.out_of_fold": "base_models.runs.out_of_fold",
    "base_models.precomputed.member_features": "base_models.runs.features",
    "base_models.precomputed.settings": "base_models.recipe.member",
    "base_models.processes": "base_models.training.distributed",
    "base_models.progress": "base_models.training.progress",
    "base_models.run_data": "base_models.runs.splits",
    "base_models.run_folder": ("base_models.runs.folder", "base_models.recipe.canonical"),
    "base_models.sampling": "base_models.training.sampling",
    "base_models.schedules": "base_models.training.schedules",
    "base_models.scoring": "base_models.training.scoring",
    "base_models.scratch_cnn": "base_models.networks.scratch_cnn",
    "base_models.specialists": "base_models.recipe.specialists",
    "base_models.sqlite_ledger": "base_models.ledgers.sqlite_ledger",
    "base_models.training_config": "base_models.recipe.training",
    "base_models.transforms": "base_models.photos.transforms",
    "base_models.vocabulary": "base_models.photos.vocabulary",
    "base_models.weights": "base_models.networks.weights",
}


class EarlierModules:
    """Find this package's modules by their earlier names, after every other finder has failed."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """Return a specification for a module that has moved."""
        if fullname not in MODULES:
            return None
        from stacking._earlier_names import EarlierModules as Finder

        return Finder(MODULES).find_spec(fullname)
