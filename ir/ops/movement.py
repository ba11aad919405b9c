"""Data movement by affine index maps: most of these are views and cost nothing."""

from __future__ import annotations

import numpy as np

from ..builder import Builder
from ..dims import Dim, DimLike, ceildiv, concrete, dim_max, dim_min, product
from ..errors import TypeMismatch, Unequal
from ..expr import Expr, Load, call, index, size
from ..forms import Join, Map
from ..forms import Reshape as ReshapeForm
from ..graph import Value
from ..op import Op, normalise_axis, op
from ..types import TensorType, broadcast, require


def positions(rank: int) -> list[Expr]:
    """Index(0) … Index(rank - 1)."""
    return [index(k) for k in range(rank)]


@op
class Identity(Op):
    """x"""

    def infer(self, x: TensorType) -> TensorType:
        return x

    def reference(self, x: np.ndarray) -> np.ndarray:
        return x

    def form(self, x: TensorType) -> Map:
        return Map(Load(x.dtype, 0, tuple(positions(x.rank))))


@op
class Transpose(Op):
    """out[i_perm[0], …] : result axis j is operand axis perm[j]"""

    perm: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.perm) != list(range(x.rank)):
            raise TypeMismatch(f"transpose: {self.perm} is not a permutation of the axes of {x}")
        return x.with_shape(tuple(x.shape[p] for p in self.perm))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.transpose(x, self.perm)

    def form(self, x: TensorType) -> Map:
        return Map(Load(x.dtype, 0, tuple(index(self.perm.index(k)) for k in range(x.rank))))


def channels_first(rank: int) -> tuple[int, ...]:
    """The permutation that makes [n, c, space…] of [n, space…, c]."""
    return (0, rank - 1, *range(1, rank - 1))


def channels_last(rank: int) -> tuple[int, ...]:
    """The permutation that makes [n, space…, c] of [n, c, space…]."""
    return (0, *range(2, rank), 1)


@op
class Reshape(Op):
    """The same elements in row-major order under `shape`; the numbers of elements must agree."""

    shape: tuple[DimLike, ...]

    def infer(self, x: TensorType) -> TensorType:
        if product(self.shape) != x.elements or any(isinstance(d, int) and d < 0 for d in self.shape):
            shape = ", ".join(map(str, self.shape))
            text = f"reshape of {x} to [{shape}]: {x.elements} elements are not {product(self.shape)}"
            raise Unequal(text, x.elements, product(self.shape))
        return x.with_shape(self.shape)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.reshape(x, concrete(self.shape))

    def form(self, x: TensorType) -> ReshapeForm:
        return ReshapeForm(self.shape)


@op
class Squeeze(Op):
    """Axes of extent 1 removed (negative from the end)."""

    axes: tuple[int, ...]

    def _kept(self, x: TensorType) -> list[int]:
        gone = {normalise_axis(a, x.rank, "squeeze") for a in self.axes}
        if len(gone) != len(self.axes):
            raise TypeMismatch(f"squeeze: axes {self.axes} repeat for {x}")
        for axis in gone:
            if x.shape[axis] != 1:
                raise TypeMismatch(f"squeeze: axis {axis} of {x} is not 1")
        return [k for k in range(x.rank) if k not in gone]

    def infer(self, x: TensorType) -> TensorType:
        return x.with_shape(tuple(x.shape[k] for k in self._kept(x)))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.squeeze(x, self.axes)

    def form(self, x: TensorType) -> Map:
        kept = self._kept(x)
        zero = size(0)
        return Map(Load(x.dtype, 0, tuple(index(kept.index(k)) if k in kept else zero for k in range(x.rank))))


@op
class Unsqueeze(Op):
    """Axes of extent 1 inserted; `axes` are positions in the result (negative from its end)."""

    axes: tuple[int, ...]

    def _new(self, x: TensorType) -> list[int]:
        rank = x.rank + len(self.axes)
        new = [normalise_axis(a, rank, "unsqueeze") for a in self.axes]
        if len(set(new)) != len(new):
            raise TypeMismatch(f"unsqueeze: axes {self.axes} repeat")
        return new

    def infer(self, x: TensorType) -> TensorType:
        new, old = self._new(x), iter(x.shape)
        return x.with_shape(tuple(1 if k in new else next(old) for k in range(x.rank + len(new))))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.expand_dims(x, self.axes) if self.axes else x

    def form(self, x: TensorType) -> Map:
        new = self._new(x)
        return Map(Load(x.dtype, 0, tuple(index(k) for k in range(x.rank + len(new)) if k not in new)))


@op
class Expand(Op):
    """x broadcast together with `shape`, as NumPy does both ways."""

    shape: tuple[DimLike, ...]

    def infer(self, x: TensorType) -> TensorType:
        return x.with_shape(broadcast(x.shape, self.shape))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.broadcast_to(x, np.broadcast_shapes(x.shape, concrete(self.shape))).copy()

    def form(self, x: TensorType) -> Map:
        shift = len(self.infer(x).shape) - x.rank
        return Map(Load(x.dtype, 0, tuple(size(0) if d == 1 else index(shift + k) for k, d in enumerate(x.shape))))


