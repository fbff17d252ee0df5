"""A program as an ONNX graph: most operations are ONNX's own, the others are composed of them here.

The graph takes ``scores`` (n_models, n_samples, n_labels) and gives ``probabilities`` and ``decisions`` (n_samples,
n_labels). A label that is NaN in every row of a member is one that it does not answer; so a member is left out by NaN.
A row that lacks a score in any other way, or has one outside [0, 1], gets NaN and no label: a graph raises no error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking.export.onnx_file import IR_VERSION, OPSET, finish_onnx, import_onnx
from stacking.export.predictor import ExportedProgram
from stacking.export.program import Step

TREE_OPSET = 3
"""The first of ONNX's machine-learning operations whose trees read double precision."""

LARGEST_FILE = 2**31 - 1
"""Bytes that a protocol buffer may have."""

_OUTPUTS = {"scores": "probabilities", "decisions": "decisions"}
"""An output must not have the name of an input: what a program calls ``scores`` on both sides has another name here."""


def build_onnx(exported: ExportedProgram) -> bytes:
    """Write an ensemble as one ONNX file.

    Parameters
    ----------
    exported : ExportedProgram
        From `stacking.export.predictor.build_program`.

    Returns
    -------
    bytes
        The file, checked by ONNX.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If the file would be larger than ONNX allows, or a label or model cannot be written.
    """
    onnx = import_onnx()
    program = exported.program
    size = sum(array.nbytes for array in program.constants.values())
    if size > LARGEST_FILE:
        raise ValueError(
            f"ensemble must fit in one ONNX file of 2 GiB: its numbers take {size / 2**30:.1f} GiB; export it with "
            "--numpy, which has no such limit."
        )
    graph = _Graph(onnx)
    for name, array in program.constants.items():
        graph.keep(array, name)
    for step in program.steps:
        graph.write(step)
    n_models, n_labels = exported.covers.shape
    kinds = onnx.TensorProto
    inputs = [onnx.helper.make_tensor_value_info("scores", kinds.FLOAT, [n_models, "n_samples", n_labels])]
    outputs = []
    for name, kind in (("scores", kinds.FLOAT), ("decisions", kinds.BOOL)):
        graph.node("Identity", [program.outputs[name]], _OUTPUTS[name])
        outputs.append(onnx.helper.make_tensor_value_info(_OUTPUTS[name], kind, ["n_samples", n_labels]))
    read = _names_read(graph.nodes)
    kept = [array for array in graph.initializers if array.name in read]  # those of trees are attributes now
    made = onnx.helper.make_graph(graph.nodes, "labelstack_ensemble", inputs, outputs, kept)
    opsets = [onnx.helper.make_opsetid("", OPSET), onnx.helper.make_opsetid("ai.onnx.ml", TREE_OPSET)]
    model = onnx.helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)
    facts = {**exported.facts, "thresholds": [_plain(value) for value in exported.thresholds.tolist()]}
    return finish_onnx(model, facts)


def _names_read(nodes: Sequence[Any]) -> set[str]:
    """Return the names that operations read, those in the bodies of loops among them."""
    names = {name for node in nodes for name in node.input}
    for node in nodes:
        for attribute in node.attribute:
            names |= _names_read(attribute.g.node)
    return names


def _plain(value: float) -> float | str:
    """Return a number that JSON has; infinity as text."""
    return value if np.isfinite(value) else "inf"


