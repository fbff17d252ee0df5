"""Label network: a small network says what label context's answers for all labels say about each of them.

`LabelContextStacker` weighs what other labels say by sums. What takes two of them together, such as a neckline that
speaks for a dress unless there are trousers, no sum can say. Here networks with one hidden layer read the probabilities
of all labels and correct their log odds; they begin at no correction. The members' own scores are not read again:
networks that read them too, softened alike, took twice the time, gained .3 and .4 % more of held-out log loss on two
folds of photos of fashion, and lost from the first epochs on in the simulated contest, where these stay even.

How long they are trained, and how much of their corrections is taken, held-out rows say: rows that neither the networks
nor the label context below them have seen. For that label context is fitted once more for each fold, with folds of its
own. Its held-out answers for the other folds would not do: they have learned from the fold's truth, and what a network
learns from their errors there is wrong on that fold by construction, the more so the longer it learns. (On photos of
fashion, with answers of that kind held-out log loss rose by .7 % while that of new rows fell by 1.3 %.)
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import ClassVar, Literal

import numpy as np

from optimizers._checks import check_random_state
from stacking._typing import BoolArray, DoubleArray, FloatArray, IndexArray
from stacking.combiners.meta_learners.batched_logistic import LogisticPenalty
from stacking.combiners.meta_learners.label_context import LabelContextStacker
from stacking.combiners.meta_learners.logit_stacker import row_log_loss
from stacking.combiners.meta_learners.residual_network import NetworkSettings, ResidualNetwork, train_networks
from stacking.combiners.meta_learners.torch_needed import check_torch
from stacking.combiners.meta_learners.training_rows import TrainingRows
from stacking.combiners.registry import register_method
from stacking.predictions import PredictionSet
from stacking.process.progress import advance, steps

SETTINGS = NetworkSettings(
    n_networks=8, n_hidden=256, batch_size=128, learning_rate=2e-3, input_dropout=0.4, dropout=0.6
)
"""Compared on two held-out folds of photos of fashion and one of the simulated contest, 4,000 rows each. Four networks
with dropout of .3 and .5 did as well on the first; on the last they were too much from the fourth epoch on, these from
the eighth."""

SHARES = np.linspace(1.0, 0.1, 10)
"""Shares of the corrections that are tried."""

PATIENCE = 3
"""Epochs without a better held-out loss after which the search for their number stops. A choice; no measurement is on
record."""

LEAST_FOLDS = 3
"""One is held out, and label context needs two more."""


@register_method(
    "label-network",
    "label-context, corrected by a network over all labels (torch)",
    kind="meta",
    cost=120.0,
    is_slow=True,
    requires="torch",
)
class LabelNetworkStacker(LabelContextStacker):
    """Correct label context's answers by a small network that reads them all.

    For thousands of rows whose labels depend on each other in ways that no weighted sum tells. Where held-out log loss
    does not fall by more than its standard error, no network is kept and the answers are label context's own. Training
    needs torch; predicting does not.

    Parameters
    ----------
    penalty : float or "auto", default "auto"
        Of label context.
    n_folds : int, default 5
        Inner folds, at least 3.
    max_rows : int or None, default 100_000
        Fit on a random sample where there are more rows.
    random_state : int, Generator or None, default 0
        Draws the sample, the folds, the networks' first weights and batches.
    n_networks : int, default 8
        Networks that are averaged, at least 1.
    n_epochs : int, default 40
        Most passes over the rows, at least 1.
    device : str, default "auto"
        Where to train, in torch's words; "auto" takes a CUDA device if there is one, else the CPU.

    Attributes
    ----------
    n_epochs_ : int
        Epochs trained; 0 where no network is kept.
    share_ : float
        Share of the corrections that is taken, in [0, 1].
    correction_hidden_ : ndarray of float32, shape (n_labels, n_units)
        Weights from softened log odds to the hidden units of all networks; no units where none is kept.
    correction_hidden_bias_ : ndarray of float32, shape (n_units,)
        Their intercepts.
    correction_output_ : ndarray of float32, shape (n_units, n_labels)
        Weights from there to the corrections, the share included.
    correction_output_bias_ : ndarray of float32, shape (n_labels,)
        Their intercepts.

    Notes
    -----
    Beside the fits of label context, one on all rows and one per fold that is held out, O(n_epochs · n_samples ·
    n_labels · n_units) for each; the same seed gives the same bits on CPU with the same number of threads.

    References
    ----------
    D. H. Wolpert, "Stacked generalization", Neural Networks 5, 1992; K. He et al., "Deep residual learning for image
    recognition", CVPR 2016, for learning what is left over.

    Examples
    --------
    >>> LabelNetworkStacker(n_networks=4)
    LabelNetworkStacker(n_networks=4)
    """

    method: ClassVar[str] = "label-network"

    n_epochs_: int
    share_: float
    correction_hidden_: FloatArray
    correction_hidden_bias_: FloatArray
    correction_output_: FloatArray
    correction_output_bias_: FloatArray

    def __init__(
        self,
        penalty: float | Literal["auto"] = "auto",
        n_folds: int = 5,
        max_rows: int | None = 100_000,
        random_state: int | np.random.Generator | None = 0,
        *,
        n_networks: int = 8,
        n_epochs: int = 40,
        device: str = "auto",
    ) -> None:
        super().__init__(penalty, n_folds, max_rows, random_state)
        self.n_networks = n_networks
        self.n_epochs = n_epochs
        self.device = device

    def _fit_rows(self, rows: TrainingRows, strengths: tuple[float, ...], *, wants_scores: bool) -> DoubleArray:
        """Check what would fail only after label context is fitted."""
        for name, least in (("n_folds", LEAST_FOLDS), ("n_networks", 1), ("n_epochs", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}: got {getattr(self, name)}.")
        check_torch(self.method)
        return super()._fit_rows(rows, strengths, wants_scores=wants_scores)

    def _fit_out_of_fold(self, predictions: PredictionSet, folds: IndexArray) -> FloatArray:
        """Fit with the given folds as the inner ones; by clones, which deal their own, where those are too few."""
        if len(np.unique(folds)) >= LEAST_FOLDS:
            return super()._fit_out_of_fold(predictions, folds)
        y_score = self._score_by_clones(predictions, folds)
        self._fit(predictions)
        return y_score

    def _fit_stages(self, rows: TrainingRows, penalty: LogisticPenalty, *, wants_scores: bool) -> DoubleArray:
        """Fit label context, try networks on held-out folds, train those that ship on all rows."""
        seed = int(check_random_state(self.random_state).integers(2**31))
        settings = replace(SETTINGS, n_networks=self.n_networks, device=self.device, seed=seed)
        masks = rows.fold_masks if len(rows.fold_masks) >= LEAST_FOLDS else []
        tried = masks if wants_scores else masks[:1]
        names = [f"fold {number}/{len(tried)}" for number in range(1, len(tried) + 1)]
        with steps({"label context": 1.0, **dict.fromkeys(names, 1.5), "network": 0.7}) as begin:
            begin("label context")
            whole = self._fit_passes(rows, penalty)
            self._keep(None, 0, 0.0)
            trials: list[_Trial] = []
            for name, held in zip(names, tried, strict=True):
                begin(name)
                trials.append(self._try(rows, held, penalty, settings, trials[0].n_epochs if trials else None))
                if not trials[0].n_epochs:
                    break
            share, said = _choose_share(rows, trials)
            self.notes_ = [*self.notes_, said]
            if not share:
                return whole.held_out
            begin("network")
            networks = train_networks(whole.aligned, rows.y_true, rows.weight, settings)
            for epoch, network in enumerate(islice(networks, trials[0].n_epochs), start=1):
                advance(epoch, trials[0].n_epochs)
                trained = network
            # Labels with one class stay at their frequency.
            self._keep(trained.scaled(share, ~rows.one_class), trials[0].n_epochs, share)
        held_out = whole.held_out.copy()
        for trial in trials:
            held_out[trial.held] = trial.answer(share)
        return held_out

    def _try(
        self,
        rows: TrainingRows,
        held: BoolArray,
        penalty: LogisticPenalty,
        settings: NetworkSettings,
        n_epochs: int | None,
    ) -> _Trial:
        """Fit everything without a fold; for so many epochs, or for as many as serve the fold best."""
        rest, test = rows.subset(~held), rows.subset(held)
        below = LabelContextStacker(self.penalty, self.n_folds, self.max_rows, self.random_state)
        below.models_, below.labels_, below.covers_, below.notes_ = self.models_, self.labels_, self.covers_, []
        passed = below._fit_passes(rest, penalty)
        beliefs = below._answer(test.logits)
        best = _Trial(held, 0, beliefs, np.zeros(beliefs.shape, np.float32), row_log_loss(test, beliefs).sum())
        most = self.n_epochs if n_epochs is None else n_epochs
        networks = train_networks(passed.aligned, rest.y_true, rest.weight, settings)
        for epoch, network in enumerate(islice(networks, most), start=1):
            advance(epoch, most)
            if n_epochs is not None and epoch < most:
                continue
            correction = network.correct(beliefs)
            trial = _Trial(held, epoch, beliefs, correction, row_log_loss(test, beliefs + correction).sum())
            if n_epochs is not None or trial.loss < best.loss:
                best = trial
            elif epoch - best.n_epochs >= PATIENCE:
                break
        return best

    def _keep(self, network: ResidualNetwork | None, n_epochs: int, share: float) -> None:
        """Remember what prediction needs, as plain arrays; empty ones for no network."""
        kept = ResidualNetwork.empty(len(self.labels_)) if network is None else network
        self.n_epochs_, self.share_ = n_epochs, share
        self.correction_hidden_, self.correction_hidden_bias_ = kept.hidden, kept.hidden_bias
        self.correction_output_, self.correction_output_bias_ = kept.output, kept.output_bias

    def _answer(self, logits: FloatArray) -> DoubleArray:
        """Correct label context's answers."""
        beliefs = super()._answer(logits)
        if not len(self.correction_hidden_bias_):
            return beliefs
        network = ResidualNetwork(
            self.correction_hidden_, self.correction_hidden_bias_, self.correction_output_, self.correction_output_bias_
        )
        corrected: DoubleArray = beliefs + network.correct(beliefs)
        return corrected

    def _added_bytes(self, n_rows: int, n_labels: int) -> float:
        """Add the networks with AdamW's averages and gradients, those that are kept, and what they read."""
        weights = 8.0 * n_labels * self.n_networks * SETTINGS.n_hidden
        return super()._added_bytes(n_rows, n_labels) + 6.0 * weights + 40.0 * n_rows * n_labels


