"""The four float8 formats: a float32 register to and from the byte that memory holds, in integer instructions.

x = (-1)^sign · 1.mantissa · 2^(exponent - bias); with exponent 0, 0.mantissa · 2^(1 - bias). Rounding is to nearest, ties to even; what is too
large becomes infinity where the format has one, else NaN. `fnuz` formats have no infinity and no -0: 0x80 is their NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import llvmlite.ir as ll

from ..ir.dtypes import F8E4M3, F8E4M3UZ, F8E5M2, F8E5M2UZ, DType
from .context import I8, I32


@dataclass(frozen=True)
class Format:
    """mantissa: bits; bias: of the exponent; largest: code of the largest number; infinity: its code, or None; nan: a code."""

    mantissa: int
    bias: int
    largest: int
    infinity: int | None
    nan: int
    signed_zero: bool = True


FORMATS: dict[DType, Format] = {
    F8E4M3: Format(3, 7, 0x7E, None, 0x7F),
    F8E4M3UZ: Format(3, 8, 0x7F, None, 0x80, signed_zero=False),
    F8E5M2: Format(2, 15, 0x7B, 0x7C, 0x7E),
    F8E5M2UZ: Format(2, 16, 0x7F, None, 0x80, signed_zero=False),
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
    magnitude = b.and_(wide, _like(0x7F, wide))
    tiny = b.bitcast(b.shl(magnitude, _like(23 - form.mantissa, wide)), _typed(ll.FloatType(), x))
    value = b.bitcast(b.fmul(tiny, _scale((127 + 127 - form.bias) << 23, tiny)), wide.type)
    if form.infinity is not None:
        value = b.select(b.icmp_unsigned("==", magnitude, _like(form.infinity, wide)), _like(_INFINITY, wide), value)
    if form.signed_zero:
        value = b.select(
            b.icmp_unsigned(">", magnitude, _like(form.infinity or form.largest, wide)), _like(_QUIET_NAN, wide), value
        )
    else:
        value = b.select(b.icmp_unsigned("==", wide, _like(form.nan, wide)), _like(_QUIET_NAN, wide), value)
    sign = b.shl(b.and_(wide, _like(0x80, wide)), _like(24, wide))
    return b.bitcast(b.or_(value, sign), tiny.type)


def encode(b: Any, x: Any, dtype: DType) -> Any:
    """float32 as bytes, rounded."""
    form = FORMATS[dtype]
    bits = b.bitcast(x, _typed(I32, x))
    a = b.and_(bits, _like(0x7FFFFFFF, bits))
    cut = 23 - form.mantissa
    odd = b.and_(b.lshr(a, _like(cut, bits)), _like(1, bits))
    rounded = b.add(a, b.add(odd, _like((1 << cut - 1) - 1, bits)))
    normal = b.lshr(b.sub(rounded, _like((127 - form.bias) << 23, bits)), _like(cut, bits))
    # below the least normal number: adding 2^23 quanta leaves the code in the last bits, rounded
    magic = (127 + 23 - (form.bias + form.mantissa - 1)) << 23
    total = b.fadd(b.bitcast(a, x.type), _scale(magic, x))
    subnormal = b.sub(b.bitcast(total, bits.type), _like(magic, bits))
    code = b.select(b.icmp_unsigned("<", a, _like((128 - form.bias) << 23, bits)), subnormal, normal)
    over = form.infinity if form.infinity is not None else form.nan
    too_large = b.or_(b.icmp_unsigned(">", code, _like(form.largest, bits)), b.icmp_unsigned(">=", a, _like(_INFINITY, bits)))
    code = b.select(too_large, _like(over, bits), code)
    sign = b.and_(b.lshr(bits, _like(24, bits)), _like(0x80, bits))
    if not form.signed_zero:
        sign = b.select(b.icmp_unsigned("==", code, _like(0, bits)), _like(0, bits), sign)
    code = b.or_(code, sign)
    code = b.select(b.icmp_unsigned(">", a, _like(_INFINITY, bits)), _like(form.nan, bits), code)
    return b.trunc(code, _typed(I8, x))
