"""Reductions: sums, products, extrema over axes."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ..builder import Builder
from ..dims import product
from ..dtypes import BF16, BOOL, F16, F32, F64, DType
from ..errors import TypeMismatch
from ..expr import Arg, Expr, Kept, call, cast, size
from ..forms import Reduce
from ..graph import Value
from ..op import Op, normalise_axis, op
from ..types import TensorType


class Reduction(Op):
    """Base. axes: reduced axes (negative from the end; None: all; (): none). keepdims: they stay with extent 1.

    f16 and bf16 are accumulated in float32 and rounded once; integers wrap.
    """

    axes: tuple[int, ...] | None = None
    keepdims: bool = True
    combine: ClassVar[str] = "add"
    kinds: ClassVar[str] = "float int uint"

    def reduced(self, x: TensorType) -> tuple[int, ...]:
        if self.axes is None:
            return tuple(range(x.rank))
        axes = sorted(normalise_axis(a, x.rank, self.name) for a in self.axes)
        if len(set(axes)) != len(axes):
            raise TypeMismatch(f"{self.name}: axes {self.axes} repeat for {x}")
        return tuple(axes)

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.kind not in self.kinds.split():
            raise TypeMismatch(f"{self.name}: takes {self.kinds}, given {x.dtype}")
        axes = self.reduced(x)
        kept = [1 if k in axes else d for k, d in enumerate(x.shape) if self.keepdims or k not in axes]
        return TensorType(x.dtype, tuple(kept))

    def combination(self, dtype: DType) -> str:
        return self.combine

    def before(self, x: Expr, count: Expr) -> Expr:
        """What is combined; count: how many elements are reduced, as i64."""
        return x

    def after(self, total: Expr, count: Expr) -> Expr:
        return total

    def form(self, x: TensorType) -> Reduce:
        axes = self.reduced(x)
        count = size(product(x.shape[a] for a in axes))
        combine = self.combination(x.dtype)
        element: Expr = Arg(x.dtype, 0)
        if x.dtype in (F16, BF16) and combine in ("add", "mul"):
            element = cast(element, F32)
        body = self.before(element, count)
        return Reduce(axes, self.keepdims, combine, body, cast(self.after(Kept(body.dtype, 0), count), x.dtype))

    def numpy_axes(self, x: np.ndarray) -> tuple[int, ...]:
        return tuple(range(x.ndim)) if self.axes is None else self.axes

    def numpy_sum(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.sum(x, axis=self.numpy_axes(x), keepdims=self.keepdims, dtype=x.dtype))

    def numpy_count(self, x: np.ndarray) -> int:
        return math.prod(x.shape[a] for a in self.numpy_axes(x))


def _wide(x: np.ndarray) -> np.ndarray:
    return x if x.dtype.kind in "iub" else x.astype(np.float64)


def _real(x: Expr) -> Expr:
    """x as a float: integers in float64."""
    return x if x.dtype.is_float else cast(x, F64)


@op
class ReduceSum(Reduction):
    """Σ x; of no elements: 0"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True

    def reference(self, x: np.ndarray) -> np.ndarray:
        return self.numpy_sum(_wide(x)).astype(x.dtype)


@op
class ReduceMean(Reduction):
    """Σ x / count; of no elements: NaN; integers truncate (0 of no elements)"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True

    def after(self, total: Expr, count: Expr) -> Expr:
        return total / cast(count, total.dtype)

    def reference(self, x: np.ndarray) -> np.ndarray:
        total, count = self.numpy_sum(_wide(x)), self.numpy_count(x)
        if x.dtype.kind not in "iu":
            return (total / np.float64(count)).astype(x.dtype)
        if not count:
            return np.zeros_like(total)
        return (np.sign(total) * (np.abs(total) // count)).astype(x.dtype)


@op
class ReduceMax(Reduction):
    """max x (a NaN gives NaN); of no elements: the least value of the dtype"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True
    kinds: ClassVar[str] = "float int uint bool"

    def combination(self, dtype: DType) -> str:
        return "or" if dtype is BOOL else "max"

    def reference(self, x: np.ndarray) -> np.ndarray:
        if x.dtype.kind == "b":
            return np.any(x, axis=self.numpy_axes(x), keepdims=self.keepdims)
        least = np.iinfo(x.dtype).min if x.dtype.kind in "iu" else -np.inf
        return np.max(x, axis=self.numpy_axes(x), keepdims=self.keepdims, initial=x.dtype.type(least))