class _Graph:
    """Nodes and initializers as they are written."""

    def __init__(self, onnx: Any) -> None:
        self.onnx = onnx
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self._n_names = 0
        self._kept: dict[tuple[bytes, str, tuple[int, ...]], str] = {}

    def name(self) -> str:
        """Make a name that no other value has."""
        self._n_names += 1
        return f"part{self._n_names}"

    def keep(self, array: npt.ArrayLike, name: str = "") -> str:
        """Keep an array; small ones once."""
        values = np.asarray(array)
        key = (values.tobytes(), values.dtype.str, values.shape)
        if not name and key in self._kept:
            return self._kept[key]
        name = name or self._kept.setdefault(key, self.name())
        self.initializers.append(
            self.onnx.numpy_helper.from_array(np.ascontiguousarray(values).reshape(values.shape), name)
        )
        return name

    def node(self, op: str, inputs: Sequence[str], output: str = "", domain: str = "", **attributes: Any) -> str:
        """Append one of ONNX's operations; return the name of what it makes."""
        output = output or self.name()
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [output], domain=domain, **attributes))
        return output

    def body(self, inputs: Mapping[str, tuple[Any, Any]], outputs: Sequence[str], kinds: Sequence[Any]) -> Any:
        """Take the nodes that were written since they were set apart as the body of a loop."""
        info = self.onnx.helper.make_tensor_value_info
        given = [info(name, kind, shape) for name, (kind, shape) in inputs.items()]
        made = [info(name, kind, None) for name, kind in zip(outputs, kinds, strict=True)]
        return self.onnx.helper.make_graph(self.nodes, "body", given, made)

    def loop(
        self,
        count: str,
        carried: Mapping[str, str],
        kinds: Sequence[Any],
        n_scans: int,
        write: Callable[..., list[str]],
    ) -> list[str]:
        """Append a loop; `write` takes the number of the turn and the names carried, and returns what it gives."""
        turn, going = self.name(), self.name()
        names = [self.name() for _ in carried]
        outer, self.nodes = self.nodes, []
        results = write(turn, *names)
        keep_going = self.node("Identity", [going])
        types = self.onnx.TensorProto
        inputs: dict[str, tuple[Any, Any]] = {turn: (types.INT64, []), going: (types.BOOL, [])}
        inputs |= {name: (kind, None) for name, kind in zip(names, kinds, strict=False)}
        # What a body gives must be made in it, and each once.
        results = [self.node("Identity", [result]) for result in results]
        body = self.body(inputs, [keep_going, *results], [types.BOOL, *kinds])
        self.nodes = outer
        outputs = [self.name() for _ in range(len(carried) + n_scans)]
        self.nodes.append(self.onnx.helper.make_node("Loop", [count, "", *carried.values()], outputs, body=body))
        return outputs

    def write(self, step: Step) -> None:
        """Append an operation of a program."""
        written = _WRITERS.get(step.op)
        if written is None:
            self.node(step.op, step.inputs, step.output, **_plain_attributes(step))
        else:
            written(self, step)


def _plain_attributes(step: Step) -> dict[str, Any]:
    """Return the attributes of an operation that ONNX names likewise."""
    attributes = dict(step.attributes)
    if step.op == "Transpose":
        return {"perm": attributes["order"]}
    if step.op == "ArgMax":
        return {"axis": attributes["axis"], "keepdims": 1}
    return attributes


def _cast(graph: _Graph, step: Step) -> None:
    """Write a change of type."""
    kind = graph.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(step.attributes["to"]))
    graph.node("Cast", step.inputs, step.output, to=kind)


def _with_integers(key: str, **fixed: str) -> Callable[[_Graph, Step], None]:
    """Write an operation that takes an attribute of ours as its second input."""

    def write(graph: _Graph, step: Step) -> None:
        given = step.attributes[key]
        numbers = np.array(given if isinstance(given, list) or step.op == "CumSum" else [given], np.int64)
        more: dict[str, Any] = {onnx_key: int(step.attributes[own]) for onnx_key, own in fixed.items()}
        graph.node(step.op, [*step.inputs, graph.keep(numbers)], step.output, **more)

    return write


def _top(graph: _Graph, values: str, largest: int) -> tuple[str, str]:
    """Sort rows whole; return the sorted values and their places."""
    shape = graph.node("Shape", [values])
    count = graph.node("Gather", [shape, graph.keep(np.array([1], np.int64))], axis=0)
    found, places = graph.name(), graph.name()
    graph.nodes.append(
        graph.onnx.helper.make_node("TopK", [values, count], [found, places], axis=1, largest=largest, sorted=1)
    )
    return found, places


def _sorted(graph: _Graph, step: Step) -> None:
    """Sort each row, the largest first."""
    graph.node("Identity", [_top(graph, step.inputs[0], 1)[0]], step.output)


def _places(graph: _Graph, step: Step) -> None:
    """Rank each row's values, the largest first: the order of the order."""
    order = _top(graph, step.inputs[0], 1)[1]
    graph.node("Identity", [_top(graph, order, 0)[1]], step.output)


def _average_ranks(graph: _Graph, step: Step) -> None:
    """Rank each row's values with mean ranks for equal ones, a column at a time."""
    values, kinds = step.inputs[0], graph.onnx.TensorProto
    last = graph.keep(np.array([1], np.int64))
    half, one = graph.keep(np.float32(0.5)), graph.keep(np.float32(1))
    shape = graph.node("Shape", [values])
    count = graph.node("Gather", [shape, graph.keep(np.array(1, np.int64))], axis=0)

    def rank(turn: str) -> list[str]:
        own = graph.node("Unsqueeze", [graph.node("Gather", [values, turn], axis=1), last])
        counts = []
        for op in ("Less", "Equal"):
            held = graph.node("Cast", [graph.node(op, [values, own])], to=kinds.FLOAT)
            counts.append(graph.node("ReduceSum", [held, last], keepdims=0))
        equal = graph.node("Mul", [graph.node("Add", [counts[1], one]), half])
        return [graph.node("Add", [counts[0], equal])]

    ranks = graph.loop(count, {}, [kinds.FLOAT], 1, rank)[0]
    graph.node("Transpose", [ranks], step.output, perm=[1, 0])


