"""Operators that choose by value, so that how much they give is known in a run only."""

from __future__ import annotations

from ....ir.dims import DimLike, dim_max, dim_min, product
from ....ir.dtypes import BOOL, F32, I64
from ....ir.errors import InvalidModel
from ....ir.graph import Value
from ....ir.op import normalise_axis
from ....ir.ops.sorting import scalar_dtype
from ..call import Call
from ..registry import onnx_op


@onnx_op("NonZero", since=9)
def non_zero(call: Call, x: Value) -> Value:
    """i64[rank, n]: the positions, in row-major order"""
    b, shape = call.build, x.type.shape
    flat = b.reshape(b.cast(x, to=BOOL), shape=(x.type.elements,))
    places = _true_places(call, flat)
    if not shape:
        return b.full(b.constant(0, I64), shape=(0, *places.type.shape))
    along = [_modulo(call, _divided(call, places, product(shape[k + 1 :])), shape[k] if k else 1) for k in range(len(shape))]
    out: Value = b.concat(*(b.unsqueeze(v, axes=(0,)) for v in along), axis=0)
    return out


@onnx_op("Compress", since=9)
def compress(call: Call, x: Value, condition: Value) -> Value:
    """The elements along an axis, or of all of x, where the condition holds; it may be shorter than the axis."""
    b, axis = call.build, call.attr("axis")
    x = b.reshape(x, shape=(x.type.elements,)) if axis is None else x
    axis = 0 if axis is None else normalise_axis(axis, x.type.rank, "compress")
    (length,) = condition.type.shape if condition.type.rank == 1 else (None,)
    if length is None:
        raise InvalidModel(f"{call.importer.what}: Compress {call.name!r}: the condition is {condition.type}, no vector")
    covered = dim_min(length, x.type.shape[axis])
    out: Value = b.gather(x, _true_places(call, _first(call, condition, covered)), axis=axis)
    return out


@onnx_op("Unique", since=11)
def unique(call: Call, x: Value) -> tuple[Value, ...]:
    """(distinct elements, or slices along an axis; where each occurs first; which of them each is; how often each occurs)"""
    b, axis = call.build, call.attr("axis")
    x = b.reshape(x, shape=(x.type.elements,)) if axis is None else x
    axis = 0 if axis is None else normalise_axis(axis, x.type.rank, "unique")
    order = (axis, *(k for k in range(x.type.rank) if k != axis))
    extent = x.type.shape[axis]
    moved = b.transpose(b.cast(x, to=scalar_dtype(x.type.dtype)), perm=order)
    rows = b.reshape(moved, shape=(extent, product(x.type.shape[k] for k in order[1:])))
    firsts, inverse, counts, number = b.distinct_rows(rows, b.row_order(rows), ordered=bool(call.attr("sorted")))
    found = b.extent(number, most=extent)
    places = _first(call, firsts, found)
    return b.gather(x, places, axis=axis), places, inverse, _first(call, counts, found)


@onnx_op("NonMaxSuppression", since=10)
def non_max_suppression(
    call: Call,
    boxes: Value,
    scores: Value,
    limit: Value | None = None,
    overlap: Value | None = None,
    threshold: Value | None = None,
) -> Value:
    """i64[n, 3] (entry, class, box); of boxes [batch, boxes, 4] and scores [batch, classes, boxes]. No limit is a limit of 0."""
    b = call.build
    if boxes.type.rank != 3 or scores.type.rank != 3 or boxes.type.shape[2] != 4:
        raise InvalidModel(f"{call.importer.what}: NonMaxSuppression {call.name!r} of boxes {boxes.type}, scores {scores.type}")
    limit, overlap, threshold = (v if v is not None and v.type.elements != 0 else None for v in (limit, overlap, threshold))
    if limit is None:
        return b.full(b.constant(0, I64), shape=(0, 3))
    batch, n, _ = boxes.type.shape
    scores = b.assumed(scores, (batch, scores.type.shape[1], n))
    known = b.content(limit)
    most: DimLike = n if known is None else dim_min(n, dim_max(known.reshape(-1)[0], 0))
    limits = (b.reshape(v, shape=()) if v is not None else b.constant(0.0, F32) for v in (limit, overlap, threshold))
    kept, counts = b.kept_boxes(_corners(call, boxes), scores, *limits, most=most, thresholded=threshold is not None)
    total = b.reduce_sum(counts, axes=(0, 1), keepdims=False)
    out: Value = b.listed_boxes(kept, counts, size=b.extent(total, most=product(kept.type.shape)))
    return out


def _corners(call: Call, boxes: Value) -> Value:
    """The lesser and the greater corner of boxes that are two corners, or their centre and size (`center_point_box`)."""
    b = call.build
    one, other = b.split(boxes, axis=2, sizes=(2, 2))
    if call.attr("center_point_box", 0):
        half = b.div(other, 2.0)
        pair = b.sub(one, half), b.add(one, half)
    else:
        pair = b.min(one, other), b.max(one, other)
    out: Value = b.concat(*pair, axis=2)
    return out


def _true_places(call: Call, condition: Value) -> Value:
    """i64[n]: where a vector of bool holds."""
    places, count = call.build.true_places(condition)
    return _first(call, places, call.build.extent(count, most=condition.type.shape[0]))


def _first(call: Call, x: Value, count: DimLike) -> Value:
    """The first elements of a vector."""
    if count == x.type.shape[0]:
        return x
    out: Value = call.build.slice(x, axes=(0,), starts=(0,), sizes=(count,), steps=(1,))
    return out


def _divided(call: Call, x: Value, by: DimLike) -> Value:
    return x if by == 1 else call.build.div(x, _scalar(call, by))


def _modulo(call: Call, x: Value, by: DimLike) -> Value:
    return x if by == 1 else call.build.mod(x, _scalar(call, by))


def _scalar(call: Call, dim: DimLike) -> Value:
    out: Value = call.build.reshape(call.build.dims_value(dims=(dim,)), shape=())
    return out
