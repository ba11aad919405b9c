"""Which columns of scores a row can see: found in the scores' own body, so that a kernel need not compute the others."""

from __future__ import annotations

import math
from collections.abc import Iterator

from ..ir.dtypes import I64
from ..ir.expr import Call, Const, Expr, Index, const, maximum, minimum, walk

Bound = Expr | None


def visible(scores: Expr, column: int) -> tuple[Bound, Bound]:
    """(begin, end) over the other axes: scores = -inf wherever the index of axis `column` is below begin or not below end. None: no bound.

    Causality, windows and lengths are selects around the scores, of -inf where the column compares badly with something; other masks
    are not looked into.
    """
    begin: Bound = None
    end: Bound = None
    for condition in _conditions(scores):
        sign, bound = _bound(condition, column)
        if sign > 0:
            end = bound if end is None else minimum(end, bound)
        elif sign < 0:
            begin = bound if begin is None else maximum(begin, bound)
    return begin, end


def _conditions(scores: Expr) -> Iterator[Expr]:
    """What must hold, or else the score is -inf."""
    while isinstance(scores, Call):
        if scores.fn == "select" and _is_minus_infinity(scores.operands[2]):
            yield from _conjuncts(scores.operands[0])
            scores = scores.operands[1]
        elif scores.fn == "cast" and scores.dtype.is_float and scores.operands[0].dtype.is_float:
            scores = scores.operands[0]
        else:
            return


def _is_minus_infinity(x: Expr) -> bool:
    return isinstance(x, Const) and x.value == -math.inf


def _conjuncts(condition: Expr) -> Iterator[Expr]:
    if isinstance(condition, Call) and condition.fn == "and":
        for part in condition.operands:
            yield from _conjuncts(part)
    else:
        yield condition


def _bound(condition: Expr, column: int) -> tuple[int, Expr]:
    """(1, x): the condition is column < x; (-1, x): column ≥ x; (0, …): it is neither."""
    nothing = const(0, I64)
    if not isinstance(condition, Call) or condition.fn not in ("lt", "le", "gt", "ge"):
        return 0, nothing
    a, b = condition.operands
    if condition.fn in ("gt", "ge"):
        a, b = b, a
    parted = _parted(a - b, column) if a.dtype is I64 else None  # a - b < 0, or ≤ 0
    if parted is None:
        return 0, nothing
    sign, rest = parted
    strict = condition.fn in ("lt", "gt")
    if sign > 0:
        return 1, -rest if strict else 1 - rest
    return sign, rest + 1 if strict else rest


def _parted(x: Expr, column: int) -> tuple[int, Expr] | None:
    """(sign, rest) where x = sign·column + rest and rest does not know the column; None where x is not of this form."""
    if isinstance(x, Index) and x.axis == column:
        return 1, const(0, I64)
    if not any(isinstance(part, Index) and part.axis == column for part in walk(x)):
        return 0, x
    if not isinstance(x, Call) or x.fn not in ("add", "sub"):
        return None
    parts = [_parted(operand, column) for operand in x.operands]
    if parts[0] is None or parts[1] is None:
        return None
    (left, a), (right, b) = parts[0], parts[1]
    sign = left - right if x.fn == "sub" else left + right
    return (sign, a - b if x.fn == "sub" else a + b) if abs(sign) <= 1 else None
