"""Loop kernels that differ in numbers only – layers of one kind and many sizes, known or symbolic – are one function that takes these:

    kernel.7(begin, end, operands, symbols, scratch) = loops.2(begin, end, operands, symbols, scratch, 3136, 96)
    kernel.9(begin, end, operands, symbols, scratch) = loops.2(begin, end, operands, symbols, scratch, height*width, 24)

What known numbers decide about the code stays in it: columns, small numbers (windows, steps), divisors.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..ir.dims import Dim, DimLike
from ..ir.dtypes import I64
from ..ir.expr import Call, Const, Expr, Size, size, transform, walk
from ..ir.loops import Stage
from ..kernels.specs import Kernel, LoopKernel

LEAST = 16  # numbers below stay in the code
_PLAIN = ("add", "sub", "mul", "min", "max", "lt", "le", "gt", "ge")  # what a register does as fast as a constant


@dataclass(frozen=True)
class Shared:
    """A kernel over the symbols `numbers`, which its function takes as arguments, and the function's name."""

    name: str
    kernel: LoopKernel
    numbers: tuple[str, ...]


def shared_kernels(kernels: Sequence[Kernel]) -> dict[Kernel, tuple[Shared, tuple[DimLike, ...]]]:
    """For each kernel that is like another one: what they have in common, and its own numbers."""
    alike: dict[LoopKernel, list[tuple[LoopKernel, tuple[DimLike, ...]]]] = {}
    for kernel in kernels:
        if isinstance(kernel, LoopKernel):
            numbers = _numbers(kernel)
            alike.setdefault(_with_symbols(kernel, _symbols(numbers)), []).append((kernel, numbers))
    found: dict[Kernel, tuple[Shared, tuple[DimLike, ...]]] = {}
    for number, members in enumerate(alike.values()):
        if len(members) > 1:
            kernel, first = members[0]
            differ = [k for k, column in enumerate(zip(*(numbers for _, numbers in members))) if len(set(column)) > 1]
            own = _symbols([first[k] for k in differ])
            shared = Shared(f"loops.{number}", _with_symbols(kernel, own), tuple(map(str, own.values())))
            found.update((kernel, (shared, tuple(numbers[k] for k in differ))) for kernel, numbers in members)
    return found


def _symbols(numbers: Sequence[DimLike]) -> dict[DimLike, Dim]:
    """A symbol for each; no model can name a dimension so."""
    return {number: Dim((((f"number.{k}",), 1),)) for k, number in enumerate(numbers)}


def _bodies(stage: Stage) -> tuple[Expr, ...]:
    return (stage.body, *stage.index)


def _value(x: Expr) -> DimLike | None:
    if isinstance(x, Size):
        return x.dim
    return int(x.value) if isinstance(x, Const) and x.dtype is I64 else None


def _numbers(kernel: LoopKernel) -> tuple[DimLike, ...]:
    """Those that may be arguments, each once, in the order in which they are met."""
    nodes = [node for stage in kernel.stages for body in _bodies(stage) for node in walk(body)]
    fixed = {_value(a) for x in nodes if isinstance(x, Call) and x.fn not in _PLAIN for a in x.args}
    columns = (e for e in kernel.extents[kernel.rows :] if isinstance(e, Dim))
    values = [*kernel.extents[: kernel.rows], *columns, *map(_value, nodes)]
    return tuple(dict.fromkeys(v for v in values if isinstance(v, Dim) or (v is not None and v >= LEAST and v not in fixed)))


def _with_symbols(kernel: LoopKernel, symbols: Mapping[DimLike, Dim]) -> LoopKernel:
    """The kernel with symbols for numbers, wherever they are."""

    def rule(x: Expr) -> Expr | None:
        value = _value(x)
        return size(symbols[value]) if value is not None and value in symbols else None

    extents = tuple(symbols.get(e, e) if k < kernel.rows or isinstance(e, Dim) else e for k, e in enumerate(kernel.extents))
    stages = tuple(
        dataclasses.replace(s, body=transform(s.body, rule), index=tuple(transform(x, rule) for x in s.index))
        for s in kernel.stages
    )
    return dataclasses.replace(kernel, extents=extents, stages=stages)
