"""pow, as branch-free expressions of primitives: floats as IEEE 754 `pow`, integers wrapping.

Bounds in units of the last place: float32 1 (it is computed in float64); float64 4. A constant exponent that is a small whole
number or a half takes a short form of at most 3 roundings.
"""

from __future__ import annotations

import math
from fractions import Fraction

from ..dtypes import F32, F64
from ..expr import Const, Expr, bitcast, call, cast, const, maximum, minimum, select
from . import polynomials as c
from .exponential import INF, NAN, exp
from .floats import FORMATS, LN2, clamp, exponential_of_two, fma, horner, magnitude, nearest, split, to_float, two_product, two_sum

LN_THREE_HALVES = Fraction("0.4054651081081643819780131154643491365719904234624941976140143241441007")
_S_DEGREE = 10  # 2·artanh s = 2s + s³·Σ 2/(2k + 3)·s^2k: at |s| ≤ 0.102 the first term left out is below 2^-70


def power(x: Expr, y: Expr) -> Expr:
    """x^y in float32 or float64"""
    short = _short_form(x, y.value) if isinstance(y, Const) else None
    if short is not None:
        return short
    a = magnitude(x)
    size = cast(_size_narrow(cast(a, F64), cast(y, F64)), F32) if x.dtype is F32 else _size_wide(a, y)
    return _signed(x, a, y, _edges(a, y, size))


def _short_form(x: Expr, y: float | int | bool) -> Expr | None:
    """x^y for y among 0 ±1 ±2 3 4 ±½; -inf^½ is inf and -0^½ is 0, as pow has it."""
    if y == 0:
        return const(1, x.dtype)
    if y in (1, 2, 3, 4):
        square = x * x
        return {1: x, 2: square, 3: square * x, 4: square * square}[int(y)]
    if y in (-1, -2):
        return 1.0 / (x if y == -1 else x * x) if y == -1 or x.dtype is F64 else None
    if y in (0.5, -0.5):
        root = select(call("eq", x, -INF), const(INF, x.dtype), call("sqrt", x + 0.0))
        return root if y > 0 else 1.0 / root
    return None


def _edges(a: Expr, y: Expr, size: Expr) -> Expr:
    """|x|^y where a = |x| is 0, inf or NaN (whose bits the formula takes for a number's), or the answer is 1."""
    one = const(1, a.dtype)
    zero, huge = call("eq", a, 0.0), call("eq", a, INF)
    grows = call("xor", y < 0.0, huge)
    end = select(grows, const(INF, a.dtype), 0.0)
    size = select((zero | huge) & call("eq", y, y), end, size)
    size = select(call("eq", a, a), size, a)
    sure = call("eq", y, 0.0) | (call("eq", a, one) & call("eq", y, y))
    return select(sure, one, size)


def _signed(x: Expr, a: Expr, y: Expr, size: Expr) -> Expr:
    """The sign of x for an odd whole y; NaN for a finite negative x and a y that is not whole; 1^NaN is 1."""
    form = FORMATS[x.dtype]
    half = y * 0.5
    whole = call("eq", call("trunc", y), y)
    odd = whole & call("ne", call("trunc", half), half)
    sign = call("and", bitcast(x, form.integer), form.sign)
    result = bitcast(call("xor", bitcast(size, form.integer), select(odd, sign, const(0, form.integer))), form.dtype)
    invalid = (x < 0.0) & (x > -INF) & call("not", whole | call("eq", a, INF))
    result = select(invalid & call("ne", y, 0.0), const(NAN, x.dtype), result)
    return select(call("eq", x, 1.0), const(1, x.dtype), result)


def _mantissa(a: Expr, pivot: float) -> tuple[Expr, Expr]:
    """k (as a float) and m with a = 2^k·m, pivot ≤ m < 2·pivot; float64, a > 0; subnormal a too."""
    form = FORMATS[F64]
    tiny = a < form.least_normal
    bits = bitcast(select(tiny, a * 2.0**54, a), form.integer)
    k = call("shr", bits - form.bits(pivot), form.mantissa)
    m = bitcast(bits - call("shl", k, form.mantissa), F64)
    return select(tiny, to_float(k) - 54.0, to_float(k)), m


def _size_narrow(a: Expr, y: Expr) -> Expr:
    """2^(y·log2 a) to 2^-30 or better, in float64: enough to round to float32."""
    k, m = _mantissa(a, 0.5**0.5)
    f = m - 1.0
    t = clamp(y * fma(f, horner(c.POW_LOG2_64, f), k), -400.0, 400.0)
    n, bits = nearest(t, 1.0, FORMATS[F64].bias)
    return horner(c.POW_EXP2_64, t - n) * exponential_of_two(bits)


def _size_wide(a: Expr, y: Expr) -> Expr:
    """e^(y·ln a) with ln a and the product held in two float64 numbers each."""
    high, low = _log_in_two(a)
    bounded = clamp(y, -(2.0**70), 2.0**70)
    product, error = two_product(high, bounded)
    error = fma(low, bounded, error)
    e = exp(product)
    inside = magnitude(product) < 800.0
    return select(inside, fma(e, minimum(maximum(error, -1.0), 1.0), e), e)


def _log_in_two(a: Expr) -> tuple[Expr, Expr]:
    """ln a = high + low to about 2^-62: k·ln 2 + ln p + 2·artanh s, s = (m - p)/(m + p), p = 1 or 3/2, |s| ≤ 0.102"""
    k, m = _mantissa(a, 0.5**0.5 * math.sqrt(1.5))
    upper = m > math.sqrt(1.5)
    pivot = select(upper, const(1.5, F64), 1.0)
    above, below = m - pivot, m + pivot
    s = above / below
    back, lost = two_product(s, below)
    below_error = m - (below - pivot)
    s_low = ((above - back) - lost - s * below_error) / below
    z = s * s
    series = s * z * horner([2 / (2 * j + 3) for j in range(_S_DEGREE)], z)
    parts = split(LN2, 40, 53)
    of_pivot = split(LN_THREE_HALVES, 40, 53)
    start, rest = two_sum(k * parts[0], select(upper, const(of_pivot[0], F64), 0.0))
    total, lost_too = two_sum(start, s * 2.0)
    small = series + (s_low * 2.0 + (k * parts[1] + select(upper, const(of_pivot[1], F64), 0.0) + (rest + lost_too)))
    return two_sum(total, small)


def integer_power(x: Expr, y: Expr) -> Expr:
    """x^y modulo 2^bits by squaring, one step for each bit of y; a negative y truncates 1/x^|y|: ±1 for x = ±1, else 0."""
    one, zero = const(1, x.dtype), const(0, x.dtype)
    if isinstance(y, Const) and y.value >= 0:
        return _constant_power(x, int(y.value))
    total: Expr = one
    base = x
    bits = x.dtype.bits - (x.dtype.kind == "int")
    for k in range(bits):
        total = select(call("ne", call("and", y, 1 << k), zero), total * base, total)
        base = base * base if k + 1 < bits else base
    if x.dtype.kind == "uint":
        return total
    minus = const(-1, x.dtype)
    parity = select(call("ne", call("and", y, 1), zero), x, one)
    negative = select(call("eq", x, one) | call("eq", x, minus), parity, zero)
    return select(y < zero, negative, total)


def _constant_power(x: Expr, y: int) -> Expr:
    total: Expr | None = None
    while y:
        if y & 1:
            total = x if total is None else total * x
        y >>= 1
        x = x * x if y else x
    return const(1, x.dtype) if total is None else total
