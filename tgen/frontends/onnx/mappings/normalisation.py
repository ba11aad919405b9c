"""Normalisation and general matrix products."""

from __future__ import annotations

from ....ir.errors import Unsupported
from ....ir.graph import Value
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


@onnx_op("BatchNormalization")
def batch_normalization(call: Call, x: Value, scale: Value, bias: Value, mean: Value, variance: Value) -> Value:
    """(x - mean) / √(variance + epsilon) · scale + bias along axis 1."""
    if call.attr("training_mode", 0) or call.attr("spatial", 1) != 1:
        raise Unsupported("training mode" if call.attr("training_mode", 0) else "spatial = 0")
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
