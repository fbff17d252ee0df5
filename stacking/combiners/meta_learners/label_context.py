"""Label context: explain each label's own logit by all others, the way one reads a noisy witness.

A first stage (:class:`RidgeContext`'s) gives every label a probability: its *belief*. Three things then say about label
l what its own logits cannot. The joint regression of pooled logits and truths tells how far its logit departs from what
the other labels' logits and truths explain (members err together on labels that look alike, so a high logit that those
labels explain is no evidence), and what the others say about its truth. The dependency network tells on the scale of
log odds how likely the label is given the others: labels that all but exclude each other are its matter. The generative
posterior weighs all evidence of a row at once. True labels teach all three; at prediction beliefs stand in for truths
(mean field). A logistic regression per label weighs them against the members' own logits and the ridge's answer; its
answers are better beliefs, with which up to two further passes ask again (stacked recursion: E. Montañés et al.,
"Dependent binary relevance models for multi-label classification", Pattern Recognition 47, 2014; J. Read et al.,
"Classifier chains for multi-label classification", Machine Learning 85, 2011, ask one label after the other instead).

The answer is a mean of logits: of the passes, as many as labels of like frequency gain by, then of that and the
posterior. A pass fits some ten coefficients for every label, those of rare labels from few positives, the posterior
fits none for how far it is trusted: they err in different ways.

Every stage learns from *held-out* beliefs, never from true neighbors: what trusts truths that are not there at
prediction collapses where labels determine each other. Whatever does not lower the held-out log loss is left out again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from stacking._typing import DoubleArray, FloatArray
from stacking.combiners.meta_learners.batched_logistic import LogisticPenalty, apply_logistic
from stacking.combiners.meta_learners.context_regression import JointRegression, Moments
from stacking.combiners.meta_learners.dependency_network import (
    DependencyNetwork,
    choose_strength,
    fit_dependency_network,
)
from stacking.combiners.meta_learners.held_out_stages import FittedPass, Folded, fit_pass
from stacking.combiners.meta_learners.joint_stage import JointContext, fit_joint_stage
from stacking.combiners.meta_learners.label_posterior import LabelPosterior, fit_label_posterior
from stacking.combiners.meta_learners.logit_stacker import cell_log_loss, row_log_loss
from stacking.combiners.meta_learners.ridge_context import RidgeContext, fit_first_pass
from stacking.combiners.meta_learners.training_rows import TrainingRows, TruthRows
from stacking.combiners.registry import register_method
from stacking.links import sigmoid
from stacking.process.progress import steps

LEAST_CELLS = 50_000
"""Rows times labels from which the posterior is tried: on less, its gain is within the noise of one fold, and its loop
would have to be compiled."""

AGAIN = 0.3
"""Strength of the further passes' penalty, as a share of the first's: .3 against 1 lowered held-out log loss by .9 % on
the simulated contest and by .2 % on photos of fashion (5,000 rows each)."""

FURTHER_PASSES, LIKE_FREQUENCY = ("second pass", "third pass"), 3.0
"""Passes that a label may average beside the first, and the ratio of positives within which labels choose together how
many. On five splits of photos of fashion (5,000 rows) one choice of all labels is for one pass, which costs .0009 of
micro-F1 beside two: the held-out loss of rare labels is noise. Choices by class gain .0006 there, and on 17 generated
sets .0000 and the least log loss; choices by single label gain .0006 and lose mAP on the simulated contest (.002); two
passes for every label gain .0009 and lose .0007 on the generated sets, and drawing the further passes to the pooled
coefficients .002."""

POSTERIOR_SHARE = 0.5
"""Share of the posterior in the answer. On 8 draws of 300 and 1,000 rows of the simulated contest, 5 of which chose
nothing, half of it beside the answer of the passes was worth .0074 of micro-F1 (±.0022 as a standard error), with label
rows .0100 (±.0012); on all 5,500 rows of three seeds .0008."""

BELIEF_LIMIT = 11.5
"""Log odds of probabilities of 1e-5 from either end, beyond which a regression's own extrapolation speaks."""

STAGES = {"ridge": 1.0, "beliefs": 1.0, "other labels": 3.0, "first pass": 1.0, "second pass": 1.0, "third pass": 1.0}
"""The stages with their usual time, a rough estimate: only the time left that is shown depends on it."""


