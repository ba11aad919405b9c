"""Positions of extrema and running totals along an axis: composites of maps and reductions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..builder import Builder
from ..dims import DimLike
from ..dtypes import BOOL, I64
from ..errors import TypeMismatch
from ..expr import Load, const, index, select
from ..forms import Map
from ..graph import Value
from ..op import Op, normalise_axis, op
from ..types import TensorType
from .comparison import Or

_PAST_ANY = np.iinfo(np.int64).max


@op
class AxisIndex(Op):
    """out[i…] = i_axis as i64, in the shape of the operand, whose elements are not read."""

    axis: int

    def infer(self, x: TensorType) -> TensorType:
        normalise_axis(self.axis, x.rank, self.name)
        return x.with_dtype(I64)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.indices(x.shape, np.int64)[self.axis]

    def form(self, x: TensorType) -> Map:
        return Map(index(normalise_axis(self.axis, x.rank, self.name)))


class _ArgExtremum(Op):
    """Base: i64 position along `axis` of the extremum; of equal ones the first, or the last. A NaN is the extremum, as in NumPy."""

    axis: int = 0
    keepdims: bool = True
    select_last_index: bool = False
    reduction: ClassVar[str]

    def infer(self, x: TensorType) -> TensorType:
        axis = normalise_axis(self.axis, x.rank, self.name)
        if x.dtype is BOOL or x.dtype.kind == "string" or x.shape[axis] == 0:
            raise TypeMismatch(f"{self.name} over axis {axis} of {x}: takes numbers, at least one along the axis")
        middle: tuple[DimLike, ...] = (1,) if self.keepdims else ()
        return TensorType(I64, (*x.shape[:axis], *middle, *x.shape[axis + 1 :]))

    def decompose(self, b: Builder, x: Value) -> Value:
        hit = b.equal(x, getattr(b, self.reduction)(x, axes=(self.axis,)))
        if x.type.dtype.is_float:
            hit = b.apply(Or(), hit, b.is_nan(x))
        position = b.axis_index(x, axis=self.axis)
        if self.select_last_index:
            return b.reduce_max(b.where(hit, position, np.int64(-1)), axes=(self.axis,), keepdims=self.keepdims)
        return b.reduce_min(b.where(hit, position, np.int64(_PAST_ANY)), axes=(self.axis,), keepdims=self.keepdims)

    def search(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f"{self.name}.search")

    def reference(self, x: np.ndarray) -> np.ndarray:
        if not self.select_last_index:
            found = self.search(x)
        else:
            found = x.shape[self.axis] - 1 - self.search(np.flip(x, self.axis))
        found = np.asarray(found, np.int64)
        return np.expand_dims(found, self.axis % x.ndim) if self.keepdims else found


@op
class ArgMax(_ArgExtremum):
    """The position of max x along `axis` (i64); of equal ones the first, or the last if select_last_index. NaN counts as max."""

    axis: int = 0
    keepdims: bool = True
    select_last_index: bool = False
    reduction: ClassVar[str] = "reduce_max"

    def search(self, x: np.ndarray) -> np.ndarray:
        return np.argmax(x, axis=self.axis)


@op
class ArgMin(_ArgExtremum):
    """The position of min x along `axis` (i64); of equal ones the first, or the last if select_last_index. NaN counts as min."""

    axis: int = 0
    keepdims: bool = True
    select_last_index: bool = False
    reduction: ClassVar[str] = "reduce_min"

    def search(self, x: np.ndarray) -> np.ndarray:
        return np.argmin(x, axis=self.axis)


@op
class Prefixes(Op):
    """out[i…, j] = x[… j on axis …] if j is among the elements that a running total at i_axis takes, else `fill`.

    Inclusive: j ≤ i; exclusive: j < i; reverse: from the other end.
    """

    axis: int
    exclusive: bool = False
    reverse: bool = False
    fill: int = 0

    def infer(self, x: TensorType) -> TensorType:
        return x.with_shape((*x.shape, x.shape[normalise_axis(self.axis, x.rank, self.name)]))

    def reference(self, x: np.ndarray) -> np.ndarray:
        along = np.moveaxis(x, self.axis, -1)
        n = along.shape[-1]
        taken = np.tril(np.ones((n, n), bool), -1 if self.exclusive else 0)
        spread = np.where(taken.T if self.reverse else taken, along[..., None, :], x.dtype.type(self.fill))
        return np.moveaxis(spread, -2, self.axis % x.ndim)

    def form(self, x: TensorType) -> Map:
        axis = normalise_axis(self.axis, x.rank, self.name)
        i, j = index(axis), index(x.rank)
        low, high = (i, j) if self.reverse else (j, i)
        taken = low < high if self.exclusive else low <= high
        element = Load(x.dtype, 0, tuple(j if k == axis else index(k) for k in range(x.rank)))
        return Map(select(taken, element, const(self.fill, x.dtype)))


class _Running(Op):
    """Base of running totals: n²/2 operations along an axis of n, all independent (no carried loop)."""

    axis: int = 0
    exclusive: bool = False
    reverse: bool = False
    reduction: ClassVar[str]
    fill: ClassVar[int]

    def infer(self, x: TensorType) -> TensorType:
        normalise_axis(self.axis, x.rank, self.name)
        if x.dtype.kind not in ("float", "int", "uint"):
            raise TypeMismatch(f"{self.name}: takes numbers, given {x}")
        return x

    def decompose(self, b: Builder, x: Value) -> Value:
        spread = b.prefixes(x, axis=self.axis, exclusive=self.exclusive, reverse=self.reverse, fill=self.fill)
        return getattr(b, self.reduction)(spread, axes=(-1,), keepdims=False)

    def accumulate(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError(f"{self.name}.accumulate")

    def reference(self, x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64) if x.dtype.kind not in "iu" else x
        along = np.moveaxis(np.flip(wide, self.axis) if self.reverse else wide, self.axis, 0)
        if self.exclusive:
            along = np.concatenate([np.full_like(along[:1], self.fill), along[:-1]])
        total = np.moveaxis(self.accumulate(along), 0, self.axis)
        return (np.flip(total, self.axis) if self.reverse else total).astype(x.dtype)


@op
class CumSum(_Running):
    """out[i] = Σ x[j] over j ≤ i along `axis` (j < i if exclusive; from the end if reverse); n²/2 additions"""

    axis: int = 0
    exclusive: bool = False
    reverse: bool = False
    reduction: ClassVar[str] = "reduce_sum"
    fill: ClassVar[int] = 0

    def accumulate(self, x: np.ndarray) -> np.ndarray:
        return np.cumsum(x, axis=0, dtype=x.dtype)


@op
class CumProd(_Running):
    """out[i] = Π x[j] over j ≤ i along `axis` (j < i if exclusive; from the end if reverse); n²/2 multiplications"""

    axis: int = 0
    exclusive: bool = False
    reverse: bool = False
    reduction: ClassVar[str] = "reduce_prod"
    fill: ClassVar[int] = 1

    def accumulate(self, x: np.ndarray) -> np.ndarray:
        return np.cumprod(x, axis=0, dtype=x.dtype)
