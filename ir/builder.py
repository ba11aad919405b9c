"""`Builder`: makes graphs. Every registered op is a method: `b.relu(x)`, `b.softmax(x, axis=-1)`."""

from __future__ import annotations

import contextlib
import importlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .dims import DimLike, parse_dim, symbol
from .dtypes import I64, U8, DType, dtype_of
from .errors import InvalidGraph
from .graph import Check, Constant, Extent, Graph, Input, Node, Tensor, Value, symbols_of
from .op import OPS, Op
from .types import TensorType


class Builder:
    """Collects inputs and outputs; values are made by `apply` or by the method named like the op.

    Methods take operands positionally (Values, NumPy arrays or Python numbers, which become constants; a number takes the
    dtype of the last Value) and attributes by keyword. The result is a Value, or a tuple for ops with several results.
    """

    def __init__(self, name: str = "model") -> None:
        importlib.import_module(".ops", __package__)  # fills the registry; the operators themselves use Builder
        self.name = name
        self._inputs: list[Node] = []
        self._outputs: list[tuple[str, Value]] = []
        self._extents: list[Extent] = []
        self._checks: list[Check] = []
        self._numbered = 0  # extents, those of regions too
        self._texts: dict[str, None] = {}
        self._origin = ""

    def input(self, name: str, dtype: DType | str, shape: Sequence[DimLike | str]) -> Value:
        """Declares an input; dimensions are integers, Dims or text such as "batch" or "past + 1"."""
        if any(isinstance(n.op, Input) and n.op.label == name for n in self._inputs):
            raise InvalidGraph(f"two inputs are named {name!r}")
        dims = tuple(parse_dim(d) if isinstance(d, str) else d for d in shape)
        node = Node(Input(name, TensorType(dtype_of(dtype), dims)))
        self._inputs.append(node)
        return Value(node)

    def constant(self, value: Any, dtype: DType | str | None = None) -> Value:
        array = np.asarray(value, dtype_of(dtype).numpy if dtype is not None else None)
        return Value(Node(Constant(Tensor(array)), (), self._origin))

    def output(self, name: str, value: Value) -> None:
        if any(n == name for n, _ in self._outputs):
            raise InvalidGraph(f"two outputs are named {name!r}")
        self._outputs.append((name, value))

    def text_input(self, name: str, size: DimLike | str, shape: Sequence[DimLike | str]) -> tuple[Value, Value]:
        """Declares an input of strings: (their bytes u8[size], one string after the other; where each ends, i64[shape])."""
        self._texts[name] = None
        return self.input(f"{name}.bytes", U8, (size,)), self.input(f"{name}.ends", I64, shape)

    def text_output(self, name: str, text: Value, ends: Value) -> None:
        """An output of strings, as `text_input` has them."""
        self._texts[name] = None
        self.output(f"{name}.bytes", text)
        self.output(f"{name}.ends", ends)

    def build(self) -> Graph:
        if not self._outputs:
            raise InvalidGraph("a graph needs at least one output")
        return Graph(
            tuple(self._inputs), tuple(self._outputs), self.name, tuple(self._extents), tuple(self._checks), tuple(self._texts)
        )

    def extent(self, value: Value, most: DimLike | None = None) -> DimLike:
        """A dimension for shapes and attributes of what is made from now on: in a run, the element of `value` (i64[]).

        most: a bound, where one is known. A run in which the value is negative or beyond it raises InvalidInput.
        """
        if value.constant is not None:
            return int(value.constant)
        known = next((e for e in self._extents if e.value == value), None)
        if known is None:
            taken = {*symbols_of(n.types[0] for n in self._inputs), *(e.symbol for e in self._extents)}
            number = next(k for k in itertools.count(self._numbered) if f"extent{k}" not in taken)
            self._numbered = number + 1
            known = Extent(f"extent{number}", value, most, self._origin)
            self._extents.append(known)
        return symbol(known.symbol)

    @property
    def extents(self) -> tuple[Extent, ...]:
        """Those made so far."""
        return tuple(self._extents)

    def check(self, holds: Value, message: str) -> None:
        """A run in which `holds` (bool[]) is false raises InvalidInput(message)."""
        if holds.constant is None or not holds.constant:
            self._checks.append(Check(holds, message))

    @property
    def checks(self) -> tuple[Check, ...]:
        """Those made so far."""
        return tuple(self._checks)

    @contextlib.contextmanager
    def origin(self, name: str) -> Iterator[None]:
        """Nodes made inside carry this name of the source model, for messages."""
        before, self._origin = self._origin, name
        try:
            yield
        finally:
            self._origin = before

    def apply(self, op: Op, *operands: Value) -> Any:
        """The value (or tuple of values) of op over operands."""
        node = Node(op, operands, self._origin)
        values = tuple(Value(node, i) for i in range(len(node.types)))
        return values[0] if len(values) == 1 else values

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("__") or name not in OPS:
            raise AttributeError(f"no operator is named {name!r}")
        cls = OPS[name]

        def make(*operands: Any, **attributes: Any) -> Any:
            model = next((x.type.dtype for x in reversed(operands) if isinstance(x, Value)), None)
            values = (x if isinstance(x, Value) else self._lift(x, model) for x in operands)
            return self.apply(cls(**attributes), *values)

        return make

    def _lift(self, x: Any, model: DType | None) -> Value:
        plain = isinstance(x, (int, float, bool))
        return self.constant(x, model if plain else None)
