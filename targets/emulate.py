"""Instructions that this machine lacks, as plain arithmetic in LLVM: what the stand-ins of all architectures share.

Layouts, tails, addresses and epilogues stay those of the real target. bfloat16 arithmetic flushes subnormal numbers, as real ones do.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import llvmlite.ir as ll

from ..ir.dtypes import DType
from .dot import DotTile


@dataclasses.dataclass(frozen=True)
class EmulatedDotTile(DotTile):
    """The verbs of `DotTile`, calling a function that this module defines."""

    def mac(self, b: Any, acc: Any, x: Any, y: Any) -> Any:
        name = f"emulated.{self.name}.{self.a}.{self.b}"
        function = b.module.globals.get(name)
        if function is None:
            function = ll.Function(b.module, ll.FunctionType(self.vector, [v.type for v in (acc, x, y)]), name)
            function.linkage = "internal"
            function.attributes.add("noinline")
            builder = ll.IRBuilder(function.append_basic_block())
            total, left, right = function.args
            builder.ret(dot(builder, total, left, right, self.a, self.held))
        return b.call(function, [acc, x, y])


def dot(b: Any, total: Any, x: Any, y: Any, x_type: DType, y_type: DType) -> Any:
    """total + Σ_p x[p]·y[p] over the elements p of 32-bit words, one after the other."""
    for p in range(32 // x_type.bits):
        total = plus(b, total, times(b, x, y, x_type, y_type, p))
    return total


def plus(b: Any, x: Any, y: Any) -> Any:
    """x + y; of floats, without subnormal numbers."""
    return _flushed(b, b.fadd(x, y)) if x.type.element == ll.FloatType() else b.add(x, y)


def times(b: Any, x: Any, y: Any, x_type: DType, y_type: DType, p: int) -> Any:
    """The products of elements p: exact (of bf16, but for the ends of the range)."""
    left, right = _part(b, x, x_type, p), _part(b, y, y_type, p)
    return b.fmul(left, right) if x_type.is_float else b.mul(left, right)


def _part(b: Any, words: Any, dtype: DType, p: int) -> Any:
    """Element p of each word: as float32 (bf16 is its upper half) or as a 32-bit integer."""
    top = b.shl(words, _same(words, 32 - dtype.bits * (p + 1)))
    if dtype.is_float:
        halves = b.and_(top, _same(words, 0xFFFF0000))
        return _flushed(b, b.bitcast(halves, ll.VectorType(ll.FloatType(), words.type.count)))
    down = _same(words, 32 - dtype.bits)
    return b.ashr(top, down) if dtype.kind == "int" else b.lshr(top, down)


def _flushed(b: Any, x: Any) -> Any:
    """x with zeros for subnormal numbers."""
    words = b.bitcast(x, ll.VectorType(ll.IntType(32), x.type.count))
    exponent = b.and_(words, _same(words, 0x7F800000))
    small = b.icmp_unsigned("==", exponent, _same(words, 0))
    return b.bitcast(b.select(small, b.and_(words, _same(words, 0x80000000)), words), x.type)


def _same(x: Any, value: int) -> Any:
    return ll.Constant(x.type, [value] * x.type.count)
