"""The formats of 8 and 4 bits: a float32 register to and from the byte that memory holds, in integer instructions.

x = (-1)^sign · 1.mantissa · 2^(exponent - bias); with exponent 0, 0.mantissa · 2^(1 - bias). Rounding is to nearest, ties to even; what is too
large becomes infinity where the format has one, else NaN. `fnuz` formats have no infinity and no -0: 0x80 is their NaN. f4e2m1 has neither
infinity nor NaN: it saturates, and NaN becomes -0. f8e8m0 is 2^(code - 127) alone: ties go up, and what is not positive becomes NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ..ir.dtypes import F4E2M1, F8E4M3, F8E4M3UZ, F8E5M2, F8E5M2UZ, F8E8M0, DType
from .context import I8, I32


@dataclass(frozen=True)
class Format:
    """mantissa: bits; bias: of the exponent; largest, over, nan: codes of the largest number, of what is larger, and what NaN becomes.

    infinity: its code, or None. sign: its bit.
    """

    mantissa: int
    bias: int
    largest: int
    over: int
    nan: int
    infinity: int | None = None
    signed_zero: bool = True
    sign: int = 0x80


FORMATS: dict[DType, Format | None] = {
    F8E4M3: Format(3, 7, 0x7E, 0x7F, 0x7F),
    F8E4M3UZ: Format(3, 8, 0x7F, 0x80, 0x80, signed_zero=False),
    F8E5M2: Format(2, 15, 0x7B, 0x7C, 0x7E, infinity=0x7C),
    F8E5M2UZ: Format(2, 16, 0x7F, 0x80, 0x80, signed_zero=False),
    F4E2M1: Format(1, 1, 0x7, 0x7, 0x8, sign=0x8),
    F8E8M0: None,  # no such format: see `_exponent_decode`
}
_QUIET_NAN, _INFINITY = 0x7FC00000, 0x7F800000


def _like(value: int, like: Any) -> Any:
    if isinstance(like.type, ll.VectorType):
        return ll.Constant(like.type, [value] * like.type.count)
    return ll.Constant(like.type, value)


def _typed(type_: ll.Type, like: Any) -> ll.Type:
    return ll.VectorType(type_, like.type.count) if isinstance(like.type, ll.VectorType) else type_


def _scale(bits: int, like: Any) -> Any:
    """A float32 constant by its bits, in all lanes."""
    import struct

    value = ll.Constant(ll.FloatType(), struct.unpack("<f", struct.pack("<I", bits))[0])
    return ll.Constant(like.type, [value] * like.type.count) if isinstance(like.type, ll.VectorType) else value


def decode(b: Any, x: Any, dtype: DType) -> Any:
    """Bytes as float32; exact."""
    form = FORMATS[dtype]
    wide = b.zext(x, _typed(I32, x))
    if form is None:
        return _power_of(b, wide)
    magnitude = b.and_(wide, _like(form.sign - 1, wide))
    shifted = b.shl(magnitude, _like(23 - form.mantissa, wide))
    normal = b.add(shifted, _like((127 - form.bias) << 23, wide))
    # 0.mantissa = 1.mantissa - 1, exact; no operand is subnormal as float32, which may count as zero
    least = (128 - form.bias) << 23
    raised = b.bitcast(b.add(shifted, _like(least, wide)), _typed(ll.FloatType(), x))
    part = b.bitcast(b.fsub(raised, _scale(least, raised)), wide.type)
    value = b.select(b.icmp_unsigned("<", magnitude, _like(1 << form.mantissa, wide)), part, normal)
    if form.infinity is not None:
        value = b.select(b.icmp_unsigned("==", magnitude, _like(form.infinity, wide)), _like(_INFINITY, wide), value)
    if not form.signed_zero:
        value = b.select(b.icmp_unsigned("==", wide, _like(form.nan, wide)), _like(_QUIET_NAN, wide), value)
    elif form.over != form.largest:
        last = form.largest if form.infinity is None else form.infinity
        value = b.select(b.icmp_unsigned(">", magnitude, _like(last, wide)), _like(_QUIET_NAN, wide), value)
    sign = b.shl(b.and_(wide, _like(form.sign, wide)), _like(32 - form.sign.bit_length(), wide))
    return b.bitcast(b.or_(value, sign), raised.type)


def encode(b: Any, x: Any, dtype: DType) -> Any:
    """float32 as bytes, rounded."""
    form = FORMATS[dtype]
    bits = b.bitcast(x, _typed(I32, x))
    if form is None:
        return b.trunc(_exponent_of(b, bits), _typed(I8, x))
    a = b.and_(bits, _like(0x7FFFFFFF, bits))
    code = _magnitude(b, x, a, form)
    too_large = b.or_(b.icmp_unsigned(">", code, _like(form.largest, bits)), b.icmp_unsigned(">=", a, _like(_INFINITY, bits)))
    code = b.select(too_large, _like(form.over, bits), code)
    sign = b.and_(b.lshr(bits, _like(32 - form.sign.bit_length(), bits)), _like(form.sign, bits))
    if not form.signed_zero:
        sign = b.select(b.icmp_unsigned("==", code, _like(0, bits)), _like(0, bits), sign)
    code = b.or_(code, sign)
    code = b.select(b.icmp_unsigned(">", a, _like(_INFINITY, bits)), _like(form.nan, bits), code)
    return b.trunc(code, _typed(I8, x))


def _magnitude(b: Any, x: Any, a: Any, form: Format) -> Any:
    """The code of |x|, whose bits are a, if it is not too large."""
    cut = 23 - form.mantissa
    odd = b.and_(b.lshr(a, _like(cut, a)), _like(1, a))
    rounded = b.add(a, b.add(odd, _like((1 << cut - 1) - 1, a)))
    normal = b.lshr(b.sub(rounded, _like((127 - form.bias) << 23, a)), _like(cut, a))
    # below the least normal number: adding 2^23 quanta leaves the code in the last bits, rounded
    magic = (127 + 23 - (form.bias + form.mantissa - 1)) << 23
    total = b.fadd(b.bitcast(a, x.type), _scale(magic, x))
    subnormal = b.sub(b.bitcast(total, a.type), _like(magic, a))
    return b.select(b.icmp_unsigned("<", a, _like((128 - form.bias) << 23, a)), subnormal, normal)


def _power_of(b: Any, code: Any) -> Any:
    """2^(code - 127), NaN for 255. Code 0 is subnormal in float32: the half of code 1."""
    bits = b.shl(code, _like(23, code))
    bits = b.select(b.icmp_unsigned("==", code, _like(0, code)), _like(1 << 22, code), bits)
    bits = b.select(b.icmp_unsigned("==", code, _like(0xFF, code)), _like(_QUIET_NAN, code), bits)
    return b.bitcast(bits, _typed(ll.FloatType(), code))


def _exponent_of(b: Any, bits: Any) -> Any:
    """The code of the nearest power of two, ties up (but 2^-127, which is subnormal in float32, is itself); 255 for what is not in 0 … 2^128."""
    itself = b.zext(b.icmp_unsigned("==", bits, _like(1 << 22, bits)), bits.type)
    code = b.lshr(b.add(bits, b.sub(_like(1 << 22, bits), itself)), _like(23, bits))
    positive = b.icmp_unsigned("<", b.sub(bits, _like(1, bits)), _like(_INFINITY - 1, bits))
    return b.select(positive, code, _like(0xFF, bits))
