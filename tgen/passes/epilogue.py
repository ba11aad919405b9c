"""epilogue: a map over the result of a contraction (or an attention) joins it.

    map_b(contraction(a, b), c…)   →   contraction(a, b, c…) with the map's body applied to the accumulator
Every map that reads the result element by element joins; if all readers do, the plain result is not stored at all.
"""

from __future__ import annotations

from ..ir.expr import Expr, Index, Load, transform, walk
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.ops.fused import ProductOp
from .inline import LARGEST_BODY, MOST_OPERANDS, map_body


def epilogue(graph: Graph) -> Graph:
    """evaluate is unchanged; maps with a contraction as their operand at the same element are epilogues."""
    readers = {value: len(nodes) for value, nodes in graph.users.items()}
    for value in graph.output_values:
        readers[value] = readers.get(value, 0) + 1

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> Value | None:
        for old, value in zip(node.inputs, inputs):
            if readers[old] == 1:
                fused = fuse_epilogue(Value(node), inputs, value)
                if fused is not None:
                    return fused
        return None

    return map_graph(graph, rebuild=rebuild)


def fuse_epilogue(result: Value, inputs: tuple[Value, ...], producer: Value) -> Value | None:
    """The contraction that computes the map `result` over `inputs`, of which `producer` is one; None if it is not such."""
    body, op = map_body(result), producer.op
    if body is None or not isinstance(op, ProductOp) or len(op.epilogues) != 1 or result.type.shape != producer.type.shape:
        return None
    where = {k for k, v in enumerate(inputs) if v == producer}
    loads = [x for x in walk(body) if isinstance(x, Load) and x.operand in where]
    if not loads or not all(_same_element(x) for x in loads):
        return None
    operands = (*producer.node.inputs, *(v for v in dict.fromkeys(inputs) if v != producer))
    if len(operands) > MOST_OPERANDS:
        return None
    number = {v: k for k, v in reversed(list(enumerate(operands))) if k >= op.fixed}

    def rule(x: Expr) -> Expr | None:
        if not isinstance(x, Load):
            return None
        return op.epilogues[0] if x.operand in where else Load(x.dtype, number[inputs[x.operand]], x.index)

    fused = transform(body, rule)
    if sum(1 for _ in walk(fused)) > LARGEST_BODY:
        return None
    return Value(Node(op.with_epilogues((fused,)), operands, result.node.origin or producer.node.origin))


def _same_element(load: Load) -> bool:
    """Reads position i0, i1, … itself (an axis of extent 1 may be written as 0)."""
    return all((isinstance(i, Index) and i.axis == k) or str(i) == "0:i64" for k, i in enumerate(load.index))
