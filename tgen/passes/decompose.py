"""decompose: composite operators become the small graphs they are defined by."""

from __future__ import annotations

from ..ir.builder import Builder
from ..ir.errors import InvalidGraph
from ..ir.graph import Graph, Node, Value, map_graph

DEEPEST = 16  # composites of composites: more levels than this are a definition that never ends


def decompose(graph: Graph) -> Graph:
    """evaluate is unchanged (up to rounding); no node of the result is composite."""
    for _ in range(DEEPEST):
        expanded = map_graph(graph, rebuild=_expand)
        if all(a is b for a, b in zip(expanded.nodes, graph.nodes)) and len(expanded.nodes) == len(graph.nodes):
            return graph
        graph = expanded
    raise InvalidGraph("composite operators that expand into themselves")


def _expand(node: Node, inputs: tuple[Value, ...]) -> Value | tuple[Value, ...] | None:
    if not node.op.is_composite:
        return None
    build = Builder()
    with build.origin(node.origin or node.op.name):
        return node.op.decompose(build, *inputs)
