"""Label samples with an ensemble that labelstack exported: this file, its folder, Python and numpy are all it needs.

In Python:

    from predict import load

    ensemble = load()  # the folder that this file lies in
    probabilities = ensemble.predict_proba(scores)  # scores: (n_models, n_samples, n_labels), or matrices by model
    decisions = ensemble.predict(scores)

At a shell, from a bundle of scores (one .npz with y_scores, ids, models and labels) to a table id,labels:

    python predict.py scores.npz --out labels.csv
"""

import argparse
import csv
import hashlib
import io
import json
import sys
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

FORMAT = "labelstack numpy export"
BLOCK_CELLS = 1_000_000
"""Scores worked on at a time: only memory and speed depend on it."""

SURE_BITS = np.float32(5.9604645e-08)  # 2⁻²⁴: 24 random bits as a number in [0, 1)


def load(folder: str | Path | None = None) -> "ExportedEnsemble":
    """Open an exported ensemble.

    Parameters
    ----------
    folder : path, optional
        Its folder; by default the one that this file lies in.

    Returns
    -------
    ExportedEnsemble
        Ready to predict.

    Raises
    ------
    ValueError
        If the folder holds no export, or a file was changed after it was written.
    """
    root = Path(__file__).parent if folder is None else Path(folder)
    try:
        manifest = json.loads((root / "manifest.json").read_bytes())
        found = {name: (root / name).read_bytes() for name in ("program.json", "arrays.npz")}
    except (OSError, ValueError) as error:
        raise ValueError(f"{root} must be a folder that `labelstack export --numpy` wrote: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ValueError(f"{root} must be a folder that `labelstack export --numpy` wrote: it holds another manifest.")
    for name, data in found.items():
        if hashlib.sha256(data).hexdigest() != manifest.get("sha256", {}).get(name):
            raise ValueError(f"{root / name} was changed after it was written: export the ensemble again.")
    with np.load(io.BytesIO(found["arrays.npz"]), allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return ExportedEnsemble(json.loads(found["program.json"]), arrays)


class ExportedEnsemble:
    """A fitted ensemble that predicts with numpy alone.

    Parameters
    ----------
    description : mapping
        Names, operations and facts, as ``program.json`` holds them.
    arrays : mapping of str to ndarray
        What the operations read.

    Attributes
    ----------
    models, labels : list of str
        Members and labels in the order that arrays without names must have.
    thresholds : ndarray of float64, shape (n_labels,)
        A label fires where its score reaches its threshold; +inf never fires. Image rules come after them.
    """

    def __init__(self, description: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.description = description
        self.models: list[str] = list(description["models"])
        self.labels: list[str] = list(description["labels"])
        self.covers: Array = arrays["covers"]
        self.thresholds: Array = arrays["thresholds"]
        self._arrays = arrays
        self._steps = [(op, inputs, output, attributes) for op, inputs, output, attributes in description["steps"]]
        self._last_use = {name: place for place, step in enumerate(self._steps) for name in step[1]}

    def predict_proba(
        self,
        scores: Array | Mapping[str, Array],
        *,
        models: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        without: Collection[str] = (),
    ) -> Array:
        """Combine the members' scores.

        Parameters
        ----------
        scores : array of shape (n_models, n_samples, n_labels), or mapping of str to arrays (n_samples, n_labels)
            Scores in [0, 1]; a label that is NaN in all rows of a member is one that it does not answer.
        models, labels : sequence of str, optional
            Names of the scores; without them they are those of the ensemble, in its order.
        without : collection of str, default=()
            Members to do without.

        Returns
        -------
        ndarray of float32, shape (n_samples, n_labels)
            Probabilities.

        Raises
        ------
        ValueError
            If a member or label is missing, or a score is missing or outside [0, 1].
        """
        return self._answer(scores, models, labels, without)[0]

    def predict(
        self,
        scores: Array | Mapping[str, Array],
        *,
        models: Sequence[str] | None = None,
        labels: Sequence[str] | None = None,
        without: Collection[str] = (),
    ) -> Array:
        """Decide which labels each sample has, by the thresholds and the image rules.

        Parameters
        ----------
        scores : array of shape (n_models, n_samples, n_labels), or mapping of str to arrays (n_samples, n_labels)
            As `predict_proba` takes them.
        models, labels : sequence of str, optional
            Names of the scores.
        without : collection of str, default=()
            Members to do without.

        Returns
        -------
        ndarray of bool, shape (n_samples, n_labels)
            Decisions.
        """
        return self._answer(scores, models, labels, without)[1]

    def _answer(
        self,
        scores: Array | Mapping[str, Array],
        models: Sequence[str] | None,
        labels: Sequence[str] | None,
        without: Collection[str],
    ) -> tuple[Array, Array]:
        """Run the operations, a block of rows at a time."""
        left_out = {without} if isinstance(without, str) else set(without)
        values = self._align(scores, models, labels, left_out)
        n_rows, shape = values.shape[1], (values.shape[1], len(self.labels))
        y_score, y_pred = np.empty(shape, np.float32), np.empty(shape, np.bool_)
        step = max(1, BLOCK_CELLS // max(values.shape[0] * values.shape[2], 1))
        for start in range(0, n_rows, step):
            rows = slice(start, start + step)
            answer = self.run({"scores": values[:, rows]})
            y_score[rows], y_pred[rows] = answer["scores"], answer["decisions"]
        return y_score, y_pred

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the operations on arrays that are in order.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            ``scores`` of float32, shape (n_models, n_samples, n_labels).

        Returns
        -------
        dict of str to ndarray
            ``scores`` and ``decisions``.
        """
        values: dict[str, Array] = dict(inputs)
        kept = set(self.description["outputs"].values())
        with np.errstate(all="ignore"):
            for place, (op, names, output, attributes) in enumerate(self._steps):
                given = [values[name] if name in values else self._arrays[name] for name in names]
                values[output] = OPERATIONS[op](*given, **attributes)
                for name in names:  # what nothing reads any more makes room
                    if self._last_use[name] == place and name not in kept:
                        values.pop(name, None)
        return {name: values[value] for name, value in self.description["outputs"].items()}

    def _align(
        self,
        scores: Array | Mapping[str, Array],
        models: Sequence[str] | None,
        labels: Sequence[str] | None,
        left_out: set[str],
    ) -> Array:
        """Bring scores into order and check them; what a member does not answer is NaN."""
        for name in sorted(left_out - set(self.models)):
            raise ValueError(f"without must name members of the ensemble: got {name!r}.")
        kept = [name for name in self.models if name not in left_out]
        if not kept:
            raise ValueError("without must leave at least one member: got all of them.")
        if isinstance(scores, Mapping):
            models, scores = list(scores), np.stack([np.asarray(matrix) for matrix in scores.values()])
        given = np.asarray(scores, dtype=np.float32)
        if models is None:
            models = kept if len(given) == len(kept) else self.models
        labels = self.labels if labels is None else list(labels)
        if given.ndim != 3 or (len(given), given.shape[2]) != (len(models), len(labels)):
            shape = f"({len(models)}, n_samples, {len(labels)})"
            raise ValueError(f"scores must have shape {shape}, one matrix per model: got {given.shape}.")
        members = _positions(models, kept, "member", left_out)
        columns = _positions(labels, self.labels, "label")
        ordered = np.full((len(self.models), given.shape[1], len(self.labels)), np.nan, np.float32)
        ordered[[self.models.index(name) for name in kept]] = given[members][:, :, columns]
        self._check(ordered, self.covers & ~np.isnan(ordered).all(axis=1))
        return ordered

    def _check(self, scores: Array, covers: Array) -> None:
        """Raise where a score is missing or no probability, or a label is left to nobody."""
        bare = np.flatnonzero(~covers.any(axis=0))
        if len(bare) and scores.shape[1]:
            raise ValueError(
                f"scores must hold at least one member for every label: none is left for {self.labels[bare[0]]!r}."
            )
        for member, (block, answers) in enumerate(zip(scores, covers, strict=True)):
            wrong = answers & ~((block >= 0) & (block <= 1))
            if wrong.any():
                row, label = (int(place[0]) for place in np.nonzero(wrong))
                raise ValueError(
                    f"scores must be in [0, 1]: model {self.models[member]!r}, row {row}, label "
                    f"{self.labels[label]!r} has {block[row, label]}."
                )


def _positions(names: Sequence[str], wanted: Sequence[str], kind: str, left_out: Collection[str] = ()) -> list[int]:
    """Return where the wanted names are; more names warn."""
    names = [str(name) for name in names]
    if len(set(names)) != len(names):
        raise ValueError(f"scores must name every {kind} once: got {names}.")
    for name in wanted:
        if name not in names:
            hint = f"; add it, or pass without=[{name!r}]" if kind == "member" else ""
            raise ValueError(f"scores must hold every {kind} of the ensemble: {name!r} is missing{hint}.")
    more = sorted(set(names) - set(wanted) - set(left_out))
    if more:
        warnings.warn(f"scores hold {kind}s that are not used: {', '.join(more[:3])}", UserWarning, stacklevel=4)
    place = {name: number for number, name in enumerate(names)}
    return [place[name] for name in wanted]


def _trees(table: Array, *nodes: Array, n_targets: int, depth: int) -> Array:
    """Add up the leaves that each row reaches; all trees go down together."""
    feature, threshold, gap_left, left, right, value, roots, targets = nodes
    total = np.zeros((len(table), n_targets))
    columns, starts = np.unique(targets, return_index=True)
    step = max(1, BLOCK_CELLS // len(roots))
    for start in range(0, len(table), step):
        block = table[start : start + step]
        rows = np.arange(len(block))[:, None]
        node = np.tile(roots, (len(block), 1))
        for _ in range(depth):
            found = block[rows, feature[node]]
            goes_left = (found <= threshold[node]) | (np.isnan(found) & gap_left[node])
            node = np.where(goes_left, left[node], right[node])
        total[start : start + step, columns] = np.add.reduceat(value[node], starts, axis=1)
    return total


def _gibbs_marginals(
    fields: Array, couplings: Array, *, n_sweeps: int, n_discarded: int, surely_absent: float, n_labels: int
) -> Array:
    """Sample the labels of every row, each given all others, from the same random numbers in every row."""
    n_rows, one, limit = len(fields), np.float32(1), np.float32(surely_absent)
    log_odds = fields.copy()
    present = fields > 0
    for label in range(n_labels):
        log_odds[present[:, label]] += couplings[label]
    marginals = np.zeros_like(fields)
    state = np.full(n_rows, 88172645463325252, np.uint64)
    left, right, again, top = (np.uint64(bits) for bits in (13, 7, 17, 40))
    for sweep in range(n_sweeps):
        for label in range(n_labels):
            z = log_odds[:, label]
            active = z > limit
            moved = state ^ (state << left)
            moved ^= moved >> right
            moved ^= moved << again
            state = np.where(active, moved, state)
            chance = np.where(active, one / (one + np.exp(-z)), np.exp(z))
            drawn = active & ((moved >> top).astype(np.float32) * SURE_BITS < chance)
            if sweep >= n_discarded:
                marginals[:, label] += chance
            changed = np.flatnonzero(drawn != present[:, label])
            if len(changed):
                sign = np.where(drawn[changed], one, -one)
                log_odds[changed] += sign[:, None] * couplings[label]
                present[changed, label] = drawn[changed]
    return np.asarray(marginals / np.float32(n_sweeps - n_discarded))


def _average_ranks(values: Array) -> Array:
    """Rank each row's values from 1, equal ones sharing their mean rank."""
    ranks = np.empty_like(values)
    for column in range(values.shape[1]):
        own = values[:, column, None]
        ranks[:, column] = (values < own).sum(axis=1) + ((values == own).sum(axis=1) + 1) / 2
    return ranks


def _places(values: Array) -> Array:
    """Rank each row's values from 0, the largest first, equal ones by column."""
    order = np.argsort(-values, axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(values.shape[1])[None, :], axis=1)
    return place


def _lookup(scores: Array, table: Array, *, shift: int, n_bins: int) -> Array:
    """Replace scores by what each member's table has for their leading bits."""
    bins = (np.ascontiguousarray(np.abs(scores), np.float32).view(np.uint32) >> np.uint32(shift)).astype(np.int64)
    return np.stack([row[np.minimum(own, n_bins - 1)] for row, own in zip(table, bins, strict=True)])


def _reshape(values: Array, *, shape: list[int]) -> Array:
    """Give another shape, in which 0 keeps the length of an axis."""
    kept = [values.shape[axis] if length == 0 else length for axis, length in enumerate(shape)]
    if -1 in kept and values.size == 0:  # numpy cannot tell what is left of nothing
        known = int(np.prod([length for length in kept if length > 0]))
        kept[kept.index(-1)] = int(np.prod(values.shape[1:])) // max(known, 1) if 0 in kept else 0
    return values.reshape(kept)


OPERATIONS: dict[str, Callable[..., Array]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.divide,
    "MatMul": np.matmul,
    "Less": np.less,
    "LessOrEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "And": np.logical_and,
    "Or": np.logical_or,
    "Not": np.logical_not,
    "IsNaN": np.isnan,
    "Max": np.maximum,
    "Min": np.minimum,
    "Log": np.log,
    "Exp": np.exp,
    "Sqrt": np.sqrt,
    "Where": np.where,
    "Cast": lambda values, *, to: values.astype(to),
    "ReduceSum": lambda values, *, axis, keep: values.sum(axis=axis, keepdims=keep, dtype=values.dtype),
    "Unsqueeze": lambda values, *, axis: np.expand_dims(values, axis),
    "Gather": lambda values, places, *, axis: np.take(values, places, axis=axis),
    "GatherElements": lambda values, places, *, axis: np.take_along_axis(values, places, axis=axis),
    "Concat": lambda *values, axis: np.concatenate(values, axis=axis),
    "Transpose": lambda values, *, order: values.transpose(order),
    "Reshape": _reshape,
    "CumSum": lambda values, *, axis: np.cumsum(values, axis=axis),
    "ArgMax": lambda values, *, axis: values.argmax(axis=axis, keepdims=True),
    "Sorted": lambda values: -np.sort(-values, axis=1),
    "Places": _places,
    "AverageRanks": _average_ranks,
    "Lookup": _lookup,
    "Trees": _trees,
    "GibbsMarginals": _gibbs_marginals,
}
"""The operations by name; those that ONNX has mean what they mean there."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Label the samples of a bundle.

    Parameters
    ----------
    arguments : sequence of str, optional
        Those of the command line by default.

    Returns
    -------
    int
        0, or 2 for bad input.
    """
    parser = argparse.ArgumentParser(description="Label samples with an exported ensemble; needs numpy alone.")
    parser.add_argument("scores", type=Path, help="bundle: one .npz with y_scores, ids, models and labels")
    parser.add_argument("--out", type=Path, required=True, help="new CSV file id,labels; labels joined by |")
    parser.add_argument("--without", action="append", default=[], metavar="MODEL", help="leave this member out")
    given = parser.parse_args(arguments)
    try:
        ensemble = load()
        with np.load(given.scores, allow_pickle=False) as bundle:
            y_scores, ids, models, labels = (bundle[key] for key in ("y_scores", "ids", "models", "labels"))
        fired = ensemble.predict(y_scores, models=models.tolist(), labels=labels.tolist(), without=given.without)
        bad = [name for name in ensemble.labels if "|" in name]
        if bad:
            raise ValueError(f"labels must not hold | to be written to one cell: got {bad[0]!r}; use Python.")
        with given.out.open("x", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["id", "labels"])
            for sample, row in zip(ids.tolist(), fired, strict=True):
                table.writerow([sample, "|".join(ensemble.labels[label] for label in np.flatnonzero(row))])
    except (OSError, KeyError, ValueError) as error:
        sys.stderr.write(f"predict.py: {error}\n")
        return 2
    sys.stdout.write(
        f"{len(fired):,} samples, {fired.sum(axis=1).mean() if len(fired) else 0:.2f} labels each: {given.out}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
