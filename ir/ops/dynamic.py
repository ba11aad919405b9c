"""Products of float32 numbers by 8-bit weights whose other side is quantised in the run, and the recurrent cell made of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..builder import Builder
from ..dtypes import F32, I8, U8
from ..errors import TypeMismatch
from ..graph import Input, Value
from ..op import op
from ..types import TensorType
from .recurrent import Lstm

PARAMETERS = 4  # scale and zero point of w, scale and zero point of r


def dynamic_quantised(b: Builder, x: Value) -> tuple[Value, Value, Value]:
    """y (u8), scale, zero point (u8) of x = (y - zero)·scale, nearly; from the range of x stretched to hold 0."""
    low, high = b.min(_of_all(b.reduce_min, x), 0.0), b.max(_of_all(b.reduce_max, x), 0.0)
    scale = b.div(b.sub(high, low), 255.0)
    zero = b.round(b.min(b.max(b.div(b.neg(low), scale), 0.0), 255.0))
    y = b.min(b.max(b.add(b.round(b.div(x, scale)), zero), 0.0), 255.0)
    return b.cast(y, to=U8), scale, b.cast(zero, to=U8)


def _of_all(reduce: Callable[..., Value], x: Value) -> Value:
    """Row by row first, if x is computed here: what computes a row finds its least and greatest, too, and threads share the rows."""
    if x.type.rank > 1 and not isinstance(x.op, Input):
        x = reduce(x, axes=(-1,), keepdims=False)
    return reduce(x, axes=None, keepdims=False)


def dynamic_product(b: Builder, x: Value, w: Value, scale: Value, zero: Value | None) -> Value:
    """x·(w - zero)·scale in float32, x quantised; scale and zero: one number, or one for each column of w [..., k, n]."""
    y, x_scale, x_zero = dynamic_quantised(b, x)
    total = b.mat_mul_integer(y, w, x_zero, *([] if zero is None else [zero]))
    out: Value = b.mul(b.cast(total, to=F32), b.mul(x_scale, scale))
    return out


@op
class DynamicQuantizeLstm(Lstm):
    """`lstm` with 8-bit weights w (input, 4·hidden) and r (hidden, 4·hidden); x, and each step's h, are quantised in the run.

    Before the lengths: scale and zero point of w and of r, each one number or one for each of 4·hidden columns.
    """

    def infer(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, w, r, *rest = types
        lengths = rest[len(rest) - self.masked :]
        parameters = rest[len(rest) - self.masked - PARAMETERS : len(rest) - self.masked]
        for weights, scale, zero in ((w, *parameters[:2]), (r, *parameters[2:])):
            shapes = {(), (1,), weights.shape[1:]}
            if weights.rank != 2 or weights.dtype not in (I8, U8) or zero.dtype is not weights.dtype:
                raise TypeMismatch(f"{self.name}: weights {weights} with zero point {zero}")
            if scale.dtype is not F32 or not {scale.shape, zero.shape} <= shapes:
                raise TypeMismatch(f"{self.name}: scale {scale} and zero point {zero} of weights {weights}")
        floats = rest[: len(rest) - self.masked - PARAMETERS]
        return super().infer(x, x.with_shape(w.shape[::-1]), x.with_shape(r.shape[::-1]), *floats, *lengths)

    def _columns(self, b: Builder, weights: Value) -> Value:
        return weights

    def _product(self, b: Builder, x: Value, columns: Value, more: Sequence[Value], of: int) -> Value:
        scale, zero = more[len(more) - PARAMETERS :][2 * of : 2 * of + 2]
        return dynamic_product(b, x, columns, scale, zero)

    def _multiplied(self, x: Any, weights: Any, more: Sequence[Any], of: int) -> Any:
        scale, zero = more[len(more) - PARAMETERS :][2 * of : 2 * of + 2]
        low, high = np.float32(min(x.min(initial=0), 0)), np.float32(max(x.max(initial=0), 0))
        step = (high - low) / np.float32(255)
        if step == 0:
            return np.zeros((*x.shape[:-1], weights.shape[1]))
        middle = np.rint(np.clip(-low / step, 0, 255))
        y = np.clip(np.rint(x.astype(np.float32) / step) + middle, 0, 255) - middle
        return y.astype(np.float64) @ (weights - zero) * (np.float64(step) * scale)
