"""Which training rows an epoch shows: all of them once, a share of them, or a draw that favors rare labels.

Weights by label frequency follow student teams of the contest: with label counts f and an exponent alpha, the wanted
frequencies are proportional to f ** alpha (1 changes nothing, 0 makes all labels equally frequent). From
(w_a f_a) / (w_b f_b) = (f_a / f_b) ** alpha and Σ w f = Σ f follows w_l = f_l ** (alpha − 1) · Σ f / Σ f ** alpha.
Photos hold several labels, so frequent labels ride along and the exponent that is reached lies above the target: both
are reported, with the effective sample size that the weights leave (Kish, Survey Sampling, 1965).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from base_models.recipe.training import TrainingConfig


@dataclass(frozen=True)
class LabelSampler:
    """Draw the rows of an epoch, each in proportion to its weight.

    Parameters
    ----------
    rows : ndarray of int64, shape (n_rows,)
        The training rows.
    weights : ndarray of float64, shape (n_rows,)
        Their weights, positive.
    y_true : ndarray of uint8, shape (n_rows, n_labels)
        Their labels, 0 where not annotated.
    alpha : float
        The target exponent.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float64]
    y_true: NDArray[np.uint8]
    alpha: float

    @property
    def effective_sample_size(self) -> float:
        """Return how many equally weighted rows would estimate a mean as well: (Σ w)² / Σ w², in [1, n_rows]."""
        return float(self.weights.sum() ** 2 / (self.weights**2).sum())

    def draw(self, seed: int, epoch: int) -> NDArray[np.int64]:
        """Draw as many rows as there are, with repetition, in random order.

        Parameters
        ----------
        seed, epoch : int
            They alone decide the draw, so that a resumed training repeats it.

        Returns
        -------
        ndarray of int64, shape (n_rows,)
            Row i occurs ``n_rows · w_i / Σ w`` times, rounded down or up (systematic sampling in random order).
        """
        rng = np.random.default_rng((seed, epoch, 2))  # 2 keeps it apart from other uses of the seed
        order = rng.permutation(len(self.rows))
        reach = np.cumsum(self.weights[order])
        points = (rng.random() + np.arange(len(order))) * (reach[-1] / len(order))
        places = np.minimum(np.searchsorted(reach, points, side="right"), len(order) - 1)
        return rng.permutation(self.rows[order[places]])

    def figures(self, drawn: NDArray[np.int64]) -> dict[str, float]:
        """Say what a draw has reached.

        Parameters
        ----------
        drawn : ndarray of int64
            Rows as ``draw`` returned them.

        Returns
        -------
        dict of str to float
            ``sampling_target`` and ``sampling_reached`` (exponents) and ``effective_sample_size``.
        """
        place = np.full(int(self.rows.max()) + 1, -1)
        place[self.rows] = np.arange(len(self.rows))
        times = np.bincount(place[drawn], minlength=len(self.rows))
        return {
            "sampling_target": self.alpha,
            "sampling_reached": reached_exponent(self.y_true.sum(axis=0), times @ self.y_true),
            "effective_sample_size": self.effective_sample_size,
        }


def create_sampler(rows: NDArray[np.int64], y_true: NDArray[np.uint8], alpha: float, combine: str) -> LabelSampler:
    """Weigh every training row by its labels.

    Parameters
    ----------
    rows : ndarray of int64, shape (n_rows,)
        The training rows.
    y_true : ndarray of uint8, shape (n_rows, n_labels)
        Their labels, 0 where not annotated.
    alpha : float
        The target exponent.
    combine : {"mean", "max", "sum"}
        How a row's weight comes from its labels' weights; a row without labels weighs 1.

    Returns
    -------
    LabelSampler
        Draws the rows of an epoch.

    Raises
    ------
    ValueError
        If ``combine`` is unknown.
    """
    weights = label_weights(y_true.sum(axis=0, dtype=np.int64), alpha)
    n_labels = y_true.sum(axis=1)
    if combine == "max":
        combined = (y_true * weights).max(axis=1, initial=0.0)
    elif combine in ("mean", "sum"):
        combined = y_true @ weights
        combined = combined / np.maximum(n_labels, 1) if combine == "mean" else combined
    else:
        raise ValueError(f"sampling_weight must be one of mean, max, sum: got {combine!r}.")
    return LabelSampler(rows, np.where(n_labels > 0, combined, 1.0), y_true, alpha)


def label_weights(counts: NDArray[np.int64], alpha: float) -> NDArray[np.float64]:
    """Return the weight of each label for a target exponent.

    Parameters
    ----------
    counts : ndarray of int64, shape (n_labels,)
        Positive rows of each label.
    alpha : float
        1 changes nothing, 0 makes the labels equally frequent.

    Returns
    -------
    ndarray of float64, shape (n_labels,)
        ``f ** (alpha − 1) · Σ f / Σ f ** alpha``; 0 for a label without positives.

    Examples
    --------
    >>> label_weights(np.array([30, 10]), 0.0).round(3).tolist()
    [0.667, 2.0]
    """
    weights = np.zeros(len(counts))
    found = counts > 0
    frequency = counts[found].astype(np.float64)
    weights[found] = frequency ** (alpha - 1) * frequency.sum() / (frequency**alpha).sum()
    return weights


def reached_exponent(before: NDArray[np.int64], after: NDArray[np.int64]) -> float:
    """Measure the exponent between label counts before and after sampling.

    Parameters
    ----------
    before, after : ndarray of int64, shape (n_labels,)
        Positive rows of each label.

    Returns
    -------
    float
        Slope of log after over log before by least squares, over the labels that occur in both; 1 where the counts
        before are all alike.

    Examples
    --------
    >>> round(reached_exponent(np.array([1, 16, 81]), np.array([1, 4, 9])), 3)
    0.5
    """
    both = (before > 0) & (after > 0)
    x, y = np.log(before[both]), np.log(after[both])
    spread = float(((x - x.mean()) ** 2).sum()) if len(x) else 0.0
    return float(((x - x.mean()) * (y - y.mean())).sum() / spread) if spread else 1.0


def share_of_rows(rows: NDArray[np.int64], share: float, seed: int) -> NDArray[np.int64]:
    """Draw a share of the training rows; a larger share holds every smaller one, as a learning curve needs.

    Parameters
    ----------
    rows : ndarray of int64
        The training rows.
    share : float
        In (0, 1]; at least one row is drawn.
    seed : int
        Members with equal seeds draw from the same order.

    Returns
    -------
    ndarray of int64
        Ascending; ``rows`` itself for a share of 1.

    Examples
    --------
    >>> share_of_rows(np.arange(10), 0.2, 0).tolist()
    [4, 6]
    """
    if share == 1:
        return rows
    order = np.random.default_rng(seed).permutation(len(rows))
    return np.sort(rows[order[: max(1, round(share * len(rows)))]])


def share_to_use(config: TrainingConfig, n_rows: int) -> float:
    """Return the share of a fold's training rows that a member uses.

    Parameters
    ----------
    config : TrainingConfig
        ``train_count`` or ``train_share``.
    n_rows : int
        Rows that there are.

    Returns
    -------
    float
        In (0, 1]; 1 where fewer rows are there than asked for.

    Examples
    --------
    >>> share_to_use(TrainingConfig(train_count=10), 40)
    0.25
    """
    return min(1.0, config.train_count / max(n_rows, 1)) if config.train_count else config.train_share
