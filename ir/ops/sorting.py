"""Operators that put elements in order: scalar algorithms, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..dims import DimLike, evaluate_dim, product
from ..dtypes import F32, I64, DType
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, normalise_axis, op
from ..types import TensorType

if TYPE_CHECKING:
    from ..builder import Builder
    from ..graph import Value


@op
class TopK(Op):
    """(values, indices) of the k greatest (or least) elements along `axis`, best first; of equal ones the first comes first.

    NaN counts as greater than any number. indices are i64. k may be at most the extent of the axis.
    """

    k: DimLike
    axis: int = -1
    largest: bool = True

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        if x.dtype.kind not in ("float", "int", "uint"):
            raise TypeMismatch(f"{self.name}: takes numbers, given {x}")
        axis = normalise_axis(self.axis, x.rank, self.name)
        extent = x.shape[axis]
        if isinstance(self.k, int) and (self.k < 0 or (isinstance(extent, int) and self.k > extent)):
            raise TypeMismatch(f"{self.name}: k is {self.k}, the axis has {extent} elements")
        shape = tuple(self.k if n == axis else d for n, d in enumerate(x.shape))
        return TensorType(x.dtype, shape), TensorType(I64, shape)

    def decompose(self, b: Builder, x: Value) -> tuple[Value, Value]:
        axis = normalise_axis(self.axis, x.type.rank, self.name)
        order = (*tuple(n for n in range(x.type.rank) if n != axis), axis)
        back = tuple(order.index(n) for n in range(x.type.rank))
        wide = scalar_dtype(x.type.dtype)
        rows = b.cast(b.transpose(x, perm=order), to=wide)
        values, places = b.row_top_k(rows, k=self.k, largest=self.largest)
        return b.cast(b.transpose(values, perm=back), to=x.type.dtype), b.transpose(places, perm=back)

    def reference(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(x, axis=self.axis, kind="stable")  # NaN last
        if self.largest:  # equal elements stay in order when the reversed array is sorted and read backwards
            order = x.shape[self.axis] - 1 - np.flip(np.argsort(np.flip(x, self.axis), axis=self.axis, kind="stable"), self.axis)
        best = np.take(order, np.arange(evaluate_dim(self.k, {})), axis=self.axis)
        return np.take_along_axis(x, best, self.axis), best.astype(np.int64)


@op
class RowTopK(Op):
    """`TopK` along the last axis, of a dtype that C has."""

    k: DimLike
    largest: bool = True

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        if scalar_dtype(x.dtype) is not x.dtype:
            raise TypeMismatch(f"{self.name}: {x.dtype} has to be widened first")
        return TopK(self.k, -1, self.largest).infer(x)

    def form(self, x: TensorType) -> Routine:
        *lead, n = x.shape
        rows = product(lead)
        return Routine(row_top_k, rows, (n, self.k, int(self.largest)), work=rows * n * 8)

    def reference(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return TopK(self.k, -1, self.largest).reference(x)


def scalar_dtype(dtype: DType) -> DType:
    """What a routine computes in for this dtype: the same, or float32 for narrower floats."""
    return F32 if dtype.is_float and dtype.bits < 32 else dtype


def row_top_k(first: int, last: int, x: Any, values: Any, places: Any, n: int, k: int, largest: int, scratch: Any) -> None:
    """x[rows, n] → values[rows, k], places[rows, k]: a heap of the best so far, the worst of them at its root, in `places`."""
    half = k // 2
    for row in range(first, last):
        start, heap = row * n, row * k
        for j in range(k):
            places[heap + j] = j
        # first the heap is made, then everything else is tried, then the worst is moved behind the others, again and again
        for step in range(half + n if k > 0 else 0):
            size, root = k, 0
            if step < half:
                root = half - 1 - step
                item = places[heap + root]
            elif step < half + n - k:
                item = step - half + k
                if not before(x, start, item, places[heap], largest):
                    continue
            else:
                size = half + n - 1 - step
                item = places[heap + size]
                places[heap + size] = places[heap]
            while 2 * root + 1 < size:
                child = 2 * root + 1
                if child + 1 < size and before(x, start, places[heap + child], places[heap + child + 1], largest):
                    child += 1
                if before(x, start, places[heap + child], item, largest):
                    break
                places[heap + root] = places[heap + child]
                root = child
            if size > 0:
                places[heap + root] = item
        for j in range(k):
            values[heap + j] = x[start + places[heap + j]]


def before(x: Any, start: int, i: int, j: int, largest: int) -> bool:
    """Whether element i of a row comes before element j."""
    a, b = x[start + i], x[start + j]
    greater = a > b or (a != a and b == b)
    less = a < b or (a == a and b != b)
    if greater or less:
        return greater if largest else less
    return i < j
