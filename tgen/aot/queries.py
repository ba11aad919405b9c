"""What a library tells about itself: tensors, symbols, texts of statuses, its target, its manifest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ll

from ..codegen.context import I32, I64, PTR
from ..ir.types import TensorType
from .layout import STATUS_TEXTS, ContextLayout, Status
from .model import Library
from .native import NULL, NativeFunction, constant, pointer_table, text_constant


def emit_queries(module: ll.Module, library: Library, manifest: str) -> None:
    name = library.name
    for what, specs in (("input", library.inputs), ("output", library.outputs)):
        _returns(module, f"{name}_{what}_count", I64(len(specs)))
        _returns(module, f"{name}_{what}s", _specs(module, what, specs))
    symbols = [text_constant(module, symbol) for symbol in library.symbols]
    _returns(module, f"{name}_symbol_count", I64(len(symbols)))
    _returns(module, f"{name}_symbols", pointer_table(module, "symbols", [*symbols, NULL]))
    _returns(module, f"{name}_manifest", text_constant(module, manifest))
    _emit_status_text(module, library)
    _emit_message(module, library)
    _emit_target(module, library)
    _emit_internals(module, library)


def _returns(module: ll.Module, name: str, value: Any) -> None:
    """A function without arguments that gives back a constant."""
    NativeFunction(module, name, [], value.type, exported=True).finish(value)


def _specs(module: ll.Module, what: str, specs: Sequence[tuple[str, TensorType]]) -> Any:
    """An array of struct tgen_tensor_info: name, dtype, bytes of an element, rank, dimensions as text."""
    kind = ll.LiteralStructType([PTR, PTR, I64, I64, PTR])
    rows = []
    for number, (name, type_) in enumerate(specs):
        dims = [text_constant(module, str(d)) for d in type_.shape]
        shape = pointer_table(module, f"{what}.{number}.shape", [*dims, NULL])
        dtype = type_.dtype.numpy
        texts = [text_constant(module, name), text_constant(module, str(dtype))]
        rows.append(ll.Constant(kind, [*texts, I64(int(dtype.itemsize)), I64(type_.rank), shape]))
    return constant(module, f"{what}s", ll.Constant(ll.ArrayType(kind, len(rows)), rows))


def _emit_status_text(module: ll.Module, library: Library) -> None:
    f = NativeFunction(module, f"{library.name}_status_text", [I32], PTR, exported=True)
    (status,) = f.args
    needs = "; or ".join(f"{' '.join(v.target.needs) or 'nothing'} (for {v.target.name})" for v in library.versions)
    more = {
        Status.WRONG_CPU: f": {needs}",
        Status.NO_WEIGHTS: f": {library.weights_file}, beside the library unless the options name a path",
        Status.WRONG_WEIGHTS: f": {library.weights_file}, {library.weights.block.size} bytes, hash {library.weights.hash:016x}",
    }
    texts = [text_constant(module, STATUS_TEXTS[s] + more.get(s, "")) for s in Status]
    unknown = f.b.icmp_unsigned(">=", status, I32(len(texts)))
    f.leave_if(unknown, f.text("no status of this library"))
    f.finish(f.item(pointer_table(module, "statuses", texts), f.b.zext(status, I64), PTR))


def _emit_message(module: ll.Module, library: Library) -> None:
    f = NativeFunction(module, f"{library.name}_message", [PTR], PTR, exported=True)
    (context,) = f.args
    f.leave_if(f.is_null(context), f.text(""))
    f.finish(f.at(context, I64(ContextLayout.MESSAGE)))


def _emit_target(module: ll.Module, library: Library) -> None:
    f = NativeFunction(module, f"{library.name}_target", [PTR], PTR, exported=True)
    (context,) = f.args
    f.leave_if(f.is_null(context), f.text(""))
    names = pointer_table(module, "targets", [text_constant(module, v.target.name) for v in library.versions])
    f.finish(f.item(names, f.field(context, ContextLayout.VERSION), PTR))


def _emit_internals(module: ll.Module, library: Library) -> None:
    """ptr NAME_internals(int32 version): what `load` needs: the entry point, and the weights (NULL where they are in a file)."""
    f = NativeFunction(module, f"{library.name}_internals", [I32], PTR, exported=True)
    (version,) = f.args
    weights = NULL if library.weights_file else ll.FormattedConstant(PTR, f"@{library.private('weights')}")
    rows = [
        pointer_table(module, f"internals.{k}", [ll.FormattedConstant(PTR, f"@{library.private(f'run_{k}')}"), weights])
        for k in range(len(library.versions))
    ]
    f.leave_if(f.b.icmp_unsigned(">=", version, I32(len(rows))), NULL)
    f.finish(f.item(pointer_table(module, "internals", rows), f.b.zext(version, I64), PTR))
