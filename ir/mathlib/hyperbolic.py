"""sinh, cosh and the inverse hyperbolic functions, as branch-free expressions of primitives in float32 and float64.

Each is within 2 units of the last place over the whole range in both formats (cosh in float64: 2.5), subnormal operands and
results included.
"""

from __future__ import annotations

from ..expr import Expr, call, const, minimum, select
from . import polynomials as c
from .exponential import exp, log1p, quarter_expm1
from .floats import FORMATS, LN2, fma, horner, magnitude, with_sign


def _odd_series(a: Expr, narrow: tuple[float, ...], wide: tuple[float, ...]) -> Expr:
    """a + a³·P(a²)"""
    z = a * a
    return fma(a * z, horner(wide if FORMATS[a.dtype].is_wide else narrow, z), a)


def sinh(x: Expr) -> Expr:
    """x + x³·P(x²) for a = |x| < 1, else ±(t + t/(t + 1))/2, t = e^a - 1, computed on t/4 so that only the result overflows"""
    a = magnitude(x)
    v = quarter_expm1(a)
    far = (v + v / fma(v, 4.0, 1.0)) * 2.0
    return with_sign(select(a < 1.0, _odd_series(a, c.SINH_32, c.SINH_64), far), x)


def cosh(x: Expr) -> Expr:
    """h + 1/(4·h), h = e^|x|/2"""
    h = exp(magnitude(x), last=0.5)
    return h + 0.25 / h


def arcsinh(x: Expr) -> Expr:
    """±ln1p(a + a²/(1 + √(1 + a²))), a = |x|; ln a + ln 2 where a² adds nothing to its own square root"""
    form = FORMATS[x.dtype]
    a = magnitude(x)
    large = a > form.pick(1e8, 1e16)
    square = minimum(a, form.pick(1e9, 1e17)) * minimum(a, form.pick(1e9, 1e17))
    near = a + square / (call("sqrt", square + 1.0) + 1.0)
    return with_sign(_log1p_or_double(large, a, near), x)


def arccosh(x: Expr) -> Expr:
    """√(2t)·(1 + t·P(t)) for t = x - 1 < ½, else ln1p(t + √(t² + 2t)); ln x + ln 2 for large x"""
    form = FORMATS[x.dtype]
    large = x > form.pick(1e8, 1e16)
    t = x - 1.0
    far = _log1p_or_double(large, x, t + call("sqrt", fma(t, t, t * 2.0)))
    root = call("sqrt", t * 2.0)
    return select(t < 0.5, fma(root * t, horner(c.ACOSH_64 if form.is_wide else c.ACOSH_32, t), root), far)


def _log1p_or_double(large: Expr, a: Expr, near: Expr) -> Expr:
    """ln 2a where large, else ln(1 + near)"""
    return log1p(select(large, a, near)) + select(large, const(float(LN2), a.dtype), 0.0)


def arctanh(x: Expr) -> Expr:
    """x + x³·P(x²) for a = |x| < ½, else ±ln1p(2a/(1 - a))/2"""
    a = magnitude(x)
    far = log1p(a * 2.0 / (1.0 - a)) * 0.5
    return with_sign(select(a < 0.5, _odd_series(a, c.ATANH_32, c.ATANH_64), far), x)
