"""`Graph`: nodes are an op and its inputs; types are derived; everything is an immutable value.

graph ::= inputs, outputs (name → Value)      Value ::= Node, number of its result      Node ::= Op, inputs, origin
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .dims import DimLike
from .dtypes import dtype_of
from .errors import InvalidGraph, TgenError
from .op import Op, op
from .types import TensorType


class Tensor:
    """A read-only array that compares and hashes by content (dtype, shape, SHA-256 of the bytes, computed once)."""

    __slots__ = ("_array", "_digest")

    def __init__(self, array: Any) -> None:
        self._array = np.asarray(array)
        if self._array.flags.writeable:
            self._array = self._array.view()
            self._array.flags.writeable = False
        self._digest: bytes | None = None

    @property
    def array(self) -> np.ndarray:
        return self._array

    @property
    def type(self) -> TensorType:
        return TensorType(dtype_of(self.array.dtype), tuple(map(int, self.array.shape)))

    @property
    def digest(self) -> bytes:
        if self._digest is None:
            head = f"{self.array.dtype}{self.array.shape}".encode()
            if self.array.dtype == object:
                body: Any = repr(self.array.tolist()).encode()
            else:
                body = np.ascontiguousarray(self.array).reshape(-1).view(np.uint8)
            digest = hashlib.sha256(head)  # the fastest of hashlib where the CPU has SHA instructions
            digest.update(body)
            self._digest = digest.digest()[:16]
        return self._digest

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Tensor):
            return NotImplemented
        if self.array is other.array:
            return True
        same = self.array.dtype == other.array.dtype and self.array.shape == other.array.shape
        return same and self.digest == other.digest

    def __hash__(self) -> int:
        return hash((self.array.dtype.str, self.array.shape))

    def __str__(self) -> str:
        if self.array.size <= 8 and self.array.dtype != object:
            return str(self.array.tolist())
        return f"#{self.digest.hex()[:12]}"


@op
class Input(Op):
    """An argument of the graph."""

    label: str
    type: TensorType

    def infer(self) -> TensorType:
        return self.type


@op
class Constant(Op):
    """A tensor known at compile time."""

    value: Tensor

    def infer(self) -> TensorType:
        return self.value.type

    def reference(self) -> np.ndarray:
        return self.value.array


@dataclass(frozen=True, eq=False, repr=False)
class Node:
    """An op applied to values. `origin` is the source model's name of it, for messages. Compared by identity."""

    op: Op
    inputs: tuple[Value, ...] = ()
    origin: str = ""
    types: tuple[TensorType, ...] = field(init=False)

    def __post_init__(self) -> None:
        try:
            types = self.op.infer(*(v.type for v in self.inputs))
        except TgenError as error:
            if self.origin and self.origin not in str(error):
                told = copy(error)
                told.args = (f"{self.origin}: {error}",)
                raise told from error
            raise
        except (TypeError, IndexError, ValueError) as error:
            operands = ", ".join(str(v.type) for v in self.inputs)
            raise InvalidGraph(f"{self.origin or self.op}: {self.op.name} does not take ({operands}): {error}") from error
        object.__setattr__(self, "types", types if isinstance(types, tuple) else (types,))

    def __repr__(self) -> str:
        """Without its inputs: written out, a graph of shared nodes would be exponentially long."""
        return f"<{self.op.name}{f' {self.origin}' if self.origin else ''}: {', '.join(map(str, self.types))}>"

    def __getitem__(self, result: int) -> Value:
        return Value(self, result)

    @property
    def results(self) -> tuple[Value, ...]:
        return tuple([Value(self, k) for k in range(len(self.types))])


@dataclass(frozen=True)
class Value:
    """Result number `index` of a node."""

    node: Node
    index: int = 0

    def __hash__(self) -> int:
        return id(self.node) + self.index  # as good as of both, in a quarter of the time: graphs are full of these

    @property
    def type(self) -> TensorType:
        return self.node.types[self.index]

    @property
    def op(self) -> Op:
        return self.node.op

    @property
    def is_constant(self) -> bool:
        return isinstance(self.node.op, Constant)

    @property
    def constant(self) -> np.ndarray | None:
        """The array, if this is a constant; of one that is computed when it is wanted, computed whenever nobody holds it."""
        return self.node.op.value.array if isinstance(self.node.op, Constant) else None


@dataclass(frozen=True)
class Extent:
    """A dimension that the run itself computes: `symbol` stands for the element of `value` (i64[]), from 0 to `most`, if that is known.

    What names the symbol comes after `value` is computed, whether it reads it or not. origin: as a node's.
    """

    symbol: str
    value: Value
    most: DimLike | None = None
    origin: str = ""


MOST_EXTENT = 1 << 40  # of what a run computes: more is taken for a mistake


def extent_message(extent: Extent) -> str:
    """Of the InvalidInput that ends a run where the value is no extent."""
    return f"{extent.origin or extent.symbol}: the run finds an extent that is negative, too large or does not fit"


@dataclass(frozen=True)
class Check:
    """`holds` (bool[]) is true in a run, or it ends in InvalidInput(message)."""

    holds: Value
    message: str


