"""Stackers that read all labels about each, where labels are too many for that: one stacker for each block of labels.

See `label_blocks` for how labels are dealt. Up to `label_blocks.MOST_LABELS` labels nothing is dealt, and nothing here
has a part in any result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import clone

from stacking._typing import BoolArray, FloatArray, IndexArray
from stacking.combiners.combiner import Combiner, CombinerState
from stacking.combiners.meta_learners import label_blocks
from stacking.combiners.meta_learners.label_blocks import LabelBlock, deal_labels
from stacking.combiners.meta_learners.logit_stacker import LogitStacker
from stacking.combiners.meta_learners.training_rows import describe_fallback
from stacking.predictions import PredictionSet
from stacking.process.progress import steps

PANEL_BYTES = 2**30
"""Scores read from files in one pass, for as many blocks as they serve: a choice between memory and passes over
the files; only these depend on it."""

_OWN_STATE = (
    "models_",
    "labels_",
    "covers_",
    "block_of_label_",
    "n_rows_fitted_",
    "constant_labels_",
    "fallback_report_",
    "notes_",
    "n_label_rows_",
)
"""What a stacker in blocks keeps beside its blocks."""


class BlockedStacker(LogitStacker):
    """Learn all labels together, or block by block where there are more than `label_blocks.MOST_LABELS`.

    Attributes
    ----------
    blocks_ : list of BlockedStacker
        One stacker for each block of labels, its targets first among its labels; none where all were learned together.
    block_of_label_ : ndarray of int, shape (n_labels,)
        Which of them answers each label.
    """

    blocks_: Sequence[BlockedStacker] = ()
    block_of_label_: IndexArray
    n_label_rows_: int

    def _fit(self, predictions: PredictionSet) -> None:
        """Fit at once, or block by block."""
        if predictions.n_labels > label_blocks.MOST_LABELS:
            self._fit_blocks(predictions, None)
            return
        self.__dict__.pop("blocks_", None)  # of an earlier fit
        super()._fit(predictions)

    def _fit_out_of_fold(self, predictions: PredictionSet, folds: IndexArray) -> FloatArray:
        """Fit with the given folds as the inner ones, at once or block by block; a sampled fit by clones."""
        is_sampled = self.max_rows is not None and predictions.n_samples > self.max_rows
        if predictions.n_labels > label_blocks.MOST_LABELS and not is_sampled:
            return self._fit_blocks(predictions, folds)
        self.__dict__.pop("blocks_", None)
        return super()._fit_out_of_fold(predictions, folds)

    def _fit_blocks(self, predictions: PredictionSet, folds: IndexArray | None) -> FloatArray:
        """Fit a stacker for each block; return held-out scores where folds are given."""
        sample = predictions.sample(self.max_rows, random_state=self.random_state)
        dealt = deal_labels(sample)
        y_score = np.empty((0 if folds is None else sample.n_samples, sample.n_labels), np.float32)
        parts: list[BlockedStacker] = []
        names = [f"labels, block {number}/{len(dealt)}" for number in range(1, len(dealt) + 1)]
        with steps(dict.fromkeys(names, 1.0)) as begin:
            for name, (block, own) in zip(names, _read_blocks(sample, dealt), strict=True):
                begin(name)
                # Rows that have no known cell in a block are left out of its fit, and scored by it.
                part = clone(self)
                if folds is None:
                    part.fit(own)
                else:
                    y_score[:, block.targets] = part._fit_and_hold_out(own, folds)[1][:, : len(block.targets)]
                parts.append(part)
        self._keep_blocks(sample, dealt, parts)
        return y_score

    def _keep_blocks(self, sample: PredictionSet, dealt: list[LabelBlock], parts: list[BlockedStacker]) -> None:
        """Keep the blocks and what they say together."""
        self.blocks_ = parts
        self.block_of_label_ = np.empty(sample.n_labels, dtype=np.int64)
        self.constant_labels_ = np.empty(sample.n_labels, dtype=bool)
        for number, (block, part) in enumerate(zip(dealt, parts, strict=True)):
            self.block_of_label_[block.targets] = number
            self.constant_labels_[block.targets] = part.constant_labels_[: len(block.targets)]
        self.n_rows_fitted_ = parts[0].n_rows_fitted_
        self.fallback_report_, notes = describe_fallback(
            self.method,
            self.constant_labels_,
            sample.truth.positives(),
            "their frequency: one class in the fitting rows",
        )
        most = max(len(block.targets) for block in dealt)
        self.notes_ = [
            *notes,
            f"{self.method}: {sample.n_labels:,} labels in {len(dealt)} blocks of {most}, each with up to "
            f"{label_blocks.NEIGHBOR_LABELS} of its nearest other labels beside it",
        ]
        if sample.label_rows is not None:
            learned = [getattr(part, "n_label_rows_", 0) for part in parts]
            self.n_label_rows_ = max(learned)
            taught = sum(count > 0 for count in learned)
            self.notes_.append(f"{self.method}: label rows without scores taught {taught} of {len(parts)} blocks")

    def _combine_block(self, scores: FloatArray, covers: BoolArray) -> FloatArray:
        """Ask the stacker of each block."""
        if not self.blocks_:
            return super()._combine_block(scores, covers)
        y_score = np.empty(scores.shape[1:], np.float32)
        for labels, targets, part in self.iter_blocks():
            answer = part._combine_block(np.ascontiguousarray(scores[:, :, labels]), covers[:, labels])
            y_score[:, targets] = answer[:, : len(targets)]
        return y_score

    def iter_blocks(self) -> Iterator[tuple[IndexArray, IndexArray, BlockedStacker]]:
        """Go through the blocks.

        Yields
        ------
        labels : ndarray of int
            Positions of the labels that the block reads.
        targets : ndarray of int
            Positions of those that it answers, the first of them.
        part : BlockedStacker
            Fitted on these labels.
        """
        position = {label: place for place, label in enumerate(self.labels_)}
        for number, part in enumerate(self.blocks_):
            labels = np.array([position[label] for label in part.labels_], dtype=np.intp)
            yield labels, np.flatnonzero(self.block_of_label_ == number), part

    def _blocks_fit(self) -> bool:
        """Tell whether the blocks answer all labels, each the first of its own; a file may say anything."""
        numbers, n_blocks = self.block_of_label_, len(self.blocks_)
        if numbers.shape != (len(self.labels_),) or numbers.dtype.kind not in "iu":
            return False
        known = set(self.labels_)
        strange = any(not known.issuperset(part.labels_) for part in self.blocks_)
        if strange or not np.isin(numbers, np.arange(n_blocks)).all():
            return False
        return all(np.array_equal(labels[: len(targets)], targets) for labels, targets, _ in self.iter_blocks())

    def memory_needed(self, n_models: int, n_samples: int, n_labels: int) -> float:
        """Estimate what fitting takes, in blocks that of one, of ties and of scores; see `Combiner.memory_needed`."""
        if n_labels <= label_blocks.MOST_LABELS:
            return super().memory_needed(n_models, n_samples, n_labels)
        size = label_blocks.BLOCK_LABELS + label_blocks.NEIGHBOR_LABELS
        ties, scores = 9.0 * n_labels**2, 4.0 * n_samples * n_labels
        fitted = 8.0 * (6 * size) * n_labels
        panel = min(float(PANEL_BYTES), 4.0 * n_models * n_samples * n_labels)
        return super().memory_needed(n_models, n_samples, size) + ties + scores + fitted + panel

    def _state(self) -> CombinerState:
        """Nest the blocks' states under numbered names."""
        if not self.blocks_:
            return super()._state()
        from stacking.combiners.state import pack_combiners

        own = copy(self)
        own.__dict__ = {name: value for name, value in vars(self).items() if name in _OWN_STATE or name[-1] != "_"}
        values, arrays, _ = Combiner._state(own)
        nested, inner, texts = pack_combiners(self.blocks_)
        return {**values, **nested}, {**arrays, **inner}, texts

    @classmethod
    def _from_state(cls, values: dict[str, Any], arrays: dict[str, npt.NDArray[Any]], texts: dict[str, str]) -> Self:
        """Rebuild the stacker, or the stackers of its blocks."""
        if "members" not in values:
            return super()._from_state(values, arrays, texts)
        from stacking.combiners.state import unpack_combiners

        own = {name: array for name, array in arrays.items() if name in _OWN_STATE}
        stacker = super()._from_state(values, own, {})
        stacker.blocks_ = [part for part in unpack_combiners(values["members"], arrays, texts) if isinstance(part, cls)]
        if not stacker._blocks_fit():
            raise ValueError(f"the blocks of {cls.__name__} must hold its labels: got others; fit it again.")
        return stacker


def _read_blocks(predictions: PredictionSet, dealt: list[LabelBlock]) -> Iterator[tuple[LabelBlock, PredictionSet]]:
    """Yield each block with its labels' scores in memory, several of them read in one pass where passes cost."""
    if predictions.source.reads_labels_fast:
        at_once = 1
    else:
        size = 4 * predictions.n_models * predictions.n_samples * max(len(block.labels) for block in dealt)
        at_once = max(1, int(PANEL_BYTES / size))
    for begin in range(0, len(dealt), at_once):
        some = dealt[begin : begin + at_once]
        if len(some) == 1:
            yield some[0], predictions.subset(labels=some[0].labels).in_memory()
            continue
        union = np.unique(np.concatenate([block.labels for block in some]))
        panel = predictions.subset(labels=union).in_memory()
        for block in some:
            yield block, panel.subset(labels=np.searchsorted(union, block.labels)).in_memory()
