"""Shapes that only a run finds out: their arithmetic is done as data, and its results become extents of the graph."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....ir.dims import Dim, DimLike, product
from ....ir.dtypes import F64, I64
from ....ir.graph import Value
from ....ir.types import broadcast
from ..call import Call

Entry = int | Dim | Value
FAR = 1 << 32  # more than any axis has


def number(call: Call, entry: Entry) -> Value:
    """An extent or position as i64[]."""
    return entry if isinstance(entry, Value) else call.build.from_content(np.array(entry, object), I64)


def found_slice(call: Call, dim: DimLike, start: Entry, end: Entry, step: int) -> tuple[DimLike, DimLike]:
    """(first position, number of elements) of start:end:step on an axis, as `resolve_slice` gives them."""
    b, zero, whole = call.build, number(call, 0), number(call, dim)
    low, high = (zero, whole) if step > 0 else (number(call, -1), b.sub(whole, 1))

    def clamped(position: Entry) -> Value:
        p = number(call, position)
        p = b.where(b.less(p, zero), b.add(p, whole), p)
        out: Value = b.min(b.max(p, low), high)
        return out

    first, last = clamped(start), clamped(end)
    span = b.sub(last, first) if step > 0 else b.sub(first, last)
    count = b.div(b.add(b.max(span, zero), abs(step) - 1), number(call, abs(step)))
    return b.extent(b.max(first, zero), most=dim), b.extent(count, most=dim)


def found_offset(call: Call, entry: Entry) -> DimLike:
    """A position or distance of either sign, at most FAR; two extents where a run finds it out."""
    if not isinstance(entry, Value):
        return entry
    b = call.build
    near = b.min(b.max(entry, -FAR), FAR)
    return b.extent(b.max(near, 0), most=FAR) - b.extent(b.max(b.neg(near), 0), most=FAR)


def found_pads(call: Call, extents: Sequence[DimLike], pads: Sequence[Entry]) -> tuple[DimLike, ...]:
    """What is added before and after each axis, less than 0 where elements are taken away: never more than there are."""
    b, zero, count = call.build, number(call, 0), len(extents)
    found: list[DimLike] = [0] * len(pads)
    for axis, extent in enumerate(extents):
        left = number(call, extent)
        for side in (axis, axis + count):
            entry = number(call, pads[side])
            cut = b.neg(b.max(b.min(entry, zero), b.neg(left)))
            b.check(b.equal(b.neg(cut), b.min(entry, zero)), f"{call.op_type} {call.name!r}: takes away more than axis {axis} has")
            found[side] = b.extent(b.max(entry, zero)) - b.extent(cut, most=extent)
            left = b.sub(left, cut)
    return tuple(found)


def found_split(call: Call, whole: DimLike, sizes: Sequence[Entry]) -> tuple[DimLike, ...]:
    """Extents of parts; a run in which they are not those of the axis raises InvalidInput."""
    b, left, found = call.build, number(call, whole), list[DimLike]()
    for entry in sizes[:-1]:
        part = b.min(b.max(number(call, entry), number(call, 0)), left)
        b.check(b.equal(part, number(call, entry)), f"Split {call.name!r}: parts are negative or more than the axis has")
        found.append(b.extent(part, most=whole))
        left = b.sub(left, part)
    b.check(b.equal(left, number(call, sizes[-1])), f"Split {call.name!r}: parts have another sum than the axis has elements")
    return (*found, whole - sum(found))


def found_range(call: Call, start: Value, limit: Value, delta: Value) -> DimLike:
    """max(0, ceil((limit - start) / delta)); a run in which delta is 0 raises InvalidInput."""
    b = call.build
    wide = F64 if start.type.dtype.is_float else I64
    first, last, step = (b.cast(b.reshape(v, shape=()), to=wide) for v in (start, limit, delta))
    zero, one = b.constant(0, wide), b.constant(1, wide)
    b.check(getattr(b, "not")(b.equal(step, zero)), f"{call.op_type} {call.name!r}: delta is 0")
    span = b.sub(last, first)
    if wide is F64:
        count = b.ceil(b.div(span, step))
    else:
        count = b.div(b.sub(b.add(span, step), b.where(b.less(step, zero), b.neg(one), one)), step)
    return b.extent(b.max(b.cast(count, to=I64), number(call, 0)))


def found_expand(call: Call, x: Value, wanted: Sequence[Entry]) -> Value:
    """x broadcast with a shape of which a run finds out entries. Where x has another extent than 1 they are 1 or that extent; a symbol
    is never taken to be 1.
    """
    b, shape = call.build, list[DimLike]()
    for axis, entry in enumerate(wanted, start=x.type.rank - len(wanted)):
        there = x.type.shape[axis] if axis >= 0 else 1
        if not isinstance(entry, Value):
            shape.append(entry)
        elif there == 1:
            shape.append(b.extent(entry))
        else:
            fits = getattr(b, "or")(b.equal(entry, number(call, 1)), b.equal(entry, number(call, there)))
            b.check(fits, f"{call.op_type} {call.name!r}: entry {axis} of the shape is neither 1 nor {there}")
            shape.append(there)
    (x,) = b.agreed((x,), tuple(shape))
    expanded: Value = b.expand(x, shape=broadcast(x.type.shape, tuple(shape)))
    return expanded


def found_reshape(call: Call, x: Value, wanted: Sequence[Entry], keeps: bool) -> Value:
    """x in a shape with entries that a run finds out: 0 keeps an extent if `keeps`, one -1 takes what is left."""
    b = call.build
    zero, one, free = (number(call, k) for k in (0, 1, -1))
    entries = [number(call, e) for e in wanted]
    if keeps:
        entries = [
            b.where(b.equal(e, zero), number(call, d), e) if k < x.type.rank else e for k, (e, d) in enumerate(_padded(entries, x))
        ]
    fixed = one
    for entry in entries:
        fixed = b.mul(fixed, b.where(b.equal(entry, free), one, entry))
    rest = b.div(number(call, x.type.elements), fixed)
    shape = tuple(
        e if not isinstance(e, Value) and _plain(e) else b.extent(b.where(b.equal(v, free), rest, v))
        for e, v in zip(wanted, entries)
    )
    flat = b.reshape(x, shape=(x.type.elements,))
    return b.reshape(b.assumed(flat, (product(shape),)), shape=shape)


def _padded(entries: Sequence[Value], x: Value) -> list[tuple[Value, DimLike]]:
    """Entries with the operand's extents at the same places, 0 where it has none."""
    dims = [*x.type.shape, *[0] * len(entries)]
    return list(zip(entries, dims))


def _plain(entry: DimLike) -> bool:
    """Whether an entry of a wanted shape means itself."""
    return isinstance(entry, Dim) or entry > 0
