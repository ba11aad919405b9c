"""quantised: products of dequantised numbers by dequantised weights, as products of the numbers.

    (s·p) × (t·q) = (s·t) · (p × q)        p, q: integers up to 255 in magnitude; s: one for each row; t: one for each column
Sums are exact while they fit int32, so this is nearer to the law than a float32 sum is. Weights stay 8 bits: this goes before what folds
constants, which would make float32 of them. Zero points are in p and q (see `integers`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.builder import Builder
from ..ir.dims import DimLike
from ..ir.dtypes import F32, I8, I32, U8
from ..ir.graph import Graph, Node, Value
from ..ir.ops.contraction import MatMul
from ..ir.ops.conversion import Cast
from ..ir.ops.elementwise import Mul, Sub
from ..ir.ops.movement import Reshape, Transpose
from ..ir.rewrite import rewrite

GREATEST = 255  # of an 8-bit number without its zero point
DEEPEST = np.iinfo(np.int32).max // GREATEST**2  # as many products surely fit int32


@dataclass(frozen=True)
class _Scaled:
    """A float32 matrix as scale · f32(number); number: int32, up to GREATEST; scale broadcasts against it."""

    number: Value
    scale: Value


def quantised(graph: Graph) -> Graph:
    """evaluate is unchanged but for rounding: a sum is rounded once."""
    return rewrite(graph, [_product])


def _product(node: Node, *inputs: Value) -> Value | None:
    """(s·p) × (t·q) = (s·t) · (p × q)"""
    if not isinstance(node.op, MatMul) or any(v.type.rank < 2 for v in inputs):
        return None
    a, b = _scaled(inputs[0]), _weights(inputs[1])
    depth = inputs[1].type.shape[-2]
    if a is None or b is None or not isinstance(depth, int) or depth > DEEPEST:
        return None
    if _extent(a.scale, -1) != 1 or _extent(b.scale, -2) != 1:
        return None
    build = Builder()
    with build.origin(node.origin):
        total = build.cast(build.matmul(a.number, b.number), to=F32)
        return build.mul(total, build.mul(a.scale, b.scale))


def _weights(x: Value) -> _Scaled | None:
    """x, if it is dequantised from constants, or a transpose of that."""
    if not isinstance(x.op, Transpose):
        found = _scaled(x)
        return found if found and _is_constant(found.number) and _is_constant(found.scale) else None
    found = _weights(x.node.inputs[0])
    if found is None:
        return None
    build, rank, scale = Builder(), x.type.rank, found.scale
    with build.origin(x.node.origin):
        whole = build.reshape(scale, shape=(*[1] * (rank - scale.type.rank), *scale.type.shape))
        return _Scaled(build.apply(x.op, found.number), build.apply(x.op, whole) if scale.type.rank else scale)


def _scaled(x: Value) -> _Scaled | None:
    """x, if it is known to be dequantised."""
    x = _uncast(x)
    if x.type.dtype is not F32 or not isinstance(x.op, Mul):
        return None
    left, scale = x.node.inputs
    number = left.node.inputs[0] if isinstance(left.op, Cast) else None
    if number is None or number.type.shape != x.type.shape or not _is_small(number):
        return None
    return _Scaled(number, scale)


def _is_small(x: Value) -> bool:
    """Whether x is int32 numbers up to GREATEST: constants, 8-bit numbers, or those without a zero point of their dtype."""
    if x.type.dtype is not I32:
        return False
    if x.constant is not None:
        return bool(x.constant.size) and int(np.abs(x.constant.astype(np.int64)).max()) <= GREATEST
    number, *zero = x.node.inputs if isinstance(x.op, Sub) else (x,)
    narrow = number.node.inputs[0].type.dtype if isinstance(number.op, Cast) else None
    if narrow not in (I8, U8):
        return False
    limits = np.iinfo(narrow.numpy)
    return all(z.constant is not None and limits.min <= z.constant.min() and z.constant.max() <= limits.max for z in zero)


def _is_constant(x: Value) -> bool:
    """Whether x is one, once it is folded."""
    return x.constant is not None or (isinstance(x.op, (Cast, Reshape, Sub)) and all(map(_is_constant, x.node.inputs)))


def _uncast(x: Value) -> Value:
    """x without casts to the dtype that it has."""
    while isinstance(x.op, Cast) and x.node.inputs[0].type.dtype is x.type.dtype:
        x = x.node.inputs[0]
    return x


def _extent(x: Value, axis: int) -> DimLike:
    """Of an axis counted from the last one; of one that is not there 1."""
    return x.type.shape[axis] if x.type.rank >= -axis else 1
