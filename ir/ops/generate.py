"""Tensors made from little: constants of a shape, ranges, padding, triangles, one-hot vectors, dimensions as data."""

from __future__ import annotations

import numpy as np

from ..dims import DimLike, concrete, dim_max, dim_min, evaluate_dim
from ..dtypes import I64, DType
from ..errors import TypeMismatch
from ..expr import Arg, Expr, Load, call, cast, const, index, maximum, minimum, select, size
from ..forms import Map
from ..op import Op, normalise_axis, op
from ..types import TensorType


@op
class Full(Op):
    """The scalar operand in every element of `shape`"""

    shape: tuple[DimLike, ...]

    def infer(self, value: TensorType) -> TensorType:
        if value.elements != 1:
            raise TypeMismatch(f"full: takes one value, given {value}")
        return value.with_shape(self.shape)

    def reference(self, value: np.ndarray) -> np.ndarray:
        return np.full(concrete(self.shape), value.reshape(()), value.dtype)

    def form(self, value: TensorType) -> Map:
        return Map(Load(value.dtype, 0, (size(0),) * value.rank))


@op
class Range(Op):
    """start + i·delta, for i < size"""

    size: DimLike

    def infer(self, start: TensorType, delta: TensorType) -> TensorType:
        numbers = start.dtype.is_float or start.dtype.is_integer
        if start.rank or delta.rank or start.dtype is not delta.dtype or not numbers:
            raise TypeMismatch(f"range: takes two scalars of one dtype, given {start} and {delta}")
        return start.with_shape((self.size,))

    def reference(self, start: np.ndarray, delta: np.ndarray) -> np.ndarray:
        return (start + np.arange(evaluate_dim(self.size, {})).astype(start.dtype) * delta).astype(start.dtype)

    def form(self, start: TensorType, delta: TensorType) -> Map:
        return Map(Load(start.dtype, 0, ()) + cast(index(0), start.dtype) * Load(delta.dtype, 1, ()))


@op
class DimsValue(Op):
    """Dimensions as data: i64[n]"""

    dims: tuple[DimLike, ...]

    def infer(self) -> TensorType:
        return TensorType(I64, (len(self.dims),))

    def reference(self) -> np.ndarray:
        return np.array(self.dims, np.int64)

    def form(self) -> Map:
        body: Expr = const(0, I64)
        for k, dim in enumerate(self.dims):
            body = select(call("eq", index(0), k), size(dim), body)
        return Map(body)


@op
class EyeLike(Op):
    """1 where column = row + k, else 0, in the shape of the operand, a matrix whose elements are not read"""

    dtype: DType
    k: DimLike = 0

    def infer(self, x: TensorType) -> TensorType:
        if x.rank != 2:
            raise TypeMismatch(f"eye_like: takes a matrix, given {x}")
        return x.with_dtype(self.dtype)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.eye(*x.shape, self.k).astype(self.dtype.numpy)  # type: ignore[call-overload]

    def form(self, x: TensorType) -> Map:
        return Map(cast(call("eq", index(1), index(0) + size(self.k)), self.dtype))


@op
class Pad(Op):
    """x with before[k] and after[k] elements more along axis k. mode: constant (operand 1), edge, reflect, wrap.

    A negative number takes elements away; that is done first, and the rest is padded.
    """

    before: tuple[DimLike, ...]
    after: tuple[DimLike, ...]
    mode: str = "constant"

    def infer(self, x: TensorType, fill: TensorType) -> TensorType:
        if fill.dtype is not x.dtype or fill.elements != 1 or self.mode not in ("constant", "edge", "reflect", "wrap"):
            raise TypeMismatch(f"pad of {x} with {fill}, mode {self.mode!r}")
        if not len(self.before) == len(self.after) == x.rank:
            raise TypeMismatch(f"pad of {x}: {len(self.before)} and {len(self.after)} widths")
        shape = tuple(b + d + a for b, d, a in zip(self.before, x.shape, self.after))
        for kept, extent in zip(self._kept(x.shape), shape):
            if (isinstance(kept, int) and kept < 0) or (kept == 0 and extent != 0 and self.mode != "constant"):
                raise TypeMismatch(f"pad of {x}, mode {self.mode!r}: {kept} elements are left to pad to {extent}")
        return x.with_shape(shape)

    def _kept(self, shape: tuple[DimLike, ...]) -> list[DimLike]:
        """How many elements of each axis are left after those that negative widths take away."""
        return [b + d + a for b, d, a in zip(map(_negative, self.before), shape, map(_negative, self.after))]

    def reference(self, x: np.ndarray, fill: np.ndarray) -> np.ndarray:
        pairs = list(zip(concrete(self.before), concrete(self.after)))
        if not pairs:
            return x
        cut = x[tuple(slice(max(-b, 0), d - max(-a, 0)) for (b, a), d in zip(pairs, x.shape))]
        widths = [(max(b, 0), max(a, 0)) for b, a in pairs]
        if self.mode == "constant":
            return np.pad(cut, widths, constant_values=fill.reshape(()))
        return np.pad(cut, widths, mode=self.mode)  # type: ignore[call-overload]

    def form(self, x: TensorType, fill: TensorType) -> Map:
        at: list[Expr] = []
        inside: Expr | None = None
        value = Load(fill.dtype, 1, (size(0),) * fill.rank)
        if 0 in x.shape:
            return Map(value)
        for k, (before, after, kept) in enumerate(zip(self.before, self.after, self._kept(x.shape))):
            if before == 0 and after == 0:
                at.append(index(k))
                continue
            i, first = index(k) - size(dim_max(before, 0)), size(_negative(before) * -1)
            if self.mode == "constant":
                test = (i >= 0) & (i < size(kept))
                inside = test if inside is None else inside & test
            at.append(_bounded(i, kept, self.mode, dim_max(before, 0), dim_max(after, 0)) + first)
        load = Load(x.dtype, 0, tuple(at))
        return Map(load if inside is None else select(inside, load, value))


