"""sigmoid, tanh, erf and GELU, as branch-free expressions of primitives in float32 and float64.

Bounds in units of the last place over the whole range, subnormal operands and results, infinities, NaN and signed zeros included:

    tanh, erf    2      (tanh in float64: 2.5)
    sigmoid      2.5
    gelu         4.1    (float64: of the place of x/2 where x < 0, since 1 + erf cancels there)
"""

from __future__ import annotations

import math

import numpy as np

from ..expr import Expr, const, minimum, select
from . import polynomials as c
from .exponential import LOG2_E, exp, reduce_exponent, scaled_exponential
from .floats import FORMATS, LN2, clamp, exponential_of_two, fma, horner, magnitude, nearest, split, with_sign

_DENSITY = float(np.float32(1 / math.sqrt(2 * math.pi)))


def sigmoid(x: Expr) -> Expr:
    """1/(1 + e^-x) = k/(k + k·e^-x); k is a power of two so small that k·e^-x is finite wherever the result is not 0."""
    form = FORMATS[x.dtype]
    inside = clamp(x, form.pick(-104, -746), form.pick(64, 600))
    r, scale = reduce_exponent(inside, -form.shift, sign=-1)
    unit = 2.0**-form.shift
    return unit / fma(scaled_exponential(r, 0, sign=-1), scale, unit)


def _decay(a: Expr, factor: int) -> tuple[Expr, Expr]:
    """q = (1 - e^(-factor·r))/factor and s = 2^n, where e^(-factor·a) = s·e^(-factor·r) and |factor·r| ≤ ln 2/2."""
    wide = FORMATS[a.dtype].is_wide
    r, scale = reduce_exponent(a, 0, sign=-1, factor=factor, near=True)
    terms = [v * (-1) ** k * factor ** (k + 1) for k, v in enumerate(c.EXPM1_64 if wide else c.EXPM1_32)]
    return fma(r * r, horner([-v for v in terms], r), r), scale


def tanh(x: Expr) -> Expr:
    """±(1 - e^-2a)/(1 + e^-2a), a = |x|, with e^-2a = s·(1 - 2q): both sides of the quotient are rounded once"""
    a = minimum(magnitude(x), FORMATS[x.dtype].pick(10, 20))
    q, s = _decay(a, 2)
    above = fma(s, q, fma(s, -0.5, 0.5))
    below = fma(-s, q, fma(s, 0.5, 0.5))
    return with_sign(above / below, x)


def erf(x: Expr) -> Expr:
    """float32: ±(1 - e^-u), u = a + a·P(a), a = |x| ≤ 4; float64: x·P(x²) for |x| < 1, else ±(1 - e^(-x²)·R(u))"""
    if FORMATS[x.dtype].is_wide:
        return _erf_wide(x)
    a = minimum(magnitude(x), 4.0)
    q, s = _decay(fma(a, horner(c.ERF_LOG_32, a), a), 1)
    return with_sign(fma(s, q, 1.0 - s), x)


def _erf_wide(x: Expr) -> Expr:
    a = minimum(magnitude(x), 6.0)
    z = a * a
    far = 1.0 - exp(-z) * horner(c.ERFC_64, (a - 2.2) / (a + 2.2))
    return with_sign(select(a < const(1.0, x.dtype), a * horner(c.ERF_64, z), far), x)


def gelu(x: Expr) -> Expr:
    """x·Φ(x) of the normal distribution: max(x, 0) - a·Φ(-a), a = |x|, so that nothing cancels; -0 at -inf.

    Φ(-a) = e^(-a²/2)·D·B(a)/(a·B(a) + A(a)), where D/a is what Φ(-a)·e^(a²/2) comes to for large a. e^(-a²/2) takes the rounding
    error of a² into account. Its factor 2^-shift is in the coefficients, and 2^shift with 2^n, which is multiplied last.
    """
    form = FORMATS[x.dtype]
    if form.is_wide:
        return x * 0.5 * (erf(x * math.sqrt(0.5)) + 1.0)
    a = minimum(magnitude(x), 14.4)
    square = a * a
    lost = fma(a, a, -square)
    high, low = split(2 * LN2, 16, 24)
    n, bits = nearest(square, -LOG2_E / 2, form.bias + form.shift)
    r = fma(n, high, square) + fma(n, low, lost)
    density = 2.0**-form.shift * _DENSITY
    terms = [density * v * (-0.5) ** (k + 1) for k, v in enumerate(c.EXP_SHORT_32)]
    b = horner(c.TAIL_B_32, a)
    tail = fma(r, horner(terms, r), density) * b / fma(a, b, horner(c.TAIL_A_32, a))
    return fma(-(a * exponential_of_two(bits)), tail, select(x < 0.0, const(0.0, x.dtype), x))