def _lookup(graph: _Graph, step: Step) -> None:
    """Find each score's bin by halving, since ONNX has no bits of floats, then its rank in its member's table."""
    scores, table = step.inputs
    shift, n_bins = int(step.attributes["shift"]), int(step.attributes["n_bins"])
    edges = (np.arange(n_bins, dtype=np.uint32) << np.uint32(shift)).view(np.float32)
    kept = graph.keep(edges)
    kinds = graph.onnx.TensorProto
    zero = graph.node("Mul", [scores, graph.keep(np.float32(0))])
    place = graph.node("Cast", [zero], to=kinds.INT64)
    width, last = 1 << (n_bins - 1).bit_length(), graph.keep(np.int64(n_bins - 1))
    while width := width // 2:
        tried = graph.node("Add", [place, graph.keep(np.int64(width))])
        edge = graph.node("Gather", [kept, graph.node("Min", [tried, last])], axis=0)
        reached = graph.node(
            "And", [graph.node("LessOrEqual", [edge, scores]), graph.node("LessOrEqual", [tried, last])]
        )
        place = graph.node("Where", [reached, tried, place])
    rows = np.arange(_rows_of(graph, table), dtype=np.int64)[:, None, None] * n_bins
    flat = graph.node("Reshape", [table, graph.keep(np.array([-1], np.int64))])
    graph.node("Gather", [flat, graph.node("Add", [place, graph.keep(rows)])], step.output, axis=0)


def _rows_of(graph: _Graph, name: str) -> int:
    """Return the length of the first axis of an initializer."""
    return int(next(array.dims[0] for array in graph.initializers if array.name == name))


def _trees(graph: _Graph, step: Step) -> None:
    """Write trees as ONNX has them: nodes numbered within each tree."""
    table, *names = step.inputs
    arrays = [graph.onnx.numpy_helper.to_array(_take_out(graph, name)) for name in names]
    feature, threshold, gap_left, left, right, value, roots, targets = arrays
    sizes = np.diff([*roots, len(feature)])
    tree = np.repeat(np.arange(len(roots)), sizes)
    own = np.arange(len(feature)) - roots[tree]
    leaf = left == np.arange(len(left))
    tensor = graph.onnx.numpy_helper.from_array
    raw = graph.node(
        "TreeEnsembleRegressor",
        [graph.node("Cast", [table], to=graph.onnx.TensorProto.DOUBLE)],
        domain="ai.onnx.ml",
        n_targets=int(step.attributes["n_targets"]),
        aggregate_function="SUM",
        post_transform="NONE",
        nodes_treeids=tree.tolist(),
        nodes_nodeids=own.tolist(),
        nodes_featureids=feature.tolist(),
        nodes_values_as_tensor=tensor(np.ascontiguousarray(threshold), "nodes_values"),
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_truenodeids=np.where(leaf, 0, left - roots[tree]).tolist(),
        nodes_falsenodeids=np.where(leaf, 0, right - roots[tree]).tolist(),
        nodes_missing_value_tracks_true=gap_left.astype(int).tolist(),
        target_treeids=tree[leaf].tolist(),
        target_nodeids=own[leaf].tolist(),
        target_ids=targets[tree[leaf]].tolist(),
        target_weights_as_tensor=tensor(np.ascontiguousarray(value[leaf]), "target_weights"),
    )
    graph.node("Cast", [raw], step.output, to=graph.onnx.TensorProto.DOUBLE)


def _take_out(graph: _Graph, name: str) -> Any:
    """Return an initializer, which becomes an attribute instead."""
    return next(array for array in graph.initializers if array.name == name)


