"""exp, log and the functions made of them, as branch-free expressions of primitives in float32 and float64.

Bounds are in units of the last place (ulp) over the whole range, subnormal results included, and are asserted by the tests:

    exp exp2 log log2 log1p cosh     2
    expm1 arcsinh arccosh arctanh    2.5
    sinh tanh                        2.5
    erf                              3
    sigmoid                          3.5
"""

from __future__ import annotations

from ..expr import Expr, bitcast, call, const, maximum, minimum, select
from . import polynomials as c
from .floats import (
    FORMATS,
    LN2,
    clamp,
    exponential_of_two,
    fma,
    horner,
    magnitude,
    nearest,
    split,
    to_float,
    two_sum,
    with_sign,
)

LOG2_E = float(1 / LN2)
INF, NAN = float("inf"), float("nan")


def exp(x: Expr, last: float = 1.0) -> Expr:
    """last·e^x = (last·2^m)·2^m·(1 + r + r²·P(r)), m = round(x/(2·ln 2)), r = x - m·2·ln 2, |r| ≤ ln 2.

    Halving the exponent makes each factor a normal number for every x whose result is finite or subnormal, so the last
    product rounds once. 16 operations. last: 1 or a smaller power of two.
    """
    form = FORMATS[x.dtype]
    high, low = split(2 * LN2, *((40, 53) if form.is_wide else (16, 24)))
    inside = clamp(x, form.pick(-104, -746), form.pick(90, 711))
    m, bits = nearest(inside, LOG2_E / 2, form.bias)
    r = fma(m, -low, fma(m, -high, inside))
    scale = exponential_of_two(bits)
    p = fma(r, fma(r, horner(c.EXP_64 if form.is_wide else c.EXP_32, r), 1.0), 1.0)
    return p * scale * (scale if last == 1 else scale * last)


def exp2(x: Expr) -> Expr:
    """2^x = 2^m·2^m·(1 + r·P(r)), m = round(x/2), r = x - 2·m exactly"""
    form = FORMATS[x.dtype]
    inside = clamp(x, form.pick(-152, -1080), form.pick(129, 1025))
    m, bits = nearest(inside, 0.5, form.bias)
    r = fma(m, -2.0, inside)
    scale = exponential_of_two(bits)
    return fma(r, horner(c.EXP2_64 if form.is_wide else c.EXP2_32, r), 1.0) * scale * scale


def _quarter_expm1(x: Expr) -> Expr:
    """(e^x - 1)/4 = s·(e^r - 1) + (s - 1/4), s = 2^(n - 2), n = round(x/ln 2); subnormal results lose bits."""
    form = FORMATS[x.dtype]
    high, low = split(LN2, *((40, 53) if form.is_wide else (16, 24)))
    inside = clamp(x, form.pick(-20, -40), form.pick(89.5, 710.6))
    n, bits = nearest(inside, LOG2_E, form.bias - 2)
    r = fma(n, -low, fma(n, -high, inside))
    q = fma(r * r, horner(c.EXPM1_64 if form.is_wide else c.EXPM1_32, r), r)
    scale = exponential_of_two(bits)
    return fma(scale, q, scale - 0.25)


def _or_itself(x: Expr, a: Expr, result: Expr) -> Expr:
    """x where a = |x| is so small that f(x) = x·(1 + O(x)) rounds to x, else the result."""
    return select(a < FORMATS[x.dtype].pick(1e-12, 1e-20), x, result)


def expm1(x: Expr) -> Expr:
    """e^x - 1; x itself where that is nearest, which keeps tiny ones and -0"""
    return _or_itself(x, magnitude(x), _quarter_expm1(x) * 4.0)


def _expm1_narrow(t: Expr) -> Expr:
    """e^t - 1 in float32 for |t| < 50, good to the accuracy of 1 where it is near -1"""
    n, bits = nearest(t, LOG2_E, FORMATS[t.dtype].bias)
    r = fma(n, -float(LN2), t)
    q = fma(r * r, horner(c.EXPM1_32, r), r)
    scale = exponential_of_two(bits)
    return fma(scale, q, scale - 1.0)


def _decompose(x: Expr) -> tuple[Expr, Expr, Expr]:
    """x = 2^k·m, √½ ≤ m < √2, of a positive normal x: k as integer and as float, and m."""
    form = FORMATS[x.dtype]
    bits = bitcast(x, form.integer)
    k = call("shr", bits - form.bits(0.5**0.5), form.mantissa)
    return k, to_float(k), bitcast(bits - call("shl", k, form.mantissa), form.dtype)


def _normal(x: Expr) -> tuple[Expr, Expr]:
    """k and m of x > 0, subnormal or not."""
    form = FORMATS[x.dtype]
    tiny = x < form.least_normal
    _, k, m = _decompose(select(tiny, x * float(2 ** (form.mantissa + 1)), x))
    return select(tiny, k - (form.mantissa + 1.0), k), m


