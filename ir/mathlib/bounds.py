"""`bounds`: what is known of a value from how it is made, so that a function need not guard against what cannot come."""

from __future__ import annotations

import math

from ..expr import Call, Const, Expr

Interval = tuple[float, float]
_ALL = (-math.inf, math.inf)
_NONNEGATIVE = (0.0, math.inf)


def bounds(x: Expr) -> Interval:
    """low ≤ x ≤ high wherever the float x is not NaN; -inf and inf where nothing is known."""
    if isinstance(x, Const):
        value = float(x.value)
        return _ALL if math.isnan(value) else (value, value)
    if not isinstance(x, Call):
        return _ALL
    if x.fn in ("abs", "sqrt"):
        return _NONNEGATIVE
    if x.fn == "neg":
        low, high = bounds(x.operands[0])
        return -high, -low
    if x.fn in ("max", "min"):
        (a, b), (c, d) = map(bounds, x.operands)
        return (max(a, c), max(b, d)) if x.fn == "max" else (min(a, c), min(b, d))
    return _ALL