def resolve_slice(dim: DimLike, start: DimLike, end: DimLike, step: int) -> tuple[DimLike, DimLike]:
    """(first position, number of elements) of ONNX's start:end:step on an axis of extent `dim`.

    Negative positions count from the end; positions past an end are clamped. Symbolic dimensions are decided where their sign is
    certain (a symbol is at least 0), else by max and min.
    """
    low, high = (0, dim) if step > 0 else (-1, dim - 1)
    first, last = (_clamped(p, dim, low, high) for p in (start, end))
    span = last - first if step > 0 else first - last
    return first, ceildiv(dim_max(span, 0), abs(step))


def _clamped(position: DimLike, dim: DimLike, low: DimLike, high: DimLike) -> DimLike:
    """The position in low … high; integers that no extent reaches (2³¹ and more, either way) stand for the ends."""
    if isinstance(position, int) and isinstance(dim, Dim) and abs(position) >= 1 << 31:
        return high if position > 0 else low
    if isinstance(position, int) and position < 0:
        position = position + dim
    return dim_max(dim_min(position, high), low)


def _check_inside(x: TensorType, axis: int, start: DimLike, count: DimLike, step: int) -> None:
    """Raises TypeMismatch if positions start, start + step, … (count of them) are known to leave the axis."""
    extent = x.shape[axis]
    if not (isinstance(start, int) and isinstance(count, int) and isinstance(extent, int)):
        return
    last = start + (count - 1) * step
    if count < 0 or (count > 0 and not (0 <= start < extent and 0 <= last < extent)):
        raise TypeMismatch(f"slice: positions {start} to {last} on axis {axis} are outside {x}")


@op
class Slice(Op):
    """out[…, j, …] = x[…, starts + j·steps, …] along `axes`; sizes: extents of the result.

    Positions must lie inside x: those that are integers are checked, symbolic ones come from `resolve_slice`.
    """

    axes: tuple[int, ...]
    starts: tuple[DimLike, ...]
    sizes: tuple[DimLike, ...]
    steps: tuple[int, ...]

    def _axes(self, x: TensorType) -> list[int]:
        return [normalise_axis(a, x.rank, "slice") for a in self.axes]

    def infer(self, x: TensorType) -> TensorType:
        axes, shape = self._axes(x), list(x.shape)
        if len(set(axes)) != len(axes) or {len(self.starts), len(self.sizes), len(self.steps)} != {len(axes)}:
            raise TypeMismatch(f"slice of {x}: axes {self.axes}, starts {self.starts}, sizes {self.sizes}, steps {self.steps}")
        for axis, start, extent, step in zip(axes, self.starts, self.sizes, self.steps):
            _check_inside(x, axis, start, extent, step)
            shape[axis] = extent
        return x.with_shape(tuple(shape))

    def reference(self, x: np.ndarray) -> np.ndarray:
        for axis, start, count, step in zip(self.axes, concrete(self.starts), concrete(self.sizes), self.steps):
            x = np.take(x, start + np.arange(count) * step, axis=axis)
        return x

    def form(self, x: TensorType) -> Map:
        at = positions(x.rank)
        for axis, start, step in zip(self._axes(x), self.starts, self.steps):
            at[axis] = at[axis] * step + size(start)
        return Map(Load(x.dtype, 0, tuple(at)))


@op
class Split(Op):
    """Consecutive parts along `axis`, of these sizes."""

    axis: int
    sizes: tuple[DimLike, ...]

    def infer(self, x: TensorType) -> tuple[TensorType, ...]:
        axis = normalise_axis(self.axis, x.rank, "split")
        total: DimLike = 0
        if any(isinstance(s, int) and s < 0 for s in self.sizes):
            raise TypeMismatch(f"split of {x} into {', '.join(map(str, self.sizes))}: a size is negative")
        for extent in self.sizes:
            total = total + extent
        if total != x.shape[axis]:
            raise TypeMismatch(f"split of {x} along axis {axis} into {', '.join(map(str, self.sizes))}: the sum is {total}")
        return tuple(x.with_shape((*x.shape[:axis], s, *x.shape[axis + 1 :])) for s in self.sizes)

    def reference(self, x: np.ndarray) -> tuple[np.ndarray, ...]:
        ends = np.cumsum(np.array(self.sizes, np.int64))
        return tuple(np.split(x, ends[:-1], axis=self.axis))

    def decompose(self, b: Builder, x: Value) -> tuple[Value, ...]:
        parts = []
        start: DimLike = 0
        for extent in self.sizes:
            parts.append(b.slice(x, axes=(self.axis,), starts=(start,), sizes=(extent,), steps=(1,)))
            start = start + extent
        return tuple(parts)


