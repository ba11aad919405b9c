"""A `RoutineKernel`: a plain Python function, compiled by Numba to LLVM IR that needs neither, and the kernel that calls it.

The IR has no wrapper, no reference counts and no exceptions; it is linked into the model's module (see `llvm.linked`).
"""

from __future__ import annotations

import functools
import hashlib
import re
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.ir as ll

from ..ir.dtypes import DType
from ..ir.errors import CodegenError
from ..kernels.specs import RoutineKernel
from . import llvm
from .context import I32, I64, KERNEL_ARGUMENTS, PTR, FunctionContext


def emit_routine_kernel(module: ll.Module, name: str, kernel: RoutineKernel, symbols: Sequence[str], features: str) -> ll.Function:
    """Calls what `routine_ir` defines, with the operands' pointers and the sizes of this run."""
    c = FunctionContext(module, name, KERNEL_ARGUMENTS, symbols, features)
    begin, end, operands, c.symbol_array, scratch = c.function.args
    count = len(kernel.inputs) + len(kernel.outputs)
    pointers = [c.entry.load(c.entry.gep(operands, [I64(k)], source_etype=PTR), typ=PTR) for k in range(count)]
    sizes = [c.dim(size) for size in kernel.sizes]
    signature = ll.FunctionType(I32, [PTR, PTR, I64, I64, *[PTR] * count, *[I64] * len(sizes), PTR])
    routine = module.globals.get(_name(kernel)) or ll.Function(module, signature, _name(kernel))
    unused = c.entry.alloca(PTR)  # where Numba's convention wants a result and an exception: there are none
    c.b.call(routine, [unused, unused, begin, end, *pointers, *sizes, scratch])
    return c.finish()


def routine_ir(kernel: RoutineKernel) -> str:
    """LLVM IR of the function for these dtypes. Raises CodegenError for a function that Numba does not compile."""
    return _compiled(kernel.function, (*kernel.inputs, *kernel.outputs), len(kernel.sizes), _name(kernel))


def _name(kernel: RoutineKernel) -> str:
    """One for each function, dtypes and number of sizes."""
    dtypes = ".".join(d.name for d in (*kernel.inputs, *kernel.outputs))
    where = f"{kernel.function.__module__}.{kernel.function.__qualname__}"
    return f"routine.{kernel.function.__name__}.{dtypes}.{len(kernel.sizes)}.{hashlib.blake2b(where.encode(), digest_size=4).hexdigest()}"


@functools.cache
def _compiled(function: Callable[..., None], operands: tuple[DType, ...], sizes: int, name: str) -> str:
    import numba
    from numba.core import compiler, errors, registry

    untyped: Any = compiler  # it says that it is typed, but has no annotations
    pointer: Any = numba.types.CPointer
    flags = untyped.Flags()
    flags.nrt, flags.no_cpython_wrapper, flags.no_cfunc_wrapper, flags.error_model = False, True, True, "numpy"
    target = registry.cpu_target
    pointers = [pointer(getattr(numba.types, _NUMBA[d.name])) for d in operands]
    integer = numba.types.int64
    arguments = (integer, integer, *pointers, *[integer] * sizes, pointer(integer))
    with llvm.exclusive:  # Numba works with LLVM too
        try:
            made = untyped.compile_extra(
                target.typing_context, target.target_context, _with_helpers(function), arguments, numba.types.none, flags, {}
            )
        except errors.NumbaError as error:
            raise CodegenError(f"routine {function.__name__}: {error}") from error
        return _cleaned(made.library.get_llvm_str(), made.fndesc.llvm_func_name, name)


def _with_helpers(function: Callable[..., None]) -> Callable[..., None]:
    """The function, with the functions of its module that it calls as Numba wants them: compiled into their callers."""
    module = vars(sys.modules[function.__module__])
    named = {name: module[name] for name in function.__code__.co_names if isinstance(module.get(name), types.FunctionType)}
    helpers = {name: _inlined(helper) for name, helper in named.items()}
    return types.FunctionType(function.__code__, {**module, **helpers}, function.__name__)


@functools.cache
def _inlined(helper: Callable[..., Any]) -> Any:
    """By LLVM: Numba's own way of inlining takes twice as long where helpers call helpers."""
    import numba

    unwrapped: Any = {"_nrt": False, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # its annotations leave these out
    return numba.njit(forceinline=True, error_model="numpy", **unwrapped)(_with_helpers(helper))


def _cleaned(ir: str, numbas: str, ours: str) -> str:
    """The module under our name, without what ties it to this process or machine: mangled names, layout, CPU."""
    ir = re.sub(r"^target (datalayout|triple) = .*$", "", ir, flags=re.M)
    ir = re.sub(r"^@_ZN08NumbaEnv.*$", "", ir, flags=re.M)
    ir = re.sub(r'"(target-cpu|target-features|tune-cpu)"="[^"]*"', "", ir)
    return ir.replace(f"@{numbas}", f'@"{ours}"').replace(f'@"{numbas}"', f'@"{ours}"')


_NUMBA: dict[str, Any] = {
    "f32": "float32", "f64": "float64", "bool": "uint8",
    **{f"{sign}{bits}": f"{name}{bits}" for sign, name in (("i", "int"), ("u", "uint")) for bits in (8, 16, 32, 64)},
}  # fmt: skip
