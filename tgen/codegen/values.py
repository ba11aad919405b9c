"""Values of each dtype: their LLVM types in registers and in memory, and the way between.

In registers bool is i1, and floats of 16 and 8 bits are float32 values that are already rounded; in memory they have their own width.
"""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll
import numpy as np

from ..ir.dtypes import BF16, BOOL, F16, F64, DType
from ..ir.errors import Unsupported
from .context import I1, I8, I16, I32
from .narrow import FORMATS, decode, encode


def register_type(dtype: DType) -> ll.Type:
    if dtype is F64:
        return ll.DoubleType()
    if dtype.is_float:
        return ll.FloatType()
    if dtype is BOOL:
        return I1
    if dtype.is_integer:
        return ll.IntType(max(8, dtype.bits))
    raise Unsupported(f"no machine code for values of dtype {dtype} yet")


def memory_type(dtype: DType) -> ll.Type:
    if dtype is BOOL:
        return I8
    if dtype in FORMATS:
        return I8
    if dtype is BF16:
        return I16
    return ll.HalfType() if dtype is F16 else register_type(dtype)


def widen(type_: ll.Type, lanes: int) -> ll.Type:
    return type_ if lanes == 1 else ll.VectorType(type_, lanes)


def constant(dtype: DType, value: Any, lanes: int = 1) -> Any:
    type_ = register_type(dtype)
    if dtype.is_float and dtype is not F64:
        value = float(np.float32(value))
    one = ll.Constant(type_, int(value) if not dtype.is_float else value)
    return one if lanes == 1 else ll.Constant(ll.VectorType(type_, lanes), [one] * lanes)


def from_memory(b: Any, x: Any, dtype: DType, lanes: int) -> Any:
    if dtype is BOOL:
        return b.icmp_unsigned("!=", x, ll.Constant(x.type, None))
    if dtype.is_integer and dtype.bits < 8:  # the low bits of a byte hold the value, whatever is above them
        gap = _integers(8 - dtype.bits, lanes, I8)
        high = b.shl(x, gap)
        return b.ashr(high, gap) if dtype.kind == "int" else b.lshr(high, gap)
    if dtype in FORMATS:
        return decode(b, x, dtype)
    if dtype is F16:
        return b.fpext(x, widen(ll.FloatType(), lanes))
    if dtype is BF16:
        wide = b.shl(b.zext(x, widen(I32, lanes)), _integers(16, lanes))
        return b.bitcast(wide, widen(ll.FloatType(), lanes))
    return x


def to_memory(b: Any, x: Any, dtype: DType, lanes: int) -> Any:
    if dtype is BOOL:
        return b.zext(x, widen(I8, lanes))
    if dtype in FORMATS:
        return encode(b, x, dtype)
    if dtype is F16:
        return b.fptrunc(x, widen(ll.HalfType(), lanes))
    if dtype is BF16:
        return b.trunc(b.lshr(b.bitcast(x, widen(I32, lanes)), _integers(16, lanes)), widen(I16, lanes))
    return x


def _integers(value: int, lanes: int, type_: ll.Type = I32) -> Any:
    return type_(value) if lanes == 1 else ll.Constant(ll.VectorType(type_, lanes), [value] * lanes)
