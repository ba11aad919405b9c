"""Sampling of images at places that are data."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from ..dims import DimLike
from ..dtypes import F32, F64, I64
from ..errors import TypeMismatch
from ..expr import Expr, Load, call, cast, const, index, maximum, minimum, select, size
from ..forms import Map
from ..op import Op, op
from ..types import TensorType

CUBIC = -0.75
_MODES, _PADDINGS = ("nearest", "linear", "cubic"), ("zeros", "border", "reflection")


@op
class GridSample(Op):
    """out[n, c, o…] = x[n, c, …] at the place grid[n, o…, :], whose last entry runs along x's last axis; -1 … 1 is all of an axis

    x [n, c, space…], grid [n, out…, d] for d axes of space. align_corners: ±1 are the middles of the first and last element, else
    their outer edges. mode: nearest (halves to even), linear, cubic. padding: what lies outside, zeros, border or reflection.
    """

    mode: str = "linear"
    padding: str = "zeros"
    align_corners: bool = False

    def infer(self, x: TensorType, grid: TensorType) -> TensorType:
        fits = x.rank == grid.rank >= 3 and x.shape[0] == grid.shape[0] and grid.shape[-1] == x.rank - 2
        if not fits or not grid.dtype.is_float or self.mode not in _MODES or self.padding not in _PADDINGS:
            raise TypeMismatch(f"{self.name} of {x} at {grid}: mode {self.mode!r}, padding {self.padding!r}")
        if 0 in x.shape[2:] or (self.mode != "nearest" and not x.dtype.is_float):
            raise TypeMismatch(f"{self.name}: {x} cannot be sampled")
        return x.with_shape((*x.shape[:2], *grid.shape[1:-1]))

    # -- meaning --------------------------------------------------------------------------------------------------------------

    def reference(self, x: np.ndarray, grid: np.ndarray) -> np.ndarray:
        out = np.zeros((*x.shape[:2], *grid.shape[1:-1]), x.dtype)
        for n, at in itertools.product(range(x.shape[0]), np.ndindex(*grid.shape[1:-1])):
            taps = [self._taps(float(g), d) for g, d in zip(grid[n][at][::-1], x.shape[2:])]
            total = np.zeros(x.shape[1], x.dtype if self.mode == "nearest" else np.float64)
            for chosen in itertools.product(*taps):
                if all(p is not None for p, _ in chosen):
                    weight = math.prod(w for _, w in chosen)
                    place = (n, slice(None), *(p for p, _ in chosen))
                    total = total + x[place] * total.dtype.type(weight)
            result = (n, slice(None), *at)
            out[result] = total
        return out

    def _taps(self, g: float, extent: int) -> list[tuple[int | None, float]]:
        """(place, weight) of what is added up along one axis; place None: outside, where there are zeros."""
        c = (g + 1) / 2 * (extent - 1) if self.align_corners else ((g + 1) * extent - 1) / 2
        c = float(np.rint(c)) if self.mode == "nearest" else c
        c = self._inside(c, extent)
        if self.mode == "nearest":
            return [(self._place(int(c), extent), 1.0)]
        base = math.floor(c)
        r = c - base
        if self.mode == "linear":
            weights = [(0, 1 - r), (1, r)]
        else:
            weights = [(t, _cubic(abs(t - r))) for t in range(-1, 3)]
        return [(self._place(base + t, extent), w) for t, w in weights]

    def _inside(self, c: float, extent: int) -> float:
        low, high = (0.0, extent - 1.0) if self.align_corners else (-0.5, extent - 0.5)
        if self.padding == "zeros" or low <= c <= high:
            return c
        if self.padding == "border":
            return min(max(c, 0.0), extent - 1.0)
        if high == low:
            return low
        turns, rest = divmod(abs(c - low), high - low)
        return low + rest if turns % 2 == 0 else high - rest

    def _place(self, p: int, extent: int) -> int | None:
        if self.padding == "zeros" and not 0 <= p < extent:
            return None
        return min(max(int(self._inside(p, extent)), 0), extent - 1)

    # -- as a map -------------------------------------------------------------------------------------------------------------

    def form(self, x: TensorType, grid: TensorType) -> Map:
        space = x.rank - 2
        wide = F64 if F64 in (x.dtype, grid.dtype) else F32
        here = tuple(index(k) for k in (0, *range(2, x.rank)))
        axes = []
        for k in range(space):
            g = cast(Load(grid.dtype, 1, (*here, size(space - 1 - k))), wide)
            axes.append(self._tap_bodies(g, x.shape[2 + k]))
        terms = []
        for chosen in itertools.product(*axes):
            pixel: Expr = Load(x.dtype, 0, (index(0), index(1), *(p for p, _, _ in chosen)))
            inside = [test for _, _, test in chosen if test is not None]
            if inside:
                pixel = select(functools.reduce(lambda a, b: a & b, inside), pixel, const(0, x.dtype))
            if self.mode == "nearest":
                return Map(pixel)
            weight = functools.reduce(lambda a, b: a * b, (w for _, w, _ in chosen))
            terms.append(cast(pixel, wide) * weight)
        return Map(cast(functools.reduce(lambda a, b: a + b, terms), x.dtype))

    def _tap_bodies(self, g: Expr, dim: DimLike) -> list[tuple[Expr, Expr, Expr | None]]:
        """(place, weight, whether it is inside) of each tap along one axis; places are in range, test None: always inside."""
        extent = cast(size(dim), g.dtype)
        c = (g + 1) * 0.5 * (extent - 1) if self.align_corners else ((g + 1) * extent - 1) * 0.5
        c = call("round", c) if self.mode == "nearest" else c
        c = self._inside_body(c, extent)
        base = c if self.mode == "nearest" else call("floor", c)
        r = c - base
        one = const(1, g.dtype)
        if self.mode == "nearest":
            weights: list[tuple[int, Expr]] = [(0, one)]
        elif self.mode == "linear":
            weights = [(0, one - r), (1, r)]
        else:
            weights = [(-1, _far(r + 1)), (0, _near(r)), (1, _near(one - r)), (2, _far(2 - r))]
        taps = []
        for t, weight in weights:
            p = base + t
            test = (p >= 0) & (p < extent) if self.padding == "zeros" else None
            place = cast(call("trunc", self._inside_body(p, extent)) if self.padding == "reflection" else p, I64)
            taps.append((maximum(minimum(place, size(dim) - 1), 0), weight, test))
        return taps

    def _inside_body(self, c: Expr, extent: Expr) -> Expr:
        if self.padding == "zeros":
            return c
        low = const(0.0 if self.align_corners else -0.5, c.dtype)
        span = extent - 1 if self.align_corners else extent
        if self.padding == "border":
            return select((c < low) | (c > low + span), call("max", call("min", c, extent - 1), 0), c)
        away, period = call("abs", c - low), call("max", span * 2, 1e-30)
        turn = away - call("floor", away / period) * period
        return low + call("min", turn, span * 2 - turn)


def _cubic(d: float) -> float:
    a = CUBIC
    return ((a + 2) * d - (a + 3)) * d * d + 1 if d <= 1 else a * (((d - 5) * d + 8) * d - 4)


def _near(d: Expr) -> Expr:
    return (d * (CUBIC + 2) - (CUBIC + 3)) * d * d + 1


def _far(d: Expr) -> Expr:
    return (((d - 5) * d + 8) * d - 4) * CUBIC
