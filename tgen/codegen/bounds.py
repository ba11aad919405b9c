"""Where a reduction's columns matter: a body that is what the reduction starts from wherever a condition does not hold,

    Σ_k select(0 ≤ p and p < n, x[p], 0)        p = step·k + rest, step > 0

is summed over max(0, ⌈-rest/step⌉ ≤ k < ⌈(n - rest)/step⌉ alone, and asks nothing there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..ir.dims import DimLike
from ..ir.dtypes import F32
from ..ir.expr import Call, Const, Expr, Load, Size, affine, transform
from ..ir.loops import Stage, identity
from ..kernels.guards import conjuncts
from .context import I64, FunctionContext


@dataclass(frozen=True)
class Limit:
    """place ≥ 0 if extent is None, else place < extent. step: of `place` along the axis that it limits."""

    place: Expr
    step: int
    extent: DimLike | None


@dataclass(frozen=True)
class Bounds:
    """By column axis, what limits it."""

    limits: Mapping[int, tuple[Limit, ...]] = field(default_factory=dict)

    def range(self, c: FunctionContext, axes: Mapping[int, Any], axis: int, extent: Any) -> tuple[Any, Any]:
        """(first, behind the last) of the axis, where those before it are at `axes`."""
        first, last = I64(0), extent
        for limit in self.limits.get(axis, ()):
            rest = _rest(c, limit.place, axes, axis)
            up = I64(limit.step - 1)
            if limit.extent is None:
                first = c.maximum(first, c.b.sdiv(c.b.sub(up, rest), I64(limit.step)))
            else:
                beyond = c.b.add(c.b.sub(c.dim(limit.extent), rest), up)
                last = c.minimum(last, c.b.sdiv(beyond, I64(limit.step)))
        return first, last


def bounded(stage: Stage, columns: range, alike: Collection[int]) -> tuple[Stage, Bounds]:
    """The stage without conditions that its bounds take care of, and these. columns: axes that are loops over one column at a time;
    alike: axes that lanes, or rows done side by side, run along, for which bounds must be the same.
    """
    match stage:
        case Stage(kind="reduce", body=Call(fn="select", operands=(condition, value, Const() as other))) if _starts(stage, other):
            every = tuple(conjuncts(condition))
        case _:
            return stage, Bounds()
    limits: dict[int, tuple[Limit, ...]] = {}
    for conjunct in every:
        if found := _limit(conjunct, columns, alike):
            axis, limit = found
            limits[axis] = (*limits.get(axis, ()), limit)
    if sum(map(len, limits.values())) == len(every):
        stage = replace(stage, body=transform(value, lambda x: _free(x, condition)))
    return stage, Bounds(limits)


def _starts(stage: Stage, other: Const) -> bool:
    dtype = stage.body.dtype
    numpy = F32.numpy if dtype.is_float and dtype.bits < 32 else dtype.numpy
    return bool(np.asarray(other.value) == identity(stage.combine or "add", numpy))


def _limit(conjunct: Expr, columns: range, alike: Collection[int]) -> tuple[int, Limit] | None:
    if not (isinstance(conjunct, Call) and conjunct.fn in ("ge", "lt")):
        return None
    place, bound = conjunct.operands
    form = affine(place)
    if form is None or not isinstance(bound, (Const, Size)):
        return None
    low = conjunct.fn == "ge"
    if low and not (isinstance(bound, Const) and bound.value == 0):
        return None
    among = [axis for axis in form[0] if axis >= columns.start]
    if len(among) != 1 or among[0] not in columns or any(axis in form[0] for axis in alike):
        return None
    step = form[0][among[0]]
    if not isinstance(step, int) or step <= 0:
        return None
    extent = bound.dim if isinstance(bound, Size) else int(bound.value)
    return among[0], Limit(place, step, None if low else extent)


def _rest(c: FunctionContext, place: Expr, axes: Mapping[int, Any], axis: int) -> Any:
    """`place` where the axis is at 0."""
    form = affine(place)
    assert form is not None
    total = c.dim(form[1])
    for other, step in form[0].items():
        if other != axis:
            total = c.b.add(total, c.b.mul(axes[other], c.dim(step)))
    return total


def _free(x: Expr, condition: Expr) -> Expr | None:
    """A load without its clamps, which the condition makes unnecessary."""
    return Load(x.dtype, x.operand, (x.index[1],)) if isinstance(x, Load) and x.index[2:] == (condition,) else None
