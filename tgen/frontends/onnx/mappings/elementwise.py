"""Elementwise operators that are not the IR's as they stand: variadic ones, mixed types, attributes that became inputs."""

from __future__ import annotations

import functools

from ....ir.graph import Value
from ....ir.op import normalise_axis
from ..call import Call
from ..registry import onnx_op
from ..structured import Item


@onnx_op("Identity")
def identity(call: Call, x: Item) -> Item:
    return x


@onnx_op("Max", "Min")
def extremum(call: Call, *xs: Value) -> Value:
    return functools.reduce(getattr(call.build, call.op_type.lower()), xs)


@onnx_op("Sum")
def total(call: Call, *xs: Value) -> Value:
    return functools.reduce(call.build.add, xs)


@onnx_op("Mean")
def mean(call: Call, *xs: Value) -> Value:
    return xs[0] if len(xs) == 1 else call.build.div(functools.reduce(call.build.add, xs), float(len(xs)))


@onnx_op("Clip", since=6)
def clip_attributes(call: Call, x: Value) -> Value:
    """The limits are attributes; by default the largest finite values."""
    limits = (call.build.constant(call.attr(name), x.type.dtype) for name in ("min", "max"))
    return call.build.clip(x, *limits)


@onnx_op("Clip", since=11)
def clip(call: Call, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    """The limits are optional scalars; low > high gives high."""
    b = call.build
    if low is not None and high is not None:
        return b.clip(x, low, high)
    x = b.max(x, low) if low is not None else x
    return b.min(x, high) if high is not None else x


_BINARY = ("Add", "Sub", "Mul", "Div", "And", "Or", "Xor", "Equal", "Greater", "Less")


@onnx_op(*_BINARY, "Pow", since=6)
def binary_with_axis(call: Call, a: Value, b: Value) -> Value:
    """Before opset 7 the second operand broadcasts only if asked, its first axis at `axis` of the first operand."""
    if call.attr("broadcast", 0) and "axis" in call.explicit:
        trailing = a.type.rank - normalise_axis(call.attr("axis"), a.type.rank, call.op_type.lower()) - b.type.rank
        b = call.build.reshape(b, shape=(*b.type.shape, *[1] * max(0, trailing)))
    return getattr(call.build, call.op_type.lower())(a, b)


@onnx_op(*_BINARY, since=7)
def binary(call: Call, a: Value, b: Value) -> Value:
    return getattr(call.build, call.op_type.lower())(a, b)


@onnx_op("Pow", since=7)
def power(call: Call, x: Value, exponent: Value) -> Value:
    """x ^ exponent in the type of x; an exponent of another type is converted, x of integers to a float exponent by way of float."""
    b, dtype = call.build, x.type.dtype
    if exponent.type.dtype is dtype:
        return b.pow(x, exponent)
    if dtype.is_float or exponent.type.dtype.is_integer:
        return b.pow(x, b.cast(exponent, to=dtype))
    return b.cast(b.pow(b.cast(x, to=exponent.type.dtype), exponent), to=dtype)


@onnx_op("PRelu", since=1)
def prelu_by_channel(call: Call, x: Value, slope: Value) -> Value:
    """Before opset 7: one slope for each channel (axis 1), or one for all."""
    shape, rank = slope.type.shape, x.type.rank
    if len(shape) == 1 and shape != (1,) and rank > 1:
        slope = call.build.reshape(slope, shape=(*shape, *[1] * (rank - 2)))
    return call.build.prelu(x, slope)


@onnx_op("PRelu", since=7)
def prelu(call: Call, x: Value, slope: Value) -> Value:
    return call.build.prelu(x, slope)
