"""capture: constants that a loop's body is given become constants of the body, where they are packed, folded and fused as all others."""

from __future__ import annotations

import dataclasses

from ..ir.graph import Constant, Graph, Node, Value, map_graph
from ..ir.ops.scan import Scan


def capture(graph: Graph) -> Graph:
    """evaluate(capture(g)) == evaluate(g); no `scan` captures a constant."""

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if not isinstance(node.op, Scan):
            return None
        known = {k for k, v in enumerate(inputs[: node.op.captured]) if isinstance(v.op, Constant)}
        return _without(node, inputs, known) if known else None

    return map_graph(graph, rebuild=rebuild)


def _without(node: Node, inputs: tuple[Value, ...], known: set[int]) -> tuple[Value, ...]:
    """The same node with these operands as constants inside."""
    op = node.op
    assert isinstance(op, Scan)
    body = map_graph(op.body, {Value(op.body.inputs[k]): inputs[k] for k in known})
    kept = tuple(n for k, n in enumerate(op.body.inputs) if k not in known)
    inner = dataclasses.replace(body, inputs=kept)
    scan = Scan(inner, op.captured - len(known), op.states, op.count)
    return Node(scan, tuple(v for k, v in enumerate(inputs) if k not in known), node.origin).results