def _negative(width: DimLike) -> DimLike:
    return dim_min(width, 0)


def _bounded(i: Expr, extent: DimLike, mode: str, before: DimLike, after: DimLike) -> Expr:
    """The position in 0 … extent-1 that element i is taken from, which is outside by `before` or `after` at most."""
    if mode in ("constant", "edge"):
        return maximum(minimum(i, size(extent) - 1), 0)
    if mode == "wrap":
        return _rest(i, before, size(extent))
    period = maximum(size(extent) * 2 - 2, 1)
    once = isinstance(extent, int) and all(isinstance(width, int) and width < extent for width in (before, after))
    folded = maximum(i, size(0) - i) if once else _rest(i, before, period)
    return minimum(folded, period - folded)


def _rest(i: Expr, before: DimLike, period: Expr) -> Expr:
    """i modulo period, for i ≥ -before and period ≥ 1"""
    return call("rem", i + size(before) * period, period)


@op
class Trilu(Op):
    """The upper (or lower) triangle of the last two axes, from diagonal k on; zero elsewhere"""

    k: DimLike = 0
    upper: bool = True

    def infer(self, x: TensorType) -> TensorType:
        if x.rank < 2:
            raise TypeMismatch(f"trilu: takes at least two axes, given {x}")
        return x

    def reference(self, x: np.ndarray) -> np.ndarray:
        k = evaluate_dim(self.k, {})
        return np.triu(x, k) if self.upper else np.tril(x, k)

    def form(self, x: TensorType) -> Map:
        row, column = index(x.rank - 2) + size(self.k), index(x.rank - 1)
        keep = column >= row if self.upper else column <= row
        return Map(select(keep, Arg(x.dtype, 0), const(0, x.dtype)))


@op
class OneHot(Op):
    """values[1] where position along the new `axis` equals the index, else values[0]; indices outside -depth … depth-1 give none"""

    depth: DimLike
    axis: int = -1

    def infer(self, indices: TensorType, values: TensorType) -> TensorType:
        axis = normalise_axis(self.axis, indices.rank + 1, "one_hot")
        if values.shape != (2,) or not (indices.dtype.is_integer or indices.dtype.is_float):
            raise TypeMismatch(f"one_hot: indices are numbers and values are [off, on], given {indices} and {values}")
        return TensorType(values.dtype, (*indices.shape[:axis], self.depth, *indices.shape[axis:]))

    def reference(self, indices: np.ndarray, values: np.ndarray) -> np.ndarray:
        axis, depth = self.axis % (indices.ndim + 1), evaluate_dim(self.depth, {})
        wide = indices.astype(np.int64)
        wide = np.where(wide < 0, wide + depth, wide)
        shape = [-1 if k == axis else 1 for k in range(indices.ndim + 1)]
        hot = np.expand_dims(wide, axis) == np.arange(depth).reshape(shape)
        return np.where(hot, values[1], values[0])

    def form(self, indices: TensorType, values: TensorType) -> Map:
        axis = normalise_axis(self.axis, indices.rank + 1, "one_hot")
        i = cast(Load(indices.dtype, 0, tuple(index(k) for k in range(indices.rank + 1) if k != axis)), I64)
        i = select(i < 0, i + size(self.depth), i)
        off, on = (Load(values.dtype, 1, (size(k),)) for k in (0, 1))
        return Map(select(call("eq", i, index(axis)), on, off))
