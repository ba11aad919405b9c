"""decompose: composite operators become the small graphs they are defined by."""

from __future__ import annotations

from ..ir.builder import Builder
from ..ir.graph import Graph, Node, Value
from ..ir.rewrite import rewrite


def decompose(graph: Graph) -> Graph:
    """evaluate is unchanged (up to rounding); no node of the result is composite. New nodes have the origin of the composite."""
    return rewrite(graph, [definition])


def definition(node: Node, *inputs: Value) -> Value | tuple[Value, ...] | None:
    """composite(x…) = what it is defined as"""
    if not node.op.is_composite:
        return None
    build = Builder()
    with build.origin(node.origin or node.op.name):
        return node.op.decompose(build, *inputs)
