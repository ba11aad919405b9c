"""Normalisation and general matrix products."""

from __future__ import annotations

from typing import Any

from ....ir.dtypes import F32, F64
from ....ir.errors import Unsupported
from ....ir.graph import Value
from ....ir.ops.normalisation import RMSNormalization
from ..call import Call
from ..registry import onnx_op


@onnx_op("Gemm")
def gemm(call: Call, a: Value, b: Value, c: Value | None = None) -> Value:
    """alpha·a·b + beta·c, a and b transposed on request."""
    build, dtype = call.build, a.type.dtype
    x = build.transpose(a, perm=(1, 0)) if call.attr("transA") else a
    y = build.transpose(b, perm=(1, 0)) if call.attr("transB") else b
    out = build.matmul(x, y)
    alpha, beta = call.attr("alpha"), call.attr("beta")
    if alpha != 1.0:
        out = build.mul(out, build.constant(alpha, dtype))
    if c is None or beta == 0.0:
        return out
    return build.add(out, c if beta == 1.0 else build.mul(c, build.constant(beta, dtype)))


@onnx_op("RMSNormalization", since=23)
def rms_normalization(call: Call, x: Value, scale: Value) -> Any:
    """The result has the scale's dtype, which may be another than x's."""
    kinds = (x.type.dtype, scale.type.dtype)
    if kinds[0] is kinds[1]:
        return call.generic(x, scale)
    b, wide = call.build, F64 if F64 in kinds else F32
    normal: Value = b.cast(call.make(RMSNormalization, b.cast(x, to=wide), b.cast(scale, to=wide)), to=kinds[1])
    return normal


@onnx_op("BatchNormalization")
def batch_normalization(call: Call, x: Value, scale: Value, bias: Value, mean: Value, variance: Value) -> Any:
    """(x - mean) / √(variance + epsilon) · scale + bias along axis 1."""
    if call.attr("spatial", 1) != 1:
        raise Unsupported("spatial = 0")
    if call.attr("training_mode", 0):
        return _of_this_batch(call, x, scale, bias, mean, variance)
    return _normalised(call, x, scale, bias, mean, variance)


def _of_this_batch(call: Call, x: Value, scale: Value, bias: Value, mean: Value, variance: Value) -> tuple[Value, Value, Value]:
    """By the mean and variance of x itself; then the running ones, which these join with weight 1 - momentum."""
    b = call.build
    wide = b.cast(x, to=variance.type.dtype)
    axes = tuple(k for k in range(x.type.rank) if k != 1)
    here = b.reduce_mean(wide, axes=axes, keepdims=True)
    spread = b.sub(wide, here)
    power = b.reduce_mean(b.mul(spread, spread), axes=axes, keepdims=True)
    found = [b.reshape(v, shape=mean.type.shape) for v in (here, power)]
    keep = call.attr("momentum")
    running = [
        b.cast(b.add(b.mul(b.cast(old, to=wide.type.dtype), keep), b.mul(new, 1 - keep)), to=old.type.dtype)
        for old, new in zip((mean, variance), found)
    ]
    return _normalised(call, x, scale, bias, *found), running[0], running[1]


def _normalised(call: Call, x: Value, scale: Value, bias: Value, mean: Value, variance: Value) -> Value:
    b, dtype = call.build, x.type.dtype
    factor = b.div(
        b.cast(scale, to=variance.type.dtype), b.sqrt(b.add(variance, b.constant(call.attr("epsilon"), variance.type.dtype)))
    )
    shift = b.sub(b.cast(bias, to=variance.type.dtype), b.mul(b.cast(mean, to=variance.type.dtype), factor))
    column = (-1,) if x.type.rank < 2 else (x.type.shape[1], *[1] * (x.type.rank - 2))
    if x.type.rank < 2:
        column = scale.type.shape
    wide = b.cast(x, to=variance.type.dtype)
    out = b.add(b.mul(wide, b.reshape(factor, shape=column)), b.reshape(shift, shape=column))
    return b.cast(out, to=dtype)
