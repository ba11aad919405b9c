"""Normalisations: composites that fusion makes one kernel over rows of. Floats; f16 and bf16 are computed in float32."""

from __future__ import annotations

import numpy as np

from ..builder import Builder
from ..dims import DimLike, evaluate_dim
from ..dtypes import F32, F64
from ..errors import TypeMismatch
from ..graph import Value
from ..op import Op, normalise_axis, op
from ..types import TensorType, broadcast, require
from .composite import AlongAxis, narrowed, widened


def _check_parameter(name: str, x: TensorType, *parameters: TensorType | None) -> None:
    """Raises TypeMismatch unless x is of floats and the parameters have its dtype and broadcast to it."""
    for p in parameters:
        if p is not None and (p.dtype is not x.dtype or broadcast(x.shape, p.shape) != x.shape):
            raise TypeMismatch(f"{name} of {x}: a parameter is {p}")
    if not x.dtype.is_float:
        raise TypeMismatch(f"{name}: takes floats, given {x}")


def _check_channels(name: str, x: TensorType, least: int, *parameters: TensorType) -> None:
    """Raises TypeMismatch unless x is [batch, channels, space…] of at least so many axes, and the parameters are [channels]."""
    text = f"{name}: takes [batch, channels, space…] and vectors of channels, given {x}, {', '.join(map(str, parameters))}"
    if x.rank < least or not all(t.dtype.is_float for t in (x, *parameters)):
        raise TypeMismatch(text)
    for given in parameters:
        require(given, given.with_shape(x.shape[1:2]), text)


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
        _check_parameter("layer_normalization", x, scale, bias)
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
        _check_parameter("rms_normalization", x, scale)
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
        _check_channels("instance_normalization", x, 3, scale, bias)
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
        _check_channels("group_normalization", x, 3, scale, bias)
        if self.num_groups < 1 or not isinstance(x.shape[1], int) or x.shape[1] % self.num_groups:
            raise TypeMismatch(f"group_normalization: the channels of {x} do not make {self.num_groups} equal groups")
        return x

    def reference(self, x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64).reshape(x.shape[0], self.num_groups, int(np.prod(x.shape[1:])) // self.num_groups)
        mean = wide.mean(axis=-1, keepdims=True)
        normal = ((wide - mean) / np.sqrt(((wide - mean) ** 2).mean(axis=-1, keepdims=True) + self.epsilon)).reshape(x.shape)
        column = (-1, *(1,) * (x.ndim - 2))
        return (normal * scale.astype(np.float64).reshape(column) + bias.astype(np.float64).reshape(column)).astype(x.dtype)

    def decompose(self, b: Builder, x: Value, scale: Value, bias: Value) -> Value:
        shape = x.type.shape
        channels = evaluate_dim(shape[1], {})
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

    def infer(self, x: TensorType) -> TensorType:
        if self.p not in (1, 2):
            raise TypeMismatch(f"lp_normalization: p is 1 or 2, not {self.p}")
        return super().infer(x)

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
        if not x.dtype.is_float:
            raise TypeMismatch(f"mean_variance_normalization: takes floats, given {x}")
        return x

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        mean = wide.mean(axis=self.axes, keepdims=True)
        return ((wide - mean) / (wide.std(axis=self.axes, keepdims=True) + 1e-9)).astype(x.dtype)

    def decompose(self, b: Builder, x: Value) -> Value:
        wide = widened(b, x)
        centred = b.sub(wide, b.reduce_mean(wide, axes=self.axes))
        deviation = b.sqrt(b.reduce_mean(b.mul(centred, centred), axes=self.axes))
        return narrowed(b, b.div(centred, b.add(deviation, 1e-9)), x)


@op
class BatchNormalization(Op):
    """(x - mean) / √(variance + epsilon) · scale + bias along axis 1: x · factor + shift, where both depend on parameters only

    Operands: x, scale, bias, mean, variance; the parameters are vectors of channels, perhaps of other float dtypes than x.
    """

    epsilon: float = 1e-5

    def infer(self, x: TensorType, scale: TensorType, bias: TensorType, mean: TensorType, variance: TensorType) -> TensorType:
        _check_channels("batch_normalization", x, 2, scale, bias, mean, variance)
        return x

    def reference(self, x: np.ndarray, *parameters: np.ndarray) -> np.ndarray:
        column = (-1, *(1,) * (x.ndim - 2))
        scale, bias, mean, variance = (p.astype(np.float64).reshape(column) for p in parameters)
        return ((x.astype(np.float64) - mean) / np.sqrt(variance + self.epsilon) * scale + bias).astype(x.dtype)

    def decompose(self, b: Builder, x: Value, *parameters: Value) -> Value:
        dtype = F64 if any(v.type.dtype is F64 for v in (x, *parameters)) else F32
        wide, scale, bias, mean, variance = (b.cast(v, to=dtype) for v in (x, *parameters))
        factor = b.div(scale, b.sqrt(b.add(variance, self.epsilon)))
        shift = b.sub(bias, b.mul(mean, factor))
        scaled = b.mul(wide, _per_channel(b, factor, x.type.rank))
        return narrowed(b, b.add(scaled, _per_channel(b, shift, x.type.rank)), x)


@op
class LRN(Op):
    """x / (bias + alpha/size · Σ x²)^beta, the sum over `size` neighbouring channels (axis 1), as far as there are so many"""

    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0

    def infer(self, x: TensorType) -> TensorType:
        _check_channels("lrn", x, 2)
        if self.size < 1:
            raise TypeMismatch(f"lrn: size {self.size} is not positive")
        return x

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        total = np.zeros_like(wide)
        for c in range(x.shape[1]):
            total[:, c] = (wide[:, max(0, c - (self.size - 1) // 2) : c + self.size // 2 + 1] ** 2).sum(axis=1)
        return (wide / (self.bias + self.alpha / self.size * total) ** self.beta).astype(x.dtype)

    def decompose(self, b: Builder, x: Value) -> Value:
        wide, shape = widened(b, x), x.type.shape
        rest: tuple[DimLike, ...] = (0,) * (x.type.rank - 2)
        ends = {"before": (0, (self.size - 1) // 2, *rest), "after": (0, self.size // 2, *rest)}
        squares = b.pad(b.mul(wide, wide), b.constant(0, wide.type.dtype), **ends)
        total = b.slice(squares, axes=(1,), starts=(0,), sizes=(shape[1],), steps=(1,))
        for k in range(1, self.size):
            total = b.add(total, b.slice(squares, axes=(1,), starts=(k,), sizes=(shape[1],), steps=(1,)))
        return narrowed(b, b.div(wide, b.pow(b.add(b.mul(total, self.alpha / self.size), self.bias), self.beta)), x)
