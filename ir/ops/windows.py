"""Windows over axes of space: what convolutions contract and poolings reduce."""

from __future__ import annotations

import numpy as np

from ..dims import DimLike, concrete
from ..errors import TypeMismatch
from ..expr import Expr, Load, call, const, index, maximum, minimum, select, size
from ..forms import Map
from ..op import Op, op
from ..types import TensorType


@op
class Windows(Op):
    """out[n, c, k…, o…] = x[n, c, o·strides + k·dilations - pads, …], or the fill where that is outside x

    x [n, c, space…]; fill: one element. kernel: the extents of k; sizes: those of o, the places of windows along each axis of space.
    inside: the caller knows that no window reaches outside of x, whatever its sizes are, but along the first `outer` axes of space; if
    these are none, the windows are a view of x.
    """

    kernel: tuple[int, ...]
    sizes: tuple[DimLike, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[DimLike, ...]
    inside: bool = False
    outer: int = 0

    @property
    def is_view(self) -> bool:
        return self.inside and not self.outer

    def infer(self, x: TensorType, fill: TensorType) -> TensorType:
        lengths = {len(f) for f in (self.kernel, self.sizes, self.strides, self.dilations, self.pads)}
        if lengths != {x.rank - 2} or fill.dtype is not x.dtype or fill.elements != 1:
            raise TypeMismatch(f"windows of {x} filled with {fill}: kernel {self.kernel}, sizes {self.sizes}")
        if min((*self.kernel, *self.strides, *self.dilations), default=1) < 1 or any(
            isinstance(s, int) and s < 0 for s in self.sizes
        ):
            raise TypeMismatch(f"windows of {x}: kernel {self.kernel}, strides {self.strides}, dilations {self.dilations}")
        return x.with_shape((*x.shape[:2], *self.kernel, *self.sizes))

    def reference(self, x: np.ndarray, fill: np.ndarray) -> np.ndarray:
        space, sizes, pads = x.shape[2:], concrete(self.sizes), concrete(self.pads)
        out = np.full((*x.shape[:2], *self.kernel, *sizes), fill.reshape(()), x.dtype)
        for at in np.ndindex(*self.kernel, *sizes):
            axes = zip(at, at[len(space) :], self.strides, self.dilations, pads)
            place = [o * s + k * d - p for k, o, s, d, p in axes]
            if all(0 <= p < extent for p, extent in zip(place, space)):
                into, of = (..., *at), (..., *place)
                out[into] = x[of]
        return out

    def form(self, x: TensorType, fill: TensorType) -> Map:
        outside = Load(fill.dtype, 1, (size(0),) * fill.rank)
        if 0 in x.shape:
            return Map(outside)
        rank, inside = x.rank - 2, None
        at: list[Expr] = [index(0), index(1)]
        for k, (extent, window, count) in enumerate(zip(x.shape[2:], self.kernel, self.sizes)):
            place = index(2 + rank + k) * self.strides[k] + index(2 + k) * self.dilations[k] - size(self.pads[k])
            reach = (count - 1) * self.strides[k] + (window - 1) * self.dilations[k] - self.pads[k]
            if (self.inside and k >= self.outer) or (
                self.pads[k] == 0 and isinstance(reach, int) and isinstance(extent, int) and reach < extent
            ):
                at.append(place)
                continue
            test = (place >= 0) & (place < size(extent))
            inside = test if inside is None else inside & test
            at.append(maximum(minimum(place, size(extent) - 1), 0))
        value = Load(x.dtype, 0, tuple(at))
        return Map(value if inside is None else select(inside, value, outside))


@op
class Spread(Op):
    """out[n, c, k…, p…] = x[n, c, k…, o…] where p = o·strides + k·dilations - pads, else 0: the transpose of `windows`

    Its sum over k puts windows back where they were. x [n, c, k…, o…]; sizes: the extents of p.
    """

    sizes: tuple[DimLike, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[DimLike, ...]

    def infer(self, x: TensorType) -> TensorType:
        space = len(self.sizes)
        if {len(f) for f in (self.strides, self.dilations, self.pads)} != {space} or x.rank != 2 + 2 * space:
            raise TypeMismatch(f"spread of {x}: sizes {self.sizes}, strides {self.strides}, dilations {self.dilations}")
        if min((*self.strides, *self.dilations), default=1) < 1 or any(isinstance(s, int) and s < 0 for s in self.sizes):
            raise TypeMismatch(f"spread of {x}: sizes {self.sizes}, strides {self.strides}, dilations {self.dilations}")
        return x.with_shape((*x.shape[: 2 + space], *self.sizes))

    def reference(self, x: np.ndarray) -> np.ndarray:
        space, sizes, pads = len(self.sizes), concrete(self.sizes), concrete(self.pads)
        out = np.zeros((*x.shape[: 2 + space], *sizes), x.dtype)
        for at in np.ndindex(*x.shape[2:]):
            axes = zip(at, at[space:], self.strides, self.dilations, pads)
            place = [o * s + k * d - p for k, o, s, d, p in axes]
            if all(0 <= p < extent for p, extent in zip(place, sizes)):
                into, of = (..., *at[:space], *place), (..., *at)
                out[into] = x[of]
        return out

    def form(self, x: TensorType) -> Map:
        zero, space = const(0, x.dtype), len(self.sizes)
        if 0 in x.shape:
            return Map(zero)
        hit, at = None, [index(k) for k in range(2 + space)]
        for k, count in enumerate(x.shape[2 + space :]):
            steps = index(2 + space + k) + size(self.pads[k]) - index(2 + k) * self.dilations[k]
            place = call("div", steps, self.strides[k]) if self.strides[k] > 1 else steps
            test = (steps >= 0) & (place < size(count))
            if self.strides[k] > 1:
                test = test & call("eq", place * self.strides[k], steps)
            hit = test if hit is None else hit & test
            at.append(maximum(minimum(place, size(count) - 1), 0))
        value = Load(x.dtype, 0, tuple(at))
        return Map(value if hit is None else select(hit, value, zero))
