"""Data-dependent movement: positions read from a tensor. Negative indices count from the end.

Indices past an end are clamped into the tensor: nothing outside of it is ever read.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..dims import DimLike, dim_min, evaluate_dim, nonnegative
from ..dtypes import I32, I64
from ..errors import TypeMismatch
from ..expr import Expr, Load, cast, index, maximum, minimum, select, size
from ..forms import Map, Scatter
from ..op import Op, normalise_axis, op
from ..types import TensorType

COMBINE = {"none": None, "add": "add", "mul": "mul", "max": "max", "min": "min"}


def wrapped(position: Expr, extent: DimLike) -> Expr:
    """position as an i64 in 0 … extent-1: negative ones from the end, then clamped."""
    i = cast(position, I64)
    i = select(i < 0, i + size(extent), i)
    return maximum(minimum(i, size(extent) - 1), 0)


def _check_indices(name: str, indices: TensorType, x: TensorType, axes: Iterable[int] = ()) -> None:
    """Raises TypeMismatch for indices of another dtype, and for any index into an axis that is known to be empty."""
    if indices.dtype not in (I64, I32):
        raise TypeMismatch(f"{name}: indices are i32 or i64, given {indices}")
    if any(x.shape[k] == 0 for k in axes) and indices.elements != 0:
        raise TypeMismatch(f"{name}: no index is valid in {x}, given {indices}")


def _check_covered(name: str, x: TensorType, indices: TensorType, axis: int) -> None:
    """Raises TypeMismatch if indices, which run along x but for `axis`, are known to be longer than x somewhere."""
    for k, (extent, count) in enumerate(zip(x.shape, indices.shape)):
        if k != axis and isinstance(extent, int) and isinstance(count, int) and count > extent:
            raise TypeMismatch(f"{name}: {indices} is longer than {x} on axis {k}")


def _along(x: TensorType, indices: TensorType, axis: int) -> tuple[Expr, ...]:
    """Where element i of `indices` (operand 1) points to in x; axes that may be longer than x's are clamped."""
    here = tuple(index(k) for k in range(x.rank))
    inside = (i if nonnegative(d - n) else minimum(i, size(d) - 1) for i, d, n in zip(here, x.shape, indices.shape))
    target = wrapped(Load(indices.dtype, 1, here), x.shape[axis])
    return tuple(target if k == axis else i for k, i in enumerate(inside))


def wrap_array(indices: np.ndarray, extent: int) -> np.ndarray:
    """What `wrapped` does, for arrays."""
    wide = indices.astype(np.int64)
    return np.clip(np.where(wide < 0, wide + extent, wide), 0, max(extent - 1, 0))


@op
class Gather(Op):
    """out[…, j…, …] = x[…, indices[j…], …] along axis"""

    axis: int = 0

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        axis = normalise_axis(self.axis, x.rank, "gather")
        _check_indices("gather", indices, x, (axis,))
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
        axis = normalise_axis(self.axis, x.rank, "gather_elements")
        if x.rank != indices.rank:
            raise TypeMismatch(f"gather_elements: ranks of {x} and {indices} differ")
        _check_indices("gather_elements", indices, x, (axis,))
        _check_covered("gather_elements", x, indices, axis)
        return x.with_shape(indices.shape)

    def reference(self, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        grid: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
        grid[self.axis] = wrap_array(indices, x.shape[self.axis])
        return x[tuple(grid)]

    def form(self, x: TensorType, indices: TensorType) -> Map:
        return Map(Load(x.dtype, 0, _along(x, indices, normalise_axis(self.axis, x.rank, "gather_elements"))))


@op
class GatherND(Op):
    """out[b…, j…, s…] = x[b…, indices[b…, j…, :], s…]; the first batch_dims axes are shared"""

    batch_dims: int = 0

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        batch, depth = self.batch_dims, indices.shape[-1] if indices.rank else None
        fits = isinstance(depth, int) and 0 < depth <= x.rank - batch and 0 <= batch < indices.rank
        if not fits or x.shape[:batch] != indices.shape[:batch]:
            raise TypeMismatch(f"gather_nd: {indices} does not index {x} with batch_dims {batch}")
        end = batch + evaluate_dim(indices.shape[-1], {})
        _check_indices("gather_nd", indices, x, range(batch, end))
        return x.with_shape((*indices.shape[:-1], *x.shape[end:]))

    def reference(self, x: np.ndarray, indices: np.ndarray) -> np.ndarray:
        batch = self.batch_dims
        depth = indices.shape[-1]
        grid: list[np.ndarray] = list(np.indices(indices.shape[:-1], sparse=True))[:batch]
        where = [wrap_array(indices[..., k], x.shape[batch + k]) for k in range(depth)]
        return x[tuple(grid + where)]

    def form(self, x: TensorType, indices: TensorType) -> Map:
        batch, depth, outer = self.batch_dims, evaluate_dim(indices.shape[-1], {}), indices.rank - 1
        lead = [index(k) for k in range(outer)]
        at: list[Expr] = [index(k) for k in range(batch)]
        at += [wrapped(Load(indices.dtype, 1, (*lead, size(k))), x.shape[batch + k]) for k in range(depth)]
        at += [index(outer + k) for k in range(x.rank - batch - depth)]
        return Map(Load(x.dtype, 0, tuple(at)))


def _scatter_into(out: np.ndarray, where: tuple[np.ndarray, ...], updates: np.ndarray, reduction: str) -> np.ndarray:
    """Updates one after another in row-major order; none if there is no place for them."""
    if not out.size:
        return out
    flat = [np.broadcast_to(w, updates.shape).reshape(-1) for w in where]
    combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}.get(reduction)
    for number, value in enumerate(updates.reshape(-1)):
        at = tuple(int(w[number]) for w in flat)
        out[at] = value if combine is None else combine(out[at], value)
    return out


