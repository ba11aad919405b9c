"""Samples of data movement at its corners: rank 0, extents 0 and 1, negative axes and widths, indices out of range, every dtype."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.dtypes import DTYPES
from tgen.ir.op import OPS
from tgen.ir.ops.movement import resolve_slice

from .onnx_oracle import onnx_oracle
from .samples import Sample
from .samples_elementwise import values

Shape = tuple[int, ...]
DTYPES_MOVED = ("f32", "f64", "f16", "bf16", "i64", "i32", "i8", "u8", "bool")
MAX = np.iinfo(np.int64).max


class Source:
    """Operands, their dtypes in turn."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self._dtypes = itertools.cycle(DTYPES_MOVED)

    def array(self, shape: Shape, dtype: str | None = None) -> np.ndarray:
        """Without NaN and of small magnitude: elements are told apart by ==."""
        return values(self.rng, DTYPES[dtype or next(self._dtypes)], shape, -90, 90, special=False)

    def indices(self, shape: Shape, extent: int, dtype: str = "i64") -> np.ndarray:
        """In -extent … extent-1."""
        return self.rng.integers(-extent, max(extent, 1), shape).astype(DTYPES[dtype].numpy)


def first(function: Callable[..., Any], *more: Any) -> Callable[..., Any]:
    """An oracle that looks at the first operand only."""
    return lambda x, *_: function(x, *more)


def _views(of: Source) -> Iterator[Sample]:
    yield from (Sample(OPS["identity"](), (of.array(s),), lambda x: x) for s in ((), (3, 0), (7, 5)))
    for shape, perm in (
        ((), ()),
        ((5,), (0,)),
        ((3, 4), (1, 0)),
        ((2, 3, 4, 5), (0, 2, 1, 3)),
        ((2, 0, 3), (2, 0, 1)),
        ((1, 9, 1), (2, 1, 0)),
    ):
        x = of.array(shape)
        yield Sample(OPS["transpose"](perm=perm), (x,), lambda x, p=perm: np.einsum(x, list(range(x.ndim)), list(p)))
    for shape, new in (((6,), (2, 3)), ((2, 3, 4), (4, 6)), ((), (1, 1)), ((1,), ()), ((3, 0), (0, 7)), ((2, 6), (2, 3, 1, 2))):
        yield Sample(
            OPS["reshape"](shape=new), (of.array(shape),), lambda x, n=new: np.array(x.ravel().tolist(), x.dtype).reshape(n)
        )
    for shape, axes in (
        ((1, 3, 1), (0,)),
        ((1, 3, 1), (0, -1)),
        ((1,), (0,)),
        ((2, 3), ()),
        ((0, 1), (1,)),
        ((1, 1, 5, 1), (3, 0)),
    ):
        kept = tuple(d for k, d in enumerate(shape) if k not in {a % len(shape) for a in axes})
        yield Sample(OPS["squeeze"](axes=axes), (of.array(shape),), first(np.reshape, kept))
    for shape, axes, new in (
        ((), (0,), (1,)),
        ((3,), (0, -1), (1, 3, 1)),
        ((2, 3), (1,), (2, 1, 3)),
        ((2, 3), (3, 0), (1, 2, 3, 1)),
        ((0,), (-2,), (1, 0)),
        ((4,), (), (4,)),
    ):
        yield Sample(OPS["unsqueeze"](axes=axes), (of.array(shape),), first(np.reshape, new))
    for shape, new in (
        ((3, 1), (2, 1, 4)),
        ((), (2, 3)),
        ((5,), (5,)),
        ((2, 3), (1,)),
        ((1, 4), (0, 4)),
        ((7, 1, 2), (7, 9, 2)),
        ((1,), ()),
    ):
        yield Sample(OPS["expand"](shape=new), (of.array(shape),), lambda x, n=new: x * np.ones(n, x.dtype))
    for shape, repeats in (
        ((3,), (4,)),
        ((2, 3), (2, 1)),
        ((2, 3), (1, 3)),
        ((1, 5, 1), (3, 2, 4)),
        ((), ()),
        ((2, 3), (0, 2)),
        ((0, 2), (3, 2)),
    ):
        yield Sample(OPS["tile"](repeats=repeats), (of.array(shape, "f32"),), onnx_oracle("Tile", np.array(repeats, np.int64)))
    for shape, axes in (
        ((4, 4), (0, 1)),
        ((2, 3, 3), (-2, -1)),
        ((5, 2, 5), (0, 2)),
        ((3, 2, 3), (-1, 0)),
        ((0, 0), (0, 1)),
        ((1, 1), (0, 1)),
    ):
        yield Sample(OPS["diagonal"](axes=axes), (of.array(shape),), lambda x, a=axes: _diagonal(x, *a))


