"""Data-dependent movement: positions read from a tensor. Negative indices count from the end.

Indices past an end are clamped into the tensor: nothing outside of it is ever read.
"""

from __future__ import annotations

import numpy as np

from ..dims import DimLike
from ..dtypes import I32, I64
from ..errors import TypeMismatch
from ..expr import Expr, Load, call, cast, index, maximum, minimum, select, size
from ..forms import Map, Scatter
from ..op import Op, normalise_axis, op
from ..types import TensorType

COMBINE = {"none": None, "add": "add", "mul": "mul", "max": "max", "min": "min"}


def wrapped(position: Expr, extent: DimLike) -> Expr:
    """position as an i64 in 0 … extent-1: negative ones from the end, then clamped."""
    i = cast(position, I64)
    i = select(i < 0, i + size(extent), i)
    return maximum(minimum(i, size(extent) - 1), 0)


def _check_indices(name: str, indices: TensorType) -> None:
    if indices.dtype not in (I64, I32):
        raise TypeMismatch(f"{name}: indices are i32 or i64, given {indices}")


def wrap_array(indices: np.ndarray, extent: int) -> np.ndarray:
    """What `wrapped` does, for arrays."""
    wide = indices.astype(np.int64)
    return np.clip(np.where(wide < 0, wide + extent, wide), 0, max(extent - 1, 0))


