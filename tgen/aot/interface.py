"""The C interface of a library as LLVM IR: what a header of `header` declares.

Everything a caller can get wrong is found before native kernels run, and nothing is written then but the context's message.
"""

from __future__ import annotations

import functools

import llvmlite.ir as ll

from ..codegen.context import I1, I32, I64, PTR, VOID
from ..frame import INTERRUPTED, RUNTIME_BYTES, Frame
from ..ir.dims import DimLike, plain_symbol
from ..ir.types import TensorType
from ..targets.find import FEATURES
from .detect import emit_version
from .layout import MESSAGE_BYTES, TENSOR_BYTES, TENSOR_SHAPE, ContextLayout, Status
from .lifetime import emit_lifetime
from .model import Library
from .native import OK, NativeFunction, pointer_table
from .queries import emit_queries
from .sizes import emit_sizes, found_values, symbol_values
from .tensors import emit_tensor_functions

_C = ContextLayout


def interface_ir(library: Library, manifest: str) -> str:
    """LLVM IR of all functions of the interface. manifest: JSON that the library tells about itself."""
    module = ll.Module(library.private("interface"))
    target = library.versions[0].target
    module.triple = target.triple
    name = library.name
    emit_version(module, f"{name}_version", [v.target for v in library.versions], FEATURES.get(library.architecture, {}))
    emit_tensor_functions(module)
    emit_sizes(module, library)
    emit_lifetime(module, library)
    _emit_bind(module, library)
    _emit_outputs(module, library)
    _emit_reserve(module)
    _emit_checked(module, library)
    _emit_run(module, library)
    _emit_found(module, library)
    emit_queries(module, library, manifest)
    return str(module)


def _emit_bind(module: ll.Module, library: Library) -> None:
    """int32 bind(context, inputs, symbols): checks the inputs' shapes; writes the symbols' values."""
    f = NativeFunction(module, "bind", [PTR, PTR, PTR], I32)
    context, inputs, symbols = f.args
    pending = []
    known: set[str] = set()
    for number, (name, type_) in enumerate(library.inputs):
        tensor, text = f.at(inputs, I64(TENSOR_BYTES * number)), f.text(f"input '{name}'")
        f.pass_on(f.own("check_shape", I32, context, tensor, I64(type_.rank), text))
        for axis, dim in enumerate(type_.shape):
            symbol = plain_symbol(dim)
            if symbol is not None and symbol not in known:
                known.add(symbol)
                extent = f.item(f.field(tensor, TENSOR_SHAPE, PTR), I64(axis))
                f.b.store(extent, f.b.gep(symbols, [I64(library.symbols.index(symbol))], source_etype=I64))
            else:
                pending.append((tensor, text, axis, dim))
    symbol_values(f, library, symbols)
    for tensor, text, axis, dim in pending:
        _require_extent(f, context, tensor, text, axis, dim)
    for there, needed in library.assumptions:
        found, wanted = f.dim(there), f.dim(needed)
        message = "the inputs have sizes that the model does not allow: it has %lld where %lld are needed"
        f.fail_if(f.b.icmp_signed("!=", found, wanted), context, Status.WRONG_SHAPE, message, found, wanted)
    f.finish(OK)


def _require_extent(f: NativeFunction, context: object, tensor: object, text: object, axis: int, dim: DimLike) -> None:
    extent, wanted = f.item(f.field(tensor, TENSOR_SHAPE, PTR), I64(axis)), f.dim(dim)
    because = "" if isinstance(dim, int) else f" ({dim})".replace("%", "%%")
    message = f"%s axis {axis} is %lld; wanted %lld{because}"
    f.fail_if(f.b.icmp_signed("!=", extent, wanted), context, Status.WRONG_SHAPE, message, text, extent, wanted)


