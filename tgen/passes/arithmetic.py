"""Laws of elementwise operators, for `simplify`."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

from ..ir.dtypes import BF16, BOOL, F8E8M0, F16, F32, F64, DType
from ..ir.graph import Constant, Node, Tensor, Value
from ..ir.ops.activation import Gelu, Relu
from ..ir.ops.comparison import BitwiseNot, Not, Where
from ..ir.ops.conversion import Cast
from ..ir.ops.elementwise import Abs, Add, Ceil, Div, Floor, Mul, Neg, Pow, Reciprocal, Round, Sign, Sub
from ..ir.ops.transcendental import Erf
from ..ir.rewrite import make

_IDEMPOTENT = (Abs, Relu, Floor, Ceil, Round, Sign)
_SIGNIFICAND = {F64: 53, F32: 24, F16: 11, BF16: 8}  # bits, the hidden one included
_EXPONENT = {F64: 1022, F32: 126, F16: 14, BF16: 126}  # 2^±e are normal numbers


def uniform(value: Value) -> Any:
    """The element (a Python number) that all elements of a constant are; None if they differ or there are none."""
    array = value.constant
    if array is None or not array.size or array.dtype == object:
        return None
    first, last = array.flat[0], array.flat[-1]
    if first != last or (array.size > 2 and not np.all(array == first)):
        return None
    if first == 0 and value.type.dtype.is_float and len(set(np.signbit(array).flat)) > 1:
        return None
    return first.item() if hasattr(first, "item") else first


def _is_zero(value: Value, *, negative: bool) -> bool:
    """Whether all elements are zero, of this sign if they are floats."""
    zero = uniform(value)
    if zero is None or zero != 0 or value.type.dtype is BOOL:
        return False
    return not value.type.dtype.is_float or bool(np.signbit(zero)) == negative


def times_one(node: Node, *inputs: Value) -> Value | None:
    """x·1 = 1·x = x/1 = x"""
    match node.op, inputs:
        case ((Mul() | Div()), (x, one)) if uniform(one) == 1 and x.type == node.types[0]:
            return x
        case Mul(), (one, x) if uniform(one) == 1 and x.type == node.types[0]:
            return x
    return None


def plus_zero(node: Node, *inputs: Value) -> Value | None:
    """x + (-0.0) = (-0.0) + x = x - 0.0 = x; not so x + 0.0, which is 0.0 for x = -0.0. For integers any zero."""
    match node.op, inputs:
        case Add(), (x, zero) if _is_zero(zero, negative=True) and x.type == node.types[0]:
            return x
        case Add(), (zero, x) if _is_zero(zero, negative=True) and x.type == node.types[0]:
            return x
        case Sub(), (x, zero) if _is_zero(zero, negative=False) and x.type == node.types[0]:
            return x
    return None


def power(node: Node, *inputs: Value) -> Value | None:
    """x^1 = x, x^2 = x·x, x^3 = x·x·x, x^-1 = 1/x

    The cube of floats rounds twice: at most 1 unit in the last place from the exact one, which is what `pow` itself promises.
    """
    match node.op, inputs:
        case Pow(), (x, exponent) if x.type == node.types[0]:
            k = uniform(exponent)
            if k == 1:
                return x
            if k in (2, 3):
                square = make(node, Mul(), x, x)
                return square if k == 2 else make(node, Mul(), square, x)
            if k == -1 and x.type.dtype.is_float:
                return make(node, Reciprocal(), x)
    return None


def by_power_of_two(node: Node, *inputs: Value) -> Value | None:
    """x/c = x·(1/c) for c = ±2^k where c and 1/c are normal numbers: both sides round the same real number once"""
    match node.op, inputs:
        case Div(), (x, Value(node=Node(op=Constant(value=c)))) if x.type.dtype in _EXPONENT and x.constant is None:
            wide = np.asarray(c.array, np.float64)
            mantissa, exponent = np.frexp(wide)
            limit = _EXPONENT[x.type.dtype]
            if not wide.size or np.any(np.abs(mantissa) != 0.5) or np.any(np.abs(exponent - 1) > limit):
                return None
            inverse = make(node, Constant(Tensor((1 / wide).astype(c.array.dtype))))
            return make(node, Mul(), x, inverse)
    return None


def twice(node: Node, *inputs: Value) -> Value | None:
    """-(-x) = x, ¬¬x = x, ~~x = x; f(f(x)) = f(x) for abs, relu, floor, ceil, round, sign; |-x| = |x|"""
    match node.op, inputs:
        case (Neg() | Not() | BitwiseNot()) as f, (Value(node=Node(op=g)) as inner,) if type(f) is type(g):
            return inner.node.inputs[0]
        case f, (Value(node=Node(op=g)) as inner,) if isinstance(f, _IDEMPOTENT) and type(f) is type(g):
            return inner
        case Abs(), (Value(node=Node(op=Neg())) as inner,):
            return make(node, Abs(), *inner.node.inputs)
    return None


def cast_of_cast(node: Node, *inputs: Value) -> Value | None:
    """cast_c(cast_b(x)) = cast_c(x) where b holds every value of x's dtype

    Not so for an integer x, a float b and an integer c that does not hold all of x: floats saturate, integers wrap.
    """
    match node.op, inputs:
        case Cast(to=c), (Value(node=Node(op=Cast(to=b))) as inner,):
            x = inner.node.inputs[0]
            a = x.type.dtype
            wraps = a.is_integer and b.is_float and c.is_integer and not holds(c, a)
            if holds(b, a) and not wraps:
                return make(node, Cast(c), x)
    return None


def holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of `narrow` is one of `wide`."""
    if wide is narrow:
        return True
    if narrow is F8E8M0 or wide is F8E8M0:  # powers of two, and no zero
        return narrow is F8E8M0 and wide in (BF16, F32, F64)
    if narrow is BOOL:
        return wide.kind != "string"
    if narrow.is_integer and wide.is_integer:
        return wide.bits > narrow.bits if narrow.kind == "uint" or wide.kind == "int" else False
    if narrow.is_integer:
        bits = narrow.bits - (narrow.kind == "int")
        return bits <= _SIGNIFICAND.get(wide, 0) and (wide is not F16 or bits < 16)
    if not narrow.is_float or not wide.is_float:
        return False
    if narrow.bits == 8:
        return wide in _SIGNIFICAND
    return wide is F64 or (wide is F32 and narrow is not F64)


