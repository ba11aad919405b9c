"""Conversions between element types, with ONNX's rules for what does not fit."""

from __future__ import annotations

from typing import Any

from ....ir.dtypes import F8E8M0, F32, I32, STRING, U8, U32, DType
from ....ir.errors import Unsupported
from ....ir.graph import Value
from ..call import Call
from ..registry import dtype_attribute, onnx_op
from ..text import Text, written


@onnx_op("Cast")
def cast(call: Call, x: Value) -> Value | Text:
    to = dtype_attribute(call.required("to"), call)
    return written(call.build, x) if to is STRING else convert(call, x, to)


@onnx_op("CastLike")
def cast_like(call: Call, x: Value, like: Value) -> Value:
    return convert(call, x, like.type.dtype)


@onnx_op("BitCast")
def bit_cast(call: Call, x: Value) -> Value:
    to = dtype_attribute(call.required("to"), call)
    return x if to is x.type.dtype else call.build.bit_cast(x, to=to)


def convert(call: Call, x: Value, to: DType) -> Value:
    """x as `to`: float8 saturates unless the node says otherwise, integers of less than 8 bits wrap."""
    b, dtype = call.build, x.type.dtype
    if dtype is to:
        return x
    if to is F8E8M0:
        return _exponent(call, b.cast(x, to=F32))
    if to.is_integer and to.bits < 8 and dtype.is_float:
        x = b.cast(x, to=I32)
    return b.cast(saturated(call, x, to), to=to)


def saturated(call: Call, x: Value, to: DType) -> Value:
    """x within the finite range of a float8 type (NaN stays NaN); x itself for other types or saturate = 0."""
    if not (to.is_float and to.bits == 8 and x.type.dtype.is_float and call.attr("saturate", 1)):
        return x
    import ml_dtypes

    finfo: Any = ml_dtypes.finfo  # its package says that it is typed, but has no annotations
    top = float(finfo(to.numpy).max)
    wide = call.build.cast(x, to=F32) if x.type.dtype.bits < 16 else x  # which may have no such number
    return call.build.min(call.build.max(wide, -top), top)


def _exponent(call: Call, x: Value) -> Value:
    """The power of two that float32 |x| is rounded to, as f8e8m0: up, down or nearest (ties up). NaN and infinities become NaN.

    Read as an integer, x grows with its bits: what is added before the mantissa is cut off is what decides. Subnormal numbers are taken
    by their bits too, so that zero becomes 2^-127; of these, the half of 2^-126 stays at nearest.
    """
    b = call.build
    bits = b.bitwise_and(b.bit_cast(x, to=U32), 0x7FFFFFFF)
    mode = call.attr("round_mode", "up")
    if mode == "nearest":
        step = b.sub(1 << 22, b.cast(b.equal(bits, 1 << 22), to=U32))
    elif mode in ("up", "down"):
        step = b.constant((1 << 23) - 1 if mode == "up" else 0, U32)
    else:
        raise Unsupported(f"round_mode {mode!r}")
    code = b.bit_shift(b.add(bits, step), 23, direction="RIGHT")
    if call.attr("saturate", 1):
        code = b.min(code, 0xFE)
    infinite = b.greater_or_equal(bits, 0x7F800000)
    return b.bit_cast(b.cast(b.where(infinite, b.constant(0xFF, U32), code), to=U8), to=F8E8M0)
