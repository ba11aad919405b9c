"""Operators over quantised numbers: convolutions and products in integers, the rest by its float32 meaning between them."""

from __future__ import annotations

from ....ir.dtypes import F32, I32
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op
from .attention import MICROSOFT, signature
from .convolution import average_pool, convolved
from .quantisation import dequantize, limits, quantize

PAIR = ("a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "scale", "zero")
PAIR_NEEDED = ("a", "a_scale", "b", "b_scale", "scale")
ONE = ("x", "x_scale", "x_zero", "scale", "zero")
ONE_NEEDED = ("x", "x_scale", "scale")
WINDOW = ("auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides", "dilations")
GEMM = ("a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "c", "scale", "zero")
CHOICE_NEEDED = ("condition", "a", "a_scale", "b", "b_scale", "scale")
CHOICE = ("condition", "a", "a_scale", "a_zero", "b", "b_scale", "b_zero", "scale", "zero")

for _name, _mapping in (("DequantizeLinear", dequantize), ("QuantizeLinear", quantize)):
    onnx_op(_name, domain=MICROSOFT)(_mapping)


@onnx_op("ConvInteger", since=10)
def conv_integer(call: Call, x: Value, weights: Value, x_zero: Value | None = None, w_zero: Value | None = None) -> Value:
    """Padding is the zero point of x, so zeros once that is taken off. That of weights may be one for each of their rows."""
    return convolved(call, _centred(call, x, x_zero), _centred(call, weights, w_zero))


@onnx_op("QLinearConv")
def quantised_conv(
    call: Call, x: Value, x_scale: Value, x_zero: Value, w: Value, w_scale: Value, w_zero: Value, scale: Value, zero: Value,
    bias: Value | None = None,
) -> Value:  # fmt: skip
    """saturate(round((x - x_zero) * (w - w_zero) + bias) · x_scale·w_scale/scale) + zero); scales of w may be one a row."""
    b = call.build
    total = convolved(call, _centred(call, x, x_zero), _centred(call, w, w_zero), bias)
    one_a_row = (w_scale.type.elements, *[1] * (x.type.rank - 2))
    factor = b.div(b.mul(_one(call, x_scale), b.reshape(w_scale, shape=one_a_row)), _one(call, scale))
    return requantised(call, b.mul(b.cast(total, to=F32), factor), zero)


def requantised(call: Call, x: Value, zero: Value) -> Value:
    """saturate(round(x) + zero) in the type of zero, which is one number"""
    b, (low, high) = call.build, limits(zero.type.dtype)
    shifted = b.add(b.round(x), b.cast(_one(call, zero), to=F32))
    out: Value = b.cast(b.min(b.max(shifted, low), high), to=zero.type.dtype)
    return out


def _one(call: Call, x: Value) -> Value:
    """A scale or zero point that is one number, as a scalar. Raises InvalidModel for more."""
    if x.type.elements != 1:
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: {x.type} is not one number")
    out: Value = call.build.reshape(x, shape=())
    return out


def _centred(call: Call, x: Value, zero: Value | None) -> Value:
    """x - zero in int32; zero: one number, or one for each row of x."""
    b, wide = call.build, call.build.cast(x, to=I32)
    if zero is None:
        return wide
    shape = () if zero.type.elements == 1 else (zero.type.elements, *[1] * (x.type.rank - 1))
    out: Value = b.sub(wide, b.reshape(b.cast(zero, to=I32), shape=shape))
    return out


# -- ONNX Runtime's own: float32 in between --------------------------------------------------------------------------------


@onnx_op("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def quantised_arithmetic(call: Call, *operands: Value | None) -> Value:
    """quantise(a + b) or quantise(a · b) of dequantised a and b"""
    a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = signature(call, operands, PAIR, (), needed=PAIR_NEEDED)
    x, y = dequantize(call, a, a_scale, a_zero), dequantize(call, b, b_scale, b_zero)
    return _quantised(call, getattr(call.build, call.op_type.removeprefix("QLinear").lower())(x, y), scale, zero, a)


@onnx_op("QLinearWhere", domain=MICROSOFT)
def quantised_where(call: Call, *operands: Value | None) -> Value:
    condition, a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = signature(call, operands, CHOICE, (), needed=CHOICE_NEEDED)
    x, y = dequantize(call, a, a_scale, a_zero), dequantize(call, b, b_scale, b_zero)
    return _quantised(call, call.build.where(condition, x, y), scale, zero, a)


@onnx_op("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", domain=MICROSOFT)
def quantised_activation(call: Call, *operands: Value | None) -> Value:
    """quantise(f(dequantise(x)))"""
    b = call.build
    x, x_scale, x_zero, scale, zero = signature(call, operands, ONE, ("alpha", "axis", "opset"), needed=ONE_NEEDED)
    real = dequantize(call, x, x_scale, x_zero)
    if call.op_type == "QLinearSigmoid":
        return _quantised(call, b.sigmoid(real), scale, zero, x)
    if call.op_type == "QLinearLeakyRelu":
        return _quantised(call, b.leaky_relu(real, alpha=call.attr("alpha", 0.01)), scale, zero, x)
    axis, rank = call.attr("axis", -1), x.type.rank
    if call.required("opset") < 13 and axis not in (-1, rank - 1):
        raise Unsupported(f"axis {axis} of {x.type}, which opset {call.required('opset')} takes for a matrix")
    return _quantised(call, b.softmax(real, axis=axis), scale, zero, x)


@onnx_op("QLinearGlobalAveragePool", "QLinearAveragePool", domain=MICROSOFT)
def quantised_average(call: Call, *operands: Value | None) -> Value:
    """quantise of the mean of dequantised x over windows or all of space"""
    everywhere = call.op_type == "QLinearGlobalAveragePool"
    attributes = ("channels_last",) if everywhere else WINDOW
    x, x_scale, x_zero, scale, zero = signature(call, operands, ONE, attributes, needed=ONE_NEEDED)
    real = dequantize(call, x, x_scale, x_zero)
    if not everywhere:
        return _quantised(call, average_pool(call, real), scale, zero, x)
    first = 1 if call.attr("channels_last", 0) else 2
    mean = call.build.reduce_mean(real, axes=tuple(range(first, first + x.type.rank - 2)), keepdims=True)
    return _quantised(call, mean, scale, zero, x)


@onnx_op("QLinearConcat", domain=MICROSOFT)
def quantised_concat(call: Call, scale: Value, zero: Value, *parts: Value) -> Value:
    """Parts are a tensor, its scale and its zero point each."""
    if not parts or len(parts) % 3:
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} has {len(parts)} inputs behind its zero point")
    real = [dequantize(call, *parts[k : k + 3]) for k in range(0, len(parts), 3)]
    return _quantised(call, call.build.concat(*real, axis=call.required("axis")), scale, zero, parts[0])


@onnx_op("QGemm", domain=MICROSOFT)
def quantised_gemm(call: Call, *operands: Value | None) -> Value:
    """alpha·a_scale·b_scale·((a - a_zero)·(b - b_zero) + c), quantised if there is a scale for that; c: int32"""
    attributes, needed = ("alpha", "transA", "transB"), GEMM[:6]
    a, a_scale, a_zero, w, w_scale, w_zero, c, scale, zero = signature(call, operands, GEMM, attributes, needed=needed)
    b = call.build
    columns = w.type.shape[0 if call.attr("transB", 0) else 1]
    left = _centred(call, a, _one(call, a_zero))
    if w_zero.type.elements != 1 and call.attr("transB", 0):
        w_zero = b.reshape(w_zero, shape=(columns, 1))
    right = b.sub(b.cast(w, to=I32), b.cast(w_zero, to=I32))
    left, right = (b.transpose(v, perm=(1, 0)) if call.attr(name, 0) else v for v, name in ((left, "transA"), (right, "transB")))
    total = b.matmul(left, right)
    total = total if c is None else b.add(total, c)
    real = b.mul(b.cast(total, to=F32), b.mul(b.mul(_one(call, a_scale), w_scale), call.attr("alpha", 1.0)))
    return real if scale is None else _quantised(call, real, scale, zero, a)


def _quantised(call: Call, x: Value, scale: Value, zero: Value | None, like: Value) -> Value:
    """x in the type of zero, or of `like` with zero 0"""
    b = call.build
    offset = b.constant(0, like.type.dtype) if zero is None else zero
    return requantised(call, b.div(x, _one(call, scale)), offset)