def known_choice(node: Node, *inputs: Value) -> Value | None:
    """where(true, x, y) = x, where(false, x, y) = y, where(c, x, x) = x"""
    match node.op, inputs:
        case Where(), (condition, x, y):
            known = uniform(condition)
            chosen = x if known is True or x == y else y if known is False else None
            return chosen if chosen is not None and chosen.type == node.types[0] else None
    return None


def normal_share(node: Node, *inputs: Value) -> Value | None:
    """x·½·(1 + erf(x/√2)) = gelu(x) in float32, the factors in any order: fewer operations

    Not the same roundings: where x < 0 the left side cancels, the right side is within a few units of the last place. It is -0 at -inf.
    """
    if not isinstance(node.op, Mul) or node.types[0].dtype is not F32:
        return None
    factors = [f for v in inputs for f in (v.node.inputs if isinstance(v.op, Mul) else (v,))]
    if len(factors) != 3:
        return None
    for half, x, share in itertools.permutations(factors):
        if uniform(half) == 0.5 and x.type == node.types[0] and _normal_argument(share) == x:
            return make(node, Gelu(), x)
    return None


def _normal_argument(value: Value) -> Value | None:
    """x, if value is 1 + erf(x/√2)."""
    match value:
        case Value(node=Node(op=Add(), inputs=(a, b))):
            root = math.sqrt(2)
            for one, other in ((a, b), (b, a)):
                match uniform(one), other:
                    case 1, Value(node=Node(op=Erf(), inputs=(Value(node=Node(op=Div(), inputs=(x, c))),))) if _is_near(c, root):
                        return x
                    case 1, Value(node=Node(op=Erf(), inputs=(Value(node=Node(op=Mul(), inputs=(x, c))),))) if _is_near(
                        c, 1 / root
                    ):
                        return x
    return None


def _is_near(value: Value, number: float) -> bool:
    """Whether all elements are the number, as float32 has it up to its last place."""
    found = uniform(value)
    return found is not None and abs(found - number) <= 2.0**-23 * number


RULES = (times_one, plus_zero, power, by_power_of_two, twice, cast_of_cast, known_choice, normal_share)
