"""Tools for writing scalar functions as expressions of primitives: formats, Horner's rule, exact sums, bits of a float."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ..dtypes import F32, F64, I32, I64, DType
from ..expr import Expr, bitcast, call, const, maximum, minimum

LN2 = Fraction("0.693147180559945309417232121458176568075500134360255254120680009493393621969694715605863326996418687")
PI = Fraction("3.141592653589793238462643383279502884197169399375105820974944592307816406286208998628034825342117068")


@dataclass(frozen=True)
class Format:
    """A float dtype, the integer dtype of its width, its stored mantissa bits and the bias of its exponent."""

    dtype: DType
    integer: DType
    mantissa: int
    bias: int

    @property
    def is_wide(self) -> bool:
        return self.dtype is F64

    @property
    def sign(self) -> int:
        """The sign bit, as an integer of `integer`."""
        return -(1 << self.integer.bits - 1)

    @property
    def least_normal(self) -> float:
        return math.ldexp(1.0, 1 - self.bias)

    @property
    def magic(self) -> float:
        """1.5·2^mantissa: x + magic rounds |x| < 2^(mantissa - 2) to an integer, which its low bits then hold."""
        return math.ldexp(1.5, self.mantissa)

    @property
    def shift(self) -> int:
        """A power of two that lifts every subnormal number to a normal one."""
        return self.mantissa + 1

    def bits(self, value: float) -> int:
        return int(np.asarray(value, self.dtype.numpy).view(self.integer.numpy))

    def pick(self, narrow: float, wide: float) -> float:
        return wide if self.is_wide else narrow


FORMATS = {F32: Format(F32, I32, 23, 127), F64: Format(F64, I64, 52, 1023)}


def split(value: Fraction, *bits: int) -> tuple[float, ...]:
    """value ≈ Σ parts: each part is what is left, rounded to that many significant bits (53 at most)."""
    parts = []
    for width in bits:
        scale = Fraction(2) ** (width - 1 - math.frexp(float(value))[1] + 1)
        part = float(Fraction(round(value * scale)) / scale)
        parts.append(part)
        value -= Fraction(part)
    return tuple(parts)


def fma(a: Expr, b: Expr | float, c: Expr | float) -> Expr:
    """a·b + c, rounded once."""
    return call("fma", a, b, c)


def horner(coefficients: Sequence[float], x: Expr) -> Expr:
    """Σ c_k·x^k, lowest degree first."""
    total: Expr = const(coefficients[-1], x.dtype)
    for c in reversed(coefficients[:-1]):
        total = fma(total, x, c)
    return total


def clamp(x: Expr, low: float, high: float) -> Expr:
    """min(max(x, low), high); NaN stays NaN."""
    return minimum(maximum(x, low), high)


def magnitude(x: Expr) -> Expr:
    return call("abs", x)


def with_sign(y: Expr, x: Expr) -> Expr:
    """y with the sign of x, where y is not negative or has it already: y's bits or x's sign bit."""
    form = FORMATS[x.dtype]
    sign = call("and", bitcast(x, form.integer), form.sign)
    return bitcast(call("or", bitcast(y, form.integer), sign), form.dtype)


def flip_sign(y: Expr, sign: Expr) -> Expr:
    """-y where the integer `sign` is the sign bit, y where it is 0."""
    return bitcast(call("xor", bitcast(y, sign.dtype), sign), y.dtype)


def nearest(x: Expr, factor: float, offset: int = 0) -> tuple[Expr, Expr]:
    """n = round(x·factor) as a float, and an integer whose low bits hold n + offset. |n| < 2^(mantissa - 2)."""
    form = FORMATS[x.dtype]
    shifted = fma(x, factor, form.magic + offset)
    return shifted - (form.magic + offset), bitcast(shifted, form.integer)


def exponential_of_two(biased: Expr) -> Expr:
    """2^(biased - bias), of an integer in whose low bits a biased exponent stands; higher bits are shifted out."""
    form = next(f for f in FORMATS.values() if f.integer is biased.dtype)
    return bitcast(call("shl", biased, form.mantissa), form.dtype)


def to_float(n: Expr) -> Expr:
    """A small integer (|n| < 2^(mantissa - 2)) as a float, without a conversion instruction."""
    form = next(f for f in FORMATS.values() if f.integer is n.dtype)
    return bitcast(n + form.bits(form.magic), form.dtype) - form.magic


def two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b = s + e exactly, s = fl(a + b) (Knuth)."""
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)


def two_product(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a·b = p + e exactly, float64, |a|, |b| < 2^990 (Dekker: does not depend on a fused multiply-add)."""
    p = a * b
    (a_high, a_low), (b_high, b_low) = _halves(a), _halves(b)
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


def _halves(a: Expr) -> tuple[Expr, Expr]:
    scaled = a * float(2**27 + 1)
    high = scaled - (scaled - a)
    return high, a - high
