"""Winograd's convolution of 3×3 windows, F(2×2, 3×3): four results of sixteen products in place of thirty-six.

    Y = Aᵀ((G·g·Gᵀ) ∘ (Bᵀ·d·B))·A        d: 4×4 elements of x, g: 3×3 weights, Y: 2×2 results; ∘ sums over the channels
Lavin and Gray, "Fast algorithms for convolutional neural networks" (2015), section 4.1; the third row of Bᵀ and of G has the other sign
here, so that every row of Bᵀ is one element plus or minus a later one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..dims import DimLike, ceildiv, concrete
from ..dtypes import DType
from ..errors import TypeMismatch
from ..expr import Expr, Load, call, const, index, maximum, minimum, select, size
from ..forms import Map
from ..op import Op, op
from ..types import TensorType

TILE, STEP = 4, 2  # elements of x along an axis that a tile reads, results that it gives
DATA = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, 1, -1, 0], [0, 1, 0, -1]], np.float64)  # Bᵀ
WEIGHTS = np.array([[2, 0, 0], [1, 1, 1], [-1, 1, -1], [0, 0, 2]], np.float64) / 2  # G
RESULTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float64)  # Aᵀ


@op
class WinogradData(Op):
    """out[n, p, i, j, q, c] = (Bᵀ·d·B)[i, j] where d = x[n, 2p:2p+4, 2q:2q+4, c]; what is outside of x counts as its last element

    x [n, h, w, c]; sizes: how many tiles there are along h and w, extents of p and q.
    """

    sizes: tuple[DimLike, ...]

    def infer(self, x: TensorType) -> TensorType:
        if x.rank != 4 or len(self.sizes) != 2 or not x.dtype.is_float or 0 in x.shape:
            raise TypeMismatch(f"winograd_data of {x}, {self.sizes} tiles: floats [n, h, w, c] are wanted, none of them 0")
        n, _, _, c = x.shape
        return x.with_shape((n, self.sizes[0], TILE, TILE, self.sizes[1], c))

    def reference(self, x: np.ndarray) -> np.ndarray:
        rows, columns = (
            np.minimum(STEP * np.arange(count)[:, None] + np.arange(TILE), extent - 1)
            for count, extent in zip(concrete(self.sizes), x.shape[1:3])
        )
        d = x.astype(np.float64)[:, rows[:, :, None, None], columns[None, None]]  # [n, p, 4, q, 4, c]
        return np.einsum("ia,npaqbc,jb->npijqc", DATA, d, DATA).astype(x.dtype)

    def form(self, x: TensorType) -> Map:
        n, p, i, j, q, c = map(index, range(6))
        rows, columns = (_pair(at, tile, k, d) for at, tile, k, d in ((p, i, 0, x), (q, j, 1, x)))
        parts = [
            _plus(Load(x.dtype, 0, (n, row, columns[0], c)), Load(x.dtype, 0, (n, row, columns[1], c)), j, x.dtype) for row in rows
        ]
        return Map(_plus(parts[0], parts[1], i, x.dtype))


def _pair(at: Expr, row: Expr, axis: int, x: TensorType) -> tuple[Expr, Expr]:
    """Where the two elements lie along an axis of space that row `row` of Bᵀ adds in tile `at`."""
    last = size(x.shape[1 + axis]) - 1
    first, second = minimum(row, 1), maximum(row, 2)
    return minimum(at * STEP + first, last), minimum(at * STEP + second, last)


def _plus(first: Expr, second: Expr, row: Expr, dtype: DType) -> Expr:
    """What row `row` of Bᵀ makes of its two elements."""
    return first + second * select(call("eq", row, const(1, row.dtype)), const(1, dtype), const(-1, dtype))


@op
class WinogradResults(Op):
    """out[n, 2p + i, 2q + j, k] = (Aᵀ·m·A)[i, j] where m = x[:, :, n, p, q, k]

    x [4, 4, n, p, q, k]; sizes: the extents of out's axes 1 and 2; the last tiles may reach beyond.
    """

    sizes: tuple[DimLike, ...]

    def infer(self, x: TensorType) -> TensorType:
        if x.rank != 6 or len(self.sizes) != 2 or not x.dtype.is_float or x.shape[:2] != (TILE, TILE):
            raise TypeMismatch(f"winograd_results of {x} to {self.sizes}: floats [4, 4, n, p, q, k] are wanted")
        if any(ceildiv(size, STEP) != count for size, count in zip(self.sizes, x.shape[3:5])):
            raise TypeMismatch(f"winograd_results of {x} to {self.sizes}: the number of tiles does not fit")
        return x.with_shape((x.shape[2], *self.sizes, x.shape[5]))

    def reference(self, x: np.ndarray) -> np.ndarray:
        y = np.einsum("ia,abnpqk,jb->npiqjk", RESULTS, x.astype(np.float64), RESULTS)
        n, p, _, q, _, k = y.shape
        rows, columns = concrete(self.sizes)
        return y.reshape(n, p * STEP, q * STEP, k)[:, :rows, :columns].astype(x.dtype)

    def form(self, x: TensorType) -> Map:
        n, row, column, k = map(index, range(4))
        p, q = call("div", row, const(STEP, row.dtype)), call("div", column, const(STEP, column.dtype))
        i, j = row - p * STEP, column - q * STEP

        def along(a: Expr | int) -> Expr:
            def load(b: Expr | int) -> Expr:
                place = (const(v, row.dtype) if isinstance(v, int) else v for v in (a, b))
                return Load(x.dtype, 0, (*place, n, p, q, k))

            return _results(load, j, x.dtype)

        return Map(_results(along, i, x.dtype))


def _results(element: Callable[[Expr | int], Expr], at: Expr, dtype: DType) -> Expr:
    """Row `at` of Aᵀ times a column of four elements."""
    sign = select(call("eq", at, const(1, at.dtype)), const(-1, dtype), const(1, dtype))
    return element(1) + sign * (element(2) + element(at * 3))