@register_method("label-context", "own logits and what all labels explain, per label", kind="meta", cost=18.0)
class LabelContextStacker(RidgeContext):
    """Weigh a label's own logits against what the other labels' logits and probable truths explain of them.

    The strongest stacker here where labels depend on each other or members confuse labels in the same way; where they
    do not, each label's regression strength goes up and it falls back to its own logits. Wants several times as many
    rows as labels. The posterior is tried from `LEAST_CELLS` cells up and costs some .5 ms a row of 228 labels; further
    passes stay only where the held-out log loss falls, and so does what label rows (annotated rows without scores,
    `PredictionSet.with_label_rows`) taught the dependency network.

    Parameters
    ----------
    penalty : float or "auto", default "auto"
        Strength of the draw of logistic coefficients to the pooled ones; ``"auto"`` chooses as `RidgeContext` does.
    n_folds : int, default 5
        Inner folds: every stage learns from held-out answers of the stage before.
    max_rows : int or None, default 100_000
        Fit on a random sample where there are more rows.
    random_state : int, Generator or None, default 0
        Draws the sample and the folds.

    Attributes
    ----------
    pool_weights_ : ndarray of float64, shape (n_models,)
        Weights of the members in the pooled logits, on the simplex.
    ridge_, ridge_outputs_ : ndarray of float64
        First stage: weights on the pooled logits, intercepts last.
    first_coefficients_ : ndarray of float64, shape (n_labels, n_models + 2)
        First stage: members' logits, the ridge's answer, intercept.
    to_truth_, to_logit_ : ndarray of float64, shape (2 · n_labels, n_labels)
        The joint regression, on standardized columns.
    moments_ : ndarray of float64, shape (2, 2 · n_labels)
        Means and scales of pooled logits and truths.
    network_ : ndarray of float64, shape (n_labels + 1, n_labels) or (0, n_labels)
        The dependency network, intercepts last; empty where there is one label or nothing can be held out.
    posterior_own_, posterior_pooled_, posterior_fields_, posterior_couplings_ : ndarray of float64
        The generative posterior (`LabelPosterior`); empty where a held-out fold did not show that it helps.
    answer_shares_ : ndarray of float64, shape (n_passes + 1, n_labels)
        Share of each pass in the answer, a mean of logits, and of the posterior, which comes last; they sum to 1.
    pass_coefficients_ : ndarray of float64, shape (n_earlier_passes, n_labels, n_features + 1)
        The passes before the last one that is kept; the first has coefficients of 0 for a pass before it where there
        are three.
    coefficients_ : ndarray of float64, shape (n_labels, n_features + 1)
        Last pass: members' logits, the ridge's answer, the posterior's where it is kept, surprise, both parts of the
        joint answer, the network's answer where there is one, that of the pass before it where there is one, intercept.
    constant_labels_ : ndarray of bool, shape (n_labels,)
        Labels with one class in the fitting rows: they get the smoothed frequency.
    n_rows_fitted_ : int
        Rows used.
    n_label_rows_ : int
        Rows without scores that taught the dependency network; 0 where they did not help.
    fallback_report_ : dict
        Shares of labels and of positives that got their frequency, in [0, 1].

    Notes
    -----
    O(n_samples · n_labels² + n_labels³ + n_samples · n_labels · n_models²); memory O(n_models · n_samples · n_labels).
    Above 1,500 labels block by block, linear in the labels: see `BlockedStacker`, whose attributes a fit then has.

    References
    ----------
    S. L. Lauritzen, "Graphical Models", 1996, prop. 5.2; D. Heckerman et al., "Dependency networks for inference,
    collaborative filtering, and data visualization", JMLR 1, 2000.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y_scores, y_true = rng.random((3, 60, 2)), rng.integers(0, 2, (60, 2))
    >>> LabelContextStacker().fit(y_scores, y_true).predict_proba(y_scores).shape
    (60, 2)
    """

    method: ClassVar[str] = "label-context"
    learns_from_label_rows: ClassVar[bool] = True

    n_label_rows_: int = 0  # folders of earlier versions do not say

    first_coefficients_: DoubleArray
    to_truth_: DoubleArray
    to_logit_: DoubleArray
    moments_: DoubleArray
    network_: DoubleArray
    answer_shares_: DoubleArray
    pass_coefficients_: DoubleArray
    posterior_own_: DoubleArray
    posterior_pooled_: DoubleArray
    posterior_fields_: DoubleArray
    posterior_couplings_: DoubleArray

    def _fit_stages(self, rows: TrainingRows, penalty: LogisticPenalty, *, wants_scores: bool) -> DoubleArray:
        """Fit all stages; the last pass has held-out logits anyway."""
        return self._fit_passes(rows, penalty).held_out

    def _fit_passes(self, rows: TrainingRows, penalty: LogisticPenalty) -> FittedPass:
        """Fit the stages one after the other, each on held-out answers of the one before; return the last."""
        with steps(STAGES) as begin:
            begin("ridge")
            pooled, ridge = self._fit_ridge(rows)
            context = ridge.held_out
            begin("beliefs")
            first = fit_first_pass(rows, context, penalty)
            self.first_coefficients_ = first.coefficients
            begin("other labels")
            neighbors, known_pass = self._ask_label_rows(
                _Neighbors.fit(pooled, first, rows, ridge.moments), pooled, first, rows, penalty
            )
            posterior = _try_posterior(rows, pooled, neighbors, first)
            always: list[npt.NDArray[Any]] = [context]
            if posterior is not None:
                always.append(posterior.held_out(LabelPosterior.log_odds, rows.logits, pooled, aligned=False))
            begin("first pass")
            surprise = (len(always),)  # what `_Neighbors.features` gives first: no answer, so of either sign
            if known_pass is None or posterior is not None:
                known_pass = fit_pass(rows, [*always, *neighbors.features(pooled, first)], penalty, free=surprise)
            kept = [known_pass]
            if rows.fold_masks:
                # The pass before is one feature among few: drawing to what labels have in common helps no more.
                alone = replace(penalty, strength=AGAIN * penalty.strength, pooled=False)
                for stage in FURTHER_PASSES:
                    begin(stage)
                    added = [*always, *neighbors.features(pooled, kept[-1]), _limited(kept[-1].aligned)]
                    start = _begin_after(kept[-1].coefficients, len(rows.logits) + len(added))
                    kept.append(replace(fit_pass(rows, added, alone, free=surprise, start=start), added=[]))
        depth = _choose_depth(rows, [one.held_out for one in kept])
        kept = kept[: depth.max()]
        self._remember_stages(neighbors, kept, None if posterior is None else posterior.whole)
        self.answer_shares_, answer = _mix(rows, [one.held_out for one in kept], depth, always[1:])
        aligned = _average([*(one.aligned for one in kept), *always[1:]], self.answer_shares_)
        return replace(kept[-1], held_out=answer, aligned=aligned, loss=_loss(rows, answer))

    def _ask_label_rows(
        self,
        neighbors: _Neighbors,
        pooled: DoubleArray,
        first: FittedPass,
        rows: TrainingRows,
        penalty: LogisticPenalty,
    ) -> tuple[_Neighbors, FittedPass | None]:
        """Let label rows teach the dependency network where the held-out log loss of the first pass falls by it.

        By more than its standard error: rows of another world leave the loss as it is, up to chance, since the pass
        then gives the network no weight.
        """
        self.n_label_rows_ = 0
        if rows.label_rows is None or neighbors.network is None:
            return neighbors, None
        taught = replace(neighbors, network=_fit_network(rows, rows.label_rows))
        alone, better = (
            fit_pass(rows, [*first.added, *one.features(pooled, first)], penalty, free=(len(first.added),))
            for one in (neighbors, taught)
        )
        n_rows = len(rows.label_rows.y_true)
        per_row = (row_log_loss(rows, one.held_out) for one in (better, alone))
        changes = np.subtract(*per_row)
        change = changes.sum() / alone.loss
        said = f"{n_rows:,} label rows without scores: held-out log loss {change:+.2%} with them"
        if changes.sum() >= -np.sqrt(len(changes)) * changes.std():
            self.notes_ = [*self.notes_, f"label-context left out {said}"]
            return neighbors, alone
        self.n_label_rows_ = n_rows
        self.notes_ = [*self.notes_, f"label-context learned from {said}"]
        return taught, better

    def _remember_stages(self, neighbors: _Neighbors, kept: list[FittedPass], posterior: LabelPosterior | None) -> None:
        """Keep what prediction needs, as plain arrays; empty ones for what is left out."""
        n_models, n_labels = self.covers_.shape
        joint, network = neighbors.joint.whole, neighbors.network
        self.to_truth_, self.to_logit_ = joint.regression.to_truth, joint.regression.to_logit
        self.moments_ = joint.moments
        self.network_ = np.empty((0, n_labels)) if network is None else network.whole.weights
        n_values = kept[max(len(kept) - 2, 0)].coefficients.shape[1]
        # The first pass knows none before it; beside others it has a coefficient of 0 for that.
        self.pass_coefficients_ = np.zeros((len(kept) - 1, n_labels, n_values))
        for place, one in zip(self.pass_coefficients_, kept, strict=False):
            place[:, : one.coefficients.shape[1] - 1] = one.coefficients[:, :-1]
            place[:, -1] = one.coefficients[:, -1]
        self.coefficients_ = kept[-1].coefficients
        empty = np.empty((0, n_labels))
        self.posterior_own_ = np.empty((0, n_models + 1)) if posterior is None else posterior.own
        self.posterior_pooled_ = np.empty((0, 2)) if posterior is None else posterior.pooled
        self.posterior_fields_ = empty if posterior is None else posterior.fields
        self.posterior_couplings_ = empty if posterior is None else posterior.couplings

    def _answer(self, logits: FloatArray) -> DoubleArray:
        """Apply the first stage, then pass after pass; average what they and the posterior answer."""
        pooled, context = self._apply_ridge(logits)
        always = [context]
        beliefs = apply_logistic([*logits, *always], self.first_coefficients_)
        if len(self.posterior_own_):
            posterior = LabelPosterior(
                self.posterior_own_, self.posterior_pooled_, self.posterior_fields_, self.posterior_couplings_
            )
            always.append(posterior.log_odds(logits, pooled))
        answers = []
        for coefficients in (*self.pass_coefficients_, self.coefficients_):
            features = [*logits, *always, *self._ask_neighbors(pooled, beliefs), _limited(beliefs)]
            beliefs = apply_logistic(features[: coefficients.shape[1] - 1], coefficients)
            answers.append(beliefs)
        return _average([*answers, *always[1:]], self.answer_shares_)

    def _ask_neighbors(self, pooled: DoubleArray, beliefs: DoubleArray) -> list[npt.NDArray[Any]]:
        """Ask the joint regression and the dependency network, if there is one."""
        chances = sigmoid(beliefs)
        joint = JointContext(JointRegression(self.to_truth_, self.to_logit_), self.moments_)
        found = [*joint.features(pooled, chances)]
        return [*found, DependencyNetwork(self.network_).log_odds(chances)] if len(self.network_) else found

    def _added_bytes(self, n_rows: int, n_labels: int) -> float:
        """Count the matrices of the ridge, the joint regression and the network, and the features of all passes."""
        square = 8.0 * n_labels**2
        # Moments and an inverse of twice as many columns; of each fold and of all rows, what is kept and what is tried.
        joint = square * (4 * (self.n_folds + 7) + 8 * (self.n_folds + 1))
        network = square * (24 + 5 * (self.n_folds + 1))  # eight pairs of L-BFGS, and the regressions that are kept
        return max(super()._added_bytes(n_rows, n_labels), joint, network) + 136.0 * n_rows * n_labels

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild the stacker; earlier versions had one pass, no dependency network and no posterior.

        Later ones had all of them, and the last pass alone was the answer.
        """
        if "members" in values:  # blocks, each with a state of its own
            return super()._from_state(values, arrays, texts)
        n_models, n_labels = arrays["covers_"].shape
        nothing = np.empty((0, n_labels))
        earlier = {
            "network_": nothing,
            "pass_coefficients_": np.empty((0, n_labels, n_models + 5)),
            "posterior_own_": np.empty((0, n_models + 1)),
            "posterior_pooled_": np.empty((0, 2)),
            "posterior_fields_": nothing,
            "posterior_couplings_": nothing,
        }
        stacker = super()._from_state(values, {**earlier, **arrays}, texts)
        if "answer_shares_" not in arrays:
            stacker.answer_shares_ = np.zeros((len(stacker.pass_coefficients_) + 2, n_labels))
            stacker.answer_shares_[-2] = 1.0
        return stacker


@dataclass(frozen=True)
class _Neighbors:
    """What tells about a label from beliefs in the others."""

    joint: Folded[JointContext]
    network: Folded[DependencyNetwork] | None

    @classmethod
    def fit(
        cls, pooled: DoubleArray, first: FittedPass, rows: TrainingRows, moments: list[Moments] | None
    ) -> _Neighbors:
        """Fit the joint regression and, where there are folds and other labels, the dependency network."""
        joint = fit_joint_stage(pooled, sigmoid(first.aligned), rows, moments)
        if not rows.fold_masks or pooled.shape[1] == 1:
            return cls(joint, None)
        return cls(joint, _fit_network(rows, None))

    def features(self, pooled: DoubleArray, first_pass: FittedPass) -> list[npt.NDArray[Any]]:
        """Ask about each row what was fitted without it, at held-out beliefs."""
        chances = sigmoid(first_pass.aligned)
        found = [*self.joint.held_out(JointContext.features, pooled, chances)]
        if self.network is not None:
            found.append(self.network.held_out(DependencyNetwork.log_odds, chances))
        return found


def _fit_network(rows: TrainingRows, label_rows: TruthRows | None) -> Folded[DependencyNetwork]:
    """Fit the dependency network on all rows and without each fold, each time with the label rows as well."""
    masks = rows.fold_masks
    strength, first_part = choose_strength(rows.y_true, rows.weight, masks[0], label_rows)
    everything = np.ones(len(rows.y_true), dtype=bool)
    # What the label rows alone teach is where each fold may begin: it has seen none of the rows.
    start = None if label_rows is None else fit_dependency_network(label_rows.y_true, label_rows.weight, strength)
    teaching = (rows.truth.of(fitting).before(label_rows) for fitting in (everything, *(~held for held in masks[1:])))
    whole, *parts = (fit_dependency_network(one.y_true, one.weight, strength, start=start) for one in teaching)
    return Folded(whole, (first_part, *parts), tuple(masks))


def _begin_after(coefficients: DoubleArray, n_features: int) -> DoubleArray:
    """Return a pass's coefficients as a start for the next, with 0 for the pass before where it knew none."""
    n_more = n_features + 1 - coefficients.shape[1]
    return np.insert(coefficients, [-1] * n_more, 0.0, axis=1) if n_more else coefficients