@dataclass(frozen=True)
class _Trial:
    """A network beside a fold that it has not seen."""

    held: BoolArray
    n_epochs: int
    beliefs: DoubleArray
    correction: FloatArray
    loss: float

    def answer(self, share: float) -> DoubleArray:
        """Take a share of the corrections."""
        answer: DoubleArray = self.beliefs + share * self.correction
        return answer


def _choose_share(rows: TrainingRows, trials: list[_Trial]) -> tuple[float, str]:
    """Return the share with the least held-out log loss, 0 unless that is proven lower; also what is to be said."""
    if not trials:
        return 0.0, f"label-network kept no network: it wants {LEAST_FOLDS} folds or more"
    alone, *losses = (
        np.concatenate([row_log_loss(rows.subset(trial.held), trial.answer(share)) for trial in trials])
        for share in (0.0, *SHARES)
    )
    best = int(np.argmin([own.sum() for own in losses]))
    changes = losses[best] - alone
    change = f"held-out log loss {changes.sum() / max(alone.sum(), 1e-12):+.2%}"
    if not trials[0].n_epochs or changes.sum() >= -np.sqrt(len(changes)) * changes.std():
        return 0.0, f"label-network kept no network: {change} with one"
    share = float(SHARES[best])
    return share, f"label-network: {change} by networks of {trials[0].n_epochs} epochs, share {share:.1f}"