def _gibbs_marginals(graph: _Graph, step: Step) -> None:
    """Sample as `stacking.kernels.gibbs` does: a loop over sweeps around one over labels, all rows at once."""
    fields, couplings = step.inputs
    kinds, settings = graph.onnx.TensorProto, step.attributes
    count = graph.keep(np.int64(settings["n_labels"]))
    column = graph.keep(np.array([1], np.int64))

    def push(log_odds: str, label: str, change: str) -> str:
        """Let the others know that a label has come or gone."""
        effect = graph.node("Gather", [couplings, label], axis=0)
        return graph.node("Add", [log_odds, graph.node("Mul", [graph.node("Unsqueeze", [change, column]), effect])])

    def begin(label: str, log_odds: str) -> list[str]:
        own = graph.node("Gather", [fields, label], axis=1)
        there = graph.node("Cast", [graph.node("Greater", [own, graph.keep(np.float32(0))])], to=kinds.FLOAT)
        return [push(log_odds, label, there), there]

    log_odds, present = graph.loop(count, {"odds": fields}, [kinds.FLOAT, kinds.FLOAT], 1, begin)
    marginals = graph.node("Mul", [graph.node("Transpose", [fields], perm=[1, 0]), graph.keep(np.float32(0))])
    first = graph.node("Gather", [fields, graph.keep(np.int64(0))], axis=1)
    no = graph.node("Cast", [graph.node("Mul", [first, graph.keep(np.float32(0))])], to=kinds.INT64)
    state = graph.node("Add", [no, graph.keep(np.int64(88172645463325252))])

    def sweep(number: str, log_odds: str, present: str, marginals: str, state: str) -> list[str]:
        def draw(label: str, log_odds: str, state: str) -> list[str]:
            z = graph.node("Gather", [log_odds, label], axis=1)
            active = graph.node("Greater", [z, graph.keep(np.float32(settings["surely_absent"]))])
            moved = _advance(graph, state)
            chance = _chance(graph, z, active)
            drawn = graph.node("Cast", [graph.node("And", [active, _is_below(graph, moved, chance)])], to=kinds.FLOAT)
            change = graph.node("Sub", [drawn, graph.node("Gather", [present, label], axis=0)])
            kept = graph.node("Where", [active, graph.node("Cast", [moved], to=kinds.INT64), state])
            return [push(log_odds, label, change), kept, chance, drawn]

        types = [kinds.FLOAT, kinds.INT64, kinds.FLOAT, kinds.FLOAT]
        odds, state, chances, drawn = graph.loop(count, {"odds": log_odds, "state": state}, types, 2, draw)
        counts = graph.node("GreaterOrEqual", [number, graph.keep(np.int64(settings["n_discarded"]))])
        added = graph.node("Mul", [chances, graph.node("Cast", [counts], to=kinds.FLOAT)])
        return [odds, drawn, graph.node("Add", [marginals, added]), state]

    carried = {"odds": log_odds, "present": present, "marginals": marginals, "state": state}
    types = [kinds.FLOAT, kinds.FLOAT, kinds.FLOAT, kinds.INT64]
    sweeps = graph.keep(np.int64(settings["n_sweeps"]))
    summed = graph.loop(sweeps, carried, types, 0, sweep)[2]
    kept_sweeps = graph.keep(np.float32(settings["n_sweeps"] - settings["n_discarded"]))
    graph.node("Transpose", [graph.node("Div", [summed, kept_sweeps])], step.output, perm=[1, 0])


def _advance(graph: _Graph, state: str) -> str:
    """Take one step of xorshift."""
    bits = graph.node("Cast", [state], to=graph.onnx.TensorProto.UINT64)
    for direction, width in (("LEFT", 13), ("RIGHT", 7), ("LEFT", 17)):
        shifted = graph.node("BitShift", [bits, graph.keep(np.uint64(width))], direction=direction)
        bits = graph.node("BitwiseXor", [bits, shifted])
    return bits


def _chance(graph: _Graph, z: str, active: str) -> str:
    """Return the probability of log odds; of a label that is surely absent their exponential."""
    one = graph.keep(np.float32(1))
    likely = graph.node("Div", [one, graph.node("Add", [one, graph.node("Exp", [graph.node("Neg", [z])])])])
    return graph.node("Where", [active, likely, graph.node("Exp", [z])])


def _is_below(graph: _Graph, bits: str, chance: str) -> str:
    """Tell whether the leading 24 random bits, as a number in [0, 1), lie below a probability."""
    top = graph.node("BitShift", [bits, graph.keep(np.uint64(40))], direction="RIGHT")
    number = graph.node("Cast", [top], to=graph.onnx.TensorProto.FLOAT)
    return graph.node("Less", [graph.node("Mul", [number, graph.keep(np.float32(5.9604645e-08))]), chance])


_WRITERS: dict[str, Callable[[_Graph, Step], None]] = {
    "Cast": _cast,
    "ReduceSum": _with_integers("axis", keepdims="keep"),
    "Unsqueeze": _with_integers("axis"),
    "Reshape": _with_integers("shape"),
    "CumSum": _with_integers("axis"),
    "Sorted": _sorted,
    "Places": _places,
    "AverageRanks": _average_ranks,
    "Lookup": _lookup,
    "Trees": _trees,
    "GibbsMarginals": _gibbs_marginals,
}
