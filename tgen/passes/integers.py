"""integers: products of int32 matrices that hold small numbers, as products of the small ones, where the target is faster at those.

    (a - p)·(b - q) = a·b - p·colsum(b) - rowsum(a - p)·q        a, b: 8 bits; p: one for each row; q: one for each column
    a - p = flipped(a) - (p ± 128)                               for an instruction that wants a of the other signedness
    a·b = i16(a)·b = i16(a)·i16(b)                               where they fit
Every step is exact, sums wrap as int32 does. Zero points are such p and q; sums over weights are folded. What lies between the numbers and
the product and only moves them (windows, their padding, transposes) moves the small ones instead.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..ir.builder import Builder
from ..ir.dtypes import I8, I16, I32, U8, DType
from ..ir.expr import Kept
from ..ir.forms import Contract
from ..ir.graph import Graph, Node, Value
from ..ir.ops.contraction import MatMul, WindowProduct
from ..ir.ops.conversion import Cast
from ..ir.ops.elementwise import Sub
from ..ir.ops.fused import Contraction, as_matrix
from ..ir.rewrite import rewrite
from ..targets.target import Target
from .cost import Shape, choose
from .moves import fills, moved, source

Cycles = Callable[[DType, DType, Shape], float]
FLIP = 0x80  # the bit in which n as u8 and n - 128 as i8 differ


@dataclass(frozen=True)
class _Term:
    """An int32 matrix as value - zero; zero: int32, of extent 1 along k."""

    value: Value
    zero: Value | None = None


def integers(graph: Graph, *, cycles: Cycles) -> Graph:
    """evaluate is unchanged. cycles(a, b, shape): of a product of dtypes a and b, summed in int32; infinite: no instruction."""

    def small(node: Node, *inputs: Value) -> Value | None:
        """a·b = the same from small numbers"""
        if (
            not isinstance(node.op, (MatMul, WindowProduct))
            or node.types[0].dtype is not I32
            or any(v.type.rank < 2 for v in inputs)
        ):
            return None
        form, (a, b) = node.op.form(*(v.type for v in inputs)), inputs
        held = (a.constant, b.constant)  # else each look at one would compute it again
        matrix, build = as_matrix(a.type, form.row_axes, form.depth_axes), Builder()
        with build.origin(node.origin):
            ways = [
                (cycles(x.value.type.dtype, y.value.type.dtype, Shape.of(matrix, y.value)), x, y)
                for x, y in _ways(build, a, b, form)
            ]
            del held
            best = min(ways, key=lambda way: way[0], default=None)
            if best is None or best[0] >= cycles(I32, I32, Shape.of(matrix, b)):
                return None
            return _product(build, *best[1:], form)

    return rewrite(graph, [small])


def cycles_on(target: Target) -> Cycles:
    """By the target's cost model."""

    def cycles(a: DType, b: DType, shape: Shape) -> float:
        choice = choose(target, (a, b, I32), shape)
        return float("inf") if choice is None else choice.cycles

    return cycles


def _ways(build: Builder, a: Value, b: Value, form: Contract) -> Iterator[tuple[_Term, _Term]]:
    """Small numbers that a and b can be had from; the simplest first."""
    by_row = form.row_axes == form.depth_axes == 1
    small = _of_8_bits(build, b, -2, True)
    pairs = list(itertools.product(_of_8_bits(build, a, -1, by_row), small))
    yield from pairs
    yield from ((_flipped(build, x), y) for x, y in pairs)
    if _fits_16_bits(a):
        wide = _Term(_of_16_bits(build, a))
        yield from ((wide, y) for y in small)
        if _fits_16_bits(b):
            yield wide, _Term(_of_16_bits(build, b))


def _product(build: Builder, a: _Term, b: _Term, form: Contract) -> Value:
    op = Contraction((Kept(I32, 0),), accumulate=I32, row_axes=form.row_axes, depth_axes=form.depth_axes)
    result = build.apply(op, a.value, b.value)
    if a.zero is not None:
        columns = build.reduce_sum(build.cast(b.value, to=I32), axes=(-2,))
        result = build.sub(result, build.mul(a.zero, beside(build, columns, form)))
    if b.zero is not None:
        left = build.cast(a.value, to=I32)
        centred = left if a.zero is None else build.sub(left, a.zero)
        rows = build.reduce_sum(centred, axes=tuple(range(-form.depth_axes, 0)), keepdims=False)
        result = build.sub(result, build.mul(build.unsqueeze(rows, axes=(-1,)), beside(build, b.zero, form)))
    return result