@op
class ReduceMin(Reduction):
    """min x (a NaN gives NaN); of no elements: the greatest value of the dtype"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True
    kinds: ClassVar[str] = "float int uint bool"

    def combination(self, dtype: DType) -> str:
        return "and" if dtype is BOOL else "min"

    def reference(self, x: np.ndarray) -> np.ndarray:
        if x.dtype.kind == "b":
            return np.all(x, axis=self.numpy_axes(x), keepdims=self.keepdims)
        greatest = np.iinfo(x.dtype).max if x.dtype.kind in "iu" else np.inf
        return np.min(x, axis=self.numpy_axes(x), keepdims=self.keepdims, initial=x.dtype.type(greatest))


@op
class ReduceProd(Reduction):
    """Π x; of no elements: 1"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True
    combine: ClassVar[str] = "mul"

    def reference(self, x: np.ndarray) -> np.ndarray:
        w = _wide(x)
        return np.asarray(np.prod(w, axis=self.numpy_axes(x), keepdims=self.keepdims, dtype=w.dtype)).astype(x.dtype)


@op
class ReduceL1(Reduction):
    """Σ |x|"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True

    def before(self, x: Expr, count: Expr) -> Expr:
        return call("abs", x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return self.numpy_sum(np.abs(_wide(x))).astype(x.dtype)


@op
class ReduceSumSquare(Reduction):
    """Σ x²"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True

    def before(self, x: Expr, count: Expr) -> Expr:
        return x * x

    def reference(self, x: np.ndarray) -> np.ndarray:
        return self.numpy_sum(np.square(_wide(x))).astype(x.dtype)


@op
class ReduceL2(Reduction):
    """√Σ x²; integers truncate"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True

    def before(self, x: Expr, count: Expr) -> Expr:
        return x * x

    def after(self, total: Expr, count: Expr) -> Expr:
        return cast(call("sqrt", _real(total)), total.dtype)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(self.numpy_sum(np.square(_wide(x))).astype(np.float64)).astype(x.dtype)


@op
class ReduceLogSum(Reduction):
    """ln Σ x"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True
    kinds: ClassVar[str] = "float"

    def after(self, total: Expr, count: Expr) -> Expr:
        return call("log", total)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.log(self.numpy_sum(_wide(x))).astype(x.dtype)


@op
class ReduceLogSumExp(Reduction):
    """ln Σ e^x = m + ln Σ e^(x - m), m = max x where that is finite, else 0; of no elements: -inf"""

    axes: tuple[int, ...] | None = None
    keepdims: bool = True
    kinds: ClassVar[str] = "float"

    def form(self, x: TensorType) -> None:  # type: ignore[override]
        return None

    def decompose(self, b: Builder, x: Value) -> Value:
        top = b.reduce_max(x, axes=self.axes)
        shift = b.where(b.less(b.abs(top), math.inf), top, 0.0)
        total = b.add(b.log(b.reduce_sum(b.exp(b.sub(x, shift)), axes=self.axes)), shift)
        return total if self.keepdims else b.reshape(total, shape=self.infer(x.type).shape)

    def reference(self, x: np.ndarray) -> np.ndarray:
        total = _wide(x)
        for axis in sorted((a % x.ndim for a in self.numpy_axes(x)), reverse=True):
            total = np.logaddexp.reduce(total, axis=axis, keepdims=self.keepdims)  # type: ignore[call-overload]
        return total.astype(x.dtype)
