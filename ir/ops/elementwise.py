"""Elementwise operators: a result element depends on the operand elements at the same (broadcast) position.

Here: the base class and arithmetic. Activations, comparisons and conversions have files of their own.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ..dtypes import F32
from ..errors import TypeMismatch, WrongDtype
from ..expr import Arg, Expr, call, const, select
from ..forms import Map
from ..op import Op, op
from ..types import TensorType, broadcast

_FLOATS = "float"
_NUMBERS = "float int uint"


class Elementwise(Op):
    """Base: operands of one dtype broadcast; subclasses give `body` (an Expr of the operands) and `reference`.

    kinds: the kinds of dtype it takes.
    """

    kinds: ClassVar[str] = _NUMBERS

    def infer(self, *operands: TensorType) -> TensorType:
        dtype = operands[0].dtype
        if any(t.dtype is not dtype for t in operands):
            raise TypeMismatch(f"{self.name}: dtypes {', '.join(str(t.dtype) for t in operands)} differ")
        if dtype.kind not in self.kinds.split():
            raise WrongDtype(f"{self.name}: takes {self.kinds}, given {dtype}")
        shape = broadcast(*(t.shape for t in operands))
        return TensorType(self.form(*operands).body.dtype, shape)

    def body(self, *operands: Any, **_: Any) -> Expr:
        raise NotImplementedError(f"{self.name}.body")

    def form(self, *operands: TensorType) -> Map:
        return Map(self.body(*(Arg(t.dtype, k) for k, t in enumerate(operands))))


def wide(x: np.ndarray) -> np.ndarray:
    """Floats as float64, so that a reference rounds once; other dtypes as they are."""
    return x if x.dtype.kind in "iub" else x.astype(np.float64)


@op
class Add(Elementwise):
    """x + y"""

    def body(self, x: Expr, y: Expr) -> Expr:
        return x + y

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.add(x, y)


@op
class Sub(Elementwise):
    """x - y"""

    def body(self, x: Expr, y: Expr) -> Expr:
        return x - y

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.subtract(x, y)


@op
class Mul(Elementwise):
    """x·y"""

    def body(self, x: Expr, y: Expr) -> Expr:
        return x * y

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.multiply(x, y)


@op
class Div(Elementwise):
    """x / y; integers truncate towards zero, x / 0 = 0 and MIN / -1 = MIN."""

    def body(self, x: Expr, y: Expr) -> Expr:
        return x / y

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.dtype.kind not in "iu":
            return np.divide(x, y)
        return np.where(y == 0, np.zeros((), x.dtype), np.floor_divide(x - np.fmod(x, y), y)).astype(x.dtype)


@op
class Quotient(Elementwise):
    """x / y by multiplications, given r, the float32 nearest to 1/y, of 1 ≤ |y| ≤ 2^60

    q = x·r is off by a unit at most; the remainder x - q·y is exact, and q + remainder·r is x / y rounded once (P. Markstein, Computation
    of elementary functions on the IBM RISC System/6000, 1990), down to |x| = 2^-100, where the remainder loses bits.
    """

    def infer(self, *operands: TensorType) -> TensorType:
        if any(t.dtype is not F32 for t in operands):
            raise WrongDtype(f"{self.name}: takes float32, given {', '.join(str(t.dtype) for t in operands)}")
        return super().infer(*operands)

    def body(self, x: Expr, y: Expr, r: Expr) -> Expr:
        near = x * r
        rest = call("fma", near, call("neg", y), x)
        # as it is where it is exact (a zero has a sign), infinite or NaN
        return select(call("abs", rest) > 0.0, call("fma", rest, r, near), near)

    def reference(self, x: np.ndarray, y: np.ndarray, r: np.ndarray) -> np.ndarray:
        return np.divide(x, y)


@op
class Mod(Elementwise):
    """x - y·floor(x/y), the sign of y; with fmod x - y·trunc(x/y), the sign of x. An integer mod 0 is x."""

    fmod: bool = False

    def body(self, x: Expr, y: Expr) -> Expr:
        remainder = call("rem", x, y)
        if self.fmod or x.dtype.kind == "uint":
            return remainder
        zero = const(0, x.dtype)
        apart = call("xor", remainder < zero, y < zero)
        return select(call("ne", remainder, zero) & apart, remainder + y, remainder)

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        result = (np.fmod if self.fmod else np.mod)(x, y)
        return result if x.dtype.kind not in "iu" else np.where(y == 0, x, result).astype(x.dtype)


@op
class Pow(Elementwise):
    """x to the power y, as IEEE pow; integers wrap, and a negative integer exponent truncates 1/x^|y| (0 for x = 0)."""

    def body(self, x: Expr, y: Expr) -> Expr:
        return call("pow", x, y)

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        if x.dtype.kind not in "iu":
            return np.power(wide(x), wide(y)).astype(x.dtype)
        one, minus = np.ones((), x.dtype), np.full((), -1).astype(x.dtype)
        negative = np.where(x == 1, one, np.where((x == minus) & (x < 0), np.where(y % 2 == 0, one, minus), np.zeros((), x.dtype)))
        return np.where(y < 0, negative, np.power(x, np.where(y < 0, np.zeros((), y.dtype), y))).astype(x.dtype)


@op
class Max(Elementwise):
    """The greater of x and y; NaN if one is NaN."""

    def body(self, x: Expr, y: Expr) -> Expr:
        return call("max", x, y)

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.maximum(x, y)


@op
class Below(Elementwise):
    """min(x - top, 0), top being the greatest x: the minimum changes nothing, but says that exp of it needs no guard against overflow."""

    kinds: ClassVar[str] = _FLOATS

    def body(self, x: Expr, top: Expr) -> Expr:
        return call("min", x - top, 0)

    def reference(self, x: np.ndarray, top: np.ndarray) -> np.ndarray:
        return np.minimum(wide(x) - wide(top), 0).astype(x.dtype)


@op
class Min(Elementwise):
    """The less of x and y; NaN if one is NaN."""

    def body(self, x: Expr, y: Expr) -> Expr:
        return call("min", x, y)

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.minimum(x, y)


@op
class Clip(Elementwise):
    """min(max(x, lo), hi): hi where lo > hi."""

    def body(self, x: Expr, lo: Expr, hi: Expr) -> Expr:
        return call("min", call("max", x, lo), hi)

    def reference(self, x: np.ndarray, lo: np.ndarray, hi: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(x, lo), hi)


@op
class Neg(Elementwise):
    """-x"""

    def body(self, x: Expr) -> Expr:
        return -x

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.negative(x)


@op
class Abs(Elementwise):
    """|x|; of the least integer: itself."""

    def body(self, x: Expr) -> Expr:
        return call("abs", x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.abs(x)


@op
class Sign(Elementwise):
    """1, 0 or -1; NaN stays NaN."""

    def body(self, x: Expr) -> Expr:
        one = const(1, x.dtype)
        return call("min", x, one) if x.dtype.kind == "uint" else select(x > 0, one, select(x < 0, const(-1, x.dtype), x))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.sign(x)


class _Integral(Elementwise):
    """Base of functions to whole numbers: integers stay as they are."""

    scalar: ClassVar[str]

    def body(self, x: Expr) -> Expr:
        return x if x.dtype.is_integer else call(self.scalar, x)


@op
class Floor(_Integral):
    """The greatest whole number ≤ x"""

    scalar: ClassVar[str] = "floor"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.floor(x).astype(x.dtype)


@op
class Ceil(_Integral):
    """The least whole number ≥ x"""

    scalar: ClassVar[str] = "ceil"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.ceil(x).astype(x.dtype)


@op
class Round(_Integral):
    """The nearest whole number, halves to even."""

    scalar: ClassVar[str] = "round"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.rint(wide(x)).astype(x.dtype)


@op
class Sqrt(Elementwise):
    """√x; NaN for x < 0"""

    kinds: ClassVar[str] = _FLOATS

    def body(self, x: Expr) -> Expr:
        return call("sqrt", x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.sqrt(wide(x)).astype(x.dtype)


@op
class Rsqrt(Elementwise):
    """1/√x"""

    kinds: ClassVar[str] = _FLOATS

    def body(self, x: Expr) -> Expr:
        return call("rsqrt", x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return (1 / np.sqrt(wide(x))).astype(x.dtype)


@op
class Reciprocal(Elementwise):
    """1/x"""

    kinds: ClassVar[str] = _FLOATS

    def body(self, x: Expr) -> Expr:
        return 1 / x

    def reference(self, x: np.ndarray) -> np.ndarray:
        return (1 / wide(x)).astype(x.dtype)
