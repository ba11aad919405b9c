"""Loads under a condition that says they are in range: their clamps are needed only where the condition does not hold.

    select(0 <= p and p < n, x[max(min(p, n - 1), 0)], fill)

is how padding is said. Kernels take `x[p]` where the condition holds in all lanes, vectors of neighbours mostly, and look up element by
element elsewhere. In flat addressing such a load has three entries in its `index`: the offset with clamps, the one without, the condition.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.expr import Call, Const, Expr, Load, Size, size, transform


def with_free_indices(body: Expr) -> Expr:
    """The body (loads by multi-index) where each load that a select guards has its clamped index, its free one and the condition."""

    def rule(x: Expr) -> Expr | None:
        if not (isinstance(x, Call) and x.fn == "select"):
            return None
        condition, value, other = x.operands
        known = frozenset(conjuncts(condition))

        def freed(load: Expr) -> Expr | None:
            if not isinstance(load, Load):
                return None
            free = tuple(_without_clamp(i, known) for i in load.index)
            return None if free == load.index else Load(load.dtype, load.operand, (*load.index, *free, condition))

        new = transform(value, freed)
        return None if new is value else Call(x.dtype, x.fn, (condition, new, other))

    return transform(body, rule)


def conjuncts(condition: Expr) -> Iterator[Expr]:
    """What all must hold for the condition to hold."""
    if isinstance(condition, Call) and condition.fn == "and":
        for operand in condition.operands:
            yield from conjuncts(operand)
    else:
        yield condition


def _without_clamp(x: Expr, known: frozenset[Expr]) -> Expr:
    """p for max(min(p, n - 1), 0), min(p, n - 1) or max(p, 0), if it is known that p < n, that p >= 0; else x itself."""
    inner = x
    if isinstance(inner, Call) and inner.fn == "max" and isinstance(inner.operands[1], Const) and inner.operands[1].value == 0:
        inner = inner.operands[0]
        least = _place(inner) >= 0
        if least not in known:
            return x
    place = _place(inner)
    if place is inner:
        return inner
    last = inner.args[1]
    extent = size(last.dim + 1) if isinstance(last, Size) else size(int(last.value) + 1) if isinstance(last, Const) else None
    return place if extent is not None and (place < extent) in known else x


def _place(x: Expr) -> Expr:
    return x.operands[0] if isinstance(x, Call) and x.fn == "min" and isinstance(x.operands[1], (Const, Size)) else x
