"""capture: constants that a body or branch is given become constants of it, where they are packed, folded and fused as all others."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ..ir.graph import Constant, Graph, Node, Value, map_graph
from ..ir.ops.branch import Branch
from ..ir.ops.scan import Scan


def capture(graph: Graph) -> Graph:
    """evaluate(capture(g)) == evaluate(g); no `scan` or `branch` captures a constant, and no branch's condition is one."""

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
        if isinstance(node.op, Branch):
            return _chosen(node, node.op, inputs)
        if not isinstance(node.op, Scan):
            return None
        known = {k for k, v in enumerate(inputs[: node.op.captured]) if isinstance(v.op, Constant)}
        return _without(node, inputs, known) if known else None

    return map_graph(graph, rebuild=rebuild)


def _without(node: Node, inputs: tuple[Value, ...], known: set[int]) -> tuple[Value, ...]:
    """The same node with these operands as constants inside."""
    op = node.op
    assert isinstance(op, Scan)
    inner = _with_constants(op.body, {k: inputs[k] for k in known})
    scan = Scan(inner, op.captured - len(known), op.states, op.count, op.conditional)
    return Node(scan, tuple(v for k, v in enumerate(inputs) if k not in known), node.origin).results


def _chosen(node: Node, op: Branch, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
    """A branch without constants among its operands; a known condition has chosen."""
    condition, *given = inputs
    first = len(op.yes.inputs)
    if condition.constant is not None:
        graph, operands = (op.yes, given[:first]) if condition.constant else (op.no, given[first:])
        if not graph.extents:
            inlined = map_graph(graph, {Value(n): v for n, v in zip(graph.inputs, operands)})
            return tuple(value for _, value in inlined.outputs)
    if not any(isinstance(v.op, Constant) for v in given):
        return None
    parts = [given[:first], given[first:]]
    graphs = [
        _with_constants(graph, {k: v for k, v in enumerate(part) if isinstance(v.op, Constant)})
        for graph, part in zip(op.regions, parts)
    ]
    kept = [v for v in given if not isinstance(v.op, Constant)]
    return Node(Branch(*graphs), (condition, *kept), node.origin).results


def _with_constants(graph: Graph, known: Mapping[int, Value]) -> Graph:
    """The graph without these inputs, which are constants."""
    changed = map_graph(graph, {Value(graph.inputs[k]): v for k, v in known.items()})
    return dataclasses.replace(changed, inputs=tuple(n for k, n in enumerate(graph.inputs) if k not in known))
