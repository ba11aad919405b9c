"""Maps whose loads and stores run along different axes: transposes, packing. How they are turned to move vectors, not elements."""

from __future__ import annotations

import dataclasses

from ..ir.dims import DimLike, floordiv, mod
from ..ir.dtypes import BOOL, U32, DType
from ..ir.expr import Call, Const, Expr, Load, const, index, shift_axes, size
from ..ir.loops import Stage
from .flat import depends_on, from_terms, offsets, terms
from .specs import LoopKernel

WORD_BITS = 32
LEAST_LANES = 8  # an axis shorter than this is no axis for lanes


def plain_map(kernel: LoopKernel) -> Stage | None:
    """The only stage of a map without columns that stores at a place without look-ups."""
    stage = kernel.stages[0]
    one = len(kernel.stages) == 1 and kernel.rows == len(kernel.extents) and stage.kind == "once" and stage.output is not None
    return stage if one and not terms(stage.index[0])[2] else None


def in_words(kernel: LoopKernel) -> LoopKernel:
    """A copy of groups of narrow elements that lie side by side on both ends is a copy of 32-bit words; other kernels stay."""
    stage = plain_map(kernel)
    copied = _copied(stage.body) if stage else None
    if stage is None or copied is None or kernel.outputs[0] is not copied.dtype or copied.dtype in (BOOL, U32):
        return kernel
    count = WORD_BITS // copied.dtype.bits
    for axis, extent in enumerate(kernel.extents):
        if count > 1 and extent == count and _steps(copied.index[0], axis) == _steps(stage.index[0], axis) == 1:
            found = _without_group(kernel, stage, copied, axis, count)
            if found is not None:
                return found
    return kernel


def _copied(body: Expr) -> Load | None:
    """The load of a body that is one, or one or 0."""
    if isinstance(body, Call) and body.fn == "select" and isinstance(body.operands[2], Const) and body.operands[2].value == 0:
        body = body.operands[1]
    return body if isinstance(body, Load) else None


def _steps(offset: Expr, axis: int) -> DimLike:
    return terms(offset)[0].get(axis, 0)


def _without_group(kernel: LoopKernel, stage: Stage, copied: Load, axis: int, count: int) -> LoopKernel | None:
    load, store = (_divided(offset, axis, count) for offset in (copied.index[0], stage.index[0]))
    guard = stage.body.operands[0] if isinstance(stage.body, Call) else None
    if load is None or store is None or (guard is not None and depends_on(guard, axis)):
        return None
    rename = {k: index(k - (k > axis)) for k in range(len(kernel.extents)) if k != axis}
    word: Expr = Load(U32, copied.operand, (load,))
    if guard is not None:
        word = Call(U32, "select", (guard, word, const(0, U32)))
    moved = Stage("once", shift_axes(word, rename), output=stage.output, index=(shift_axes(store, rename),))
    inputs: tuple[DType, ...] = tuple(U32 if k == copied.operand else d for k, d in enumerate(kernel.inputs))
    extents = (*kernel.extents[:axis], *kernel.extents[axis + 1 :])
    return dataclasses.replace(kernel, extents=extents, rows=kernel.rows - 1, stages=(moved,), inputs=inputs, outputs=(U32,))


def _divided(offset: Expr, axis: int, count: int) -> Expr | None:
    """offset / count without `axis`; None where it is not surely whole."""
    coefficients, constant, opaque = terms(offset)
    rest = {k: c for k, c in coefficients.items() if k != axis}
    parts = [_divided_product(x, count) for x in opaque]
    if any(mod(c, count) != 0 for c in (*rest.values(), constant)) or None in parts or any(depends_on(x, axis) for x in opaque):
        return None
    return from_terms(
        {k: floordiv(c, count) for k, c in rest.items()}, floordiv(constant, count), [p for p in parts if p is not None]
    )


def _divided_product(x: Expr, count: int) -> Expr | None:
    """x / count, if x is something times a multiple of count."""
    if not (isinstance(x, Call) and x.fn == "mul"):
        return None
    for factor, other in (x.operands, x.operands[::-1]):
        coefficients, constant, opaque = terms(factor)
        if not coefficients and not opaque and mod(constant, count) == 0:
            return other * size(floordiv(constant, count))
    return None


def turned(kernel: LoopKernel) -> tuple[int, int] | None:
    """(axis that vectors are loaded along, axis that they are stored along) of a map where these differ; None for others.

    The second is long enough for a vector, or a pair that the stores interleave.
    """
    stage = plain_map(kernel)
    if stage is None:
        return None
    to = terms(stage.index[0])[0]
    for lanes, extent in enumerate(kernel.extents):
        if (
            to.get(lanes, 0) in (0, 1)
            or (isinstance(extent, int) and extent < LEAST_LANES)
            or not _loads_in_vectors(stage.body, lanes)
        ):
            continue
        for across, width in enumerate(kernel.extents):
            pair = width == 2 and to[lanes] == 2
            if to.get(across, 0) == 1 and (pair or not isinstance(width, int) or width >= LEAST_LANES):
                return lanes, across
    return None


def _loads_in_vectors(body: Expr, axis: int) -> bool:
    """Whether every load steps by 1 along the axis or not at all, some by 1, and look-ups do not depend on it."""
    steps = []
    for offset in offsets([body]):
        coefficients, _, opaque = terms(offset)
        if any(depends_on(x, axis) for x in opaque):
            return False
        steps.append(coefficients.get(axis, 0))
    return all(s in (0, 1) for s in steps) and 1 in steps