def _diagonal(x: np.ndarray, a: int, b: int) -> np.ndarray:
    moved = np.moveaxis(x, (a, b), (-2, -1))
    out = np.empty(moved.shape[:-1], x.dtype)
    for k in range(moved.shape[-1]):
        out[..., k] = moved[..., k, k]
    return out


SLICES: list[tuple[Shape, Shape, Shape, Shape, Shape]] = [
    ((9,), (0,), (2,), (7,), (1,)),
    ((9,), (0,), (-3,), (MAX,), (1,)),
    ((9,), (-1,), (MAX,), (-MAX,), (-1,)),
    ((9,), (0,), (8,), (0,), (-3,)),
    ((5, 17), (1,), (1,), (-1,), (2,)),
    ((5, 17), (0, -1), (1, -4), (4, -20), (1, -2)),
    ((2, 3, 4), (2, 0), (-100, 1), (100, 100), (3, 1)),
    ((4, 6), (1,), (3,), (3,), (1,)),
    ((4, 6), (1,), (5,), (2,), (1,)),
    ((4, 0), (1,), (0,), (5,), (1,)),
    ((1, 8), (0,), (-1,), (-3,), (-1,)),
    ((3, 4), (), (), (), ()),
]


def _slices(of: Source) -> Iterator[Sample]:
    for shape, axes, starts, ends, steps in SLICES:
        parts = [resolve_slice(shape[a], s, e, step) for a, s, e, step in zip(axes, starts, ends, steps)]
        op = OPS["slice"](axes=axes, starts=tuple(p[0] for p in parts), sizes=tuple(p[1] for p in parts), steps=steps)
        at: list[slice] = [slice(None)] * len(shape)
        for a, s, e, step in zip(axes, starts, ends, steps):
            at[a] = slice(s, e, step)
        yield Sample(op, (of.array(shape),), lambda x, at=tuple(at): x[at])
        if axes:
            constants = [np.array(c, np.int64) for c in (starts, ends, axes, steps)]
            yield Sample(op, (of.array(shape, "f32"),), onnx_oracle("Slice", *constants))
    for shape, axis, sizes in (
        ((7,), 0, (3, 4)),
        ((2, 6, 3), 1, (1, 0, 5)),
        ((4, 5), -1, (5,)),
        ((0, 4), 0, (0, 0)),
        ((3, 4), -2, (1, 1, 1)),
    ):
        yield Sample(OPS["split"](axis=axis, sizes=sizes), (of.array(shape),), lambda x, a=axis, s=sizes: _split(x, a, s))


def _split(x: np.ndarray, axis: int, sizes: Shape) -> tuple[np.ndarray, ...]:
    ends = list(itertools.accumulate(sizes))
    return tuple(np.moveaxis(np.moveaxis(x, axis, 0)[e - s : e], 0, axis) for s, e in zip(sizes, ends))


def _joins(of: Source) -> Iterator[Sample]:
    for shapes, axis in (
        (((3,), (4,)), 0),
        (((2, 3), (2, 5), (2, 1)), -1),
        (((2, 3),), 0),
        (((0, 3), (2, 3)), 0),
        (((2, 1, 4), (2, 2, 4)), 1),
        (((0,), (0,)), 0),
    ):
        dtype = next(of._dtypes)
        yield Sample(OPS["concat"](axis=axis), tuple(of.array(s, dtype) for s in shapes), lambda *xs, a=axis: _concat(xs, a))
    for mode, blocksize, shape in itertools.product(("DCR", "CRD"), (1, 2, 3), ((2, 18, 2, 3), (1, 36, 1, 1), (0, 36, 2, 2))):
        if shape[1] % blocksize**2 == 0:
            oracle = _depth_to_space(blocksize, mode)
            yield Sample(OPS["depth_to_space"](blocksize=blocksize, mode=mode), (of.array(shape, "f32"),), oracle)
    for blocksize, shape in ((1, (2, 3, 4, 5)), (2, (2, 3, 4, 6)), (3, (1, 2, 3, 9)), (2, (2, 1, 0, 4))):
        yield Sample(
            OPS["space_to_depth"](blocksize=blocksize), (of.array(shape, "f32"),), lambda x, s=blocksize: _space_to_depth(x, s)
        )


