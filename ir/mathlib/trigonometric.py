"""sin, cos, tan and their inverses, as branch-free expressions of primitives in float32 and float64.

Each is within 2 units of the last place (float64: sin, cos 2.5, tan 3.5). sin, cos and tan: for arguments up to 2^29 in float32
(whose reduction runs in float64) and 10^6 in float64. Beyond, the absolute error grows as |x|·2^-53, and past 2^51 the value
only stays within the function's range.
"""

from __future__ import annotations

from ..dtypes import F64, I32
from ..expr import Expr, call, cast, const, maximum, minimum, select
from . import polynomials as c
from .floats import FORMATS, PI, clamp, flip_sign, fma, horner, magnitude, nearest, split, with_sign


def _reduce(x: Expr) -> tuple[Expr, Expr]:
    """r = x - n·π/2, |r| ≤ π/4, and an integer whose two low bits hold n mod 4 (Cody and Waite), both of 64 bits.

    The parts of π/2 have so few bits that n·part is exact in float64: for n < 2^29, and n < 2^20 where x is float64.
    """
    narrow = not FORMATS[x.dtype].is_wide
    wide = cast(x, F64)
    n, bits = nearest(wide, float(2 / PI))
    r = wide
    for part in split(PI / 2, *((24, 24, 53) if narrow else (33, 33, 33, 53))):
        r = fma(n, -part, r)
    return clamp(r, -0.8, 0.8), bits


def _sine(r: Expr, z: Expr) -> Expr:
    return fma(r * z, horner(c.SIN_64 if r.dtype is F64 else c.SIN_32, z), r)


def _cosine(z: Expr) -> Expr:
    return fma(z * z, horner(c.COS_64 if z.dtype is F64 else c.COS_32, z), fma(z, -0.5, 1.0))


def _is_odd(quadrant: Expr) -> Expr:
    return call("ne", call("and", quadrant, 1), 0)


def _wave(x: Expr, shift: int) -> Expr:
    """sin(x + shift·π/2), shift 0 or 1"""
    r, quadrant = _reduce(x)
    if x.dtype is not F64:
        r, quadrant = cast(r, x.dtype), cast(quadrant, I32)
    z = r * r
    first, second = (_cosine(z), _sine(r, z)) if shift else (_sine(r, z), _cosine(z))
    half = quadrant + shift if shift else quadrant
    sign = call("shl", call("and", half, 2), FORMATS[x.dtype].integer.bits - 2)
    return flip_sign(select(_is_odd(quadrant), second, first), sign)


def sin(x: Expr) -> Expr:
    """±sin r or ±cos r by the quadrant"""
    return select(call("eq", x, 0.0), x, _wave(x, 0))


def cos(x: Expr) -> Expr:
    """±cos r or ±sin r by the quadrant"""
    return _wave(x, 1)


def tan(x: Expr) -> Expr:
    """tan r = r + r³·P(r²), or -1/tan r in odd quadrants"""
    r, quadrant = _reduce(x)
    z = r * r
    t = fma(r * z, horner(c.TAN_64 if x.dtype is F64 else c.TAN_32, z), r)
    odd = _is_odd(quadrant)
    return select(call("eq", x, 0.0), x, cast(select(odd, const(-1.0, F64), t) / select(odd, t, 1.0), x.dtype))


def _arcsine_parts(a: Expr) -> tuple[Expr, Expr, Expr]:
    """Whether a < ½, and s and e with s + e = arcsin a there, else arcsin √((1 - a)/2) = (π/2 - arcsin a)/2; NaN for a > 1."""
    small = a < 0.5
    z = select(small, a * a, (1.0 - a) * 0.5)
    s = select(small, a, call("sqrt", z))
    return small, s, s * z * horner(c.ASIN_64 if a.dtype is F64 else c.ASIN_32, z)


def _two_parts(value: float, a: Expr) -> tuple[float, float]:
    bits = FORMATS[a.dtype].mantissa + 1
    high, low = split(PI / 2, bits, bits)
    return high * value, low * value


def arcsin(x: Expr) -> Expr:
    """±(s + e) for |x| < ½, else ±(π/2 - 2s - 2e), with the rounding error of π/2 - 2s made good"""
    small, s, e = _arcsine_parts(magnitude(x))
    high, low = _two_parts(1.0, x)
    difference = fma(s, -2.0, high)
    rest = fma(e, -2.0, fma(s, -2.0, high - difference) + low)
    return with_sign(select(small, s + e, difference + rest), x)


def arccos(x: Expr) -> Expr:
    """2p for x ≥ ½, π - 2p for x ≤ -½, else π/2 - (±p)"""
    small, s, e = _arcsine_parts(magnitude(x))
    p = s + e
    negative = x < 0.0
    middle_high, middle_low = _two_parts(1.0, x)
    high, low = _two_parts(2.0, x)
    signed = select(negative, -p, p)
    outer = select(negative, high - (p * 2.0 - low), p * 2.0)
    return select(small, middle_high - (signed - middle_low), outer)


def arctan(x: Expr) -> Expr:
    """±p for |x| ≤ 1, else ±(π/2 - p), p = t + t³·P(t²), t = min(|x|, 1)/max(|x|, 1)"""
    a = magnitude(x)
    t = minimum(a, 1.0) / maximum(a, 1.0)
    z = t * t
    p = fma(t * z, horner(c.ATAN_64 if x.dtype is F64 else c.ATAN_32, z), t)
    high, low = _two_parts(1.0, x)
    return with_sign(select(a > const(1.0, x.dtype), high - (p - low), p), x)