@op
class Gather(Op):
    """out[…, j…, …] = x[…, indices[j…], …] along axis"""

    axis: int = 0

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        _check_indices("gather", indices)
        axis = normalise_axis(self.axis, x.rank, "gather")
        return x.with_shape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))

    def reference(self, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        return np.take(x, wrap_array(indices, x.shape[self.axis]), axis=self.axis)

    def form(self, x: TensorType, indices: TensorType) -> Map:
        axis = normalise_axis(self.axis, x.rank, "gather")
        where = Load(indices.dtype, 1, tuple(index(axis + k) for k in range(indices.rank)))
        after = (index(axis + indices.rank + k) for k in range(x.rank - axis - 1))
        return Map(Load(x.dtype, 0, (*(index(k) for k in range(axis)), wrapped(where, x.shape[axis]), *after)))


@op
class GatherElements(Op):
    """out[i, j, k] = x[i, indices[i, j, k], k] (for axis 1)"""

    axis: int = 0

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        _check_indices("gather_elements", indices)
        normalise_axis(self.axis, x.rank, "gather_elements")
        if x.rank != indices.rank:
            raise TypeMismatch(f"gather_elements: ranks of {x} and {indices} differ")
        return x.with_shape(indices.shape)

    def reference(self, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        grid = list(np.indices(indices.shape, sparse=True))
        grid[self.axis] = wrap_array(indices, x.shape[self.axis])
        return x[tuple(grid)]

    def form(self, x: TensorType, indices: TensorType) -> Map:
        at: list[Expr] = [index(k) for k in range(x.rank)]
        axis = normalise_axis(self.axis, x.rank, "gather_elements")
        at[axis] = wrapped(Load(indices.dtype, 1, tuple(at)), x.shape[axis])
        return Map(Load(x.dtype, 0, tuple(at)))


@op
class GatherND(Op):
    """out[b…, j…, s…] = x[b…, indices[b…, j…, :], s…]; the first batch_dims axes are shared"""

    batch_dims: int = 0

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        _check_indices("gather_nd", indices)
        depth = indices.shape[-1]
        if not isinstance(depth, int) or depth + self.batch_dims > x.rank:
            raise TypeMismatch(f"gather_nd: {indices} does not index {x} with batch_dims {self.batch_dims}")
        return x.with_shape((*indices.shape[:-1], *x.shape[self.batch_dims + depth :]))

    def reference(self, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        batch = self.batch_dims
        depth = indices.shape[-1]
        grid = list(np.indices(indices.shape[:-1], sparse=True))[:batch]
        where = [wrap_array(indices[..., k], x.shape[batch + k]) for k in range(depth)]
        return x[tuple(grid + where)]

    def form(self, x: TensorType, indices: TensorType) -> Map:
        batch, depth, outer = self.batch_dims, int(indices.shape[-1]), indices.rank - 1  # type: ignore[arg-type]
        lead = [index(k) for k in range(outer)]
        at: list[Expr] = [index(k) for k in range(batch)]
        at += [wrapped(Load(indices.dtype, 1, (*lead, size(k))), x.shape[batch + k]) for k in range(depth)]
        at += [index(outer + k) for k in range(x.rank - batch - depth)]
        return Map(Load(x.dtype, 0, tuple(at)))


def _scatter_into(out: np.ndarray, where: tuple[np.ndarray, ...], updates: np.ndarray, reduction: str) -> np.ndarray:
    """Updates one after another in row-major order."""
    flat = [np.broadcast_to(w, updates.shape).reshape(-1) for w in where]
    combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}.get(reduction)
    for number, value in enumerate(updates.reshape(-1)):
        at = tuple(int(w[number]) for w in flat)
        out[at] = value if combine is None else combine(out[at], value)
    return out


def _check_scatter(name: str, reduction: str, x: TensorType, updates: TensorType) -> None:
    if reduction not in COMBINE or x.dtype is not updates.dtype:
        raise TypeMismatch(f"{name}: reduction {reduction!r} of {updates} into {x}")


@op
class ScatterElements(Op):
    """A copy of x with out[i, indices[i, j], k] = updates[i, j, k] (for axis 1), combined by `reduction`"""

    axis: int = 0
    reduction: str = "none"

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        _check_indices("scatter_elements", indices)
        _check_scatter("scatter_elements", self.reduction, x, updates)
        normalise_axis(self.axis, x.rank, "scatter_elements")
        if indices.shape != updates.shape or indices.rank != x.rank:
            raise TypeMismatch(f"scatter_elements: {indices} and {updates} into {x}")
        return x

    def reference(self, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        grid = list(np.indices(indices.shape, sparse=True))
        grid[self.axis] = wrap_array(indices, x.shape[self.axis])
        return _scatter_into(x.copy(), tuple(grid), updates, self.reduction)

    def form(self, x: TensorType, indices: TensorType, updates: TensorType) -> Scatter:
        here = tuple(index(k) for k in range(x.rank))
        axis = normalise_axis(self.axis, x.rank, "scatter_elements")
        at: list[Expr] = list(here)
        at[axis] = wrapped(Load(indices.dtype, 1, here), x.shape[axis])
        return Scatter(indices.shape, tuple(at), Load(updates.dtype, 2, here), COMBINE[self.reduction])


@op
class ScatterND(Op):
    """A copy of x with out[indices[j…, :], s…] = updates[j…, s…], combined by `reduction`"""

    reduction: str = "none"

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        _check_indices("scatter_nd", indices)
        _check_scatter("scatter_nd", self.reduction, x, updates)
        depth = indices.shape[-1]
        if not isinstance(depth, int) or updates.shape != (*indices.shape[:-1], *x.shape[depth:]):
            raise TypeMismatch(f"scatter_nd: {indices} and {updates} into {x}")
        return x

    def reference(self, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        depth, outer = indices.shape[-1], indices.ndim - 1
        where = [np.expand_dims(wrap_array(indices[..., k], x.shape[k]), tuple(range(outer, updates.ndim))) for k in range(depth)]
        grid = np.indices(updates.shape, sparse=True)
        return _scatter_into(x.copy(), (*where, *grid[outer:]), updates, self.reduction)

    def form(self, x: TensorType, indices: TensorType, updates: TensorType) -> Scatter:
        depth, outer = int(indices.shape[-1]), indices.rank - 1  # type: ignore[arg-type]
        lead = [index(k) for k in range(outer)]
        at: list[Expr] = [wrapped(Load(indices.dtype, 1, (*lead, size(k))), x.shape[k]) for k in range(depth)]
        at += [index(outer + k) for k in range(updates.rank - outer)]
        here = tuple(index(k) for k in range(updates.rank))
        return Scatter(updates.shape, tuple(at), Load(updates.dtype, 2, here), COMBINE[self.reduction])


@op
class ReverseSequence(Op):
    """Along time_axis the first lengths[b] elements of batch entry b are reversed, the others stay."""

    batch_axis: int = 1
    time_axis: int = 0

    def infer(self, x: TensorType, lengths: TensorType) -> TensorType:
        _check_indices("reverse_sequence", lengths)
        return x

    def reference(self, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        out = x.copy()
        for b, length in enumerate(lengths):
            at: list[object] = [slice(None)] * x.ndim
            at[self.batch_axis] = b
            source, target = list(at), list(at)
            target[self.time_axis], source[self.time_axis] = slice(0, length), slice(length - 1, None, -1) if length else slice(0, 0)
            out[tuple(target)] = x[tuple(source)]  # type: ignore[index]
        return out

    def form(self, x: TensorType, lengths: TensorType) -> Map:
        at: list[Expr] = [index(k) for k in range(x.rank)]
        length = cast(Load(lengths.dtype, 1, (index(self.batch_axis),)), I64)
        time = index(self.time_axis)
        mirrored = call("sub", length - 1, time)
        at[self.time_axis] = wrapped(select(time < length, mirrored, time), x.shape[self.time_axis])
        return Map(Load(x.dtype, 0, tuple(at)))
