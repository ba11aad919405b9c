"""Small helpers for printing LLVM IR, shared by tiles and code generation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import llvmlite.ir as ll


def declare(module: ll.Module, name: str, result: ll.Type, arguments: Sequence[ll.Type]) -> ll.Function:
    """The declaration of a function or intrinsic, made once a module."""
    found = module.globals.get(name)
    return found if found is not None else ll.Function(module, ll.FunctionType(result, arguments), name)


def splat(b: Any, element: Any, lanes: int) -> Any:
    """The scalar in every lane."""
    i32 = ll.IntType(32)
    vector_type = ll.VectorType(element.type, lanes)
    vector = b.insert_element(ll.Constant(vector_type, ll.Undefined), element, ll.Constant(i32, 0))
    return b.shuffle_vector(vector, ll.Constant(vector_type, ll.Undefined), ll.Constant(ll.VectorType(i32, lanes), [0] * lanes))


def splat_lane(b: Any, vector: Any, lane: int, lanes: int) -> Any:
    """Lane number `lane` of a vector in each of `lanes` lanes."""
    numbers = ll.Constant(ll.VectorType(ll.IntType(32), lanes), [lane] * lanes)
    return b.shuffle_vector(vector, ll.Constant(vector.type, ll.Undefined), numbers)


def prefetch(b: Any, pointer: Any) -> None:
    """Brings the line at pointer, which need not exist, towards L2."""
    i32 = ll.IntType(32)
    function = declare(b.module, "llvm.prefetch.p0", ll.VoidType(), [ll.PointerType(), i32, i32, i32])
    read, near_l2, data = 0, 2, 1
    b.call(function, [pointer, *(ll.Constant(i32, n) for n in (read, near_l2, data))])


def address(variable: ll.GlobalVariable) -> Any:
    """A global variable as an opaque pointer."""
    return ll.FormattedConstant(ll.PointerType(), variable.get_reference())
