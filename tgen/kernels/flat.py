"""Flat addressing: `Load(k, (offset,))` with the offset in elements, and the merging of axes that memory does not tell apart.

A load that a condition guards is `Load(k, (offset, free offset, condition))`: see `guards`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ..ir.dims import DimLike
from ..ir.dtypes import I64
from ..ir.expr import Call, Expr, Index, Load, affine, const, index, shift_axes, size, transform, walk


def flat_offset(at: Sequence[Expr], strides: Sequence[DimLike]) -> Expr:
    """Σ at[d]·strides[d]."""
    total: Expr = const(0, I64)
    for position, stride in zip(at, strides, strict=True):
        total = total + position * size(stride)
    return total


def flatten_loads(body: Expr, strides: Mapping[int, Sequence[DimLike]]) -> Expr:
    """Every load by multi-index becomes a load by offset."""

    def rule(x: Expr) -> Expr | None:
        if not isinstance(x, Load):
            return None
        along = strides[x.operand]
        clamped, free = x.index[: len(along)], x.index[len(along) : 2 * len(along)]
        guarded = (flat_offset(free, along), x.index[-1]) if len(x.index) > len(along) else ()
        return Load(x.dtype, x.operand, (flat_offset(clamped, along), *guarded))

    return transform(body, rule)


def terms(offset: Expr) -> tuple[Mapping[int, DimLike], DimLike, list[Expr]]:
    """offset = Σ coefficient[axis]·i_axis + constant + Σ opaque, where opaque terms are not affine."""
    whole = affine(offset)
    if whole is not None:
        return whole[0], whole[1], []
    if isinstance(offset, Call) and offset.fn == "add":
        (ca, ka, oa), (cb, kb, ob) = terms(offset.operands[0]), terms(offset.operands[1])
        merged = dict(ca)
        for axis, value in cb.items():
            merged[axis] = merged.get(axis, 0) + value
        return {k: v for k, v in merged.items() if v != 0}, ka + kb, [*oa, *ob]
    return {}, 0, [offset]


def from_terms(coefficients: Mapping[int, DimLike], constant: DimLike, opaque: Iterable[Expr]) -> Expr:
    total: Expr = const(0, I64)
    for axis in sorted(coefficients):
        total = total + index(axis) * size(coefficients[axis])
    for x in opaque:
        total = total + x
    return total + size(constant)


def direct_axes(x: Expr) -> set[int]:
    """Axes whose index is used as a number: anywhere but in the affine part of an offset of a load."""
    if isinstance(x, Index):
        return {x.axis}
    if isinstance(x, Load):
        return set().union(*(direct_axes(o) for o in terms(x.index[0])[2]), *(direct_axes(o) for o in x.index[2:]))
    return set().union(*(direct_axes(a) for a in x.args))


def offsets(bodies: Iterable[Expr]) -> list[Expr]:
    """Offsets of all loads, nested ones too; without their clamps where a condition guards them."""
    return [x.index[:2][-1] for body in bodies for x in walk(body) if isinstance(x, Load)]


def depends_on(x: Expr, axis: int) -> bool:
    """Whether the value of x changes along the axis: by its index, or by what is loaded there."""
    return axis in direct_axes(x) or any(axis in terms(o)[0] for o in offsets([x]))


def mergeable(outer: int, inner: int, extent: DimLike, bodies: Sequence[Expr], stores: Sequence[Expr]) -> bool:
    """Whether axes outer and inner (of that extent) can be one axis: every access moves by extent·inner's step on outer."""
    if any({outer, inner} & direct_axes(b) for b in bodies):
        return False
    for offset in [*offsets(bodies), *stores]:
        coefficients, _, opaque = terms(offset)
        if coefficients.get(outer, 0) != coefficients.get(inner, 0) * extent:
            return False
        if any({outer, inner} & direct_axes(o) for o in opaque):
            return False
    return True


def merge(x: Expr, outer: int, rename: Mapping[int, int]) -> Expr:
    """A body or a store's offset without axis `outer`, whose place the inner axis takes; axes renamed."""

    def rule(n: Expr) -> Expr | None:
        if not isinstance(n, Load):
            return None
        return Load(n.dtype, n.operand, (*(_without(o, outer) for o in n.index[:2]), *n.index[2:]))

    reduced = transform(x, rule)
    return shift_axes(reduced, {old: index(new) for old, new in rename.items()})


def merge_offset(offset: Expr, outer: int, rename: Mapping[int, int]) -> Expr:
    return merge(_without(offset, outer), outer, rename)


def _without(offset: Expr, outer: int) -> Expr:
    coefficients, constant, opaque = terms(offset)
    return from_terms({k: v for k, v in coefficients.items() if k != outer}, constant, opaque) if outer in coefficients else offset
