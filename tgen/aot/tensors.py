"""Functions of a library that deal with one tensor of a call: checks of what the caller hands over, copies where it has gaps.

    int32 plain(tensor, bytes of an element)                            whether its elements lie one after the other
    int32 check_shape(context, tensor, rank, text)                      rank, and extents that are no nonsense
    int32 check_data(context, tensor, bytes of an element, text, sum)   pointer and alignment; adds what a copy needs to `sum`
    ptr   stage(tensor, bytes of an element, cursor, fill)              where native code finds it: its own place, or a copy at the cursor
    void  copy(to, steps, from, steps, shape, rank, bytes)              element by element, both sides by steps in bytes

`text` is "input 'x'", for messages. `cursor` and `sum` are pointers to int64.
"""

from __future__ import annotations

import llvmlite.ir as ll

from ..codegen.context import I1, I32, I64, PTR, VOID
from .layout import MOST_BYTES, MOST_EXTENT, TENSOR_DATA, TENSOR_RANK, TENSOR_SHAPE, TENSOR_STRIDES, Status
from .native import OK, NativeFunction

MOST_RANK = 64  # of a tensor; no model has one of more than 16 dimensions


def emit_tensor_functions(module: ll.Module) -> None:
    _emit_elements(module)
    _emit_plain(module)
    _emit_check_shape(module)
    _emit_check_data(module)
    _emit_copy(module)
    _emit_stage(module)


def _emit_elements(module: ll.Module) -> None:
    """int64 elements(tensor): their number; MOST_BYTES or more for any number that large."""
    f = NativeFunction(module, "elements", [PTR], I64)
    (tensor,) = f.args
    shape, rank = f.field(tensor, TENSOR_SHAPE, PTR), f.field(tensor, TENSOR_RANK)
    total, empty = f.slot(I64, I64(1)), f.slot(I1, I1(0))
    with f.loop(I64(0), rank) as axis:
        extent = f.item(shape, axis)
        f.b.store(f.b.or_(f.b.load(empty, typ=I1), f.b.icmp_signed("==", extent, I64(0))), empty)
        # both are at most 2**46, but not their product: what is too large is kept so by a limit on one side
        so_far = f.b.load(total, typ=I64)
        fits = f.b.icmp_unsigned("<=", so_far, f.b.udiv(I64(MOST_BYTES), f.maximum(extent, I64(1))))
        f.b.store(f.b.select(fits, f.b.mul(so_far, extent), I64(MOST_BYTES)), total)
    f.finish(f.b.select(f.b.load(empty, typ=I1), I64(0), f.b.load(total, typ=I64)))


def _emit_plain(module: ll.Module) -> None:
    f = NativeFunction(module, "plain", [PTR, I64], I32)
    tensor, size = f.args
    shape, strides, rank = f.field(tensor, TENSOR_SHAPE, PTR), f.field(tensor, TENSOR_STRIDES, PTR), f.field(tensor, TENSOR_RANK)
    f.leave_if(f.is_null(strides), I32(1))
    f.leave_if(f.b.icmp_signed("==", f.own("elements", I64, tensor), I64(0)), I32(1))
    expected = f.slot(I64, size)
    with f.loop(I64(0), rank) as number:
        axis = f.b.sub(f.b.sub(rank, I64(1)), number)
        extent, step = f.item(shape, axis), f.item(strides, axis)
        wanted = f.b.load(expected, typ=I64)
        differs = f.b.and_(f.b.icmp_signed("!=", step, wanted), f.b.icmp_signed("!=", extent, I64(1)))
        f.leave_if(differs, I32(0))
        f.b.store(f.b.mul(wanted, extent), expected)
    f.finish(I32(1))


def _emit_check_shape(module: ll.Module) -> None:
    f = NativeFunction(module, "check_shape", [PTR, PTR, I64, PTR], I32)
    context, tensor, rank, text = f.args
    given, shape = f.field(tensor, TENSOR_RANK), f.field(tensor, TENSOR_SHAPE, PTR)
    f.fail_if(f.b.icmp_signed("!=", given, rank), context, Status.WRONG_SHAPE, "%s has rank %lld; wanted %lld", text, given, rank)
    missing = f.b.and_(f.is_null(shape), f.b.icmp_signed("!=", rank, I64(0)))
    f.fail_if(missing, context, Status.NULL_POINTER, "the shape of %s is NULL", text)
    with f.loop(I64(0), rank) as axis:
        extent = f.item(shape, axis)
        absurd = f.b.icmp_unsigned(">", extent, I64(MOST_EXTENT))
        f.fail_if(absurd, context, Status.WRONG_SHAPE, "%s axis %lld is %lld: no size of a tensor", text, axis, extent)
    f.finish(OK)


