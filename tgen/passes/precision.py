"""precision: products of float32 matrices from products of their bfloat16 parts, where the target is faster at those.

    x = x0 + x1 + x2, each part the bfloat16 rounding of what is left
    medium    a0·b0
    high      a0·b1 + a1·b0 + a0·b0
    highest   a1·b1 + a0·b2 + a2·b0 + a0·b1 + a1·b0 + a0·b0      (smallest first; what is left out is below float32's own rounding)
Sums are float32. Sums of several products that are not finite are done again from what the parts add up to: an infinity would meet the
zero parts of the other side and become NaN. Parts below 2^-126 may count as zero, which is what the instructions make of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

from ..ir.builder import Builder
from ..ir.dtypes import BF16, F32
from ..ir.forms import Contract
from ..ir.graph import Graph, Node, Value
from ..ir.ops.attend import Attend
from ..ir.ops.fused import Contraction, as_matrix
from ..ir.rewrite import rewrite
from ..targets.target import Target
from .cost import Products, Shape, choose

Faster = Callable[[Shape, Products], bool]

PRODUCTS: dict[str, Products] = {
    "medium": ((0, 0),),
    "high": ((0, 1), (1, 0), (0, 0)),
    "highest": ((1, 1), (0, 2), (2, 0), (0, 1), (1, 0), (0, 0)),
}


def precision(graph: Graph, level: str, *, bf16_products: Faster) -> Graph:
    """evaluate is unchanged up to the precision asked for; float32 matrix products are of bfloat16 parts where that is faster.

    level: medium, high or highest. bf16_products(shape, products): whether these products of bfloat16 parts are faster than
    the float32 one; see `faster_on`.
    """

    def split(node: Node, *inputs: Value) -> Value | None:
        """a·b = Σ over products (i, j) of a_i·b_j"""
        form = node.op.form(*(v.type for v in inputs))
        if not isinstance(form, Contract) or any(v.type.dtype is not F32 for v in inputs):
            return None
        build = Builder()
        with build.origin(node.origin):
            a, b = _matrices(build, *inputs)
            if not bf16_products(Shape.of(as_matrix(a.type, form.row_axes, form.depth_axes), b), PRODUCTS[level]):
                return None
            result = split_product(build, a, b, level, form.row_axes, form.depth_axes)
            shape = node.types[0].shape
            return result if result.type.shape == shape else build.reshape(result, shape=shape)

    def split_attention(node: Node, *inputs: Value) -> Value | None:
        """attend(q, k, v) = attend(q_i…, k_i…, v_i…)"""
        op = node.op
        if not isinstance(op, Attend) or any(v.type.dtype is not F32 for v in inputs[:3]):
            return None
        (m, d), (n, e) = inputs[0].type.shape[-2:], inputs[2].type.shape[-2:]
        products = PRODUCTS[level]
        if not all(bf16_products(shape, products) for shape in (Shape(m, n, d), Shape(m, e, n))):
            return None
        build, new = Builder(), op.in_parts(products)
        with build.origin(node.origin):
            parts = (_parts(build, x, new.parts) for x in inputs[:3])
            return build.apply(new, *itertools.chain.from_iterable(parts), *inputs[3:])

    return rewrite(graph, [split, split_attention])


def _matrices(build: Builder, a: Value, b: Value) -> tuple[Value, Value]:
    """1-d operands as one row, as one column."""
    a = a if a.type.rank > 1 else build.reshape(a, shape=(1, *a.type.shape))
    b = b if b.type.rank > 1 else build.reshape(b, shape=(*b.type.shape, 1))
    return a, b


def split_product(build: Builder, a: Value, b: Value, level: str, row_axes: int = 1, depth_axes: int = 1) -> Value:
    """The contraction of bfloat16 parts; parts of constants are folded later. row_axes, depth_axes: of a."""
    products = PRODUCTS[level]
    a_parts, b_parts = (1 + max(p[side] for p in products) for side in (0, 1))
    parts = (*_parts(build, a, a_parts), *_parts(build, b, b_parts))
    result: Value = build.apply(
        Contraction(products=products, a_parts=a_parts, b_parts=b_parts, row_axes=row_axes, depth_axes=depth_axes), *parts
    )
    return result


def _parts(build: Builder, x: Value, count: int) -> list[Value]:
    """x by so many parts; by one: rounded."""
    return [build.cast(x, to=BF16)] if count == 1 else [build.bf16_part(x, part=k) for k in range(count)]


def faster_on(target: Target) -> Faster:
    """By the target's cost model: do the bfloat16 products take fewer cycles than the float32 product, at the quality asked for?"""

    def faster(shape: Shape, products: Products) -> bool:
        parts = choose(target, (BF16, BF16, F32), shape, products)
        if parts is None or (products == PRODUCTS["highest"] and not parts.tile.nearest):
            return False
        whole = choose(target, (F32, F32, F32), shape)
        return whole is None or parts.cycles < whole.cycles

    return faster
