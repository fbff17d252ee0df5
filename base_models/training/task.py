"""What is trained: one network, its photos, its truth and its rows; and what comes out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from base_models.networks.network import MultilabelNetwork
from base_models.networks.per_label import LabelwiseNetwork
from base_models.photos.tensors import PhotoTensors
from base_models.precomputed.feature_rows import FeatureRows
from base_models.recipe.member import MemberConfig
from base_models.training.progress import TrainingEvent


@dataclass(frozen=True)
class MemberTask:
    """One network to train.

    Parameters
    ----------
    member : MemberConfig
        What to train and how.
    photos : PhotoTensors or FeatureRows
        Photos at the member's size, or their precomputed features.
    y_true : ndarray of uint8, shape (n_photos, n_labels)
        Truth of the member's labels, row by row of ``photos``.
    train_rows, validation_rows : ndarray of int64
        Rows to learn from and rows that choose the epoch; they must not meet.
    seed : int
        Seed of this training.
    y_known : ndarray of bool, shape (n_photos, n_labels), optional
        False where an entry is not annotated; it then counts neither way.
    fold, n_folds : int
        For reports.
    """

    member: MemberConfig
    photos: PhotoTensors | FeatureRows
    y_true: NDArray[np.uint8]
    train_rows: NDArray[np.int64]
    validation_rows: NDArray[np.int64]
    seed: int = 0
    y_known: NDArray[np.bool_] | None = None
    fold: int = 0
    n_folds: int = 1

    def place(self, epoch: int) -> str:
        """Say where the training is.

        Parameters
        ----------
        epoch : int
            The epoch, from 1.

        Returns
        -------
        str
            Member, fold and epoch.
        """
        return f"{self.member.name}, fold {self.fold + 1}/{self.n_folds}, epoch {epoch}/{self.member.training.epochs}"

    def event(self, kind: str, epoch: int = 0, **news: Any) -> TrainingEvent:
        """Make a report of this training.

        Parameters
        ----------
        kind : str
            What was reached.
        epoch : int, default 0
            The epoch, from 1.
        **news : object
            Other fields of ``TrainingEvent``.

        Returns
        -------
        TrainingEvent
            With member, fold and numbers of folds and epochs filled in.
        """
        epochs = self.member.training.epochs
        return TrainingEvent(
            kind, self.member.name, fold=self.fold, n_folds=self.n_folds, epoch=epoch, n_epochs=epochs, **news
        )


@dataclass(frozen=True)
class TrainedMember:
    """A trained network and how it got there.

    Parameters
    ----------
    network : MultilabelNetwork or LabelwiseNetwork
        With the weights that are kept, in evaluation mode.
    history : list of dict
        One row per epoch.
    best_epoch : int
        Epoch with the best validation score, from 1.
    resumed_from : int
        Epochs that an earlier process had finished.
    precision : {"float32", "bfloat16"}
        Arithmetic of the body.
    starting_weights : dict
        Source, file and SHA-256 of the weights it started from.
    n_train : int
        Rows that it learned from.
    figures : dict
        What reports may say: seconds of checkpoints, and what the trial of arithmetics found.
    """

    network: MultilabelNetwork | LabelwiseNetwork
    history: list[dict[str, Any]]
    best_epoch: int
    resumed_from: int
    precision: str
    starting_weights: dict[str, Any]
    n_train: int
    figures: dict[str, Any] = field(default_factory=dict)


def check_task(task: MemberTask) -> None:
    """Refuse rows that cannot be trained on.

    Parameters
    ----------
    task : MemberTask
        What is to be trained.

    Raises
    ------
    ValueError
        If training or validation rows are missing, or they meet.
    """
    for name, rows in (("train_rows", task.train_rows), ("validation_rows", task.validation_rows)):
        if not len(rows):
            raise ValueError(
                f"{name} of member {task.member.name!r} must hold at least one row: got none; use fewer folds."
            )
    both = np.intersect1d(task.train_rows, task.validation_rows)
    if len(both):
        raise ValueError(
            f"train_rows and validation_rows of member {task.member.name!r} must not meet: {len(both)} rows are in "
            "both."
        )


def positive_counts(task: MemberTask) -> NDArray[np.int64]:
    """Count the labels' known positives among the training rows.

    Parameters
    ----------
    task : MemberTask
        What is to be trained.

    Returns
    -------
    ndarray of int64, shape (n_labels,)
        Counts.
    """
    return known_truth(task).sum(axis=0, dtype=np.int64)


def known_truth(task: MemberTask) -> NDArray[np.uint8]:
    """Return the truth of the training rows, 0 where it is not annotated.

    Parameters
    ----------
    task : MemberTask
        What is to be trained.

    Returns
    -------
    ndarray of uint8, shape (n_train_rows, n_labels)
        Row by row of ``train_rows``.
    """
    truth = task.y_true[task.train_rows]
    return truth if task.y_known is None else truth * task.y_known[task.train_rows]


def base_rates(task: MemberTask) -> NDArray[np.float64]:
    """Return the labels' frequencies among the training rows where they are known.

    Parameters
    ----------
    task : MemberTask
        What is to be trained.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        In [0, 1].
    """
    truth = task.y_true[task.train_rows]
    if task.y_known is None:
        return truth.mean(axis=0, dtype=np.float64)
    known = task.y_known[task.train_rows]
    return (truth * known).sum(axis=0) / np.maximum(1, known.sum(axis=0))
