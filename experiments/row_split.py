"""Hold rows back, so that an ensemble can be scored on samples that it has not seen."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stacking.predictions import PredictionSet


def hold_back(
    predictions: "PredictionSet", share: float, *, random_state: int = 0
) -> tuple["PredictionSet", "PredictionSet"]:
    """Split predictions by rows; every label keeps its frequency on both sides and no group is split.

    Parameters
    ----------
    predictions : PredictionSet
        With the truth, which is needed to keep the frequencies.
    share : float
        Share of the rows on the first side, between 0 and 1, both excluded.
    random_state : int, default=0
        Seed of the deal.

    Returns
    -------
    first : PredictionSet
        About `share` of the rows, in their order.
    rest : PredictionSet
        The others.

    Raises
    ------
    ValueError
        If the share is out of range, the truth is missing, or there are too few rows or groups.

    Examples
    --------
    >>> import numpy as np
    >>> from stacking.predictions import PredictionSet
    >>> scores, truth = np.full((1, 40, 2), 0.5), np.tile([[1, 0], [0, 1]], (20, 1))
    >>> first, rest = hold_back(PredictionSet(scores, y_true=truth), 0.75)
    >>> first.n_samples, rest.n_samples
    (30, 10)
    """
    from stacking.folds import hold_out

    if not 0 < share < 1:
        raise ValueError(f"the share of rows to keep must lie between 0 and 1: got {share}; write --split 0.65, say.")
    if predictions.y_true is None:
        raise ValueError(
            "predictions must carry the truth to be split evenly: give truth= (--truth), or data with y_true."
        )
    is_rest = hold_out(predictions.truth, 1.0 - share, random_state=random_state)
    return predictions.subset(samples=~is_rest), predictions.subset(samples=is_rest)