def _concat(parts: tuple[np.ndarray, ...], axis: int) -> np.ndarray:
    rows = [row for part in parts for row in np.moveaxis(part, axis, 0)]
    rest = np.moveaxis(parts[0], axis, 0).shape[1:]
    return np.moveaxis(np.array(rows, parts[0].dtype).reshape(len(rows), *rest), 0, axis)


def _depth_to_space(s: int, mode: str) -> Callable[[np.ndarray], np.ndarray]:
    """Channel by channel: DCR has the block's row and column outside of the depth, CRD inside."""

    def run(x: np.ndarray) -> np.ndarray:
        n, c, h, w = x.shape
        deep = c // s**2
        out = np.empty((n, deep, h * s, w * s), x.dtype)
        for row, column, d in np.ndindex(s, s, deep):
            source = (row * s + column) * deep + d if mode == "DCR" else (d * s + row) * s + column
            out[:, d, row::s, column::s] = x[:, source]
        return out

    return run


def _space_to_depth(x: np.ndarray, s: int) -> np.ndarray:
    return np.concatenate([x[:, :, row::s, column::s] for row in range(s) for column in range(s)], axis=1)


def _gathers(of: Source) -> Iterator[Sample]:
    for dtype, (shape, axis, indices) in itertools.product(
        ("i64", "i32"),
        (((9,), 0, ()), ((5, 7), 0, (3,)), ((5, 7), -1, (2, 3)), ((2, 3, 4), 1, (1, 2)), ((5, 0), 0, (4,)), ((4, 3), 0, (0,)), ((0, 3), 1, (2,)), ((0,), 0, (0,))),
    ):  # fmt: skip
        operands = (of.array(shape), of.indices(indices, shape[axis], dtype))
        yield Sample(OPS["gather"](axis=axis), operands, lambda x, i, a=axis: x[(slice(None),) * (a % x.ndim) + (i,)])
        if 0 not in shape:
            yield Sample(OPS["gather"](axis=axis), (of.array(shape, "f32"), operands[1]), onnx_oracle("Gather", axis=axis))
    x = of.array((4, 3), "f32")
    yield Sample(OPS["gather"](), (x, np.array([-9, -5, 4, 99])), lambda x, _: x[[0, 0, 3, 3]])  # clamped
    for shape, axis, indices in (
        ((5,), 0, (8,)),
        ((3, 4), 1, (3, 2)),
        ((3, 4), 0, (6, 4)),
        ((2, 3, 4), -2, (1, 5, 2)),
        ((3, 4), 1, (0, 2)),
        ((3, 4), -1, (3, 0)),
    ):
        operands = (of.array(shape), of.indices(indices, shape[axis]))
        yield Sample(OPS["gather_elements"](axis=axis), operands, lambda x, i, a=axis: _gather_elements(x, i, a))
        yield Sample(
            OPS["gather_elements"](axis=axis), (of.array(shape, "f32"), operands[1]), onnx_oracle("GatherElements", axis=axis)
        )
    for shape, indices, batch in (
        ((5,), (1,), 0),
        ((5, 4), (3, 2), 0),
        ((5, 4), (3, 1), 0),
        ((2, 3, 4), (2, 6, 1), 1),
        ((2, 3, 4), (2, 3, 5, 1), 2),
        ((2, 3, 4, 2), (2, 2), 0),
        ((4, 3), (0, 2), 0),
    ):
        operands = (of.array(shape), of.indices(indices, min(shape[batch : batch + indices[-1]])))
        yield Sample(OPS["gather_nd"](batch_dims=batch), operands, lambda x, i, b=batch: _gather_nd(x, i, b))
        if 0 not in indices:
            yield Sample(
                OPS["gather_nd"](batch_dims=batch), (of.array(shape, "f32"), operands[1]), onnx_oracle("GatherND", batch_dims=batch)
            )
    lengths = np.array([0, 1, 4, 3, 6], np.int64)
    for shape, batch, time in (((6, 5, 3), 1, 0), ((5, 6), 0, 1), ((5, 6, 2, 1), -4, -3)):
        op = OPS["reverse_sequence"](batch_axis=batch, time_axis=time)
        yield Sample(op, (of.array(shape), lengths), lambda x, n, b=batch, t=time: _reverse(x, n, b, t))
    yield Sample(
        OPS["reverse_sequence"](),
        (of.array((6, 5), "f32"), lengths + (lengths == 0)),
        onnx_oracle("ReverseSequence", batch_axis=1, time_axis=0),
    )
    yield Sample(
        OPS["reverse_sequence"](), (of.array((4, 3)), np.array([-2, 9, 4])), lambda x, n: _reverse(x, np.clip(n, 0, 4), 1, 0)
    )


