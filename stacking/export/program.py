"""A predictor as a list of array operations: what both exported forms are written from.

Every combiner is put into the same few operations, named and meant as ONNX names and means them, so that one
translation serves the reader that needs numpy alone (`stacking.export.reader`) and the ONNX graph
(`stacking.export.onnx_graph`). Five operations have no counterpart in ONNX and are composed of its operations there:
``Places``, ``Sorted``, ``AverageRanks``, ``Lookup`` and ``GibbsMarginals``; ``Trees`` is its ``TreeEnsembleRegressor``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking.links import SMALLEST_SCORE

FLOAT, DOUBLE, INTEGER, BOOL = "float32", "float64", "int64", "bool"


@dataclass(frozen=True)
class Step:
    """One operation.

    Attributes
    ----------
    op : str
        Its name.
    inputs : tuple of str
        Names of the values that it reads.
    output : str
        Name of the value that it makes.
    attributes : dict
        JSON-able settings.
    """

    op: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


@dataclass
class Program:
    """Operations in the order in which they run.

    Attributes
    ----------
    steps : list of Step
        The operations.
    constants : dict of str to ndarray
        Arrays that they read.
    inputs, outputs : dict of str to str
        Type of each input by its name, name of the value of each output by its own.
    """

    steps: list[Step] = field(default_factory=list)
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def input(self, name: str, dtype: str) -> Value:
        """Declare what is given from outside."""
        self.inputs[name] = dtype
        return Value(self, name, dtype)

    def constant(self, array: npt.ArrayLike, dtype: str) -> Value:
        """Keep an array as a type: the same value each time that equal numbers are kept."""
        values = np.ascontiguousarray(array, dtype=dtype).reshape(np.shape(array))
        if values.size == 1:  # small constants are asked for again and again
            for name, kept in self.constants.items():
                if kept.dtype == values.dtype and kept.shape == values.shape and kept.tobytes() == values.tobytes():
                    return Value(self, name, dtype)
        name = f"constant{len(self.constants)}"
        self.constants[name] = values
        return Value(self, name, dtype)

    def add(self, op: str, inputs: Sequence[Value], dtype: str, **attributes: Any) -> Value:
        """Append an operation, with JSON-able settings, and return what it makes."""
        name = f"value{len(self.steps)}"
        self.steps.append(Step(op, tuple(value.name for value in inputs), name, attributes))
        return Value(self, name, dtype)

    def give(self, name: str, value: Value) -> None:
        """Declare an output."""
        self.outputs[name] = value.name


@dataclass(frozen=True, eq=False)
class Value:
    """A value of a program; arithmetic on it appends operations, and arrays beside it become constants of its type.

    Attributes
    ----------
    program : Program
        Whose it is.
    name : str
        Its name.
    dtype : str
        Its type.
    """

    program: Program
    name: str
    dtype: str

    def lift(self, other: Any) -> Value:
        """Take a value of the same type, or an array as a constant of that type."""
        if not isinstance(other, Value):
            return self.program.constant(other, self.dtype)
        if other.dtype != self.dtype:
            raise TypeError(f"both sides must have the type {self.dtype}: got {other.dtype}")
        return other

    def _with(self, op: str, other: Any, dtype: str = "") -> Value:
        return self.program.add(op, [self, self.lift(other)], dtype or self.dtype)

    def __add__(self, other: Any) -> Value:
        return self._with("Add", other)

    def __sub__(self, other: Any) -> Value:
        return self._with("Sub", other)

    def __mul__(self, other: Any) -> Value:
        return self._with("Mul", other)

    def __truediv__(self, other: Any) -> Value:
        return self._with("Div", other)

    def __rsub__(self, other: Any) -> Value:
        return self.lift(other) - self

    def __rtruediv__(self, other: Any) -> Value:
        return self.lift(other) / self

    def __matmul__(self, other: Any) -> Value:
        return self._with("MatMul", other)

    def __lt__(self, other: Any) -> Value:
        return self._with("Less", other, BOOL)

    def __le__(self, other: Any) -> Value:
        return self._with("LessOrEqual", other, BOOL)

    def __gt__(self, other: Any) -> Value:
        return self._with("Greater", other, BOOL)

    def __ge__(self, other: Any) -> Value:
        return self._with("GreaterOrEqual", other, BOOL)

    def __and__(self, other: Any) -> Value:
        return self._with("And", other)

    def __or__(self, other: Any) -> Value:
        return self._with("Or", other)

    def __invert__(self) -> Value:
        return self.program.add("Not", [self], BOOL)

    def at_least(self, other: Any) -> Value:
        """Take the larger of two values."""
        return self._with("Max", other)

    def at_most(self, other: Any) -> Value:
        """Take the smaller of two values."""
        return self._with("Min", other)

    def clip(self, low: float, high: float) -> Value:
        """Limit to a range."""
        return self.at_least(low).at_most(high)

    def cast(self, dtype: str) -> Value:
        """Change the type."""
        return self if dtype == self.dtype else self.program.add("Cast", [self], dtype, to=dtype)

    def is_number(self) -> Value:
        """Tell which are not NaN."""
        return ~self.program.add("IsNaN", [self], BOOL)

    def log(self) -> Value:
        """Take the natural logarithm."""
        return self.program.add("Log", [self], self.dtype)

    def exp(self) -> Value:
        """Take the exponential."""
        return self.program.add("Exp", [self], self.dtype)

    def sqrt(self) -> Value:
        """Take the square root."""
        return self.program.add("Sqrt", [self], self.dtype)

    def sum(self, axis: int, *, keep: bool = False) -> Value:
        """Add up along an axis; `keep` leaves it with length one."""
        return self.program.add("ReduceSum", [self], self.dtype, axis=axis, keep=keep)

    def any(self, axis: int) -> Value:
        """Tell whether one of the truths along an axis, which goes, holds."""
        return self.cast(FLOAT).sum(axis) > 0.0

    def expand(self, axis: int) -> Value:
        """Insert an axis of length one."""
        return self.program.add("Unsqueeze", [self], self.dtype, axis=axis)

    def take(self, places: npt.ArrayLike, axis: int) -> Value:
        """Take places along an axis."""
        return self.program.add("Gather", [self, self.program.constant(places, INTEGER)], self.dtype, axis=axis)

    def take_along(self, places: Value, axis: int) -> Value:
        """Take for each place along an axis another one; `places` has type int64 and as many axes."""
        return self.program.add("GatherElements", [self, places], self.dtype, axis=axis)

    def transpose(self, *order: int) -> Value:
        """Change the order of the axes."""
        return self.program.add("Transpose", [self], self.dtype, order=list(order))

    def reshape(self, *shape: int) -> Value:
        """Give another shape: 0 keeps the length of the same axis, -1 takes what is left."""
        return self.program.add("Reshape", [self], self.dtype, shape=list(shape))

    def cumulate(self, axis: int) -> Value:
        """Add up along an axis from its beginning to each place."""
        return self.program.add("CumSum", [self], self.dtype, axis=axis)

    def place_of_largest(self, axis: int) -> Value:
        """Find the first largest value along an axis, which stays with length one."""
        return self.program.add("ArgMax", [self], INTEGER, axis=axis)

    def places(self) -> Value:
        """Rank each row's values from 0, the largest first, equal ones by column."""
        return self.program.add("Places", [self], INTEGER)

    def sorted(self) -> Value:
        """Sort each row, the largest first."""
        return self.program.add("Sorted", [self], self.dtype)

    def average_ranks(self) -> Value:
        """Rank each row's values from 1, the smallest first, equal ones sharing their mean rank."""
        return self.program.add("AverageRanks", [self], self.dtype)


def where(condition: Value, yes: Any, no: Any, dtype: str = "") -> Value:
    """Choose cell by cell; `dtype` is needed where both sides are arrays."""
    program = condition.program
    known = next((value for value in (yes, no) if isinstance(value, Value)), None) or Value(program, "", dtype)
    return program.add("Where", [condition, known.lift(yes), known.lift(no)], known.dtype)


def concatenate(values: Sequence[Value], axis: int) -> Value:
    """Put values of one type one after the other along an axis."""
    return values[0].program.add("Concat", values, values[0].dtype, axis=axis)


def logit(scores: Value, smallest: float = SMALLEST_SCORE) -> Value:
    """Turn scores into logits as `stacking.links.logit` does, `smallest` away from 0 and 1."""
    kind = np.dtype(scores.dtype).type
    clipped = scores.clip(kind(smallest), kind(1 - smallest))
    return clipped.log() - (1.0 - clipped).log()


def sigmoid(logits: Value) -> Value:
    """Turn logits into probabilities."""
    return 1.0 / ((0.0 - logits).exp() + 1.0)
