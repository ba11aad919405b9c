"""integers: products of int32 matrices that hold small numbers, as products of the small ones, where the target is faster at those.

    (a - p)·(b - q) = a·b - p·colsum(b) - rowsum(a - p)·q        a, b: 8 bits; p: one for each row; q: one for each column
    a - p = flipped(a) - (p ± 128)                               for an instruction that wants a of the other signedness
    a·b = i16(a)·i16(b)                                          where both fit 16 bits
Every step is exact, sums wrap as int32 does. Zero points are such p and q; sums over weights are folded.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..ir.builder import Builder
from ..ir.dtypes import I8, I16, I32, U8, DType
from ..ir.expr import Kept
from ..ir.graph import Graph, Node, Value
from ..ir.ops.contraction import MatMul
from ..ir.ops.conversion import Cast
from ..ir.ops.elementwise import Sub
from ..ir.ops.fused import Contraction
from ..ir.rewrite import rewrite
from ..targets.target import Target
from .cost import Shape, choose

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
        if not isinstance(node.op, MatMul) or node.types[0].dtype is not I32 or any(v.type.rank < 2 for v in inputs):
            return None
        a, b = inputs
        shape = Shape.of(a.type, b)
        build = Builder()
        with build.origin(node.origin):
            ways = [(cycles(x.value.type.dtype, y.value.type.dtype, shape), x, y) for x, y in _ways(build, a, b)]
            best = min(ways, key=lambda way: way[0], default=None)
            if best is None or best[0] >= cycles(I32, I32, shape):
                return None
            return _product(build, *best[1:])

    return rewrite(graph, [small])


def cycles_on(target: Target) -> Cycles:
    """By the target's cost model."""

    def cycles(a: DType, b: DType, shape: Shape) -> float:
        choice = choose(target, (a, b, I32), shape)
        return float("inf") if choice is None else choice.cycles

    return cycles


def _ways(build: Builder, a: Value, b: Value) -> Iterator[tuple[_Term, _Term]]:
    """Small numbers that a and b can be had from; the simplest first."""
    pairs = list(itertools.product(_of_8_bits(build, a, -1), _of_8_bits(build, b, -2)))
    yield from pairs
    yield from ((_flipped(build, x), y) for x, y in pairs)
    if _fits_16_bits(a) and _fits_16_bits(b):
        yield _Term(build.cast(a, to=I16)), _Term(build.cast(b, to=I16))


def _product(build: Builder, a: _Term, b: _Term) -> Value:
    result = build.apply(Contraction((Kept(I32, 0),), accumulate=I32), a.value, b.value)
    if a.zero is not None:
        columns = build.reduce_sum(build.cast(b.value, to=I32), axes=(-2,))
        result = build.sub(result, build.mul(a.zero, columns))
    if b.zero is not None:
        left = build.cast(a.value, to=I32)
        rows = build.reduce_sum(left if a.zero is None else build.sub(left, a.zero), axes=(-1,))
        result = build.sub(result, build.mul(rows, b.zero))
    return result


def _of_8_bits(build: Builder, x: Value, k_axis: int) -> list[_Term]:
    """x in every way that needs no computation at run time; none where it is not known to hold such numbers."""
    if x.constant is not None:
        return _constant_of_8_bits(build, x.constant, k_axis)
    value = _cast_from_8_bits(x)
    if value is not None:
        return [_Term(value)]
    if not isinstance(x.op, Sub):
        return []
    left, zero = x.node.inputs
    value = _cast_from_8_bits(left)
    along_k = zero.type.shape[k_axis] if zero.type.rank >= -k_axis else 1
    return [_Term(value, zero)] if value is not None and value.type.shape == x.type.shape and along_k == 1 else []


def _cast_from_8_bits(x: Value) -> Value | None:
    source = x.node.inputs[0] if isinstance(x.op, Cast) else None
    return source if source is not None and source.type.dtype in (I8, U8) else None


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


def _fits_16_bits(x: Value) -> bool:
    """Whether all its elements are known to."""
    if x.constant is not None:
        return bool(x.constant.size) and _fits(x.constant, I16)
    terms = x.node.inputs if isinstance(x.op, Sub) else (x,)
    return all(_cast_from_8_bits(t) is not None or (t.constant is not None and _fits_8_bits(t.constant)) for t in terms)


def _fits_8_bits(x: np.ndarray) -> bool:
    return bool(x.size) and (_fits(x, I8) or _fits(x, U8))


def _flipped(build: Builder, x: _Term) -> _Term:
    """The same matrix from a value of the other signedness."""
    signed = x.value.type.dtype is I8
    bits = build.bitwise_xor(build.cast(x.value, to=U8), np.uint8(FLIP))
    by = np.int32(FLIP if signed else -FLIP)
    zero = build.constant(by, I32) if x.zero is None else build.add(x.zero, by)
    return _Term(bits if signed else build.cast(bits, to=I8), zero)
