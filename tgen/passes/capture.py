"""capture: constants that a body or branch is given become constants of it, where they are packed, folded and fused as all others; what is
done once, whatever the input, is no loop or branch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ..ir.graph import Constant, Graph, Node, Value, map_graph
from ..ir.ops.branch import Branch
from ..ir.ops.movement import Squeeze, Unsqueeze
from ..ir.ops.scan import Scan
from ..ir.rewrite import make, rewrite


def capture(graph: Graph) -> Graph:
    """evaluate(capture(g)) == evaluate(g); no `scan` or `branch` captures a constant, and where bodies find out no sizes and check nothing
    no branch's condition is one and no scan has just one turn.
    """
    return rewrite(graph, [one_turn, captured, chosen, given])


def one_turn(node: Node, *inputs: Value) -> tuple[Value, ...] | None:
    """scan(states, sequences) = body(states, the only elements of sequences), where there is one step"""
    op = node.op
    if not isinstance(op, Scan) or op.count != 1 or op.conditional or not _is_plain(op.body):
        return None
    first = op.captured + op.states
    found = _results(op.body, [*inputs[:first], *(make(node, Squeeze((0,)), v) for v in inputs[first:])])
    return (*found[: op.states], *(make(node, Unsqueeze((0,)), v) for v in found[op.states :]))


def captured(node: Node, *inputs: Value) -> tuple[Value, ...] | None:
    """scan_body(constant, …) = scan_{body with the constant}(…)"""
    op = node.op
    if not isinstance(op, Scan):
        return None
    known = {k: v for k, v in enumerate(inputs[: op.captured]) if isinstance(v.op, Constant)}
    if not known:
        return None
    scan = dataclasses.replace(op, body=_with_constants(op.body, known), captured=op.captured - len(known))
    return Node(scan, tuple(v for k, v in enumerate(inputs) if k not in known), node.origin).results


def chosen(node: Node, *inputs: Value) -> tuple[Value, ...] | None:
    """branch(true, x, y) = yes(x); branch(false, x, y) = no(y)"""
    op = node.op
    if not isinstance(op, Branch) or inputs[0].constant is None:
        return None
    yes, first = bool(inputs[0].constant), 1 + len(op.yes.inputs)
    graph, operands = (op.yes, inputs[1:first]) if yes else (op.no, inputs[first:])
    return _results(graph, operands) if _is_plain(graph) else None


def given(node: Node, *inputs: Value) -> tuple[Value, ...] | None:
    """branch_{yes,no}(condition, constant, …) = branch_{yes with the constant, no}(condition, …)"""
    op = node.op
    if not isinstance(op, Branch) or not any(isinstance(v.op, Constant) for v in inputs[1:]):
        return None
    first = 1 + len(op.yes.inputs)
    parts = ((op.yes, inputs[1:first]), (op.no, inputs[first:]))
    graphs = [_with_constants(g, {k: v for k, v in enumerate(part) if isinstance(v.op, Constant)}) for g, part in parts]
    kept = [v for v in inputs[1:] if not isinstance(v.op, Constant)]
    return Node(Branch(*graphs), (inputs[0], *kept), node.origin).results


def _is_plain(graph: Graph) -> bool:
    """Whether a graph is its nodes alone, which may stand anywhere."""
    return not graph.extents and not graph.checks


def _results(graph: Graph, operands: Sequence[Value]) -> tuple[Value, ...]:
    """The graph's results for these operands, as values beside them."""
    inlined = map_graph(graph, {Value(n): v for n, v in zip(graph.inputs, operands)})
    return tuple(value for _, value in inlined.outputs)


def _with_constants(graph: Graph, known: Mapping[int, Value]) -> Graph:
    """The graph without these inputs, which are constants."""
    changed = map_graph(graph, {Value(graph.inputs[k]): v for k, v in known.items()})
    return dataclasses.replace(changed, inputs=tuple(n for k, n in enumerate(graph.inputs) if k not in known))