def _emit_check_data(module: ll.Module) -> None:
    f = NativeFunction(module, "check_data", [PTR, PTR, I64, PTR, PTR], I32)
    context, tensor, size, text, extra = f.args
    elements, data = f.own("elements", I64, tensor), f.field(tensor, TENSOR_DATA, PTR)
    f.leave_if(f.b.icmp_signed("==", elements, I64(0)), OK)
    total = f.b.mul(elements, size)
    too_large = f.b.icmp_unsigned(">=", total, I64(MOST_BYTES))
    f.fail_if(too_large, context, Status.WRONG_SHAPE, "%s has too many elements for any memory", text)
    f.fail_if(f.is_null(data), context, Status.NULL_POINTER, "the data of %s is NULL", text)
    astray = f.b.and_(f.b.ptrtoint(data, I64), f.b.sub(size, I64(1)))
    message = "the data of %s is not aligned to its elements of %lld bytes"
    f.fail_if(f.b.icmp_signed("!=", astray, I64(0)), context, Status.MISALIGNED, message, text, size)
    with f.when(f.b.icmp_signed("==", f.own("plain", I32, tensor, size), I32(0))):
        copied = f.b.and_(f.b.add(total, I64(63)), I64(-64))
        f.b.store(f.b.add(f.b.load(extra, typ=I64), copied), extra)
    f.finish(OK)


def _emit_copy(module: ll.Module) -> None:
    f = NativeFunction(module, "copy", [PTR, PTR, PTR, PTR, PTR, I64, I64], VOID)
    to, to_steps, source, from_steps, shape, rank, size = f.args
    element = f.b.icmp_signed("==", rank, I64(0))
    with f.when(element):
        f.foreign("memcpy", PTR, to, source, size)
    with f.when(f.b.not_(element)), f.loop(I64(0), f.b.load(shape, typ=I64)) as index:
        target = f.at(to, f.b.mul(index, f.b.load(to_steps, typ=I64)))
        origin = f.at(source, f.b.mul(index, f.b.load(from_steps, typ=I64)))
        inner = (f.at(pointer, I64(8)) for pointer in (to_steps, from_steps, shape))
        to_inner, from_inner, shape_inner = inner
        f.b.call(f.function, [target, to_inner, origin, from_inner, shape_inner, f.b.sub(rank, I64(1)), size])
    f.finish()


def _emit_stage(module: ll.Module) -> None:
    """fill: 1 brings an input's elements to the copy, 0 only makes room (for an output), 2 takes an output's elements from it."""
    f = NativeFunction(module, "stage", [PTR, I64, PTR, I32], PTR)
    tensor, size, cursor, fill = f.args
    data = f.field(tensor, TENSOR_DATA, PTR)
    f.leave_if(f.b.icmp_signed("!=", f.own("plain", I32, tensor, size), I32(0)), data)
    shape, strides, rank = f.field(tensor, TENSOR_SHAPE, PTR), f.field(tensor, TENSOR_STRIDES, PTR), f.field(tensor, TENSOR_RANK)
    steps = f.array(I64, MOST_RANK)
    step = f.slot(I64, size)
    with f.loop(I64(0), rank) as number:
        axis = f.b.sub(f.b.sub(rank, I64(1)), number)
        f.b.store(f.b.load(step, typ=I64), f.b.gep(steps, [axis], source_etype=I64))
        f.b.store(f.b.mul(f.b.load(step, typ=I64), f.item(shape, axis)), step)
    place = f.b.load(cursor, typ=PTR)
    bytes_ = f.b.and_(f.b.add(f.b.load(step, typ=I64), I64(63)), I64(-64))
    f.b.store(f.at(place, bytes_), cursor)
    for kind, (to, to_steps, source, from_steps) in ((1, (place, steps, data, strides)), (2, (data, strides, place, steps))):
        with f.when(f.b.icmp_signed("==", fill, I32(kind))):
            f.own("copy", VOID, to, to_steps, source, from_steps, shape, rank, size)
    f.finish(place)
