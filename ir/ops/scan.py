"""`Scan`: a graph run once for each step of a sequence, with states handed from step to step."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..dims import DimLike, evaluate_dim, substitute
from ..dtypes import BOOL
from ..errors import TypeMismatch
from ..evaluate import evaluate
from ..forms import Repeat
from ..graph import Constant, Extent, Graph, Input, Node, Value, bind_graph, map_graph, symbols_of
from ..op import Op, op, op_symbols
from ..types import TensorType


@op
class Scan(Op):
    """states…, stacked… = `body` done for t = 0, 1, … count - 1.

    operands: `captured` values that every step sees, `states` initial states, then sequences (count, …) of which step t sees element t.
    body: takes captured values, states and elements in this order; gives the next states, then what is stacked: results (count, …).
    Without steps the states are the initial ones. conditional: state 0 (bool[]) says before each step whether it is done; the first that is not is the end,
    and nobody may read what is stacked from there on.
    """

    body: Graph
    captured: int
    states: int
    count: DimLike
    conditional: bool = False

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        first = self.captured + self.states
        for k, (given, node) in enumerate(zip(types, self.body.inputs, strict=True)):
            wanted = node.types[0]
            if k >= first:
                wanted = wanted.with_shape((self.count, *wanted.shape))
            if given != wanted:
                raise TypeMismatch(f"{self.name}: operand {k} is {given}; its body wants {wanted}")
        found = [value.type for _, value in self.body.outputs]
        states = [n.types[0] for n in self.body.inputs[self.captured : first]]
        if found[: self.states] != states:
            raise TypeMismatch(f"{self.name}: the body makes states {found[: self.states]} of {states}")
        if self.conditional and states[:1] != [TensorType(BOOL, ())]:
            raise TypeMismatch(f"{self.name}: state 0 is no bool[]")
        return (*states, *(t.with_shape((self.count, *t.shape)) for t in found[self.states :]))

    @property
    def regions(self) -> tuple[Graph, ...]:
        return (self.body,)

    def with_regions(self, *regions: Graph) -> Scan:
        return Scan(regions[0], self.captured, self.states, self.count, self.conditional)

    @property
    def bodies(self) -> tuple[()]:
        """Those of the region are its own."""
        return ()

    def bind(self, values: Mapping[str, DimLike]) -> Scan:
        return Scan(bind_graph(self.body, values), self.captured, self.states, substitute(self.count, values), self.conditional)

    def form(self, *types: TensorType) -> Repeat:
        return Repeat(self.body, self.captured, self.states, self.count, self.conditional)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        first = self.captured + self.states
        names = list(self.body.input_types)
        captured, states, sequences = arrays[: self.captured], list(arrays[self.captured : first]), arrays[first:]
        count = evaluate_dim(self.count, {})
        results = [v.type.with_shape((count, *v.type.shape)) for _, v in self.body.outputs[self.states :]]
        stacked = [np.zeros([evaluate_dim(d, {}) for d in t.shape], t.dtype.numpy) for t in results]
        for t in range(count):
            if self.conditional and not states[0]:
                break
            feeds: dict[str, Any] = dict(zip(names, (*captured, *states, *(s[t] for s in sequences))))
            made = list(evaluate(self.body, feeds).values())
            states = made[: self.states]
            for whole, part in zip(stacked, made[self.states :]):
                whole[t] = part
        return (*states, *stacked)


def close_over(
    name: str, inputs: Sequence[Value], results: Sequence[Value], extents: Sequence[Extent] = ()
) -> tuple[Graph, tuple[Value, ...]]:
    """A body from values that were made of `inputs` (values of Input nodes) and of others: (graph, the others that it captures).

    The graph's inputs are the captured values, then `inputs`. extents: those that the body finds out in each turn.
    """
    inside: set[Node] = {v.node for v in inputs}
    symbols = {e.symbol for e in extents}
    for node in _whole(name, inputs, results, extents).nodes:
        named = symbols and not symbols.isdisjoint((*symbols_of(node.types), *op_symbols(node.op)))
        if named or any(v.node in inside for v in node.inputs):
            inside.add(node)
    return enclose(name, inputs, results, inside.__contains__, extents)


def enclose(
    name: str, inputs: Sequence[Value], results: Sequence[Value], is_inside: Callable[[Node], bool], extents: Sequence[Extent] = ()
) -> tuple[Graph, tuple[Value, ...]]:
    """The graph of the nodes that are inside and make these results; its inputs are the values that it captures, then `inputs`."""
    whole = _whole(name, inputs, results, extents)
    captured: dict[Value, Value] = {}
    needed = [v for node in whole.nodes if is_inside(node) for v in node.inputs]
    for value in (*needed, *whole.roots):
        if not is_inside(value.node) and not isinstance(value.op, Constant) and value not in captured:
            captured[value] = Value(Node(Input(f"captured{len(captured)}", value.type)))
    body = _cut(whole, captured)
    return dataclasses.replace(body, inputs=(*(v.node for v in captured.values()), *whole.inputs)), tuple(captured)


def _whole(name: str, inputs: Sequence[Value], results: Sequence[Value], extents: Sequence[Extent]) -> Graph:
    return Graph(tuple(v.node for v in inputs), tuple((f"r{k}", v) for k, v in enumerate(results)), name, tuple(extents))


def _cut(graph: Graph, captured: Mapping[Value, Value]) -> Graph:
    """The graph with these values as inputs; what makes them is left out."""

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if not any(value in captured for value in node.results):
            return None
        return tuple(captured.get(value, Value(node, k)) for k, value in enumerate(node.results))

    plain = {value: new for value, new in captured.items() if isinstance(value.op, Input)}
    return map_graph(graph, plain, rebuild)
