"""precision: products of float32 matrices from products of their bfloat16 parts, where the target is faster at those.

    x = x0 + x1 + x2, each part the bfloat16 rounding of what is left
    medium    a0·b0
    high      a0·b1 + a1·b0 + a0·b0
    highest   a1·b1 + a0·b2 + a2·b0 + a0·b1 + a1·b0 + a0·b0      (smallest first; what is left out is below float32's own rounding)
"""

from __future__ import annotations

from ..ir.builder import Builder
from ..ir.dtypes import BF16, F32
from ..ir.forms import Contract
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.ops.fused import Contraction
from ..targets.target import Target

Products = tuple[tuple[int, int], ...]

PRODUCTS: dict[str, Products] = {
    "medium": ((0, 0),),
    "high": ((0, 1), (1, 0), (0, 0)),
    "highest": ((1, 1), (0, 2), (2, 0), (0, 1), (1, 0), (0, 0)),
}


def precision(graph: Graph, level: str, target: Target) -> Graph:
    """evaluate is unchanged up to the precision asked for; every float32 matrix product is one of bfloat16 parts where that is faster."""

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> Value | None:
        form = node.op.form(*(v.type for v in inputs))
        if not isinstance(form, Contract) or any(v.type.dtype is not F32 or v.type.rank < 2 for v in inputs):
            return None
        return split_product(node, inputs, level) if _faster(inputs, level, target) else None

    return map_graph(graph, rebuild=rebuild)


def split_product(node: Node, inputs: tuple[Value, ...], level: str) -> Value:
    """The contraction of bfloat16 parts; parts of constants are folded later."""
    products = PRODUCTS[level]
    a_parts, b_parts = (1 + max(p[side] for p in products) for side in (0, 1))
    build = Builder()
    with build.origin(node.origin):
        a = [build.bf16_part(inputs[0], part=k) for k in range(a_parts)]
        b = [build.bf16_part(inputs[1], part=k) for k in range(b_parts)]
    op = Contraction(products=products, a_parts=a_parts, b_parts=b_parts)
    return Value(Node(op, (*a, *b), node.origin))


def _faster(inputs: tuple[Value, ...], level: str, target: Target) -> bool:
    """Whether the target's cost model says that the products of parts take fewer cycles than the float32 product."""
    from .select import choose

    (m, k), n = inputs[0].type.shape[-2:], inputs[1].type.shape[-1]
    parts = choose(target, BF16, F32, m, n, k, len(PRODUCTS[level]))
    whole = choose(target, F32, F32, m, n, k, 1)
    return parts is not None and (whole is None or parts.cycles < whole.cycles)
