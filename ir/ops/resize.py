"""Resampling along one axis, with ONNX's ways to place, to weigh and to round."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..dims import DimLike
from ..dtypes import F32, F64, I64, DType
from ..errors import TypeMismatch, Unsupported
from ..expr import Expr, Load, index, maximum, minimum, size
from ..forms import Map
from ..op import Op, normalise_axis, op
from ..types import TensorType

if TYPE_CHECKING:
    from ..builder import Builder
    from ..graph import Value

TRANSFORMS = (
    "half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize", "tf_half_pixel_for_nn"
)  # fmt: skip
NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


@op
class Interpolate(Op):
    """out[…, i, …] = Σ_t weights[i, t]·x[…, places[i, t], …] along `axis`; places outside are clamped"""

    axis: int = -1

    def infer(self, x: TensorType, places: TensorType, weights: TensorType) -> TensorType:
        axis = normalise_axis(self.axis, x.rank, self.name)
        fits = places.rank == 2 and isinstance(places.shape[1], int) and places.shape == weights.shape
        if not fits or places.dtype is not I64 or weights.dtype is not x.dtype or not x.dtype.is_float:
            raise TypeMismatch(f"{self.name} of {x} at {places} with {weights}")
        return x.with_shape(tuple(places.shape[0] if k == axis else d for k, d in enumerate(x.shape)))

    def reference(self, x: np.ndarray, places: np.ndarray, weights: np.ndarray) -> np.ndarray:
        along = np.moveaxis(x, self.axis, -1).astype(np.float64)
        taken = along[..., np.clip(places, 0, max(x.shape[self.axis] - 1, 0))]
        return np.moveaxis((taken * weights).sum(-1), -1, self.axis).astype(x.dtype)

    def form(self, x: TensorType, places: TensorType, weights: TensorType) -> Map:
        axis = normalise_axis(self.axis, x.rank, self.name)
        total: Expr | None = None
        for t in range(int(places.shape[1])):  # type: ignore[arg-type]
            tap = (index(axis), size(t))
            place = maximum(minimum(Load(I64, 1, tap), size(x.shape[axis]) - 1), 0)
            at = tuple(place if k == axis else index(k) for k in range(x.rank))
            term = Load(weights.dtype, 2, tap) * Load(x.dtype, 0, at)
            total = term if total is None else total + term
        assert total is not None
        return Map(total)


@op
class ResizeAxis(Op):
    """x resampled to `size` elements along `axis`, as ONNX's Resize does; a float result is rounded towards zero for integers.

    scale: None is size / extent. mode: nearest, linear or cubic. roi: the part (start, end) of the axis that is taken by tf_crop_and_resize,
    in which places outside of the axis give `extrapolation`. exclude_outside: weights of places outside are 0, and the others grow.
    antialias: where the axis shrinks, the weights are stretched over as many elements as become one.
    """

    size: DimLike
    axis: int = -1
    scale: float | None = None
    mode: str = "nearest"
    transform: str = "half_pixel"
    nearest: str = "round_prefer_floor"
    cubic: float = -0.75
    exclude_outside: bool = False
    antialias: bool = False
    roi: tuple[float, float] = (0.0, 1.0)
    extrapolation: float = 0.0

    def infer(self, x: TensorType) -> TensorType:
        axis = normalise_axis(self.axis, x.rank, self.name)
        known = self.mode in ("nearest", "linear", "cubic") and self.transform in TRANSFORMS and self.nearest in NEAREST
        if not known or x.dtype.kind not in ("float", "int", "uint", "bool") or (self.mode != "nearest" and x.dtype.kind == "bool"):
            raise TypeMismatch(f"{self.name} of {x}: mode {self.mode!r}, {self.transform!r}, {self.nearest!r}")
        if x.shape[axis] == 0 and self.size != 0:
            raise TypeMismatch(f"{self.name}: nothing of {x} to take {self.size} elements from")
        if self.antialias and not isinstance(self._scale(x.shape[axis]), float):
            raise Unsupported(f"{self.name} of {x} with antialias: how much it shrinks has to be known")
        return x.with_shape(tuple(self.size if k == axis else d for k, d in enumerate(x.shape)))

    def _scale(self, extent: DimLike) -> float | None:
        """Result elements for one of the operand; None if that depends on symbols."""
        if self.scale is not None:
            return self.scale
        return self.size / extent if isinstance(self.size, int) and isinstance(extent, int) and extent else None

    # -- meaning --------------------------------------------------------------------------------------------------------------

    def reference(self, x: np.ndarray) -> np.ndarray:
        extent, count = x.shape[self.axis], int(self.size)  # type: ignore[arg-type]
        along = np.moveaxis(x, self.axis, -1)
        out = np.zeros((*along.shape[:-1], count), x.dtype if self.mode == "nearest" else np.float64)
        for i in range(count):
            c = self._coordinate(i, extent)
            if self.transform == "tf_crop_and_resize" and not 0 <= c <= extent - 1:
                out[..., i] = self.extrapolation
            elif self.mode == "nearest":
                out[..., i] = along[..., min(max(self._nearest(c), 0), extent - 1)]
            else:
                weights = self._weights(c, self._scale(extent) or 1.0, extent)
                out[..., i] = sum(w * along[..., min(max(p, 0), extent - 1)].astype(np.float64) for p, w in weights.items())
        return np.moveaxis(out, -1, self.axis).astype(x.dtype)

    def _coordinate(self, i: int, extent: int) -> float:
        scale = self._scale(extent) or 1.0
        width = extent * scale
        start, end = self.roi
        return {
            "half_pixel": lambda: (i + 0.5) / scale - 0.5,
            "half_pixel_symmetric": lambda: extent / 2 * (1 - int(self.size) / width) + (i + 0.5) / scale - 0.5,  # type: ignore[arg-type]
            "pytorch_half_pixel": lambda: (i + 0.5) / scale - 0.5 if width > 1 else 0.0,
            "align_corners": lambda: i * (extent - 1) / (width - 1) if width != 1 else 0.0,
            "asymmetric": lambda: i / scale,
            "tf_half_pixel_for_nn": lambda: (i + 0.5) / scale,
            "tf_crop_and_resize": lambda: (
                (extent - 1) * (start + i * (end - start) / (width - 1) if width != 1 else (start + end) / 2)
            ),
        }[self.transform]()

    def _nearest(self, c: float) -> int:
        if self.nearest.startswith("round"):
            return math.ceil(c - 0.5) if self.nearest == "round_prefer_floor" else math.floor(c + 0.5)
        return math.floor(c) if self.nearest == "floor" else math.ceil(c)

    def _weights(self, c: float, scale: float, extent: int) -> dict[int, float]:
        """Weight by place, of every place that the kernel covers."""
        squeeze = min(scale, 1.0) if self.antialias else 1.0
        reach = math.ceil((1 if self.mode == "linear" else 2) / squeeze)
        found = {p: self._kernel(abs(p - c) * squeeze) for p in range(math.floor(c) - reach, math.ceil(c) + reach + 1)}
        if self.exclude_outside:
            found = {p: w for p, w in found.items() if 0 <= p < extent}
        total = sum(found.values()) if self.exclude_outside or self.antialias else 1.0
        return {p: w / total for p, w in found.items()}

    def _kernel(self, d: float) -> float:
        a = self.cubic
        if self.mode == "linear":
            return max(0.0, 1 - d)
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * (d**3 - 5 * d**2 + 8 * d - 4) if d < 2 else 0.0

    # -- as a graph: tables of places and weights, which are constants unless extents are symbolic -----------------------------

    def decompose(self, b: Builder, x: Value) -> Value:
        axis = normalise_axis(self.axis, x.type.rank, self.name)
        extent = _number(b, x.type.shape[axis])
        c = self._coordinates(b, extent)
        if self.mode == "nearest":
            shifted = b.add(c, {"round_prefer_floor": -0.5, "round_prefer_ceil": 0.5}.get(self.nearest, 0.0))
            up = self.nearest in ("round_prefer_floor", "ceil")
            place = b.cast(b.clip(b.ceil(shifted) if up else b.floor(shifted), 0.0, b.sub(extent, 1.0)), to=I64)
            out = b.gather(x, place, axis=axis)
        else:
            wide = _computed_in(x.type.dtype)
            places, weights = self._taps(b, c, extent, x.type.shape[axis])
            out = b.interpolate(b.cast(x, to=wide), b.cast(places, to=I64), b.cast(weights, to=wide), axis=axis)
        if self.transform == "tf_crop_and_resize":
            inside = b.equal(b.clip(c, 0.0, b.sub(extent, 1.0)), c)
            column = (self.size, *[1] * (x.type.rank - 1 - axis))
            out = b.where(b.reshape(inside, shape=column), out, b.constant(self.extrapolation, out.type.dtype))
        result: Value = b.cast(out, to=x.type.dtype)
        return result

    def _coordinates(self, b: Builder, extent: Value) -> Value:
        """Where result element i lies on the axis: f64[size]."""
        i = b.range(b.constant(0.0, F64), b.constant(1.0, F64), size=self.size)
        count = _number(b, self.size)
        scale = b.constant(self.scale, F64) if self.scale is not None else b.div(count, extent)
        width = b.mul(extent, scale) if self.scale is not None else count
        single = b.equal(width, 1.0)
        last, steps = b.sub(extent, 1.0), b.where(single, b.constant(1.0, F64), b.sub(width, 1.0))
        half = b.sub(b.div(b.add(i, 0.5), scale), 0.5)
        start, end = self.roi
        forms: dict[str, Callable[[], Any]] = {
            "half_pixel": lambda: half,
            "half_pixel_symmetric": lambda: b.add(b.mul(b.mul(extent, 0.5), b.sub(1.0, b.div(count, width))), half),
            "pytorch_half_pixel": lambda: b.where(b.greater(width, 1.0), half, b.constant(0.0, F64)),
            "align_corners": lambda: b.div(b.mul(i, last), steps),
            "asymmetric": lambda: b.div(i, scale),
            "tf_half_pixel_for_nn": lambda: b.div(b.add(i, 0.5), scale),
            "tf_crop_and_resize": lambda: b.mul(
                b.where(single, b.constant((start + end) / 2, F64), b.add(b.div(b.mul(i, end - start), steps), start)), last
            ),
        }
        found: Value = forms[self.transform]()
        return found

    def _taps(self, b: Builder, c: Value, extent: Value, dim: DimLike) -> tuple[Value, Value]:
        """(places, weights), f64[size, taps]."""
        squeeze = min(self._scale(dim) or 1.0, 1.0) if self.antialias else 1.0
        first = math.floor(-(1 if self.mode == "linear" else 2) / squeeze) + 1
        base = b.floor(b.unsqueeze(c, axes=(1,)))
        places = b.add(base, b.constant(np.arange(first, 2 - first, dtype=np.float64)))
        d = b.mul(b.abs(b.sub(places, b.unsqueeze(c, axes=(1,)))), squeeze)
        weights = self._kernels(b, d)
        if self.exclude_outside:
            inside = b.equal(b.clip(places, 0.0, b.sub(extent, 1.0)), places)
            weights = b.where(inside, weights, b.constant(0.0, F64))
        if self.exclude_outside or self.antialias:
            weights = b.div(weights, b.reduce_sum(weights, axes=(1,), keepdims=True))
        return places, weights

    def _kernels(self, b: Builder, d: Value) -> Value:
        """`_kernel` of each d, by Horner's rule."""
        if self.mode == "linear":
            tent: Value = b.max(b.sub(1.0, d), 0.0)
            return tent
        a = self.cubic
        near = b.add(b.mul(b.mul(b.sub(b.mul(d, a + 2), a + 3), d), d), 1.0)
        far = b.mul(b.sub(b.mul(b.add(b.mul(b.sub(d, 5.0), d), 8.0), d), 4.0), a)
        out: Value = b.where(b.less_or_equal(d, 1.0), near, b.where(b.less(d, 2.0), far, b.constant(0.0, F64)))
        return out


def _number(b: Builder, dim: DimLike) -> Value:
    """A dimension as a float64."""
    value: Value = b.cast(b.reshape(b.dims_value(dims=(dim,)), shape=()), to=F64)
    return value


def _computed_in(dtype: DType) -> DType:
    return F64 if dtype.bits >= 32 and dtype is not F32 else F32
