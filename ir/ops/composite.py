"""Composite operators: defined by a small graph of others; fusion makes one kernel of them."""

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
        e = b.exp(b.sub(wide, b.reduce_max(wide, axes=(self.axis,))))
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
        centred = b.sub(wide, b.reduce_max(wide, axes=(self.axis,)))
        return narrowed(b, b.sub(centred, b.log(b.reduce_sum(b.exp(centred), axes=(self.axis,)))), x)


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
        first = b.arg_max(x, axis=self.axis, keepdims=False)
        values = b.constant(np.array([0, 1]), x.type.dtype)
        hot: Value = b.one_hot(first, values, depth=depth, axis=self.axis)
        return hot


def _last_axes(axis: int, x: TensorType, name: str) -> tuple[int, ...]:
    return tuple(range(normalise_axis(axis, x.rank, name), x.rank))


@op
class LayerNormalization(Op):
    """y = (x - mean) / √(variance + epsilon) · scale + bias over the axes from `axis` on; also the mean and 1/√(…), in float32.

    Operands: x, scale and, optionally, bias, which broadcast to x. Results: y, mean, inverse standard deviation.
    """

    axis: int = -1
    epsilon: float = 1e-5

    def infer(self, x: TensorType, scale: TensorType, bias: TensorType | None = None) -> tuple[TensorType, ...]:
        axes = _last_axes(self.axis, x, "layer_normalization")
        if not x.dtype.is_float or scale.dtype is not x.dtype:
            raise TypeMismatch(f"layer_normalization of {x} with scale {scale}")
        kept = TensorType(x.dtype if x.dtype.bits > 32 else F32, tuple(1 if k in axes else d for k, d in enumerate(x.shape)))
        return x, kept, kept

    def reference(self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        wide = x.astype(np.float64)
        mean = wide.mean(axis=axes, keepdims=True)
        inverse = 1 / np.sqrt(((wide - mean) ** 2).mean(axis=axes, keepdims=True) + self.epsilon)
        y = (wide - mean) * inverse * scale.astype(np.float64)
        y = y if bias is None else y + bias.astype(np.float64)
        kept = x.dtype if x.dtype == np.float64 else np.float32
        return y.astype(x.dtype), mean.astype(kept), inverse.astype(kept)

    def decompose(self, b: Builder, x: Value, scale: Value, bias: Value | None = None) -> tuple[Value, ...]:
        axes = _last_axes(self.axis, x.type, "layer_normalization")
        wide = widened(b, x)
        mean = b.reduce_mean(wide, axes=axes)
        centred = b.sub(wide, mean)
        inverse = b.div(1.0, b.sqrt(b.add(b.reduce_mean(b.mul(centred, centred), axes=axes), self.epsilon)))
        y = b.mul(b.mul(centred, inverse), widened(b, scale))
        y = y if bias is None else b.add(y, widened(b, bias))
        return narrowed(b, y, x), mean, inverse


@op
class RMSNormalization(Op):
    """x / √(mean x² + epsilon) · scale over the axes from `axis` on"""

    axis: int = -1
    epsilon: float = 1e-5

    def infer(self, x: TensorType, scale: TensorType) -> TensorType:
        _last_axes(self.axis, x, "rms_normalization")
        if not x.dtype.is_float or scale.dtype is not x.dtype:
            raise TypeMismatch(f"rms_normalization of {x} with scale {scale}")
        return x

    def reference(self, x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        axes = tuple(range(self.axis % x.ndim, x.ndim))
        wide = x.astype(np.float64)
        return (wide / np.sqrt((wide**2).mean(axis=axes, keepdims=True) + self.epsilon) * scale.astype(np.float64)).astype(x.dtype)

    def decompose(self, b: Builder, x: Value, scale: Value) -> Value:
        axes = _last_axes(self.axis, x.type, "rms_normalization")
        wide = widened(b, x)
        inverse = b.div(1.0, b.sqrt(b.add(b.reduce_mean(b.mul(wide, wide), axes=axes), self.epsilon)))
        return narrowed(b, b.mul(b.mul(wide, inverse), widened(b, scale)), x)


def _per_channel(b: Builder, x: Value, rank: int) -> Value:
    """A vector of channels as [c, 1, …] that broadcasts to axis 1 of `rank` axes."""
    column: Value = b.reshape(x, shape=(x.type.shape[0], *(1,) * (rank - 2)))
    return column


@op
class InstanceNormalization(Op):
    """(x - mean) / √(variance + epsilon) · scale + bias over the axes after channels, for each batch entry and channel"""

    epsilon: float = 1e-5

    def infer(self, x: TensorType, scale: TensorType, bias: TensorType) -> TensorType:
        if x.rank < 3 or not x.dtype.is_float:
            raise TypeMismatch(f"instance_normalization: takes [batch, channels, space…], given {x}")
        return x

    def reference(self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
        axes, wide = tuple(range(2, x.ndim)), x.astype(np.float64)
        mean = wide.mean(axis=axes, keepdims=True)
        normal = (wide - mean) / np.sqrt(((wide - mean) ** 2).mean(axis=axes, keepdims=True) + self.epsilon)
        column = (-1, *(1,) * (x.ndim - 2))
        return (normal * scale.astype(np.float64).reshape(column) + bias.astype(np.float64).reshape(column)).astype(x.dtype)

    def decompose(self, b: Builder, x: Value, scale: Value, bias: Value) -> Value:
        wide, axes = widened(b, x), tuple(range(2, x.type.rank))
        centred = b.sub(wide, b.reduce_mean(wide, axes=axes))
        normal = b.div(centred, b.sqrt(b.add(b.reduce_mean(b.mul(centred, centred), axes=axes), self.epsilon)))
        scaled = b.mul(normal, _per_channel(b, widened(b, scale), x.type.rank))
        return narrowed(b, b.add(scaled, _per_channel(b, widened(b, bias), x.type.rank)), x)


@op
class GroupNormalization(Op):
    """Normalised over groups of channels and all space; scale and bias for each channel"""

    num_groups: int
    epsilon: float = 1e-5

    def infer(self, x: TensorType, scale: TensorType, bias: TensorType) -> TensorType:
        channels = x.shape[1] if x.rank > 2 else None
        if not isinstance(channels, int) or channels % self.num_groups or scale.shape != (channels,) or bias.shape != (channels,):
            raise TypeMismatch(f"group_normalization: {x} in {self.num_groups} groups with scale {scale}")
        return x

    def reference(self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64).reshape(x.shape[0], self.num_groups, -1)
        mean = wide.mean(axis=-1, keepdims=True)
        normal = ((wide - mean) / np.sqrt(((wide - mean) ** 2).mean(axis=-1, keepdims=True) + self.epsilon)).reshape(x.shape)
        column = (-1, *(1,) * (x.ndim - 2))
        return (normal * scale.astype(np.float64).reshape(column) + bias.astype(np.float64).reshape(column)).astype(x.dtype)

    def decompose(self, b: Builder, x: Value, scale: Value, bias: Value) -> Value:
        shape = x.type.shape
        channels = int(shape[1])  # type: ignore[arg-type]
        grouped = b.reshape(widened(b, x), shape=(shape[0], self.num_groups, channels // self.num_groups, *shape[2:]))
        axes = tuple(range(2, grouped.type.rank))
        centred = b.sub(grouped, b.reduce_mean(grouped, axes=axes))
        normal = b.div(centred, b.sqrt(b.add(b.reduce_mean(b.mul(centred, centred), axes=axes), self.epsilon)))
        scaled = b.mul(b.reshape(normal, shape=shape), _per_channel(b, widened(b, scale), x.type.rank))
        return narrowed(b, b.add(scaled, _per_channel(b, widened(b, bias), x.type.rank)), x)


@op
class LpNormalization(AlongAxis):
    """x / ‖x‖_p along axis (p = 1 or 2); a zero vector stays zero"""

    axis: int = -1
    p: int = 2

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        norm = np.linalg.norm(wide, self.p, axis=self.axis, keepdims=True) if x.ndim else np.abs(wide)
        return np.divide(wide, norm, out=np.zeros_like(wide), where=norm != 0).astype(x.dtype)

    def decompose(self, b: Builder, x: Value) -> Value:
        wide = widened(b, x)
        norm = b.reduce_l2(wide, axes=(self.axis,)) if self.p == 2 else b.reduce_l1(wide, axes=(self.axis,))
        zero = b.equal(norm, 0.0)
        return narrowed(b, b.div(wide, b.where(zero, b.constant(1.0, wide.type.dtype), norm)), x)


@op
class MeanVarianceNormalization(Op):
    """(x - mean) / (√variance + 1e-9) over axes"""

    axes: tuple[int, ...] = (0, 2, 3)

    def infer(self, x: TensorType) -> TensorType:
        for axis in self.axes:
            normalise_axis(axis, x.rank, "mean_variance_normalization")
        return x

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        mean = wide.mean(axis=self.axes, keepdims=True)
        variance = (wide**2).mean(axis=self.axes, keepdims=True) - mean**2
        return ((wide - mean) / (np.sqrt(variance) + 1e-9)).astype(x.dtype)

    def decompose(self, b: Builder, x: Value) -> Value:
        wide = widened(b, x)
        centred = b.sub(wide, b.reduce_mean(wide, axes=self.axes))
        deviation = b.sqrt(b.reduce_mean(b.mul(centred, centred), axes=self.axes))
        return narrowed(b, b.div(centred, b.add(deviation, 1e-9)), x)


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
    """The maximum over all axes after channels"""

    def reference(self, x: np.ndarray) -> np.ndarray:
        return x.max(axis=tuple(range(2, x.ndim)), keepdims=True)

    def decompose(self, b: Builder, x: Value) -> Value:
        pooled: Value = b.reduce_max(x, axes=tuple(range(2, x.type.rank)))
        return pooled