def _choose_depth(rows: TrainingRows, passes: Sequence[DoubleArray]) -> npt.NDArray[np.intp]:
    """Return how many passes each label averages: as many as have the least held-out log loss, few where it is equal.

    Labels of like frequency choose together: a rare one alone would go by chance, and in a choice of all labels one
    rare one may lose more than all frequent ones gain.
    """
    losses, total = [], np.zeros_like(passes[0])
    for number, logits in enumerate(passes, start=1):
        total += logits
        losses.append(cell_log_loss(rows, total / number))
    size = np.floor(np.log1p(rows.positives) / np.log(LIKE_FREQUENCY))
    return 1 + np.argmin(np.array(losses) @ (size[:, None] == size), axis=0)


def _mix(
    rows: TrainingRows,
    passes: Sequence[DoubleArray],
    depth: npt.NDArray[np.intp],
    posterior: Sequence[npt.NDArray[Any]],
) -> tuple[DoubleArray, DoubleArray]:
    """Return the share of each answer in the mean of held-out logits, the posterior's last, and that mean.

    The posterior, if there is one, has its share where it lowers the held-out log loss, and none in labels with one
    class, which keep to their frequency.
    """
    shares = np.where(np.arange(len(passes) + 1)[:, None] < depth, 1.0 / depth, 0.0)
    answer = _average(passes, shares)
    if posterior:
        part = np.where(rows.one_class, 0.0, POSTERIOR_SHARE)
        both = np.concatenate([(1.0 - part) * shares[:-1], part[None]])
        mixed = _average([*passes, *posterior], both)
        if _loss(rows, mixed) < _loss(rows, answer):
            return both, mixed
    return shares, answer


