"""The functions of a plan's kernels: those that differ in numbers only have one body (see `shared`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import llvmlite.ir as ll

from ..ir.dims import DimLike
from ..kernels.specs import ContractKernel, Kernel, LoopKernel, RoutineKernel, tiles_of
from ..targets.emit import declare
from ..targets.target import Target
from .attend_kernel import emit_attend_kernel
from .context import KERNEL_ARGUMENTS, VOID, FunctionContext
from .contract_kernel import emit_contract_kernel
from .cut import cut
from .loop_kernel import emit_loop_kernel
from .routine_kernel import emit_routine_kernel
from .shared import Shared, shared_kernels


def emit_kernels(module: ll.Module, kernels: Sequence[Kernel], symbols: Sequence[str], target: Target) -> list[ll.Function]:
    """kernel.0, kernel.1, … of these kernels. symbols: in the order of the array of their values."""
    return list(_emitted(module, kernels, range(len(kernels)), symbols, target))


def declare_kernels(module: ll.Module, kernels: Sequence[Kernel], symbols: Sequence[str], target: Target) -> list[ll.Function]:
    """The same functions, of which `kernel_modules` defines all but those that call routines: these are emitted here."""
    return [
        _kernel(module, f"kernel.{k}", kernel, symbols, target)
        if isinstance(kernel, RoutineKernel)
        else declare(module, f"kernel.{k}", VOID, KERNEL_ARGUMENTS)
        for k, kernel in enumerate(kernels)
    ]


def kernel_modules(kernels: Sequence[Kernel], symbols: Sequence[str], target: Target) -> Iterator[str]:
    """LLVM IR of what `declare_kernels` declares, in modules that are loaded together (see `cut`)."""
    module = new_module(target)
    numbers = [k for k, kernel in enumerate(kernels) if not isinstance(kernel, RoutineKernel)]
    return cut(module, _emitted(module, kernels, numbers, symbols, target))


def new_module(target: Target) -> ll.Module:
    module = ll.Module("tgen")
    module.triple = target.triple
    return module


def _emitted(
    module: ll.Module, kernels: Sequence[Kernel], numbers: Iterable[int], symbols: Sequence[str], target: Target
) -> Iterator[ll.Function]:
    """The functions of the kernels with these numbers, one after the other."""
    shared = shared_kernels(kernels)
    for k in numbers:
        kernel, name = kernels[k], f"kernel.{k}"
        if kernel in shared:
            yield _instance(module, name, *shared[kernel], symbols, target)
        else:
            yield _kernel(module, name, kernel, symbols, target)


def _instance(
    module: ll.Module, name: str, shared: Shared, numbers: Sequence[DimLike], symbols: Sequence[str], target: Target
) -> ll.Function:
    """A kernel that is a call of what it has in common with others; the first of them makes that."""
    common = module.globals.get(shared.name) or _kernel(module, shared.name, shared.kernel, symbols, target, shared.numbers)
    c = FunctionContext(module, name, KERNEL_ARGUMENTS, symbols, target.feature_string)
    c.symbol_array = c.function.args[3]
    c.b.call(common, [*c.function.args, *map(c.dim, numbers)])
    return c.finish()


def _kernel(
    module: ll.Module, name: str, kernel: Kernel, symbols: Sequence[str], target: Target, numbers: Sequence[str] = ()
) -> ll.Function:
    by_name = {t.name: t for t in target.tiles}
    tiles = [by_name[t] for t in tiles_of(kernel)]
    common = (symbols, target.lanes, target.feature_string)
    if isinstance(kernel, LoopKernel):
        return emit_loop_kernel(module, name, kernel, *common, numbers, target.masks)
    if isinstance(kernel, ContractKernel):
        return emit_contract_kernel(module, name, kernel, tiles[0], *common, numbers, target.masks)
    if isinstance(kernel, RoutineKernel):
        return emit_routine_kernel(module, name, kernel, symbols, target.feature_string)
    return emit_attend_kernel(module, name, kernel, (tiles[0], tiles[1]), *common)