def beside(build: Builder, x: Value, form: Contract) -> Value:
    """What has extent 1 where the product has m, beside all axes of it: [batch..., 1, n] → [batch..., 1..., n]"""
    if x.type.rank < 2 or form.row_axes == 1:
        return x
    out: Value = build.unsqueeze(x, axes=tuple(range(-1 - form.row_axes, -2)))
    return out


def _of_8_bits(build: Builder, x: Value, k_axis: int, by_row: bool) -> list[_Term]:
    """x in every way that needs no computation at run time; none where it is not known to hold such numbers. by_row: rows may have
    zero points of their own.
    """
    if (known := x.constant) is not None:
        return _constant_of_8_bits(build, known, k_axis)
    below = source(x)
    value, zero = _without_zero(below)
    if value is None or (zero is not None and value.type.shape != below.type.shape):
        return []
    if zero is not None and below is x and by_row:
        along_k = zero.type.shape[k_axis] if zero.type.rank >= -k_axis else 1
        return [_Term(value, zero)] if along_k == 1 else []
    return _moved_8_bits(build, x, value, zero)


def _moved_8_bits(build: Builder, x: Value, value: Value, zero: Value | None) -> list[_Term]:
    """x as its moved source of 8 bits with one zero point, which is what paddings hold."""
    empty = build.constant(0, value.type.dtype)
    if zero is not None:
        if zero.type.elements != 1 or not _is_of(zero, value.type.dtype):
            return []
        zero = build.reshape(zero, shape=())
        empty = build.cast(zero, to=value.type.dtype)
    if any(f.constant is None or f.constant.any() for f in fills(x)):
        return []
    return [_Term(moved(build, x, value, lambda _: empty), zero)]


def _without_zero(x: Value) -> tuple[Value | None, Value | None]:
    """(v, zero) of x = i32(v) - zero, v of 8 bits; the second is None for x = i32(v), both for any other x."""
    if isinstance(x.op, Sub):
        left, zero = x.node.inputs
        return _cast_from_8_bits(left), zero
    return _cast_from_8_bits(x), None


def _is_of(x: Value, dtype: DType) -> bool:
    """Whether all elements of x, int32, are known to be numbers of an 8-bit dtype."""
    number = source(x)
    if (known := number.constant) is not None:
        return bool(known.size) and _fits(known, dtype)
    of = _cast_from_8_bits(number)
    return of is not None and of.type.dtype is dtype


def _cast_from_8_bits(x: Value) -> Value | None:
    below = x.node.inputs[0] if isinstance(x.op, Cast) else None
    return below if below is not None and below.type.dtype in (I8, U8) else None


def _constant_of_8_bits(build: Builder, x: np.ndarray, k_axis: int) -> list[_Term]:
    """As it is where it fits; else from its row's or column's middle."""
    if not x.size:
        return []
    fitting = [_Term(build.constant(x.astype(dtype.numpy))) for dtype in (I8, U8) if _fits(x, dtype)]
    middle = x.min(axis=k_axis, keepdims=True).astype(np.int64) + FLIP
    if fitting or not _fits(x - middle, I8) or not _fits(middle, I16):
        return fitting
    return [_Term(build.constant((x - middle).astype(np.int8)), build.constant((-middle).astype(np.int32)))]


def _fits(x: np.ndarray, dtype: DType) -> bool:
    limits = np.iinfo(dtype.numpy)
    return bool(limits.min <= x.min() and x.max() <= limits.max)


def _of_16_bits(build: Builder, x: Value) -> Value:
    return moved(build, x, build.cast(source(x), to=I16), lambda fill: build.cast(fill, to=I16))


def _fits_16_bits(x: Value) -> bool:
    """Whether all its elements are known to."""
    if any(f.constant is None or not _fits(f.constant, I16) for f in fills(x)):
        return False
    x = source(x)
    if (known := x.constant) is not None:
        return bool(known.size) and _fits(known, I16)
    terms = x.node.inputs if isinstance(x.op, Sub) else (x,)
    return all(_is_of_8_bits(source(t)) for t in terms)


def _is_of_8_bits(x: Value) -> bool:
    if (known := x.constant) is not None:
        return bool(known.size) and (_fits(known, I8) or _fits(known, U8))
    return _cast_from_8_bits(x) is not None


def _flipped(build: Builder, x: _Term) -> _Term:
    """The same matrix from a value of the other signedness."""
    signed = x.value.type.dtype is I8

    def flip(value: Value) -> Value:
        bits = build.bitwise_xor(build.cast(value, to=U8), np.uint8(FLIP))
        return bits if signed else build.cast(bits, to=I8)

    by = np.int32(FLIP if signed else -FLIP)
    zero = build.constant(by, I32) if x.zero is None else build.add(x.zero, by)
    return _Term(moved(build, x.value, flip(source(x.value)), flip), zero)
