"""quantised: products of dequantised numbers by dequantised weights, as products of the numbers.

    (s·p) × (t·q) = (s·t) · (p × q)        p, q: integers up to 255 in magnitude; s: one for each row; t: one for each column
    moves(s·p) = s·moves(p)                s: one number; moves: windows of convolutions, paddings with 0
Sums are exact while they fit int32, so this is nearer to the law than a float32 sum is. Weights stay 8 bits: this goes before what folds
constants, which would make float32 of them. Zero points are in p and q (see `integers`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..ir.builder import Builder
from ..ir.dims import DimLike
from ..ir.dtypes import F32, I8, I32, U8
from ..ir.forms import Contract
from ..ir.graph import Graph, Node, Value
from ..ir.ops.contraction import MatMul, WindowProduct
from ..ir.ops.conversion import Cast
from ..ir.ops.elementwise import Mul, Sub
from ..ir.ops.movement import Reshape
from ..ir.rewrite import rewrite
from .integers import beside
from .moves import fills, moved, source, value_of

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
    if not isinstance(node.op, (MatMul, WindowProduct)) or any(v.type.rank < 2 for v in inputs):
        return None
    build, form = Builder(), node.op.form(*(v.type for v in inputs))
    with build.origin(node.origin):
        a, b = _rows(build, inputs[0], form), _weights(build, inputs[1])
        depth = inputs[1].type.shape[-2]
        if a is None or b is None or not isinstance(depth, int) or depth > DEEPEST:
            return None
        total = build.cast(build.apply(node.op, a.number, b.number), to=F32)
        return build.mul(total, build.mul(a.scale, beside(build, b.scale, form)))


def _rows(build: Builder, x: Value, form: Contract) -> _Scaled | None:
    """x, if it is dequantised: by one number, or each row by its own where rows and depth are an axis each."""
    below = source(x)
    found = _scaled(below)
    if found is None:
        return None
    if below is x and form.row_axes == form.depth_axes == 1:
        return found if _extent(found.scale, -1) == 1 else None
    if found.scale.type.elements != 1 or any(f.constant is None or f.constant.any() for f in fills(x)):
        return None
    number = moved(build, x, found.number, lambda _: build.constant(0, I32))
    return _Scaled(number, build.reshape(found.scale, shape=()))


def _weights(build: Builder, x: Value) -> _Scaled | None:
    """x [..., k, n], if it is dequantised from constants, each column by one number."""
    found = _scaled(source(x))
    if found is None or fills(x) or not _is_constant(found.number) or not _is_constant(found.scale):
        return None
    if found.scale.type.elements == 1:
        scale = build.reshape(found.scale, shape=())
    else:
        whole = build.expand(build.constant(value_of(found.scale)), shape=found.number.type.shape)
        scales = value_of(moved(Builder(), x, whole, lambda fill: fill))
        if (scales != scales[..., :1, :]).any():
            return None
        scale = build.constant(np.ascontiguousarray(scales[..., :1, :]))
    return _Scaled(moved(build, x, found.number, lambda fill: fill), scale)


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
    if (known := x.constant) is not None:
        return bool(known.size) and int(np.abs(known.astype(np.int64)).max()) <= GREATEST
    number, *zero = x.node.inputs if isinstance(x.op, Sub) else (x,)
    narrow = number.node.inputs[0].type.dtype if isinstance(number.op, Cast) else None
    if narrow not in (I8, U8):
        return False
    limits = np.iinfo(narrow.numpy)
    return all(z.constant is not None and limits.min <= z.constant.min() and z.constant.max() <= limits.max for z in zero)


def _is_constant(x: Value) -> bool:
    """Whether x is one, once it is folded."""
    return x.is_constant or (isinstance(x.op, (Cast, Reshape, Sub)) and all(map(_is_constant, x.node.inputs)))


def _uncast(x: Value) -> Value:
    """x without casts to the dtype that it has."""
    while isinstance(x.op, Cast) and x.node.inputs[0].type.dtype is x.type.dtype:
        x = x.node.inputs[0]
    return x


def _extent(x: Value, axis: int) -> DimLike:
    """Of an axis counted from the last one; of one that is not there 1."""
    return x.type.shape[axis] if x.type.rank >= -axis else 1