def _emit_outputs(module: ll.Module, library: Library) -> None:
    """int32 outputs_fit(context, outputs, symbols)"""
    f = NativeFunction(module, "outputs_fit", [PTR, PTR, PTR], I32)
    context, outputs, symbols = f.args
    symbol_values(f, library, symbols)
    for number, (name, type_) in enumerate(library.outputs):
        if library.is_found(number):
            continue
        tensor, text = f.at(outputs, I64(TENSOR_BYTES * number)), f.text(f"output '{name}'")
        f.pass_on(f.own("check_shape", I32, context, tensor, I64(type_.rank), text))
        for axis, dim in enumerate(type_.shape):
            _require_extent(f, context, tensor, text, axis, dim)
    f.finish(OK)


def _emit_reserve(module: ll.Module) -> None:
    """int32 reserve(context, bytes): a workspace of at least so many."""
    f = NativeFunction(module, "reserve", [PTR, I64], I32)
    context, wanted = f.args
    there = f.field(context, _C.WORKSPACE_BYTES)
    f.leave_if(f.b.icmp_unsigned("<=", wanted, there), OK)
    borrowed = f.b.icmp_signed("!=", f.field(context, _C.BORROWED), I64(0))
    message = "these shapes need a workspace of %lld bytes; the one given has %lld"
    f.fail_if(borrowed, context, Status.SMALL_WORKSPACE, message, wanted, there)
    f.foreign("free", VOID, f.field(context, _C.WORKSPACE, PTR))
    memory = f.foreign("aligned_alloc", PTR, I64(64), wanted)
    f.put(memory, context, _C.WORKSPACE)
    none = f.is_null(memory)
    f.put(f.b.select(none, I64(0), wanted), context, _C.WORKSPACE_BYTES)
    f.fail_if(none, context, Status.NO_MEMORY, "no memory for a workspace of %lld bytes", wanted)
    f.finish(OK)


def _emit_checked(module: ll.Module, library: Library) -> None:
    """int32 checked(context, inputs, outputs): a run of a context that nobody else uses meanwhile."""
    f = NativeFunction(module, "checked", [PTR, PTR, PTR], I32)
    context, inputs, outputs = f.args
    symbols, sizes = f.array(I64, len(library.symbols)), f.array(I64, 3)
    f.pass_on(f.own("bind", I32, context, inputs, symbols))
    f.pass_on(f.own("outputs_fit", I32, context, outputs, symbols))
    extra = f.slot(I64, I64(0))
    tensors = [(f.at(inputs, I64(TENSOR_BYTES * k)), "input", *spec) for k, spec in enumerate(library.inputs)]
    tensors += [(f.at(outputs, I64(TENSOR_BYTES * k)), "output", *spec) for k, spec in enumerate(library.outputs)]
    found = {len(library.inputs) + k for k in range(len(library.outputs)) if library.is_found(k)}
    given = [(number, *tensor) for number, tensor in enumerate(tensors) if number not in found]
    for _, tensor, kind, name, type_ in given:
        f.pass_on(f.own("check_data", I32, context, tensor, I64(_element_bytes(type_)), f.text(f"{kind} '{name}'"), extra))
    version = f.field(context, _C.VERSION)
    f.pass_on(f.own("sizes", I32, context, version, symbols, sizes))
    arena, scratch, threads = (f.item(sizes, I64(k)) for k in range(3))
    staged = f.b.add(arena, f.b.mul(scratch, threads))
    f.pass_on(f.own("reserve", I32, context, f.b.add(staged, f.b.load(extra, typ=I64))))
    workspace = f.field(context, _C.WORKSPACE, PTR)
    frame = f.at(context, I64(_C.FRAME))
    for word, value in ((Frame.ARENA, workspace), (Frame.SCRATCH, f.at(workspace, arena)), (Frame.SCRATCH_BYTES, scratch)):
        f.put(value, frame, RUNTIME_BYTES + 8 * word)
    cursor = f.slot(PTR, f.at(workspace, staged))
    after_inputs = None
    for number, tensor, kind, _, type_ in given:
        if kind == "output" and after_inputs is None:
            after_inputs = f.b.load(cursor, typ=PTR)
        fill = I32(1 if kind == "input" else 0)
        place = f.own("stage", PTR, tensor, I64(_element_bytes(type_)), cursor, fill)
        f.put(place, frame, RUNTIME_BYTES + 8 * (Frame.HEADER + number))
    for number in range(len(library.symbols)):
        f.put(f.item(symbols, I64(number)), frame, RUNTIME_BYTES + 8 * (library.frame.first_symbol + number))
    _call_version(f, library, version, frame, threads)
    _look_at_status(f, library, context, frame)
    f.b.store(after_inputs if after_inputs is not None else workspace, cursor)
    for _, tensor, kind, _, type_ in given:
        if kind == "output":
            f.own("stage", PTR, tensor, I64(_element_bytes(type_)), cursor, I32(2))
    f.finish(OK)


