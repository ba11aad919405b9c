"""The primitives of the body language in LLVM instructions. What a target lacks, LLVM itself expands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ll

from ..ir.dtypes import BF16, BOOL, F16, F64, DType
from ..ir.errors import CodegenError
from ..ir.expr import Call, Const
from ..targets.emit import declare
from .context import I32
from .narrow import FORMATS, decode, encode
from .values import from_memory, memory_type, register_type, to_memory, widen

Emit = Callable[[Any, DType, list[Any], int], Any]


def emit_call(b: Any, x: Call, values: list[Any], lanes: int) -> Any:
    """The value of a call over operands that are computed and have `lanes` lanes."""
    operand = x.operands[-1].dtype
    if x.fn == "cast":
        return convert(b, values[0], x.operands[0].dtype, x.dtype, lanes)
    if x.fn == "bitcast":
        return _bitcast(b, values[0], x.operands[0].dtype, x.dtype, lanes)
    if x.fn in ("max", "min") and operand.is_float:
        result = _float_extreme(b, x, values)
    elif x.fn in COMPARISONS:
        return _compare(b, COMPARISONS[x.fn], operand, values)
    elif x.fn in _EMIT:
        result = _EMIT[x.fn](b, operand, values, lanes)
    else:
        raise CodegenError(f"{x.fn} is not a primitive: expand it (mathlib) before code is generated")
    narrow = x.dtype.is_float and x.dtype.bits < 32
    return round_to(b, result, x.dtype, lanes) if narrow and x.fn not in _EXACT else result


COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_EXACT = ("max", "min", "neg", "abs", "select")  # results that are one of the operands need no rounding


def number(value: Any, like: Any) -> ll.Constant:
    """A constant of the type of `like`, in all its lanes."""
    if isinstance(like.type, ll.VectorType):
        return ll.Constant(like.type, [ll.Constant(like.type.element, value)] * like.type.count)
    return ll.Constant(like.type, value)


def _compare(b: Any, sign: str, dtype: DType, values: list[Any]) -> Any:
    if dtype.is_float:
        return b.fcmp_unordered(sign, *values) if sign == "!=" else b.fcmp_ordered(sign, *values)
    return b.icmp_signed(sign, *values) if dtype.kind == "int" else b.icmp_unsigned(sign, *values)


def _float_extreme(b: Any, x: Call, values: list[Any]) -> Any:
    """The greater (less) operand; NaN if one is NaN. Against a constant one comparison does."""
    sign = ">" if x.fn == "max" else "<"
    for k in (0, 1):
        other = x.operands[1 - k]
        if isinstance(other, Const) and other.value == other.value:
            keep = b.fcmp_unordered(sign, values[k], values[1 - k])
            return b.select(keep, values[k], values[1 - k])
    first, second = values
    larger = b.select(b.fcmp_ordered(sign, first, second), first, second)
    return b.select(b.fcmp_unordered("uno", first, first), first, larger)


def _binary(float_name: str, integer_name: str) -> Emit:
    def emit(b: Any, dtype: DType, v: list[Any], lanes: int) -> Any:
        return getattr(b, float_name if dtype.is_float else integer_name)(*v)

    return emit


def _intrinsic(name: str) -> Emit:
    def emit(b: Any, dtype: DType, v: list[Any], lanes: int) -> Any:
        return intrinsic(b, name, v)

    return emit


def intrinsic(b: Any, name: str, values: list[Any]) -> Any:
    """`llvm.name` overloaded on the type of the first operand."""
    type_ = values[0].type
    element = type_.element if isinstance(type_, ll.VectorType) else type_
    suffix = {"float": "f32", "double": "f64"}.get(str(element), str(element))
    prefix = f"v{type_.count}" if isinstance(type_, ll.VectorType) else ""
    return b.call(declare(b.module, f"llvm.{name}.{prefix}{suffix}", type_, [v.type for v in values]), values)


def _divide(b: Any, dtype: DType, v: list[Any], lanes: int) -> Any:
    """Integers: x / 0 = 0 and MIN / -1 = MIN, since machine code must not trap."""
    if dtype.is_float:
        return b.fdiv(*v)
    x, y = v
    zero, one = number(0, y), number(1, y)
    by_zero = b.icmp_unsigned("==", y, zero)
    if dtype.kind == "uint":
        return b.select(by_zero, zero, b.udiv(x, b.select(by_zero, one, y)))
    minus = b.icmp_signed("==", y, number(-1, y))
    quotient = b.sdiv(x, b.select(b.or_(by_zero, minus), one, y))
    return b.select(by_zero, zero, b.select(minus, b.sub(zero, x), quotient))


def _remainder(b: Any, dtype: DType, v: list[Any], lanes: int) -> Any:
    if dtype.is_float:
        return b.frem(*v)
    return b.sub(v[0], b.mul(_divide(b, dtype, v, lanes), v[1]))


def _integer_extreme(sign: str) -> Emit:
    def emit(b: Any, dtype: DType, v: list[Any], lanes: int) -> Any:
        test = b.icmp_signed(sign, *v) if dtype.kind == "int" else b.icmp_unsigned(sign, *v)
        return b.select(test, *v)

    return emit


def _negate(b: Any, dtype: DType, v: list[Any], lanes: int) -> Any:
    return b.fneg(v[0]) if dtype.is_float else b.sub(number(0, v[0]), v[0])


def _absolute(b: Any, dtype: DType, v: list[Any], lanes: int) -> Any:
    if dtype.is_float:
        return intrinsic(b, "fabs", v)
    if dtype.kind == "uint":
        return v[0]
    return b.select(b.icmp_signed("<", v[0], number(0, v[0])), b.sub(number(0, v[0]), v[0]), v[0])


def _shift(left: bool) -> Emit:
    def emit(b: Any, dtype: DType, v: list[Any], lanes: int) -> Any:
        x, count = v
        inside = b.icmp_unsigned("<", count, number(dtype.bits, count))
        safe = b.select(inside, count, number(0, count))
        shifted = b.shl(x, safe) if left else b.ashr(x, safe) if dtype.kind == "int" else b.lshr(x, safe)
        return b.select(inside, shifted, number(0, x))

    return emit


def _select(b: Any, dtype: DType, v: list[Any], lanes: int) -> Any:
    return b.select(*v)


_EMIT: dict[str, Emit] = {
    "add": _binary("fadd", "add"),
    "sub": _binary("fsub", "sub"),
    "mul": _binary("fmul", "mul"),
    "div": _divide,
    "rem": _remainder,
    "max": _integer_extreme(">"),
    "min": _integer_extreme("<"),
    "neg": _negate,
    "abs": _absolute,
    "fma": _intrinsic("fma"),
    "sqrt": _intrinsic("sqrt"),
    "floor": _intrinsic("floor"),
    "ceil": _intrinsic("ceil"),
    "trunc": _intrinsic("trunc"),
    "round": _intrinsic("roundeven"),
    "and": lambda b, dtype, v, lanes: b.and_(*v),
    "or": lambda b, dtype, v, lanes: b.or_(*v),
    "xor": lambda b, dtype, v, lanes: b.xor(*v),
    "not": lambda b, dtype, v, lanes: b.not_(v[0]),
    "shl": _shift(True),
    "shr": _shift(False),
    "select": _select,
}


def convert(b: Any, x: Any, source: DType, to: DType, lanes: int) -> Any:
    """`cast`: float to integer truncates and saturates, NaN gives 0; anything to bool is x != 0."""
    type_ = widen(register_type(to), lanes)
    if to is BOOL:
        zero = ll.Constant(x.type, None)
        return b.fcmp_unordered("!=", x, zero) if source.is_float else b.icmp_unsigned("!=", x, zero)
    if to.is_float:
        if source is BOOL or source.kind == "uint":
            x = b.uitofp(x, type_)
        elif source.is_integer:
            x = b.sitofp(x, type_)
        elif (source is F64) != (to is F64):
            x = b.fpext(x, type_) if to is F64 else b.fptrunc(x, type_)
        return round_to(b, x, to, lanes)
    if source.is_float:
        return _float_to_integer(b, x, to, lanes)
    if source is BOOL or source.bits < to.bits:
        return b.zext(x, type_) if source is BOOL or source.kind == "uint" else b.sext(x, type_)
    return b.trunc(x, type_) if source.bits > to.bits else x


def _float_to_integer(b: Any, x: Any, to: DType, lanes: int) -> Any:
    signed = to.kind == "int"
    low = -(1 << to.bits - 1) if signed else 0
    high = (1 << to.bits - 1) - 1 if signed else (1 << to.bits) - 1
    limit = float(high + 1)
    above = b.fcmp_ordered(">=", x, number(limit, x))
    inside = b.and_(
        b.fcmp_ordered(">", x, number(float(low - 1) if to.bits <= 16 else _before(low), x)),
        b.fcmp_ordered("<", x, number(limit, x)),
    )
    below = b.fcmp_ordered("<=", x, number(float(low), x))
    safe = b.select(inside, x, number(0.0, x))
    type_ = widen(register_type(to), lanes)
    wide = widen(ll.IntType(32 if to.bits < 32 else to.bits), lanes)
    result = b.fptosi(safe, wide) if signed or to.bits < 32 else b.fptoui(safe, wide)
    if result.type != type_:
        result = b.trunc(result, type_)
    result = b.select(above, number(high, result), result)
    return b.select(b.and_(below, b.not_(inside)), number(low, result), result)


def _before(low: int) -> float:
    """A bound below which truncation leaves the range: the float just below low would do; -1 for unsigned."""
    import numpy as np

    return -1.0 if low == 0 else float(np.nextafter(np.float32(low), np.float32(-np.inf)))


def round_to(b: Any, x: Any, dtype: DType, lanes: int) -> Any:
    """A float32 register rounded to the nearest value of a narrower format (ties to even); others as they are."""
    if dtype in FORMATS:
        return decode(b, encode(b, x, dtype), dtype)
    if dtype is F16:
        return b.fpext(b.fptrunc(x, widen(ll.HalfType(), lanes)), widen(ll.FloatType(), lanes))
    if dtype is not BF16:
        return x
    bits = b.bitcast(x, widen(I32, lanes))
    odd = b.and_(b.lshr(bits, number(16, bits)), number(1, bits))
    rounded = b.add(bits, b.add(odd, number(0x7FFF, bits)))
    quiet = b.or_(bits, number(0x00400000, bits))
    rounded = b.select(b.fcmp_unordered("uno", x, x), quiet, rounded)
    return b.bitcast(b.and_(rounded, number(0xFFFF0000, bits)), widen(ll.FloatType(), lanes))


def _bitcast(b: Any, x: Any, source: DType, to: DType, lanes: int) -> Any:
    raw = to_memory(b, x, source, lanes)
    return from_memory(b, b.bitcast(raw, widen(memory_type(to), lanes)), to, lanes)
