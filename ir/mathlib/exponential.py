"""exp, log and their like, as branch-free expressions of primitives in float32 and float64.

Each is within 2 units of the last place (ulp) over the whole range in both formats (expm1 in float64: 2.5): subnormal operands and
results, infinities, NaN and signed zeros included.
"""

from __future__ import annotations

from ..expr import Expr, bitcast, call, const, maximum, select
from . import polynomials as c
from .bounds import bounds
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
    """last·e^x, last: 1 or a smaller power of two; 12 operations where x is known to stay below 64 (float64: 600), else 16."""
    form = FORMATS[x.dtype]
    if last == 1 and bounds(x)[1] <= form.pick(64, 600):
        return _exp_short(x)
    return _exp_whole(x, last)


def _exp_short(x: Expr) -> Expr:
    """e^x = (2^-k·(1 + r·P(r)))·2^(n + k), n = round(x/ln 2), r = x - n·ln 2, |r| ≤ ln 2/2, for x ≤ 64.

    The factor 2^-k is in the coefficients. It makes 2^(n + k) a normal number even where the result is subnormal, so that the
    last product rounds once.
    """
    form = FORMATS[x.dtype]
    r, scale = reduce_exponent(maximum(x, form.pick(-104, -746)), form.shift)
    return scaled_exponential(r, form.shift) * scale


def exp_weight(x: Expr) -> Expr:
    """e^x for x ≤ 0, but 0 where that is below the least normal number: a weight beside one of 1, to which it adds nothing.

    To make a subnormal number takes Intel's CPUs some 150 cycles, ten times what all else here does, and scores that a mask hides give
    nothing else.
    """
    least = const(FORMATS[x.dtype].pick(-87, -708), x.dtype)
    r, scale = reduce_exponent(select(x < least, least, x), 0)
    return select(x < least, const(0, x.dtype), scaled_exponential(r, 0) * scale)


def scaled_exponential(r: Expr, shift: int, sign: int = 1) -> Expr:
    """2^-shift·e^(sign·r), |r| ≤ ln 2/2"""
    small = 2.0**-shift
    coefficients = c.EXP_SHORT_64 if FORMATS[r.dtype].is_wide else c.EXP_SHORT_32
    signed = [v * small * sign ** (k + 1) for k, v in enumerate(coefficients)]
    return fma(r, horner(signed, r), small)


def reduce_exponent(x: Expr, offset: int, sign: int = 1, factor: int = 1, near: bool = False) -> tuple[Expr, Expr]:
    """r = x - sign·n·ln 2/factor and 2^(n + offset), n = round(sign·factor·x/ln 2), so that e^(sign·factor·x) = 2^n·e^(sign·factor·r).

    near: n is so small (|n| < 32) that in float32 one constant holds ln 2 well enough.
    """
    form = FORMATS[x.dtype]
    n, bits = nearest(x, sign * factor * LOG2_E, form.bias + offset)
    for part in split(LN2 / factor, *((40, 53) if form.is_wide else (24,) if near else (16, 24))):
        x = fma(n, -sign * part, x)
    return x, exponential_of_two(bits)


def _exp_whole(x: Expr, last: float) -> Expr:
    """last·e^x = (last·2^m)·2^m·(1 + r + r²·P(r)), m = round(x/(2·ln 2)), r = x - m·2·ln 2, |r| ≤ ln 2.

    Halving the exponent makes each factor a normal number for every x whose result is finite or subnormal, so the last
    product rounds once.
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


def quarter_expm1(x: Expr) -> Expr:
    """(e^x - 1)/4 = s·(e^r - 1) + (s - 1/4), s = 2^(n - 2), n = round(x/ln 2); subnormal results lose bits."""
    form = FORMATS[x.dtype]
    high, low = split(LN2, *((40, 53) if form.is_wide else (16, 24)))
    inside = clamp(x, form.pick(-20, -40), form.pick(89.5, 710.6))
    n, bits = nearest(inside, LOG2_E, form.bias - 2)
    r = fma(n, -low, fma(n, -high, inside))
    q = fma(r * r, horner(c.EXPM1_64 if form.is_wide else c.EXPM1_32, r), r)
    scale = exponential_of_two(bits)
    return fma(scale, q, scale - 0.25)


def or_itself(x: Expr, a: Expr, result: Expr) -> Expr:
    """x where a = |x| is so small that f(x) = x·(1 + O(x)) rounds to x, else the result."""
    return select(a < FORMATS[x.dtype].pick(1e-12, 1e-20), x, result)


def expm1(x: Expr) -> Expr:
    """e^x - 1; x itself where that is nearest, which keeps tiny ones and -0"""
    return or_itself(x, magnitude(x), quarter_expm1(x) * 4.0)


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