def _look_at_status(f: NativeFunction, library: Library, context: object, frame: object) -> None:
    """Ends with the message of what the run found wrong with the inputs' values, if anything."""
    messages = library.first.messages
    status = f.field(frame, RUNTIME_BYTES + 8 * Frame.STATUS)
    if library.first.unbounded:
        f.fail_if(f.b.icmp_signed("==", status, I64(INTERRUPTED)), context, Status.INTERRUPTED, "interrupted")
    if messages:
        texts = pointer_table(f.module, "messages", [f.text(text) for text in ("", *messages)])
        f.fail_if(f.b.icmp_signed("!=", status, I64(0)), context, Status.WRONG_VALUES, "%s", f.item(texts, status, PTR))


def _emit_found(module: ll.Module, library: Library) -> None:
    f = NativeFunction(module, f"{library.name}_found", [PTR, I64, PTR, PTR], I32, exported=True)
    context, number, shape, data = f.args
    f.leave_if(f.b.or_(f.b.or_(f.is_null(context), f.is_null(shape)), f.is_null(data)), I32(Status.NULL_POINTER))
    frame = f.at(context, I64(_C.FRAME))
    found_values(f, library, frame)
    for output, (_, type_) in enumerate(library.outputs):
        if library.is_found(output):
            with f.when(f.b.icmp_signed("==", number, I64(output))):
                for axis, dim in enumerate(type_.shape):
                    f.put(f.dim(dim), shape, 8 * axis)
                place = Frame.HEADER + len(library.inputs) + output
                f.put(f.field(frame, RUNTIME_BYTES + 8 * place, PTR), data, 0)
    known = [f.b.icmp_signed("==", number, I64(k)) for k in range(len(library.outputs)) if library.is_found(k)]
    f.finish(f.b.select(functools.reduce(f.b.or_, known, I1(0)), OK, I32(Status.WRONG_OPTION)))


def _call_version(f: NativeFunction, library: Library, version: object, frame: object, threads: object) -> None:
    for number in range(len(library.versions)):
        with f.when(f.b.icmp_signed("==", version, I64(number))):
            f.own(library.private(f"run_{number}"), VOID, frame, threads)


def _emit_run(module: ll.Module, library: Library) -> None:
    f = NativeFunction(module, f"{library.name}_run", [PTR, PTR, PTR], I32, exported=True)
    context, inputs, outputs = f.args
    f.leave_if(f.is_null(context), I32(Status.NULL_POINTER))
    before = f.b.atomic_rmw("xchg", context, I64(1), "acquire")
    f.leave_if(f.b.icmp_signed("!=", before, I64(0)), I32(Status.BUSY))
    given = [(inputs, "inputs", library.inputs), (outputs, "outputs", library.outputs)]
    missing = [f.is_null(pointer) for pointer, _, specs in given if specs]
    nothing = missing[0] if len(missing) == 1 else f.b.or_(*missing) if missing else ll.Constant(ll.IntType(1), 0)
    status = f.slot(I32, I32(Status.NULL_POINTER))
    with f.when(f.b.not_(nothing)):
        f.b.store(f.own("checked", I32, context, inputs, outputs), status)
    with f.when(nothing):
        message = f.at(context, I64(_C.MESSAGE))
        f.foreign("snprintf", I32, message, I64(MESSAGE_BYTES), f.text("the array of inputs or of outputs is NULL"), fixed=3)
    f.b.atomic_rmw("xchg", context, I64(0), "release")
    f.finish(f.b.load(status, typ=I32))


def _element_bytes(type_: TensorType) -> int:
    return int(type_.dtype.numpy.itemsize)
