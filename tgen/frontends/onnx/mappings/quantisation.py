"""Linear quantisation by elementwise ops: per tensor, per axis, per block."""

from __future__ import annotations

from typing import Any

from ....ir.dtypes import F32, I32, U8, DType
from ....ir.errors import InvalidModel
from ....ir.graph import Value
from ....ir.op import normalise_axis
from ....ir.ops.dynamic import dynamic_quantised
from ..call import Call
from ..registry import dtype_attribute, onnx_op
from .conversion import saturated


@onnx_op("DequantizeLinear")
def dequantize(call: Call, x: Value, scale: Value, zero: Value | None = None) -> Value:
    """(x - zero point) · scale, in the type of scale (or output_dtype)."""
    b = call.build
    to = dtype_attribute(call.attr("output_dtype", 0), call) if call.attr("output_dtype", 0) else scale.type.dtype
    wide = I32 if x.type.dtype.is_integer else F32
    centred = b.cast(x, to=wide)
    if zero is not None:
        centred = b.sub(centred, _spread(call, b.cast(zero, to=wide), x))
    return b.cast(b.mul(b.cast(centred, to=F32), b.cast(_spread(call, scale, x), to=F32)), to=to)


@onnx_op("QuantizeLinear")
def quantize(call: Call, x: Value, scale: Value, zero: Value | None = None) -> Value:
    """saturate(round(x / scale) + zero point); ties to even."""
    b = call.build
    to = _target(call, zero)
    wide = b.div(b.cast(x, to=F32), b.cast(_spread(call, scale, x), to=F32))
    if to.is_float:
        return b.cast(saturated(call, wide, to), to=to)
    low, high = limits(to)
    rounded = b.round(wide)
    if zero is not None:
        rounded = b.add(rounded, b.cast(_spread(call, zero, x), to=F32))
    return b.cast(b.min(b.max(rounded, low), high), to=to)


@onnx_op("DynamicQuantizeLinear")
def dynamic_quantize(call: Call, x: Value) -> tuple[Value, Value, Value]:
    """y (u8), scale, zero point (u8), from the range of x stretched to hold 0."""
    return dynamic_quantised(call.build, x)


@onnx_op("QLinearMatMul")
def quantised_matmul(
    call: Call, a: Value, a_scale: Value, a_zero: Value, b: Value, b_scale: Value, b_zero: Value, scale: Value, zero: Value
) -> Value:
    """saturate(round(Σ_k (a - a_zero)·(b - b_zero) · a_scale·b_scale/scale) + zero); scales of a may be one a row, of b one a column."""
    build = call.build
    total = build.cast(build.mat_mul_integer(a, b, a_zero, b_zero), to=F32)
    factors = [build.cast(v, to=F32) for v in (a_scale, b_scale, scale)]
    for k in (0, 2):
        if factors[k].type.rank == 1 and factors[k].type.shape != (1,):  # one a row
            factors[k] = build.unsqueeze(factors[k], axes=(1,))
    factor = build.div(build.mul(factors[0], factors[1]), factors[2])
    offset = build.cast(zero, to=F32)
    if offset.type.rank == 1 and offset.type.shape != (1,):
        offset = build.unsqueeze(offset, axes=(1,))
    low, high = limits(zero.type.dtype)
    wide = build.add(build.round(build.mul(total, factor)), offset)
    y: Value = build.cast(build.min(build.max(wide, low), high), to=zero.type.dtype)
    return y


def limits(dtype: DType) -> tuple[float, float]:
    """The least and greatest value of an integer type."""
    if dtype.kind == "int":
        return -float(1 << (dtype.bits - 1)), float((1 << (dtype.bits - 1)) - 1)
    return 0.0, float((1 << dtype.bits) - 1)


def _target(call: Call, zero: Value | None) -> DType:
    if zero is not None:
        return zero.type.dtype
    code = call.attr("output_dtype", 0)
    return dtype_attribute(code, call) if code else U8


def _spread(call: Call, parameter: Value, x: Value) -> Value:
    """A scale or zero point in a shape that broadcasts against x: one, one for each index of the axis, or one a block."""
    b, shape = call.build, parameter.type.shape
    if not shape or shape == (1,):
        return b.reshape(parameter, shape=())
    axis = normalise_axis(call.attr("axis", 1), x.type.rank, call.op_type.lower())
    if parameter.type.rank == 1:
        return b.reshape(parameter, shape=(*shape, *[1] * (x.type.rank - 1 - axis)))
    return _blocked(call, parameter, x, axis)


def _blocked(call: Call, parameter: Value, x: Value, axis: int) -> Any:
    """Every entry along the axis repeated block_size times, cut to x's extent."""
    b, shape, block = call.build, parameter.type.shape, call.attr("block_size", 0)
    if not block or parameter.type.rank != x.type.rank:
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: scale {parameter.type} does not fit {x.type}")
    wide = b.expand(b.unsqueeze(parameter, axes=(axis + 1,)), shape=(*shape[: axis + 1], block, *shape[axis + 1 :]))
    rows = b.reshape(wide, shape=(*shape[:axis], shape[axis] * block, *shape[axis + 1 :]))
    if rows.type.shape[axis] == x.type.shape[axis]:
        return rows
    return b.slice(rows, axes=(axis,), starts=(0,), sizes=(x.type.shape[axis],), steps=(1,))