@op
class Diagonal(Op):
    """out[…, i] = x[…, i, …, i, …]: the elements with equal positions on two axes, of equal extents; the diagonal is the last axis."""

    axes: tuple[int, int] = (-2, -1)

    def _axes(self, x: TensorType) -> tuple[int, int]:
        a, b = (normalise_axis(k, x.rank, "diagonal") for k in self.axes)
        if a == b or x.shape[a] != x.shape[b]:
            raise TypeMismatch(f"diagonal: axes {self.axes} of {x} are not two of equal extents")
        return a, b

    def infer(self, x: TensorType) -> TensorType:
        a, b = self._axes(x)
        return x.with_shape((*(d for k, d in enumerate(x.shape) if k not in (a, b)), x.shape[a]))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.diagonal(x, 0, *self.axes).copy()

    def form(self, x: TensorType) -> Map:
        along, others = self._axes(x), iter(positions(x.rank - 2))
        return Map(Load(x.dtype, 0, tuple(index(x.rank - 2) if k in along else next(others) for k in range(x.rank))))


@op
class Concat(Op):
    """Operands one after another along `axis`."""

    axis: int

    def infer(self, *parts: TensorType) -> TensorType:
        axis = normalise_axis(self.axis, parts[0].rank, "concat")
        total: DimLike = 0
        for part in parts:
            wanted = tuple(part.shape[k] if k == axis < part.rank else d for k, d in enumerate(parts[0].shape))
            require(part, parts[0].with_shape(wanted), f"concat along axis {axis}: {part} does not fit {parts[0]}")
            total = total + part.shape[axis]
        return parts[0].with_shape((*parts[0].shape[:axis], total, *parts[0].shape[axis + 1 :]))

    def reference(self, *parts: np.ndarray) -> np.ndarray:
        return np.concatenate(parts, self.axis)

    def form(self, *parts: TensorType) -> Join:
        return Join(normalise_axis(self.axis, parts[0].rank, "concat"))


@op
class Tile(Op):
    """x repeated repeats[k] times along axis k"""

    repeats: tuple[DimLike, ...]

    def infer(self, x: TensorType) -> TensorType:
        if len(self.repeats) != x.rank or any(isinstance(r, int) and r < 0 for r in self.repeats):
            raise TypeMismatch(f"tile of {x}: repeats are {', '.join(map(str, self.repeats))}")
        return x.with_shape(tuple(d * r for d, r in zip(x.shape, self.repeats)))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.tile(x, concrete(self.repeats))

    def form(self, x: TensorType) -> Map:
        extents = zip(positions(x.rank), x.shape, self.repeats)
        at = [i if r == 1 else size(0) if d == 1 else call("rem", i, size(d)) for i, d, r in extents]
        return Map(Load(x.dtype, 0, tuple(at)))


@op
class DepthToSpace(Op):
    """Blocks of `blocksize`² channels become squares of space. mode: DCR (depth, column, row) or CRD."""

    blocksize: int
    mode: str = "DCR"

    def infer(self, x: TensorType) -> TensorType:
        s = self.blocksize
        if x.rank != 4 or self.mode not in ("DCR", "CRD") or s < 1 or x.shape[1] % (s * s) != 0:
            raise TypeMismatch(f"depth_to_space of {x}: blocksize {s}, mode {self.mode!r}")
        n, c, h, w = x.shape
        return x.with_shape((n, c // (s * s), h * s, w * s))

    def reference(self, x: np.ndarray) -> np.ndarray:
        n, c, h, w = x.shape
        s = self.blocksize
        if self.mode == "DCR":
            return x.reshape(n, s, s, c // s**2, h, w).transpose(0, 3, 4, 1, 5, 2).reshape(n, c // s**2, h * s, w * s)
        return x.reshape(n, c // s**2, s, s, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(n, c // s**2, h * s, w * s)

    def decompose(self, b: Builder, x: Value) -> Value:
        n, _, h, w = x.type.shape
        s, deep = self.blocksize, self.infer(x.type).shape
        dcr = self.mode == "DCR"
        split = (n, s, s, deep[1], h, w) if dcr else (n, deep[1], s, s, h, w)
        perm = (0, 3, 4, 1, 5, 2) if dcr else (0, 1, 4, 2, 5, 3)
        moved: Value = b.reshape(b.transpose(b.reshape(x, shape=split), perm=perm), shape=deep)
        return moved


@op
class SpaceToDepth(Op):
    """Squares of blocksize² positions become channels."""

    blocksize: int

    def infer(self, x: TensorType) -> TensorType:
        s = self.blocksize
        if x.rank != 4 or s < 1 or any(isinstance(d, int) and d % s for d in x.shape[2:]):
            raise TypeMismatch(f"space_to_depth of {x}: blocksize {s}")
        n, c, h, w = x.shape
        return x.with_shape((n, c * s * s, h // s, w // s))

    def reference(self, x: np.ndarray) -> np.ndarray:
        n, c, h, w = x.shape
        s = self.blocksize
        return x.reshape(n, c, h // s, s, w // s, s).transpose(0, 3, 5, 1, 2, 4).reshape(n, c * s * s, h // s, w // s)

    def decompose(self, b: Builder, x: Value) -> Value:
        n, c, h, w = x.type.shape
        s = self.blocksize
        split = b.reshape(x, shape=(n, c, h // s, s, w // s, s))
        moved: Value = b.reshape(b.transpose(split, perm=(0, 3, 5, 1, 2, 4)), shape=self.infer(x.type).shape)
        return moved
