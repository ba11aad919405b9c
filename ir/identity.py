"""Exact equality of attributes and graphs: 0.0 is not -0.0, 1 is not True, nan is nan."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import Any

from .dtypes import DType
from .expr import Expr
from .graph import Graph, Tensor, Value, replace_roots
from .op import Op


def exact(value: Any) -> Hashable:
    """A key that is equal for two attribute values exactly if nothing can tell them apart."""
    if isinstance(value, float):
        return "float", repr(value)
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, tuple):
        return tuple(map(exact, value))
    if isinstance(value, Graph):
        return graph_key(value)
    if isinstance(value, (DType, Expr, Tensor)) or not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    return type(value), tuple(exact(getattr(value, f.name)) for f in dataclasses.fields(value))


def graph_key(graph: Graph) -> Hashable:
    """A key that is equal for two graphs exactly if they are equal in structure; origins of nodes do not matter."""
    number = {node: k for k, node in enumerate(graph.nodes)}

    def place(value: Value) -> tuple[int, int]:
        return number[value.node], value.index

    nodes = tuple((op_key(n.op), tuple(map(place, n.inputs)), n.types) for n in graph.nodes)
    extents = tuple((e.symbol, place(e.value), e.most) for e in graph.extents)
    checks = tuple((place(c.holds), c.message) for c in graph.checks)
    outputs = tuple((name, place(v)) for name, v in graph.outputs)
    return graph.name, len(graph.inputs), nodes, outputs, extents, checks, graph.texts


def op_key(op: Op) -> Hashable:
    """A key that is equal for two ops exactly if they are the same operator with the same attributes."""
    return exact(op)


def same_graph(a: Graph, b: Graph) -> bool:
    """Whether a and b are equal in structure: names, inputs, ops, edges, outputs; origins of nodes do not matter.

    Two nodes of one may stand for two equal nodes of the other only in the same order.
    """
    if a.name != b.name or len(a.nodes) != len(b.nodes) or len(a.inputs) != len(b.inputs):
        return False
    other = dict(zip(a.nodes, b.nodes))

    def matched(v: Value) -> Value:
        return Value(other[v.node], v.index)

    for x, y in other.items():
        if op_key(x.op) != op_key(y.op) or x.types != y.types or tuple(map(matched, x.inputs)) != y.inputs:
            return False
    same_inputs = all(other[x] is y for x, y in zip(a.inputs, b.inputs))
    return same_inputs and replace_roots(a, {v: matched(v) for v in a.roots}, b.inputs) == b