def _gather_elements(x: np.ndarray, indices: np.ndarray, axis: int) -> np.ndarray:
    out = np.empty(indices.shape, x.dtype)
    for at in np.ndindex(indices.shape):
        source = list(at)
        source[axis] = int(indices[at])
        out[at] = x[tuple(source)]
    return out


def _gather_nd(x: np.ndarray, indices: np.ndarray, batch: int) -> np.ndarray:
    lead = indices.shape[:-1]
    out = np.empty((*lead, *x.shape[batch + indices.shape[-1] :]), x.dtype)
    for at in np.ndindex(lead):
        out[at] = x[(*at[:batch], *indices[at].tolist())]
    return out


def _reverse(x: np.ndarray, lengths: np.ndarray, batch: int, time: int) -> np.ndarray:
    out = np.empty_like(x)
    for at in np.ndindex(x.shape):
        source, length = list(at), int(lengths[at[batch]])
        source[time] = length - 1 - at[time] if at[time] < length else at[time]
        out[at] = x[tuple(source)]
    return out


UFUNCS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _scatters(of: Source) -> Iterator[Sample]:
    elements = (
        ((9,), 0, (5,)),
        ((4, 5), 1, (4, 3)),
        ((4, 5), -2, (6, 2)),
        ((2, 3, 4), 1, (2, 3, 4)),
        ((3, 4), 0, (0, 4)),
        ((0, 4), 1, (0, 2)),
    )
    for reduction, (shape, axis, count), dtype in itertools.product(("none", *UFUNCS), elements, ("f32", "i64")):
        operands = (of.array(shape, dtype), of.indices(count, shape[axis]), of.array(count, dtype))
        if reduction == "none":
            operands = (operands[0], np.argsort(of.rng.random(count), axis=axis) % max(shape[axis], 1), operands[2])
        op = OPS["scatter_elements"](axis=axis, reduction=reduction)
        yield Sample(op, operands, lambda x, i, u, a=axis, r=reduction: _scatter_elements(x, i, u, a, r), absolute=1e-3)
    operands = (of.array((4, 5), "f32"), of.indices((4, 3), 5), of.array((4, 3), "f32"))
    for reduction in UFUNCS:
        op = OPS["scatter_elements"](axis=1, reduction=reduction)
        yield Sample(op, operands, onnx_oracle("ScatterElements", axis=1, reduction=reduction), absolute=1e-3)
    for dtype in ("bool", "u8", "f64"):
        operands = (of.array((6,), dtype), np.array([-1, 2, 0], np.int32), of.array((3,), dtype))
        yield Sample(OPS["scatter_elements"](), operands, lambda x, i, u: _scatter_elements(x, i, u, 0, "none"))
    yield from _scatter_nds(of)


def _scatter_nds(of: Source) -> Iterator[Sample]:
    for reduction, (shape, indices) in itertools.product(
        ("none", *UFUNCS),
        (((8,), (4, 1)), ((8,), (1,)), ((4, 5), (3, 2)), ((4, 5), (2, 1)), ((4, 3, 2), (2, 3, 1)), ((4, 5), (0, 2))),
    ):
        depth = indices[-1]
        where = of.indices(indices, min(shape[:depth]))
        updates = of.array((*indices[:-1], *shape[depth:]), "f32")
        oracle = None if reduction == "none" and 0 not in indices and len(indices) > 1 else _scatter_nd(reduction)
        yield Sample(OPS["scatter_nd"](reduction=reduction), (of.array(shape, "f32"), where, updates), oracle, absolute=1e-3)
    where = np.array([[4], [3], [1], [-1]])  # of equal positions the last update counts; here there are none
    operands = (of.array((8, 2), "f32"), where, of.array((4, 2), "f32"))
    yield Sample(OPS["scatter_nd"](), operands, onnx_oracle("ScatterND"))
    yield Sample(OPS["scatter_nd"](reduction="add"), operands, onnx_oracle("ScatterND", reduction="add"))
    twice = (np.zeros(3, np.float32), np.array([[1], [1], [-2]]), np.array([5, 6, 7], np.float32))
    yield Sample(OPS["scatter_nd"](), twice, lambda *_: np.array([0, 7, 0], np.float32))