def _check_scatter(name: str, reduction: str, x: TensorType, updates: TensorType) -> None:
    numbers = x.dtype.is_float or x.dtype.is_integer
    if reduction not in COMBINE or x.dtype is not updates.dtype or (reduction != "none" and not numbers):
        raise TypeMismatch(f"{name}: reduction {reduction!r} of {updates} into {x}")


def _unless_empty(extents: tuple[DimLike, ...], targets: Iterable[DimLike]) -> tuple[DimLike, ...]:
    """The extents of the updates; none if an axis they are written to has extent 0 at run time: there is no place for them."""
    if not extents:
        return extents
    first = extents[0]
    for extent in targets:
        first = first * dim_min(1, extent)
    return (first, *extents[1:])


@op
class ScatterElements(Op):
    """A copy of x with out[i, indices[i, j], k] = updates[i, j, k] (for axis 1), combined by `reduction`"""

    axis: int = 0
    reduction: str = "none"

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        _check_scatter("scatter_elements", self.reduction, x, updates)
        axis = normalise_axis(self.axis, x.rank, "scatter_elements")
        if indices.shape != updates.shape or indices.rank != x.rank:
            raise TypeMismatch(f"scatter_elements: {indices} and {updates} into {x}")
        _check_indices("scatter_elements", indices, x, (axis,))
        _check_covered("scatter_elements", x, indices, axis)
        return x

    def reference(self, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        grid: list[np.ndarray] = list(np.indices(indices.shape, sparse=True))
        grid[self.axis] = wrap_array(indices, x.shape[self.axis])
        return _scatter_into(x.copy(), tuple(grid), updates, self.reduction)

    def form(self, x: TensorType, indices: TensorType, updates: TensorType) -> Scatter:
        at = _along(x, indices, normalise_axis(self.axis, x.rank, "scatter_elements"))
        here = tuple(index(k) for k in range(x.rank))
        extents = _unless_empty(indices.shape, x.shape)
        return Scatter(extents, at, Load(updates.dtype, 2, here), COMBINE[self.reduction])


@op
class ScatterND(Op):
    """A copy of x with out[indices[j…, :], s…] = updates[j…, s…], combined by `reduction`"""

    reduction: str = "none"

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        _check_scatter("scatter_nd", self.reduction, x, updates)
        depth = indices.shape[-1] if indices.rank else None
        if not isinstance(depth, int) or not 0 < depth <= x.rank or updates.shape != (*indices.shape[:-1], *x.shape[depth:]):
            raise TypeMismatch(f"scatter_nd: {indices} and {updates} into {x}")
        _check_indices("scatter_nd", indices, x, range(depth))
        return x

    def reference(self, x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        depth, outer = indices.shape[-1], indices.ndim - 1
        where = [np.expand_dims(wrap_array(indices[..., k], x.shape[k]), tuple(range(outer, updates.ndim))) for k in range(depth)]
        grid = np.indices(updates.shape, sparse=True)
        return _scatter_into(x.copy(), (*where, *grid[outer:]), updates, self.reduction)

    def form(self, x: TensorType, indices: TensorType, updates: TensorType) -> Scatter:
        depth, outer = evaluate_dim(indices.shape[-1], {}), indices.rank - 1
        lead = [index(k) for k in range(outer)]
        at: list[Expr] = [wrapped(Load(indices.dtype, 1, (*lead, size(k))), x.shape[k]) for k in range(depth)]
        at += [index(outer + k) for k in range(updates.rank - outer)]
        here = tuple(index(k) for k in range(updates.rank))
        extents = _unless_empty(updates.shape, x.shape[:depth])
        return Scatter(extents, tuple(at), Load(updates.dtype, 2, here), COMBINE[self.reduction])


@op
class ReverseSequence(Op):
    """Along time_axis the first lengths[b] elements of batch entry b are reversed, the others stay. Lengths are clamped to the axis."""

    batch_axis: int = 1
    time_axis: int = 0

    def infer(self, x: TensorType, lengths: TensorType) -> TensorType:
        batch, time = (normalise_axis(a, x.rank, "reverse_sequence") for a in (self.batch_axis, self.time_axis))
        if batch == time or lengths.shape != (x.shape[batch],):
            raise TypeMismatch(f"reverse_sequence of {x}: batch axis {batch}, time axis {time}, lengths {lengths}")
        _check_indices("reverse_sequence", lengths, x)
        return x

    def reference(self, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        moved = np.moveaxis(x, (self.batch_axis, self.time_axis), (0, 1))
        out = moved.copy()
        for b, length in enumerate(np.clip(lengths, 0, moved.shape[1])):
            out[b, :length] = np.flip(moved[b, :length], 0)
        return np.moveaxis(out, (0, 1), (self.batch_axis, self.time_axis))

    def form(self, x: TensorType, lengths: TensorType) -> Map:
        at: list[Expr] = [index(k) for k in range(x.rank)]
        batch, axis = (normalise_axis(a, x.rank, "reverse_sequence") for a in (self.batch_axis, self.time_axis))
        length = minimum(cast(Load(lengths.dtype, 1, (index(batch),)), I64), size(x.shape[axis]))
        time = at[axis]
        at[axis] = select(time < length, length - 1 - time, time)
        return Map(Load(x.dtype, 0, tuple(at)))
