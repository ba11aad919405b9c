"""Reductions: sums, products, extrema over axes."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..dims import product
from ..errors import TypeMismatch
from ..expr import Arg, Expr, Kept, cast, size
from ..forms import Reduce
from ..op import Op, normalise_axis, op
from ..types import TensorType


class Reduction(Op):
    """Base. axes: reduced axes (negative from the end; None: all). keepdims: they stay with extent 1."""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True
    combine: ClassVar[str] = "add"

    def reduced(self, x: TensorType) -> tuple[int, ...]:
        if self.axes is None:
            return tuple(range(x.rank))
        axes = sorted(normalise_axis(a, x.rank, self.name) for a in self.axes)
        if len(set(axes)) != len(axes):
            raise TypeMismatch(f"{self.name}: axes {self.axes} repeat for {x}")
        return tuple(axes)

    def infer(self, x: TensorType) -> TensorType:
        axes = self.reduced(x)
        kept = [1 if k in axes else d for k, d in enumerate(x.shape) if self.keepdims or k not in axes]
        return TensorType(x.dtype, tuple(kept))

    def before(self, x: Expr, count: Expr) -> Expr:
        """What is combined; count: how many elements are reduced, as i64."""
        return x

    def after(self, total: Expr, count: Expr) -> Expr:
        return total

    def form(self, x: TensorType) -> Reduce:
        axes = self.reduced(x)
        count = size(product(x.shape[a] for a in axes))
        body = self.before(Arg(x.dtype, 0), count)
        return Reduce(axes, self.keepdims, self.combine, body, self.after(Kept(body.dtype, 0), count))

    def numpy_axes(self, x: np.ndarray) -> tuple[int, ...]:
        return tuple(range(x.ndim)) if self.axes is None else self.axes


@op
class ReduceSum(Reduction):
    """Σ x; of no elements: 0"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64) if x.dtype.kind not in "iu" else x
        return np.sum(wide, axis=self.numpy_axes(x), keepdims=self.keepdims).astype(x.dtype)


@op
class ReduceMean(Reduction):
    """Σ x / count; of no elements: NaN"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True

    def after(self, total: Expr, count: Expr) -> Expr:
        return total / cast(count, total.dtype)

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64) if x.dtype.kind not in "iu" else x
        total = np.sum(wide, axis=self.numpy_axes(x), keepdims=self.keepdims)
        count = x.size // max(1, total.size) if total.size else 0
        return (total / count if x.dtype.kind not in "iu" else total // max(1, count)).astype(x.dtype)


@op
class ReduceMax(Reduction):
    """max x (a NaN gives NaN); of no elements: the least value of the dtype"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True
    combine: ClassVar[str] = "max"

    def reference(self, x: np.ndarray) -> np.ndarray:
        from ..loops import identity

        return np.max(x, axis=self.numpy_axes(x), keepdims=self.keepdims, initial=identity("max", x.dtype))
