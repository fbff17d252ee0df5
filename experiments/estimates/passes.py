"""How many photos a recipe decodes, trains on and scores."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from stacking.process.memory import GIB

if TYPE_CHECKING:
    from base_models.manifest import Manifest
    from base_models.recipe.member import MemberConfig
    from base_models.recipe.run import TrainingRun
    from base_models.recipe.training import TrainingConfig

FROZEN_SHARE = 0.4  # of a step's time where only the head learns, without backward pass through the body: a guess


@dataclass(frozen=True)
class Passes:
    """How many photos go through a member's network, over all epochs and folds.

    Attributes
    ----------
    trained, scored : float
        Photos it learns from, and photos it only scores.
    decoded : float
        Photos that are decoded for it.
    once : bool
        Whether that is done once and kept, packed or in memory, and not again in every epoch.
    """

    trained: float
    scored: float
    decoded: float
    once: bool = False


@dataclass(frozen=True)
class RowCounts:
    """How many rows do what.

    Attributes
    ----------
    learned : float
        Rows that are learned from, validation rows included, summed over a member's networks.
    held_out : float
        Rows that one network scores as held out.
    rest : int
        Rows of other splits, which every network scores.
    of_splits : str
        The splits in words.
    """

    learned: float
    held_out: float
    rest: int
    of_splits: str


def count_rows(run: "TrainingRun", manifest: "Manifest") -> RowCounts:
    """Count the rows that a recipe's scheme learns from, holds out, and only scores.

    Parameters
    ----------
    run : TrainingRun
        The recipe.
    manifest : Manifest
        Its photos.

    Returns
    -------
    RowCounts
        Before any photo turns out unreadable.
    """
    n_train, n_validation, n_test = (int((manifest.split == name).sum()) for name in ("train", "validation", "test"))
    words = f"{n_train:,} training and {n_test:,} test photos"
    if run.folds.scheme == "validation-split":
        return RowCounts(n_train, n_validation, n_test, words)
    if run.folds.scheme == "holdout":
        held_out = n_train * run.folds.holdout_fraction
        return RowCounts(n_train - held_out, held_out, n_validation + n_test, words)
    networks = run.folds.n_folds - 1 + (run.folds.new_photos == "refit")
    return RowCounts(n_train * networks, n_train, n_validation + n_test, words)


def count_passes(member: "MemberConfig", run: "TrainingRun", rows: RowCounts, *, decode_all: bool) -> Passes:
    """Count the photos that a member's networks see.

    Parameters
    ----------
    member : MemberConfig
        The member.
    run : TrainingRun
        Its recipe.
    rows : RowCounts
        What `count_rows` counted.
    decode_all : bool
        Whether photos of this size have to be decoded even if they are kept in memory.

    Returns
    -------
    Passes
        Over all epochs and networks; a photo shown smaller, or to a frozen body, counts for less. Precomputed features
        are decoded once, see `experiments.estimates.feature_estimate`.
    """
    from base_models.training.sampling import share_to_use

    config, held = member.training, run.folds.validation_fraction
    shown = rows.learned * (1 - held) * share_to_use(config, max(1, round(rows.learned * (1 - held))))
    trained = shown * sum(_epoch_share(config, member.size, epoch) for epoch in range(config.epochs))
    # after each epoch the validation rows, and as many training rows, are scored
    validated = (rows.learned * held + min(rows.learned * held, shown)) * config.epochs
    finished = rows.held_out + rows.rest * run.folds.n_networks
    n_photos = rows.held_out + rows.rest
    if run.folds.scheme != "out-of-fold":
        n_photos += rows.learned
    once = decodes_once(run, member, n_photos)
    decoded = float(n_photos if decode_all else 0) if once else shown * config.epochs + validated + finished
    if member.features == "precomputed":
        decoded = 0.0
    return Passes(trained, (validated + finished) * (2 if config.flip_tta else 1), decoded, once)


def decodes_once(run: "TrainingRun", member: "MemberConfig", n_photos: float) -> bool:
    """Tell whether a member's photos are decoded once, and not again in every epoch.

    Parameters
    ----------
    run : TrainingRun
        The recipe.
    member : MemberConfig
        The member.
    n_photos : float
        Photos of the run.

    Returns
    -------
    bool
        Where they are packed or stay in memory.
    """
    from base_models.runs.photo_packs import packed_bytes

    return bool(packed_bytes(run, int(n_photos))) or is_kept(run, member, n_photos)


def is_kept(run: "TrainingRun", member: "MemberConfig", n_photos: float) -> bool:
    """Tell whether a member's decoded photos fit into memory as the recipe allows.

    Parameters
    ----------
    run : TrainingRun
        The recipe.
    member : MemberConfig
        The member.
    n_photos : float
        Photos of the run.

    Returns
    -------
    bool
        As ``cache`` and ``cache_gib`` of the recipe say.
    """
    n_bytes = n_photos * 3 * member.size**2
    return run.cache == "memory" or (run.cache == "auto" and n_bytes <= run.cache_gib * GIB)


def _epoch_share(config: "TrainingConfig", size: int, epoch: int) -> float:
    """Return an epoch's time as a share of one at full size in which everything learns."""
    from base_models.photos.transforms import training_size

    shrunk = (training_size(config, epoch) / size) ** 2 if config.sizes else 1.0
    last = (training_size(config, config.epochs - 1) / size) ** 2 if config.sizes else 1.0  # what was timed
    share = config.shares[epoch * len(config.shares) // config.epochs] if config.shares else 1.0
    return share * shrunk / last * (FROZEN_SHARE if epoch < config.freeze_epochs < config.epochs else 1.0)