@dataclass(frozen=True, repr=False)
class Graph:
    """inputs: Input nodes in call order; outputs: (name, value) in result order; extents: in an order in which they can be computed.

    texts: names of inputs and outputs that are strings to the caller, each of them two: `name.bytes` (u8) and `name.ends` (i64).
    """

    inputs: tuple[Node, ...]
    outputs: tuple[tuple[str, Value], ...]
    name: str = "model"
    extents: tuple[Extent, ...] = ()
    checks: tuple[Check, ...] = ()
    texts: tuple[str, ...] = ()

    @functools.cached_property
    def roots(self) -> tuple[Value, ...]:
        """All that a run computes for its own sake. Extents first: so nodes that name one stand behind what it is computed by."""
        return (*(e.value for e in self.extents), *(v for _, v in self.outputs), *(c.holds for c in self.checks))

    @functools.cached_property
    def input_types(self) -> Mapping[str, TensorType]:
        """By name, in call order."""
        return {n.op.label: n.op.type for n in self.inputs if isinstance(n.op, Input)}

    @functools.cached_property
    def nodes(self) -> tuple[Node, ...]:
        """All nodes that the roots need, and all inputs; producers first. Iterative: depth is no limit."""
        order: dict[Node, None] = dict.fromkeys(self.inputs)
        for value in self.roots:
            stack: list[tuple[Node, int]] = [(value.node, 0)]
            while stack:
                node, at = stack.pop()
                if node in order:
                    continue
                if at < len(node.inputs):
                    stack.append((node, at + 1))
                    stack.append((node.inputs[at].node, 0))
                else:
                    order[node] = None
        return tuple(order)

    @functools.cached_property
    def users(self) -> Mapping[Value, tuple[Node, ...]]:
        """The nodes that read a value, in order, once each; outputs of the graph are not counted here."""
        users: dict[Value, dict[Node, None]] = {}
        for node in self.nodes:
            for value in node.inputs:
                users.setdefault(value, {})[node] = None
        return {value: tuple(nodes) for value, nodes in users.items()}

    @functools.cached_property
    def kept(self) -> frozenset[Value]:
        """The values of `roots`, which stay whatever reads them."""
        return frozenset(self.roots)

    def __str__(self) -> str:
        from .text import print_graph

        return print_graph(self)

    __repr__ = __str__


def map_graph(graph: Graph, change: Mapping[Value, Value] | None = None, rebuild: Any = None) -> Graph:
    """A graph rebuilt bottom-up, the same object if nothing changes. `rebuild(node, inputs)` gives the values that stand for the node's
    results.

    rebuild: called with each node that is not an Input and its already mapped inputs; returns a Value, a sequence of
    Values, or None for "the same node over these inputs".
    """
    given = change or {}
    changed: dict[Node, Sequence[Value]] = {}  # nodes that are not what they were

    def mapped(value: Value) -> Value:
        return changed[value.node][value.index] if value.node in changed else value

    for node in graph.nodes:
        if isinstance(node.op, Input):
            if (value := Value(node)) in given:
                changed[node] = (given[value],)
            continue
        inputs = node.inputs
        if not changed.keys().isdisjoint([v.node for v in inputs]):
            inputs = tuple([mapped(v) for v in inputs])
        new: Value | Sequence[Value] | None = rebuild(node, inputs) if rebuild else None
        if new is not None:
            changed[node] = (new,) if isinstance(new, Value) else new
        elif inputs != node.inputs:
            changed[node] = Node(node.op, inputs, node.origin).results
    if not changed:
        return graph
    return replace_roots(graph, {v: mapped(v) for v in graph.roots}, tuple(mapped(Value(n)).node for n in graph.inputs))


def replace_roots(graph: Graph, values: Mapping[Value, Value], inputs: tuple[Node, ...]) -> Graph:
    """The graph of these inputs with other values as its outputs, extents and checks."""
    extents = tuple(dataclasses.replace(e, value=values[e.value]) for e in graph.extents)
    checks = tuple(Check(values[c.holds], c.message) for c in graph.checks)
    return Graph(inputs, tuple((k, values[v]) for k, v in graph.outputs), graph.name, extents, checks, graph.texts)


def map_regions(graph: Graph, change: Callable[[Graph], Graph]) -> Graph:
    """The graph with `change` made to the graphs inside its ops; the same object if nothing changed."""

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
        new = tuple(change(region) for region in node.op.regions)
        if all(a is b for a, b in zip(new, node.op.regions)):
            return None
        return Node(node.op.with_regions(*new), inputs, node.origin).results

    return map_graph(graph, rebuild=rebuild) if any(node.op.regions for node in graph.nodes) else graph


def bind_graph(graph: Graph, values: Mapping[str, DimLike]) -> Graph:
    """The graph with symbols replaced in its inputs and in its ops."""
    inputs = {Value(n): Value(Node(n.op.bind(values), (), n.origin)) for n in graph.inputs}
    return map_graph(graph, inputs, lambda node, given: Node(node.op.bind(values), given, node.origin).results)


def symbols_of(types: Iterable[TensorType]) -> tuple[str, ...]:
    """Names of all symbols of these types, in order of appearance."""
    from .dims import symbols

    names: dict[str, None] = {}
    for t in types:
        for dim in t.shape:
            names.update(dict.fromkeys(symbols(dim)))
    return tuple(names)
