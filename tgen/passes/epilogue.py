"""epilogue: a map over the result of a contraction (or an attention) joins it.

    map_b(contraction(a, b), c…)   →   contraction(a, b, c…) with the map's body applied to the accumulator
A map of several results (the parts of a split) gives the contraction several.
Every map that reads the result element by element joins; if all readers do, the plain result is not stored at all.
"""

from __future__ import annotations

from ..ir.expr import Expr, Index, Load, transform, walk
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.ops.fused import ProductOp
from .inline import LARGEST_BODY, MOST_OPERANDS, map_bodies


def epilogue(graph: Graph) -> Graph:
    """evaluate is unchanged; maps with a contraction as their operand at the same element are epilogues."""
    readers = {value: len(nodes) for value, nodes in graph.users.items()}
    for value in graph.kept:
        readers[value] = readers.get(value, 0) + 1

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
        for old, value in zip(node.inputs, inputs):
            if readers[old] == 1:
                fused = fuse_epilogue(node, inputs, value)
                if fused is not None:
                    return fused.results
        return None

    return map_graph(graph, rebuild=rebuild)


def fuse_epilogue(node: Node, inputs: tuple[Value, ...], producer: Value) -> Node | None:
    """The contraction that computes the map `node` over `inputs`, of which `producer` is one; None if it is not such."""
    bodies, op = map_bodies(node), producer.op
    if bodies is None or not isinstance(op, ProductOp) or len(op.epilogues) != 1:
        return None
    where = {k for k, v in enumerate(inputs) if v == producer}
    loads = {x for body in bodies for x in walk(body) if isinstance(x, Load) and x.operand in where}
    same_shape = all(t.shape == producer.type.shape for t in node.types)
    if not loads or not same_shape or not all(_same_element(x) for x in loads):
        return None
    operands = (*producer.node.inputs, *(v for v in dict.fromkeys(inputs) if v != producer))
    if len(operands) > MOST_OPERANDS:
        return None
    number = {v: k for k, v in reversed(list(enumerate(operands))) if k >= op.fixed}

    def rule(x: Expr) -> Expr | None:
        if not isinstance(x, Load):
            return None
        return op.epilogues[0] if x.operand in where else Load(x.dtype, number[inputs[x.operand]], x.index)

    fused = tuple(transform(body, rule) for body in bodies)
    if any(sum(1 for _ in walk(body)) > LARGEST_BODY for body in fused):
        return None
    return Node(op.with_epilogues(fused), operands, node.origin or producer.node.origin)


def _same_element(load: Load) -> bool:
    """Reads position i0, i1, … itself (an axis of extent 1 may be written as 0)."""
    return all((isinstance(i, Index) and i.axis == k) or str(i) == "0:i64" for k, i in enumerate(load.index))
