"""Kernels that differ in numbers only – layers of one kind and many sizes, known or symbolic – are one function that takes these:

    kernel.7(begin, end, operands, symbols, scratch) = common.2(begin, end, operands, symbols, scratch, 3136, 96)
    kernel.9(begin, end, operands, symbols, scratch) = common.2(begin, end, operands, symbols, scratch, height*width, 24)

What known numbers decide about the code stays in it: small ones (windows, steps), divisors; columns of loops; rows and columns of products,
which say what micro-kernels there are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..ir.dims import Dim, DimLike
from ..ir.dtypes import I64
from ..ir.expr import Call, Const, Expr, Size, size, transform, walk
from ..kernels.specs import ContractKernel, Kernel, LoopKernel, ReadWindows

LEAST = 16  # numbers below stay in the code
_PLAIN = ("add", "sub", "mul", "min", "max", "lt", "le", "gt", "ge")  # what a register does as fast as a constant


Sharable = LoopKernel | ContractKernel


@dataclass(frozen=True)
class Shared:
    """A kernel over the symbols `numbers`, which its function takes as arguments, and the function's name."""

    name: str
    kernel: Sharable
    numbers: tuple[str, ...]


def shared_kernels(kernels: Sequence[Kernel]) -> dict[Kernel, tuple[Shared, tuple[DimLike, ...]]]:
    """For each kernel that is like another one: what they have in common, and its own numbers."""
    alike: dict[Sharable, list[tuple[Sharable, tuple[DimLike, ...]]]] = {}
    for kernel in kernels:
        if isinstance(kernel, Sharable):
            numbers = _numbers(kernel)
            alike.setdefault(_with_symbols(kernel, _symbols(numbers)), []).append((kernel, numbers))
    found: dict[Kernel, tuple[Shared, tuple[DimLike, ...]]] = {}
    for number, members in enumerate(alike.values()):
        if len(members) > 1:
            kernel, first = members[0]
            differ = [k for k, column in enumerate(zip(*(numbers for _, numbers in members))) if len(set(column)) > 1]
            own = _symbols([first[k] for k in differ])
            shared = Shared(f"common.{number}", _with_symbols(kernel, own), tuple(map(str, own.values())))
            found.update((kernel, (shared, tuple(numbers[k] for k in differ))) for kernel, numbers in members)
    return found


def _symbols(numbers: Sequence[DimLike]) -> dict[DimLike, Dim]:
    """A symbol for each; no model can name a dimension so."""
    return {number: Dim((((f"number.{k}",), 1),)) for k, number in enumerate(numbers)}


def _value(x: Expr) -> DimLike | None:
    if isinstance(x, Size):
        return x.dim
    return int(x.value) if isinstance(x, Const) and x.dtype is I64 else None


def _numbers(kernel: Sharable) -> tuple[DimLike, ...]:
    """Those that may be arguments, each once, in the order in which they are met."""
    values: list[DimLike] = []
    nodes: list[Expr] = []

    def of_dim(dim: DimLike) -> DimLike:
        values.append(dim)
        return dim

    def of_body(body: Expr) -> Expr:
        nodes.extend(walk(body))
        return body

    _mapped(kernel, of_dim, of_body)
    fixed = {_value(a) for x in nodes if isinstance(x, Call) and x.fn not in _PLAIN for a in x.args}
    every = (*values, *(v for v in map(_value, nodes) if v is not None))
    return tuple(dict.fromkeys(v for v in every if isinstance(v, Dim) or (v >= LEAST and v not in fixed)))


def _with_symbols(kernel: Sharable, symbols: Mapping[DimLike, Dim]) -> Sharable:
    """The kernel with symbols for numbers, wherever they may be arguments."""

    def rule(x: Expr) -> Expr | None:
        value = _value(x)
        return size(symbols[value]) if value is not None and value in symbols else None

    return _mapped(kernel, lambda dim: symbols.get(dim, dim), lambda body: transform(body, rule))


def _mapped(kernel: Sharable, of_dim: Callable[[DimLike], DimLike], of_body: Callable[[Expr], Expr]) -> Sharable:
    """The kernel with other dimensions and bodies; without those whose being known the code is made by."""

    def unknown(dim: DimLike) -> DimLike:
        return of_dim(dim) if isinstance(dim, Dim) else dim

    if isinstance(kernel, LoopKernel):
        return dataclasses.replace(
            kernel,
            extents=tuple(of_dim(e) if k < kernel.rows else unknown(e) for k, e in enumerate(kernel.extents)),
            stages=tuple(dataclasses.replace(s, body=of_body(s.body), index=tuple(map(of_body, s.index))) for s in kernel.stages),
        )
    windows = kernel.windows and ReadWindows(
        rows=tuple((unknown(extent), of_dim(stride)) for extent, stride in kernel.windows.rows),
        depths=tuple((unknown(extent), of_dim(stride)) for extent, stride in kernel.windows.depths),
    )
    return dataclasses.replace(
        kernel,
        batch=tuple(map(of_dim, kernel.batch)),
        rows=unknown(kernel.rows),
        columns=unknown(kernel.columns),
        depth=of_dim(kernel.depth),
        a_strides=(*map(of_dim, kernel.a_strides[:-1]), unknown(kernel.a_strides[-1])),
        b_strides=(*map(of_dim, kernel.b_strides[:-2]), *map(unknown, kernel.b_strides[-2:])),
        epilogues=tuple(map(of_body, kernel.epilogues)),
        stores=tuple(map(of_body, kernel.stores)),
        windows=windows,
        row_axes=tuple(map(unknown, kernel.row_axes)),
        wanted=None if kernel.wanted is None else unknown(kernel.wanted),
    )
