"""cse: the same operation over the same values is computed once."""

from __future__ import annotations

from ..ir.graph import Graph, Input, Node, Value, map_graph


def cse(graph: Graph) -> Graph:
    """evaluate is unchanged; no two nodes have equal ops and equal inputs. (Nodes nobody reads are not part of a graph.)"""
    seen: dict[tuple[object, tuple[Value, ...]], Node] = {}

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> list[Value]:
        if isinstance(node.op, Input):
            return [Value(node)]
        key = (node.op, inputs)
        if key not in seen:
            seen[key] = node if inputs == node.inputs else Node(node.op, inputs, node.origin)
        return [Value(seen[key], k) for k in range(len(node.types))]

    return map_graph(graph, rebuild=rebuild)