def _scatter_elements(x: np.ndarray, indices: np.ndarray, updates: np.ndarray, axis: int, reduction: str) -> np.ndarray:
    """By NumPy's unbuffered `ufunc.at`, or by its put_along_axis (indices are distinct)."""
    out = x.copy()
    grid = [np.arange(d).reshape([-1 if j == k else 1 for j in range(x.ndim)]) for k, d in enumerate(indices.shape)]
    grid[axis] = indices
    if reduction != "none":
        UFUNCS[reduction].at(out, tuple(grid), updates)
    else:
        out[tuple(grid)] = updates
    return out


def _scatter_nd(reduction: str) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, indices: np.ndarray, updates: np.ndarray) -> np.ndarray:
        out = x.copy()
        at = tuple(np.moveaxis(indices, -1, 0))
        if reduction == "none":
            out[at] = updates
        else:
            UFUNCS[reduction].at(out, at, updates)
        return out

    return run


PADS: list[tuple[Shape, Shape, Shape]] = [
    ((5,), (2,), (3,)),
    ((3, 4), (0, 1), (2, 0)),
    ((3, 4), (1, 3), (2, 3)),
    ((4, 6), (-1, 2), (1, -2)),
    ((2, 3, 7), (1, 0, 5), (0, 0, 6)),
    ((1, 4), (2, 1), (2, 1)),
    ((3, 4), (0, 0), (0, 0)),
    ((4, 5), (-1, -2), (-2, -1)),
    ((7,), (-3,), (9,)),
]


def _pads(of: Source) -> Iterator[Sample]:
    for mode, (shape, before, after) in itertools.product(("constant", "edge", "reflect", "wrap"), PADS):
        x = of.array(shape)
        op = OPS["pad"](before=before, after=after, mode=mode)
        yield Sample(op, (x, _one(of, x)), _pad(before, after, mode))
    for shape, before, after in (
        ((0, 3), (1, 0), (1, 2)),
        ((2, 0), (0, 3), (0, 0)),
        ((), (), ()),
        ((3, 2), (-2, 0), (-1, 0)),
        ((0,), (0,), (0,)),
    ):
        x = of.array(shape)
        yield Sample(OPS["pad"](before=before, after=after), (x, _one(of, x)), _pad(before, after, "constant"))
    x, fill = of.array((3, 4), "f32"), np.float32(7)
    for mode in ("constant", "edge", "reflect", "wrap"):
        oracle = onnx_oracle("Pad", np.array([1, 2, 2, 3], np.int64), *([fill] if mode == "constant" else []), mode=mode)
        yield Sample(OPS["pad"](before=(1, 2), after=(2, 3), mode=mode), (x, np.array(fill)), first(oracle))


def _one(of: Source, x: np.ndarray) -> np.ndarray:
    """A scalar of x's dtype."""
    return np.asarray(of.rng.integers(0, 2)).astype(x.dtype)


def _pad(before: Shape, after: Shape, mode: str) -> Callable[..., np.ndarray]:
    """Element by element: walks along the axis until it is inside."""

    def position(i: int, n: int) -> int:
        while not 0 <= i < n:
            if mode == "edge":
                i = 0 if i < 0 else n - 1
            elif mode == "wrap":
                i += n if i < 0 else -n
            else:
                i = 0 if n == 1 else -i if i < 0 else 2 * (n - 1) - i
        return i

    def run(x: np.ndarray, fill: np.ndarray) -> np.ndarray:
        x = x[tuple(slice(max(-b, 0), d + min(a, 0)) for b, a, d in zip(before, after, x.shape))]
        out = np.empty([d + max(b, 0) + max(a, 0) for b, a, d in zip(before, after, x.shape)], x.dtype)
        for at in np.ndindex(out.shape):
            source = tuple(i - max(b, 0) for i, b in zip(at, before))
            outside = any(not 0 <= i < d for i, d in zip(source, x.shape))
            out[at] = fill if outside and mode == "constant" else x[tuple(map(position, source, x.shape))]
        return out

    return run


