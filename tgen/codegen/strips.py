"""Strips: sums over few columns of STRIP neighbouring rows, side by side, with lanes along the axis behind theirs."""

from __future__ import annotations

from ..ir.dtypes import I64
from ..ir.expr import Expr, Load, const, index, shift_axes, transform
from ..kernels.flat import from_terms, terms
from ..kernels.specs import STRIP


def strip(body: Expr, across: int, axis: int, taps: int) -> list[list[Expr]]:
    """The body at each index below `taps` of the last column axis, in each row of a strip that begins at the index of axis `across`.

    Offsets have their terms in one order: what rows read in common is the same expression.
    """
    rows = (index(across) + row for row in range(STRIP))
    return [[_placed(body, {across: row, axis: const(k, I64)}) for k in range(taps)] for row in rows]


def _placed(body: Expr, axes: dict[int, Expr]) -> Expr:
    def ordered(x: Expr) -> Expr | None:
        return Load(x.dtype, x.operand, (from_terms(*terms(x.index[0])), *x.index[1:])) if isinstance(x, Load) else None

    return transform(shift_axes(body, axes), ordered)
