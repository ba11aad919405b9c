"""Data movement whose positions were attributes and became inputs, or that is made of simpler movement."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ....ir import dims
from ....ir.dims import Dim, DimLike
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ....ir.op import normalise_axis
from ....ir.ops.movement import resolve_slice
from ..call import Call
from ..registry import onnx_op
from .found import Entry, found_offset, found_pads, found_slice, found_split


@onnx_op("Transpose")
def transpose(call: Call, x: Value) -> Value:
    perm = call.attributes.get("perm", list(range(x.type.rank))[::-1])
    return call.build.transpose(x, perm=tuple(perm))


@onnx_op("Slice", since=1)
def slice_attributes(call: Call, x: Value) -> Value:
    starts, ends = tuple(call.required("starts")), tuple(call.required("ends"))
    axes = tuple(call.attributes.get("axes", range(len(starts))))
    return _slice(call, x, axes, starts, ends, (1,) * len(starts))


@onnx_op("Slice", since=10)
def slice_(call: Call, x: Value, starts: Value, ends: Value, axes: Value | None = None, steps: Value | None = None) -> Value:
    first, last = call.entries(starts), call.entries(ends)
    along = call.plain_ints(axes, "axes") if axes is not None else tuple(range(len(first)))
    step = call.plain_ints(steps, "steps") if steps is not None else (1,) * len(first)
    return _slice(call, x, along, first, last, step)


def _slice(
    call: Call, x: Value, axes: tuple[int, ...], starts: Sequence[Entry], ends: Sequence[Entry], steps: tuple[int, ...]
) -> Value:
    if not len(axes) == len(starts) == len(ends) == len(steps):
        raise InvalidModel(
            f"{call.importer.what}: Slice {call.name!r} has {len(axes)} axes, {len(starts)} starts, {len(ends)} ends"
        )
    along = tuple(normalise_axis(a, x.type.rank, "slice") for a in axes)
    if len(set(along)) != len(along) or 0 in steps:
        raise InvalidModel(f"{call.importer.what}: Slice {call.name!r}: axes {list(axes)} with steps {list(steps)}")
    parts = [_part(call, x.type.shape[a], s, e, step) for a, s, e, step in zip(along, starts, ends, steps)]
    return call.build.slice(x, axes=along, starts=tuple(p[0] for p in parts), sizes=tuple(p[1] for p in parts), steps=steps)


def _part(call: Call, dim: DimLike, start: Entry, end: Entry, step: int) -> tuple[DimLike, DimLike]:
    """First position and number of elements."""
    if isinstance(start, Value) or isinstance(end, Value):
        return found_slice(call, dim, start, end, step)
    return resolve_slice(dim, start, end, step)


@onnx_op("Split", since=1)
def split_attribute(call: Call, x: Value) -> Any:
    sizes = call.attributes.get("split")
    return _split(call, x, tuple(sizes) if sizes else None, len(call.node.output), True)


@onnx_op("Split", since=13)
def split(call: Call, x: Value, sizes: Value | None = None) -> Any:
    """Equal parts if no sizes are given; from opset 18 on the last may be smaller."""
    parts = call.attributes.get("num_outputs", len(call.node.output))
    if sizes is None:
        return _split(call, x, None, parts, call.opset < 18)
    entries = call.entries(sizes)
    if any(isinstance(e, Value) for e in entries):
        axis = normalise_axis(call.attr("axis", 0), x.type.rank, "split")
        return call.build.split(x, axis=axis, sizes=found_split(call, x.type.shape[axis], entries))
    return _split(call, x, call.ints(sizes), parts, call.opset < 18)


def _split(call: Call, x: Value, sizes: tuple[DimLike, ...] | None, parts: int, equal: bool) -> Any:
    axis = normalise_axis(call.attr("axis", 0), x.type.rank, "split")
    whole = x.type.shape[axis]
    if sizes is None:
        if parts != len(call.node.output) or not parts:
            raise call.invalid(f"makes {parts} parts for {len(call.node.output)} outputs")
        part = dims.ceildiv(whole, parts)
        sizes = (*[part] * (parts - 1), whole - part * (parts - 1))
        if (equal and sizes[-1] != part) or (isinstance(sizes[-1], int) and sizes[-1] < 0):
            raise InvalidModel(f"{call.importer.what}: Split {call.name!r}: {parts} parts of {whole} are not equal")
    return call.build.split(x, axis=axis, sizes=sizes)


@onnx_op("Pad", since=2)
def pad_attributes(call: Call, x: Value) -> Value:
    return _pad(
        call, x, tuple(call.required("pads")), call.build.constant(call.attr("value", 0.0), x.type.dtype), tuple(range(x.type.rank))
    )


@onnx_op("Pad", since=11)
def pad(call: Call, x: Value, pads: Value, fill: Value | None = None, axes: Value | None = None) -> Value:
    value = call.build.reshape(fill, shape=()) if fill is not None else _zero(call, x)
    along = call.plain_ints(axes, "axes") if axes is not None else tuple(range(x.type.rank))
    entries = call.entries(pads) if call.attr("mode") == "constant" else list(call.ints(pads))
    if len(entries) == 2 * len(along) and any(isinstance(e, Value) for e in entries):
        extents = [x.type.shape[normalise_axis(axis, x.type.rank, "pad")] for axis in along]
        return _pad(call, x, found_pads(call, extents, entries), value, along)
    return _pad(call, x, call.ints(pads), value, along)


@onnx_op("CenterCropPad", since=18)
def center_crop_pad(call: Call, x: Value, wanted: Value) -> Value:
    """Axes cut or padded with zeros at both ends alike; of an odd number one more at the end."""
    b, rank = call.build, x.type.rank
    axes = [normalise_axis(a, rank, "center_crop_pad") for a in call.attr("axes") or range(rank)]
    sizes = dict(zip(axes, call.sizes(wanted)))
    if len(sizes) != wanted.type.elements or len(sizes) != len(axes):
        raise InvalidModel(f"{call.importer.what}: CenterCropPad {call.name!r}: {wanted.type} for axes {axes}")
    shape = [sizes.get(k, d) for k, d in enumerate(x.type.shape)]
    less = [dims.dim_max(d - n, 0) for d, n in zip(x.type.shape, shape)]
    more = [dims.dim_max(n - d, 0) for d, n in zip(x.type.shape, shape)]
    starts = tuple(dims.floordiv(n, 2) for n in less)
    kept = tuple(d - n for d, n in zip(x.type.shape, less))
    middle = b.slice(x, axes=tuple(range(rank)), starts=starts, sizes=kept, steps=(1,) * rank)
    before = tuple(dims.floordiv(n, 2) for n in more)
    out: Value = b.pad(middle, _zero(call, x), before=before, after=tuple(n - m for n, m in zip(more, before)))
    return out


def _zero(call: Call, x: Value) -> Value:
    return call.build.constant(np.zeros((), x.type.dtype.numpy))


def _pad(call: Call, x: Value, pads: tuple[DimLike, ...], fill: Value, axes: tuple[int, ...]) -> Value:
    """Negative pads cut: a slice, then a pad."""
    if len(pads) != 2 * len(axes):
        raise InvalidModel(f"{call.importer.what}: Pad {call.name!r} has {len(pads)} pads for {len(axes)} axes")
    if any(isinstance(p, Dim) for p in pads) and call.attr("mode") != "constant":
        raise Unsupported(f"symbolic pads in mode {call.attr('mode')!r}")
    rank = x.type.rank
    before: list[DimLike] = [0] * rank
    after: list[DimLike] = [0] * rank
    for k, axis in enumerate(axes):
        at = normalise_axis(axis, rank, "pad")
        before[at], after[at] = pads[k], pads[k + len(axes)]
    x = _cut(call, x, before, after)
    add = [tuple(p if isinstance(p, Dim) else max(p, 0) for p in side) for side in (before, after)]
    return call.build.pad(x, fill, before=add[0], after=add[1], mode=call.attr("mode"))


def _cut(call: Call, x: Value, before: list[DimLike], after: list[DimLike]) -> Value:
    """x without what negative pads take away."""
    starts = [max(0, -p) if isinstance(p, int) else 0 for p in before]
    taken = [s + (max(0, -p) if isinstance(p, int) else 0) for s, p in zip(starts, after)]
    if not any(taken):
        return x
    sizes = tuple(d - t for d, t in zip(x.type.shape, taken))
    return call.build.slice(x, axes=tuple(range(x.type.rank)), starts=tuple(starts), sizes=sizes, steps=(1,) * x.type.rank)


@onnx_op("TensorScatter")
def tensor_scatter(call: Call, cache: Value, update: Value, start: Value | None = None) -> Value:
    b = call.build
    places = start if start is not None else b.full(b.constant(np.zeros((), np.int64)), shape=cache.type.shape[:1])
    return b.tensor_scatter(cache, update, places, axis=call.attr("axis"), circular=call.attr("mode") == "circular")


@onnx_op("Tile")
def tile(call: Call, x: Value, repeats: Value) -> Value:
    return call.build.tile(x, repeats=call.sizes(repeats))


@onnx_op("OneHot")
def one_hot(call: Call, indices: Value, depth: Value, values: Value) -> Value:
    """depth may be of any numeric type; values are [off, on]."""
    (count,) = call.sizes(depth) if depth.type.dtype.is_integer else (int(call.array(depth).item()),)
    return call.build.one_hot(indices, values, depth=count, axis=call.attr("axis"))


@onnx_op("Trilu")
def trilu(call: Call, x: Value, k: Value | None = None) -> Value:
    (diagonal,) = call.entries(k) if k is not None else (0,)
    return call.build.trilu(x, k=found_offset(call, diagonal), upper=bool(call.attr("upper")))


@onnx_op("SpaceToDepth", since=28)
def space_to_depth(call: Call, x: Value) -> Value:
    """[n, c, h·b, w·b] → [n, c·b², h, w]; the blocks become the outer (DCR) or inner (CRD) part of the channels."""
    b, block = call.build, call.required("blocksize")
    if call.attr("mode") != "CRD":
        return b.space_to_depth(x, blocksize=block)
    n, c, h, w = x.type.shape
    rows, columns = dims.floordiv(h, block), dims.floordiv(w, block)
    split = b.reshape(x, shape=(n, c, rows, block, columns, block))
    return b.reshape(b.transpose(split, perm=(0, 1, 3, 5, 2, 4)), shape=(n, c * block * block, rows, columns))
