"""What is chosen by its value. How much that is, is known in a run only: results are as long as they can get, with a count of what holds."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dims import product
from ..dtypes import BOOL, I64, STRING
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType
from .sorting import scalar_dtype

COUNT = TensorType(I64, ())


@op
class TruePlaces(Op):
    """(where x[n] holds, ascending, then zeros: i64[n]; how many those are: i64[])"""

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        if x.rank != 1 or x.dtype is not BOOL:
            raise TypeMismatch(f"{self.name}: takes a vector of bool, given {x}")
        return x.with_dtype(I64), COUNT

    def form(self, x: TensorType) -> Routine:
        return Routine(true_places, 1, (x.shape[0],), work=x.shape[0] * 2)

    def reference(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = np.flatnonzero(x)
        return np.pad(found, (0, x.size - found.size)), np.array(found.size)


def true_places(first: int, last: int, x: Any, places: Any, count: Any, n: int, scratch: Any) -> None:
    """See `TruePlaces`; one unit."""
    for _ in range(first, last):
        found = 0
        for i in range(n):
            places[i] = 0
            if x[i] != 0:
                places[found] = i
                found += 1
        count[0] = found


@op
class RowOrder(Op):
    """The numbers of the rows of x[n, width] in the order of their elements, the first ones first; equal rows stay in order. i64[n]

    NaN comes behind all numbers and equals NaN.
    """

    def infer(self, x: TensorType) -> TensorType:
        if x.rank != 2 or scalar_dtype(x.dtype) is not x.dtype or x.dtype.bits < 8 or x.dtype is STRING:
            raise TypeMismatch(f"{self.name}: takes matrices of a dtype that C has, given {x}")
        return TensorType(I64, x.shape[:1])

    def form(self, x: TensorType) -> Routine:
        return Routine(row_order, 1, x.shape, work=product(x.shape) * 32, scratch=x.shape[0] * 8)

    def reference(self, x: np.ndarray) -> np.ndarray:
        keys = [key for column in x.T[::-1] for key in (np.where(np.isnan(column), 0, column), np.isnan(column))]
        return np.lexsort(keys or [np.zeros(len(x))])  # the last key counts most


def row_order(first: int, last: int, x: Any, order: Any, n: int, width: int, scratch: Any) -> None:
    """See `RowOrder`; one unit: runs of rows in order are merged, two and two."""
    for i in range(n if last > first else 0):
        order[i] = i
    run = 1
    while last > first and run < n:
        for start in range(0, n, 2 * run):
            middle, end = min(start + run, n), min(start + 2 * run, n)
            left, right = start, middle
            for at in range(start, end):
                later = left == middle or (right < end and compare_rows(x, order[right], order[left], width) < 0)
                scratch[at] = order[right if later else left]
                right += later
                left += not later
        for i in range(n):
            order[i] = scratch[i]
        run *= 2


def compare_rows(x: Any, i: int, j: int, width: int) -> int:
    """-1, 0 or 1 where row i comes before, equals or comes behind row j."""
    for k in range(width):
        a, b = x[i * width + k], x[j * width + k]
        if a < b or (a == a and b != b):
            return -1
        if a > b or (b == b and a != a):
            return 1
    return 0


@op
class DistinctRows(Op):
    """(firsts, inverse, counts i64[n], number i64[]): the rows of x[n, width] that differ, given their order (see `RowOrder`)

    firsts: where each occurs first; inverse: which of them each row of x is; counts: how often each occurs. Zeros follow.
    ordered: they are numbered in the given order, else as they occur.
    """

    ordered: bool = True

    def infer(self, x: TensorType, order: TensorType) -> tuple[TensorType, ...]:
        if RowOrder().infer(x) != order:
            raise TypeMismatch(f"{self.name}: takes a matrix and the order of its rows, given {x} and {order}")
        return order, order, order, COUNT

    def form(self, x: TensorType, order: TensorType) -> Routine:
        sizes = (*x.shape, int(self.ordered))
        return Routine(distinct_rows, 1, sizes, work=product(x.shape) * 4 + x.shape[0] * 4, scratch=x.shape[0] * 8)

    def reference(self, x: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, ...]:
        groups: dict[Any, list[int]] = {}
        for i in order.tolist() if self.ordered else range(len(x)):
            row = tuple("nan" if v != v else v for v in x[i].tolist())
            groups.setdefault(row, []).append(i)
        firsts, counts, inverse = np.zeros(len(x), np.int64), np.zeros(len(x), np.int64), np.zeros(len(x), np.int64)
        for number, members in enumerate(groups.values()):
            firsts[number], counts[number], inverse[members] = min(members), len(members), number
        return firsts, inverse, counts, np.array(len(groups))


def distinct_rows(
    first: int, last: int, x: Any, order: Any, firsts: Any, inverse: Any, counts: Any, number: Any, n: int, width: int,
    ordered: int, scratch: Any,
) -> None:  # fmt: skip
    """See `DistinctRows`; one unit. scratch: the numbers of groups, by their number in the given order."""
    for _ in range(first, last):
        found = 0
        for at in range(n):
            if at == 0 or compare_rows(x, order[at - 1], order[at], width) != 0:
                firsts[found] = order[at]
                scratch[found] = found
                found += 1
            inverse[order[at]] = found - 1
        number[0] = found
        fresh = 0
        for i in range(0 if ordered else n):
            group = inverse[i]
            if firsts[group] == i:
                scratch[group] = fresh
                fresh += 1
        for k in range(n):
            counts[k] = 0
            firsts[k] = 0
        for i in range(n):
            group = scratch[inverse[i]]
            inverse[i] = group
            if counts[group] == 0:
                firsts[group] = i
            counts[group] += 1