def _ends(x: Expr, result: Expr) -> Expr:
    """The logarithm's values where x is not positive and finite."""
    zero, below = call("eq", x, 0.0), x < 0.0
    special = select(zero, const(-INF, x.dtype), select(below, const(NAN, x.dtype), x))
    return select((x > 0.0) & (x < INF), result, special)


def _log_sum(k: Expr, f: Expr) -> Expr:
    """k·ln 2 + ln(1 + f), ln(1 + f) = f + f²·P(f)"""
    form = FORMATS[f.dtype]
    high, low = split(LN2, *((40, 53) if form.is_wide else (15, 24)))
    tail = f * f * horner(c.LOG_64 if form.is_wide else c.LOG_32, f)
    return fma(k, high, f + fma(k, low, tail))


def log(x: Expr) -> Expr:
    """ln x = k·ln 2 + ln m, x = 2^k·m, √½ ≤ m < √2"""
    k, m = _normal(x)
    return _ends(x, _log_sum(k, m - 1.0))


def log2(x: Expr) -> Expr:
    """k + ln m·log2 e"""
    form = FORMATS[x.dtype]
    k, m = _normal(x)
    f = m - 1.0
    natural = fma(f * f, horner(c.LOG_64 if form.is_wide else c.LOG_32, f), f)
    high, low = split(1 / LN2, form.mantissa + 1, form.mantissa + 1)
    return _ends(x, fma(natural, high, k + natural * low))


def log1p(x: Expr) -> Expr:
    """ln(1 + x) = k·ln 2 + ln(1 + f), 1 + x = u + e exactly, u = 2^k·m, f = (m - 1) + e·2^-k"""
    form = FORMATS[x.dtype]
    u, error = two_sum(const(1.0, x.dtype), x)
    n, k, m = _decompose(u)
    scale = exponential_of_two(maximum(form.bias - n, 0))
    return with_sign(_ends(u, _log_sum(k, fma(error, scale, m - 1.0))), x)


def sigmoid(x: Expr) -> Expr:
    """1/(1 + e^-x) for x ≥ 0, e^x/(1 + e^x) below: subnormal results are right too"""
    e = exp(-magnitude(x))
    return select(x < 0.0, e, const(1.0, x.dtype)) / (e + 1.0)


def tanh(x: Expr) -> Expr:
    """±t/(t + 2), t = e^(2|x|) - 1"""
    wide = FORMATS[x.dtype].is_wide
    a = minimum(magnitude(x), 20.0 if wide else 10.0)
    t = expm1(a + a) if wide else _expm1_narrow(a + a)
    return with_sign(t / (t + 2.0), x)


def erf(x: Expr) -> Expr:
    """float32: ±(1 - e^(-a·P(a))), a = |x| ≤ 4; float64: x·P(x²) for |x| < 1, else ±(1 - e^(-x²)·R(u))"""
    if not FORMATS[x.dtype].is_wide:
        a = minimum(magnitude(x), 4.0)
        return with_sign(magnitude(_expm1_narrow(a * horner([-v for v in c.ERF_LOG_32], a))), x)
    a = minimum(magnitude(x), 6.0)
    z = a * a
    far = 1.0 - exp(-z) * horner(c.ERFC_64, (a - 2.2) / (a + 2.2))
    return with_sign(select(a < 1.0, a * horner(c.ERF_64, z), far), x)


def sinh(x: Expr) -> Expr:
    """(t + t/(t + 1))/2, t = e^|x| - 1, computed on t/4 so that only the result overflows; x itself where tiny"""
    a = magnitude(x)
    v = _quarter_expm1(a)
    return with_sign(_or_itself(a, a, (v + v / fma(v, 4.0, 1.0)) * 2.0), x)


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
    """ln1p(t + √(t·(t + 2))), t = x - 1; ln x + ln 2 for large x"""
    form = FORMATS[x.dtype]
    large = x > form.pick(1e8, 1e16)
    t = maximum(x - 1.0, -1.0)
    return _log1p_or_double(large, x, t + call("sqrt", t * (t + 2.0)))


def _log1p_or_double(large: Expr, a: Expr, near: Expr) -> Expr:
    """ln 2a where large, else ln(1 + near)"""
    return log1p(select(large, a, near)) + select(large, const(float(LN2), a.dtype), 0.0)


def arctanh(x: Expr) -> Expr:
    """±ln1p(2a/(1 - a))/2, a = |x|; at least |x|"""
    a = magnitude(x)
    return with_sign(maximum(log1p(a * 2.0 / (1.0 - a)) * 0.5, a), x)
