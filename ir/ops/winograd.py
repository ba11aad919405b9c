"""Convolutions by fewer products, F(m×m, r×r): a tile of m results a side takes m + r - 1 products a side in place of m·r.

    Y = Aᵀ((G·g·Gᵀ) ∘ (Bᵀ·d·B))·A        d: elements of x, g: weights, Y: results of a tile; ∘ sums over the channels

of which the operators do one axis at a time.
Toom and Cook's algorithm as Winograd wrote it: polynomials are multiplied by their values at points. Lavin and Gray, "Fast algorithms
for convolutional neural networks" (2015), section 4; the points are of the kind that Barabasz et al. recommend, "Error analysis and
improving the accuracy of Winograd convolution for deep neural networks" (2018).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..dims import DimLike, ceildiv, concrete
from ..errors import TypeMismatch
from ..expr import Expr, Kept, Load, call, const, index, minimum, size
from ..forms import Map, Maps
from ..mathlib.floats import fma
from ..op import Op, op
from ..types import TensorType

# Products along an axis → where polynomials are evaluated, and at infinity. Against sums in order of 256 channels the root mean square of
# rounding errors is 0.8 (F(2, 3)), 1.4 (F(4, 3)), 1.1 (F(2, 5)), 2.1 (F(4, 5)) and 2.8 (F(6, 3)) times as large; with two axes 0.6
# (F(2×2, 3×3)) and 1.9 (F(4×4, 3×3); 3.8 with the usual points 0, ±1, ±2).
POINTS = {
    1: (),
    4: (Fraction(0), Fraction(1), Fraction(-1)),
    6: (Fraction(0), Fraction(3, 4), Fraction(-3, 4), Fraction(3, 2), Fraction(-3, 2)),
    8: (Fraction(0), Fraction(1, 2), Fraction(-1, 2), Fraction(1), Fraction(-1), Fraction(2), Fraction(-2)),
}


@dataclass(frozen=True, eq=False)
class Matrices:
    """Of F(m, r), in float64: data Bᵀ [m + r - 1, m + r - 1], weights G [m + r - 1, r], results Aᵀ [m, m + r - 1]."""

    data: np.ndarray
    weights: np.ndarray
    results: np.ndarray


@functools.cache
def matrices(step: int, window: int) -> Matrices:
    """Of F(step, window); step + window - 1 must be among POINTS."""
    points = POINTS[step + window - 1]
    others = [[q for q in points if q != p] for p in points]
    scales = [functools.reduce(lambda total, q: total * (p - q), rest, Fraction(1)) for p, rest in zip(points, others)]
    at_infinity = [[Fraction(k == count - 1) for k in range(count)] for count in (window, step)]
    weights = [[p**k / scale for k in range(window)] for p, scale in zip(points, scales)] + [at_infinity[0]]
    results = [[p**k for k in range(step)] for p in points] + [at_infinity[1]]
    data = [[*_with_roots(rest), Fraction(0)] for rest in others] + [_with_roots(points)]
    return Matrices(*(np.array(m, np.float64) for m in (data, weights, list(zip(*results)))))


def _with_roots(roots: Sequence[Fraction]) -> list[Fraction]:
    """Coefficients of the product of x - root, lowest degree first."""
    found = [Fraction(1)]
    for root in roots:
        found = [above - root * same for above, same in zip([Fraction(0), *found], [*found, Fraction(0)])]
    return found


@op
class WinogradData(Op):
    """out i [0, …, p, …] = Σ_a Bᵀ[i, a]·x[…, step·p + a, …] along `axis` of x, of which outside of x the last element counts

    step: results of a tile; window: extent of the weights along the axis; count: how many tiles there are, the extent of p. Joined along
    axis 0 the results are what is multiplied.
    """

    axis: int
    step: int
    window: int
    count: DimLike

    @property
    def matrix(self) -> np.ndarray:
        return matrices(self.step, self.window).data

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        if not 0 <= self.axis < x.rank or not x.dtype.is_float or 0 in x.shape:
            raise TypeMismatch(f"winograd_data of {x} along axis {self.axis}: floats are wanted, none of its axes 0")
        if self.step + self.window - 1 not in POINTS:
            raise TypeMismatch(f"winograd_data of {x}: no points for steps of {self.step} and windows of {self.window}")
        result = x.with_shape((1, *x.shape[: self.axis], self.count, *x.shape[self.axis + 1 :]))
        return (result,) * len(self.matrix)

    def reference(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        (count,) = concrete((self.count,))
        places = self.step * np.arange(count)[:, None] + np.arange(len(self.matrix))
        tiles = np.take(x.astype(np.float64), np.minimum(places, x.shape[self.axis] - 1), self.axis)  # […, p, a, …]
        found = np.tensordot(self.matrix, tiles, (1, self.axis + 1)).astype(x.dtype)
        return tuple(part[None] for part in found)

    def form(self, x: TensorType) -> Maps:
        at = [index(k + 1) for k in range(x.rank)]
        tile, last = at[self.axis] * self.step, size(x.shape[self.axis]) - 1
        elements = [
            Load(x.dtype, 0, (*at[: self.axis], minimum(tile + a, last), *at[self.axis + 1 :])) for a in range(len(self.matrix))
        ]
        kept = [Kept(x.dtype, a) for a in range(len(elements))]
        return Maps(tuple(elements), tuple(_combined(row, kept) for row in self.matrix))


def _combined(weights: Sequence[float], elements: Sequence[Expr]) -> Expr:
    """Σ of weights times elements; not all of the former are 0."""
    total: Expr | None = None
    for weight, x in sorted(zip(map(float, weights), elements), key=lambda pair: pair[0] != 1):
        if total is None:
            total = x if weight == 1 else x * weight if weight else None
        elif weight:
            total = total + x if weight == 1 else total - x if weight == -1 else fma(x, weight, total)
    assert total is not None
    return total


@op
class WinogradResults(Op):
    """out[…, step·p + i, …] = Σ_a weights[i, a]·x[a, …, p, …] along `axis` of the result

    x [tile, …]; weights [step, tile]: Aᵀ. size: the result's extent along the axis; the last tile may reach beyond.
    """

    axis: int
    size: DimLike

    def infer(self, x: TensorType, weights: TensorType) -> TensorType:
        if x.rank <= self.axis + 1 or not x.dtype.is_float or weights.dtype is not x.dtype or weights.shape[1:] != x.shape[:1]:
            raise TypeMismatch(
                f"winograd_results of {x} by {weights} along axis {self.axis}: floats are wanted, as many as weights"
            )
        step, count = weights.shape[0], x.shape[self.axis + 1]
        if not isinstance(step, int) or ceildiv(self.size, step) != count:
            raise TypeMismatch(f"winograd_results of {x} to {self.size}: the number of tiles does not fit steps of {step}")
        return x.with_shape((*x.shape[1 : self.axis + 1], self.size, *x.shape[self.axis + 2 :]))

    def reference(self, x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        (size,) = concrete((self.size,))
        found = np.moveaxis(np.tensordot(weights.astype(np.float64), x.astype(np.float64), (1, 0)), 0, self.axis + 1)
        merged = found.reshape(*found.shape[: self.axis], -1, *found.shape[self.axis + 2 :])
        return np.take(merged, np.arange(size), self.axis).astype(x.dtype)

    def form(self, x: TensorType, weights: TensorType) -> Map:
        at = [index(k) for k in range(x.rank - 1)]
        step, count = weights.shape
        assert isinstance(step, int) and isinstance(count, int)
        along = at[self.axis]
        tile = call("div", along, const(step, along.dtype))
        total: Expr | None = None
        for a in range(count):
            place = (const(a, along.dtype), *at[: self.axis], tile, *at[self.axis + 1 :])
            element = Load(x.dtype, 0, place)
            weight = Load(x.dtype, 1, (along - tile * step, const(a, along.dtype)))
            total = element * weight if total is None else fma(element, weight, total)
        assert total is not None
        return Map(total)
