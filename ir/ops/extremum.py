"""Positions of extrema along an axis: composites of maps and reductions."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..builder import Builder
from ..dims import DimLike
from ..dtypes import BOOL, I64
from ..errors import TypeMismatch
from ..expr import index
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
