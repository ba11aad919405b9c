"""Small helpers for printing LLVM IR, shared by tiles and code generation."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ll


def declare(module: ll.Module, name: str, result: ll.Type, arguments: Sequence[ll.Type]) -> ll.Function:
    """The declaration of a function or intrinsic, made once a module."""
    found = module.globals.get(name)
    return found if found is not None else ll.Function(module, ll.FunctionType(result, arguments), name)


def splat(b: Any, element: Any, lanes: int) -> Any:
    """The scalar in every lane."""
    undefined = ll.Constant(ll.VectorType(element.type, lanes), ll.Undefined)
    vector = b.insert_element(undefined, element, ll.Constant(ll.IntType(32), 0))
    return b.shuffle_vector(vector, undefined, same_numbers(0, lanes))


def splat_lane(b: Any, vector: Any, lane: int, lanes: int) -> Any:
    """Lane number `lane` of a vector in each of `lanes` lanes."""
    return b.shuffle_vector(vector, ll.Constant(vector.type, ll.Undefined), same_numbers(lane, lanes))


@functools.cache
def same_numbers(value: int, lanes: int) -> ll.Constant:
    """i32s; made, and printed, once."""
    return ll.Constant(ll.VectorType(ll.IntType(32), lanes), [value] * lanes)


def masked_load(b: Any, type_: Any, pointer: Any, align: int, mask: Any) -> Any:
    """The lanes of a vector that the mask has, zero in others; memory of those is not looked at."""
    name = f"llvm.masked.load.v{type_.count}{_short(type_.element)}.p0"
    function = declare(b.module, name, type_, [pointer.type, ll.IntType(32), mask.type, type_])
    return b.call(function, [pointer, ll.Constant(ll.IntType(32), align), mask, ll.Constant(type_, None)])


def masked_store(b: Any, vector: Any, pointer: Any, align: int, mask: Any) -> None:
    """Writes the lanes that the mask has.

    LLVM 22 writes 32 bits where a mask that it knows has one lane, of fewer bits, which was cut from a wider number: such a mask is hidden
    from it.
    """
    i32 = ll.IntType(32)
    if str(vector.type.element) in ("i8", "i16", "half"):
        mask = b.bitcast(_hidden(b, b.bitcast(mask, ll.IntType(vector.type.count))), mask.type)
    name = f"llvm.masked.store.v{vector.type.count}{_short(vector.type.element)}.p0"
    function = declare(b.module, name, ll.VoidType(), [vector.type, pointer.type, i32, mask.type])
    b.call(function, [vector, pointer, ll.Constant(i32, align), mask])


def _hidden(b: Any, x: Any) -> Any:
    """The same integer, of which LLVM knows nothing."""
    same = ll.InlineAsm(ll.FunctionType(x.type, [x.type]), "", "=r,0")
    return b.call(same, [x])


def _short(element: ll.Type) -> str:
    """A type as names of intrinsics have it."""
    known = {"half": "f16", "float": "f32", "double": "f64"}
    return known.get(str(element), str(element))


def prefetch(b: Any, pointer: Any) -> None:
    """Brings the line at pointer, which need not exist, towards L2."""
    i32 = ll.IntType(32)
    function = declare(b.module, "llvm.prefetch.p0", ll.VoidType(), [ll.PointerType(), i32, i32, i32])
    read, near_l2, data = 0, 2, 1
    b.call(function, [pointer, *(ll.Constant(i32, n) for n in (read, near_l2, data))])


def address(variable: ll.GlobalVariable) -> Any:
    """A global variable as an opaque pointer."""
    return ll.FormattedConstant(ll.PointerType(), variable.get_reference())