def _loss(rows: TrainingRows, logits: DoubleArray) -> float:
    """Sum the log loss over all cells that count."""
    return float(cell_log_loss(rows, logits).sum())


def _average(answers: Sequence[npt.NDArray[Any]], shares: DoubleArray) -> DoubleArray:
    """Return the weighted mean of logits; shares without an answer, a posterior's where there is none, are 0."""
    return np.asarray(sum(share * answer for share, answer in zip(shares, answers, strict=False)), dtype=np.float64)


def _limited(logits: DoubleArray) -> DoubleArray:
    """Limit logits to ± `BELIEF_LIMIT`."""
    return np.clip(logits, -BELIEF_LIMIT, BELIEF_LIMIT)


def _try_posterior(
    rows: TrainingRows, pooled: DoubleArray, neighbors: _Neighbors, first: FittedPass
) -> Folded[LabelPosterior] | None:
    """Fit the posterior where, on one held-out fold, it is likelier than the first stage, which sees all logits too."""
    if neighbors.network is None or rows.y_true.size < LEAST_CELLS:
        return None
    held, network = neighbors.network.masks[0], neighbors.network
    alone = fit_label_posterior(rows.subset(~held), pooled[~held], network.parts[0])
    test = rows.subset(held)
    loss = cell_log_loss(test, alone.log_odds(test.logits, pooled[held])).sum()
    if loss >= cell_log_loss(test, first.held_out[held]).sum():
        return None
    others = (
        fit_label_posterior(rows.subset(~mask), pooled[~mask], part, start=alone)
        for mask, part in zip(network.masks[1:], network.parts[1:], strict=True)
    )
    whole = fit_label_posterior(rows, pooled, network.whole, start=alone)
    return Folded(whole, (alone, *others), network.masks)