def _generators(of: Source) -> Iterator[Sample]:
    for value, shape in itertools.product((of.array(()), of.array((1,)), of.array((), "bool")), ((), (3, 4), (0, 2), (17,))):
        yield Sample(
            OPS["full"](shape=shape),
            (value,),
            lambda v, s=shape: np.array([v.reshape(-1)[0]] * int(np.prod(s)), v.dtype).reshape(s),
        )
    for dtype, (start, delta, count) in itertools.product(
        ("i64", "i32", "f32", "f64"), ((0, 1, 9), (5, -2, 33), (3, 0, 4), (1, 7, 0), (-4, 3, 1))
    ):
        operands = tuple(np.asarray(v, DTYPES[dtype].numpy) for v in (start, delta))
        yield Sample(OPS["range"](size=count), operands, lambda s, d, n=count: np.array([s + k * d for k in range(n)], s.dtype))
    yield Sample(
        OPS["range"](size=20), (np.float32(0.5), np.float32(0.1)), lambda s, d: np.linspace(0.5, 2.4, 20, dtype=np.float32), 1e-6
    )
    for dims in ((), (5,), (2, 0, 7), (1, 1 << 40)):
        yield Sample(OPS["dims_value"](dims=dims), (), lambda d=dims: np.array(list(d), np.int64))
    for shape, k, upper in itertools.product(((3, 3), (2, 5), (5, 2), (2, 3, 4), (0, 3), (1, 1)), (0, 1, -2, 7, -7), (True, False)):
        oracle = lambda x, k=k, u=upper: _trilu(x, k, u)
        yield Sample(OPS["trilu"](k=k, upper=upper), (of.array(shape),), oracle)
    yield Sample(OPS["trilu"](k=1), (of.array((4, 5), "f32"),), onnx_oracle("Trilu", np.array(1, np.int64), upper=1))
    for (shape, k), dtype in itertools.product(
        (((3, 3), 0), ((2, 5), 1), ((5, 2), -3), ((0, 4), 0), ((3, 3), 9)), ("f32", "i32", "bool", "bf16")
    ):
        oracle = lambda x, k=k, d=DTYPES[dtype]: _eye(x.shape, k).astype(d.numpy)
        yield Sample(OPS["eye_like"](dtype=DTYPES[dtype], k=k), (of.array(shape),), oracle)
    yield from _one_hots(of)


def _trilu(x: np.ndarray, k: int, upper: bool) -> np.ndarray:
    out = x.copy()
    for row, column in np.ndindex(x.shape[-2:]):
        if (column - row < k) if upper else (column - row > k):
            out[..., row, column] = 0
    return out


def _eye(shape: Shape, k: int) -> np.ndarray:
    return np.array([[int(c - r == k) for c in range(shape[1])] for r in range(shape[0])], np.int64).reshape(shape)


def _one_hots(of: Source) -> Iterator[Sample]:
    for shape, depth, axis, dtype in (
        ((), 4, -1, "i64"),
        ((5,), 6, -1, "i32"),
        ((2, 3), 4, 0, "i64"),
        ((2, 3), 4, 1, "u8"),
        ((2, 3), 1, -2, "f32"),
        ((0, 3), 4, -1, "i64"),
        ((4,), 0, 0, "i64"),
    ):
        low = 0 if dtype == "u8" else -depth - 1
        indices = of.rng.integers(low, depth + 2, shape).astype(DTYPES[dtype].numpy)
        pair = np.array([-2, 3], np.float32)
        yield Sample(OPS["one_hot"](depth=depth, axis=axis), (indices, pair), lambda i, v, d=depth, a=axis: _one_hot(i, v, d, a))
    pair, oracle = np.array([0, 1], np.int64), onnx_oracle("OneHot", axis=1)
    indices = of.indices((3, 2), 5)
    yield Sample(OPS["one_hot"](depth=5, axis=1), (indices, pair), lambda i, v: oracle(i, np.array(5, np.int64), v))


def _one_hot(indices: np.ndarray, pair: np.ndarray, depth: int, axis: int) -> np.ndarray:
    out = np.full((*indices.shape, depth), pair[0])
    for at in np.ndindex(indices.shape):
        hot = int(indices[at])
        if -depth <= hot < depth:
            out[(*at, hot)] = pair[1]
    return np.moveaxis(out, -1, axis)


def samples() -> list[Sample]:
    source = Source(23)
    families = (_views, _slices, _joins, _gathers, _scatters, _pads, _generators)
    return [sample for family in families for sample in family(source)]
