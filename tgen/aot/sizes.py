"""What follows from the values of a model's symbols, in native code: bytes of memory, work, shapes of outputs."""

from __future__ import annotations

from typing import Any

import llvmlite.ir as ll

from ..codegen.context import I32, I64, PTR
from ..codegen.extents import as_double
from ..executable import WORK_OF_A_THREAD
from ..frame import RUNTIME_BYTES
from .layout import MOST_BYTES, MOST_EXTENT, ContextLayout, Status
from .model import Library
from .native import F64, OK, NativeFunction


def symbol_values(f: NativeFunction, library: Library, symbols: Any) -> None:
    """From here on dimensions are computed from this array of the symbols' values, each time where they are asked for."""
    f.symbols, f.symbol_array, f.moving = library.symbols, symbols, frozenset(library.symbols)


def found_values(f: NativeFunction, library: Library, frame: Any) -> None:
    """As `symbol_values`, with those of the last run, and of what it found out."""
    f.symbols = (*library.symbols, *library.extents)
    f.symbol_array = f.at(frame, I64(RUNTIME_BYTES + 8 * library.frame.first_symbol))
    f.moving = frozenset(f.symbols)


def emit_sizes(module: ll.Module, library: Library) -> None:
    _emit_sizes(module, library)
    _emit_workspace_bytes(module, library)
    _emit_output_shape(module, library)


def _emit_sizes(module: ll.Module, library: Library) -> None:
    """int32 sizes(context, version, symbols, out): bytes of the arena and of a thread's scratch (multiples of 64), threads worth waking."""
    f = NativeFunction(module, "sizes", [PTR, I64, PTR, PTR], I32)
    context, version, symbols, out = f.args
    symbol_values(f, library, symbols)
    for number, each in enumerate(library.versions):
        with f.when(f.b.icmp_signed("==", version, I64(number))):
            manifest = each.manifest
            # in floating point first, where nothing can overflow
            total = f.b.fadd(as_double(f, manifest.arena), as_double(f, manifest.scratch))
            message = "these shapes need more memory than any machine has"
            f.fail_if(f.b.fcmp_ordered(">", total, F64(MOST_BYTES)), context, Status.WRONG_SHAPE, message)
            for place, dim in enumerate((manifest.arena, manifest.scratch)):
                rounded = f.b.and_(f.b.add(f.dim(dim), I64(63)), I64(-64))
                f.put(rounded, out, 8 * place)
            work = as_double(f, manifest.work)
            bounded = f.b.select(f.b.fcmp_ordered("<", work, F64(MOST_BYTES)), work, F64(MOST_BYTES))
            worth = f.b.sdiv(f.b.fptosi(bounded, I64), I64(WORK_OF_A_THREAD))
            f.put(f.maximum(f.minimum(worth, f.field(context, ContextLayout.THREADS)), I64(1)), out, 16)
    f.finish(OK)


def _emit_workspace_bytes(module: ll.Module, library: Library) -> None:
    f = NativeFunction(module, f"{library.name}_workspace_bytes", [PTR, PTR, PTR], I32, exported=True)
    context, symbols, out = f.args
    nulls = f.b.or_(f.is_null(context), f.is_null(out))
    f.leave_if(f.b.or_(nulls, f.is_null(symbols)) if library.symbols else nulls, I32(Status.NULL_POINTER))
    for number, name in enumerate(library.symbols):
        value = f.item(symbols, I64(number))
        absurd = f.b.icmp_unsigned(">", value, I64(MOST_EXTENT))
        f.fail_if(absurd, context, Status.WRONG_SHAPE, f"{name} = %lld is no size of a dimension", value)
    sizes = f.array(I64, 3)
    f.pass_on(f.own("sizes", I32, context, f.field(context, ContextLayout.VERSION), symbols, sizes))
    scratch = f.b.mul(f.item(sizes, I64(1)), f.item(sizes, I64(2)))
    f.b.store(f.b.add(f.item(sizes, I64(0)), scratch), out)
    f.finish(OK)


def _emit_output_shape(module: ll.Module, library: Library) -> None:
    f = NativeFunction(module, f"{library.name}_output_shape", [I64, PTR, PTR], I32, exported=True)
    number, symbols, shape = f.args
    nulls = f.is_null(shape)
    f.leave_if(f.b.or_(nulls, f.is_null(symbols)) if library.symbols else nulls, I32(Status.NULL_POINTER))
    f.leave_if(f.b.icmp_unsigned(">=", number, I64(len(library.outputs))), I32(Status.WRONG_OPTION))
    symbol_values(f, library, symbols)
    for output, (_, type_) in enumerate(library.outputs):
        if library.is_found(output):
            f.leave_if(f.b.icmp_signed("==", number, I64(output)), I32(Status.WRONG_OPTION))
            continue
        with f.when(f.b.icmp_signed("==", number, I64(output))):
            for axis, dim in enumerate(type_.shape):
                f.put(f.dim(dim), shape, 8 * axis)
    f.finish(OK)
