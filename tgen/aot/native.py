"""What the functions of the C interface are written with: texts, foreign functions, checks that leave with a status and a message."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ll

from ..codegen.context import I32, I64, PTR, FunctionContext
from ..targets.emit import address, declare
from .layout import MESSAGE_BYTES, ContextLayout, Status

NULL = ll.Constant(PTR, None)
F64 = ll.DoubleType()
OK = I32(Status.OK)


class NativeFunction(FunctionContext):
    """A function of the interface, in code that every CPU of the architecture runs. exported: seen outside the library."""

    def __init__(self, module: ll.Module, name: str, arguments: Sequence[ll.Type], result: ll.Type, exported: bool = False) -> None:
        super().__init__(module, name, arguments, (), "", internal=not exported, result=result)
        self.args = self.function.args

    def text(self, text: str) -> Any:
        """A pointer to a constant C string."""
        return text_constant(self.module, text)

    def field(self, pointer: Any, offset: int, type_: ll.Type = I64) -> Any:
        """What a structure holds at a byte offset."""
        return self.b.load(self.at(pointer, I64(offset)), typ=type_)

    def put(self, value: Any, pointer: Any, offset: int) -> None:
        self.b.store(value, self.at(pointer, I64(offset)))

    def item(self, pointer: Any, index: Any, type_: ll.Type = I64) -> Any:
        """pointer[index]"""
        return self.b.load(self.b.gep(pointer, [index], source_etype=type_), typ=type_)

    def foreign(self, name: str, result: ll.Type, *args: Any, fixed: int | None = None) -> Any:
        """Calls a function of libc. fixed: number of its named parameters where it takes more after them."""
        function = self.module.globals.get(name)
        if function is None:
            named = [a.type for a in args[:fixed]]
            function = ll.Function(self.module, ll.FunctionType(result, named, var_arg=fixed is not None), name)
        return self.b.call(function, args)

    def own(self, name: str, result: ll.Type, *args: Any) -> Any:
        """Calls a function of this library."""
        return self.b.call(declare(self.module, name, result, [a.type for a in args]), args)

    def leave_if(self, condition: Any, result: Any) -> None:
        """`if condition: return result`"""
        leave, stay = self.function.append_basic_block("leave"), self.function.append_basic_block("stay")
        self.b.cbranch(condition, leave, stay)
        self.b.position_at_end(leave)
        self.b.ret(result)
        self.b.position_at_end(stay)

    def fail_if(self, condition: Any, context: Any, status: Status, text: str, *values: Any) -> None:
        """Where `condition` holds: `text` with `values` (strings, int64) in its %s and %lld becomes the context's message; return status."""
        leave, stay = self.function.append_basic_block("fail"), self.function.append_basic_block("stay")
        self.b.cbranch(condition, leave, stay)
        self.b.position_at_end(leave)
        message = self.at(context, I64(ContextLayout.MESSAGE))
        self.foreign("snprintf", I32, message, I64(MESSAGE_BYTES), self.text(text), *values, fixed=3)
        self.b.ret(I32(status))
        self.b.position_at_end(stay)

    def pass_on(self, status: Any) -> None:
        """`if status: return status`"""
        self.leave_if(self.b.icmp_signed("!=", status, OK), status)

    def is_null(self, pointer: Any) -> Any:
        return self.b.icmp_unsigned("==", pointer, NULL)

    def array(self, type_: ll.Type, count: int) -> Any:
        """Uninitialised memory of this call."""
        return self.entry.alloca(type_, size=max(count, 1))


def text_constant(module: ll.Module, text: str) -> Any:
    """A constant C string of the module; equal ones are one."""
    known: dict[str, Any] = module.__dict__.setdefault("texts", {})
    if text not in known:
        raw = bytearray(text.encode() + b"\0")
        known[text] = constant(module, f"text.{len(known)}", ll.Constant(ll.ArrayType(ll.IntType(8), len(raw)), raw))
    return known[text]


def constant(module: ll.Module, name: str, value: ll.Constant) -> Any:
    """A pointer to a constant that only this module sees."""
    variable = ll.GlobalVariable(module, value.type, name)
    variable.initializer, variable.global_constant, variable.linkage = value, True, "internal"
    return address(variable)


def function_address(function: ll.Function) -> Any:
    """A function as an opaque pointer."""
    return ll.FormattedConstant(PTR, function.get_reference())


def pointer_table(module: ll.Module, name: str, pointers: Sequence[Any]) -> Any:
    """A constant array of pointers."""
    return constant(module, name, ll.Constant(ll.ArrayType(PTR, len(pointers)), list(pointers)))
