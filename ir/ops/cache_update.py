"""Rows written into a cache at places that are data."""

from __future__ import annotations

import numpy as np

from ..dtypes import I64
from ..errors import TypeMismatch
from ..expr import Arg, Expr, Load, call, const, index, maximum, minimum, select, size
from ..forms import Map
from ..op import Op, normalise_axis, op
from ..types import TensorType


@op
class TensorScatter(Op):
    """A copy of cache in which update's entries along `axis` stand from place start[b] on, b being the position on the first axis

    circular: places go on at the beginning after the end; else what would stand outside is left out.
    """

    axis: int = -2
    circular: bool = False

    def infer(self, cache: TensorType, update: TensorType, start: TensorType) -> TensorType:
        axis = normalise_axis(self.axis, cache.rank, self.name)
        fits = cache.rank == update.rank and all(a == b for k, (a, b) in enumerate(zip(cache.shape, update.shape)) if k != axis)
        if not fits or axis == 0 or update.dtype is not cache.dtype or start.dtype is not I64 or start.shape != cache.shape[:1]:
            raise TypeMismatch(f"{self.name} of {update} into {cache} at {start}, axis {self.axis}")
        longest, count = cache.shape[axis], update.shape[axis]
        if isinstance(longest, int) and isinstance(count, int) and count > longest:
            raise TypeMismatch(f"{self.name}: {update} is longer than {cache} on axis {axis}")
        return cache

    def reference(self, cache: np.ndarray, update: np.ndarray, start: np.ndarray) -> np.ndarray:
        out = cache.copy()
        to, source = np.moveaxis(out, self.axis, 1), np.moveaxis(update, self.axis, 1)
        for b, first in enumerate(start):
            for k in range(source.shape[1]):
                place = int(first) + k
                place = place % to.shape[1] if self.circular else place
                if 0 <= place < to.shape[1]:
                    to[b, place] = source[b, k]
        return out

    def form(self, cache: TensorType, update: TensorType, start: TensorType) -> Map:
        axis = normalise_axis(self.axis, cache.rank, self.name)
        longest, count = size(cache.shape[axis]), size(update.shape[axis])
        if 0 in update.shape:
            return Map(Arg(cache.dtype, 0))
        k: Expr = index(axis) - Load(I64, 2, (index(0),))
        if self.circular:
            k = call("rem", k, longest)
            k = select(k < const(0, I64), k + longest, k)
        inside = (k >= 0) & (k < count)
        at = tuple(maximum(minimum(k, count - 1), 0) if d == axis else index(d) for d in range(cache.rank))
        return Map(select(inside, Load(update.dtype, 1, at), Arg(cache.dtype, 0)))
