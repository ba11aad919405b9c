"""Composite operators along an axis and over space: defined by a small graph of others; fusion makes one kernel of them."""

from __future__ import annotations

import numpy as np

from ..builder import Builder
from ..dtypes import BF16, F16, F32
from ..errors import TypeMismatch
from ..graph import Value
from ..op import Op, normalise_axis, op
from ..types import TensorType


def widened(b: Builder, x: Value) -> Value:
    """x in float32 if it is narrower: sums of 16-bit floats lose too much."""
    wide: Value = b.cast(x, to=F32) if x.type.dtype in (F16, BF16) else x
    return wide


def narrowed(b: Builder, x: Value, like: Value) -> Value:
    out: Value = x if x.type.dtype is like.type.dtype else b.cast(x, to=like.type.dtype)
    return out


class AlongAxis(Op):
    """Base of float operators of one operand that look along an axis."""

    axis: int = -1

    def infer(self, x: TensorType) -> TensorType:
        normalise_axis(self.axis, x.rank, self.name)
        if not x.dtype.is_float:
            raise TypeMismatch(f"{self.name}: takes floats, given {x}")
        return x


@op
class Softmax(AlongAxis):
    """exp(x - max x) / Σ exp(x - max x) along axis"""

    axis: int = -1

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        if not wide.size:
            return x.copy()
        e = np.exp(wide - wide.max(axis=self.axis, keepdims=True))
        return (e / e.sum(axis=self.axis, keepdims=True)).astype(x.dtype)

    def decompose(self, b: Builder, x: Value) -> Value:
        wide = widened(b, x)
        e = b.exp(b.below(wide, b.reduce_max(wide, axes=(self.axis,))))
        return narrowed(b, b.div(e, b.reduce_sum(e, axes=(self.axis,))), x)


@op
class LogSoftmax(AlongAxis):
    """x - max x - log Σ exp(x - max x) along axis"""

    axis: int = -1

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        if not wide.size:
            return x.copy()
        centred = wide - wide.max(axis=self.axis, keepdims=True)
        return (centred - np.log(np.exp(centred).sum(axis=self.axis, keepdims=True))).astype(x.dtype)

    def decompose(self, b: Builder, x: Value) -> Value:
        wide = widened(b, x)
        below = b.below(wide, b.reduce_max(wide, axes=(self.axis,)))
        return narrowed(b, b.sub(below, b.log(b.reduce_sum(b.exp(below), axes=(self.axis,)))), x)


@op
class Hardmax(AlongAxis):
    """1 at the first greatest element along axis, 0 elsewhere"""

    axis: int = -1

    def reference(self, x: np.ndarray) -> np.ndarray:
        out = np.zeros_like(x)
        if x.size:
            np.put_along_axis(out, np.expand_dims(np.argmax(x, axis=self.axis), self.axis), x.dtype.type(1), axis=self.axis)
        return out

    def decompose(self, b: Builder, x: Value) -> Value:
        depth = x.type.shape[self.axis]
        if depth == 0:
            return b.identity(x)
        first = b.arg_max(x, axis=self.axis, keepdims=False)
        values = b.constant(np.array([0, 1]), x.type.dtype)
        hot: Value = b.one_hot(first, values, depth=depth, axis=self.axis)
        return hot


class GlobalPool(Op):
    """Base of reductions over all axes after channels."""

    def infer(self, x: TensorType) -> TensorType:
        if x.rank < 2:
            raise TypeMismatch(f"{self.name}: takes [batch, channels, space…], given {x}")
        return x.with_shape((*x.shape[:2], *(1,) * (x.rank - 2)))


@op
class GlobalAveragePool(GlobalPool):
    """The mean over all axes after channels"""

    def reference(self, x: np.ndarray) -> np.ndarray:
        return x.astype(np.float64).mean(axis=tuple(range(2, x.ndim)), keepdims=True).astype(x.dtype)

    def decompose(self, b: Builder, x: Value) -> Value:
        return narrowed(b, b.reduce_mean(widened(b, x), axes=tuple(range(2, x.type.rank))), x)


@op
class GlobalMaxPool(GlobalPool):
    """The maximum over all axes after channels; of no elements: the least value of the dtype"""

    def reference(self, x: np.ndarray) -> np.ndarray:
        least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
        return np.max(x, axis=tuple(range(2, x.ndim)), keepdims=True, initial=x.dtype.type(least))

    def decompose(self, b: Builder, x: Value) -> Value:
        pooled: Value = b.reduce_max(x, axes=tuple(range(2, x.type.rank)))
        return pooled
