"""Comparisons, logic and bits: elementwise."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ..dtypes import BOOL
from ..errors import TypeMismatch
from ..expr import Arg, Expr, call, select
from ..forms import Map
from ..op import Op, op
from ..types import TensorType, broadcast
from .elementwise import Elementwise


@op
class Equal(Elementwise):
    """x = y (bool); NaN equals nothing"""

    kinds: ClassVar[str] = "float int uint bool"

    def body(self, x: Expr, y: Expr) -> Expr:
        return call("eq", x, y)

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.equal(x, y)


@op
class Less(Elementwise):
    """x < y (bool)"""

    def body(self, x: Expr, y: Expr) -> Expr:
        return x < y

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.less(x, y)


@op
class LessOrEqual(Elementwise):
    """x ≤ y (bool)"""

    def body(self, x: Expr, y: Expr) -> Expr:
        return x <= y

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.less_equal(x, y)


@op
class Greater(Elementwise):
    """x > y (bool)"""

    def body(self, x: Expr, y: Expr) -> Expr:
        return x > y

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.greater(x, y)


@op
class GreaterOrEqual(Elementwise):
    """x ≥ y (bool)"""

    def body(self, x: Expr, y: Expr) -> Expr:
        return x >= y

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.greater_equal(x, y)


class _Bits(Elementwise):
    """Base of operators on bits. scalar: and, or, xor, not."""

    scalar: ClassVar[str]

    def body(self, *operands: Expr) -> Expr:
        return call(self.scalar, *operands)


@op
class And(_Bits):
    """x ∧ y"""

    kinds: ClassVar[str] = "bool"
    scalar: ClassVar[str] = "and"

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.logical_and(x, y)


@op
class Or(_Bits):
    """x ∨ y"""

    kinds: ClassVar[str] = "bool"
    scalar: ClassVar[str] = "or"

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.logical_or(x, y)


@op
class Xor(_Bits):
    """Either x or y, not both"""

    kinds: ClassVar[str] = "bool"
    scalar: ClassVar[str] = "xor"

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.logical_xor(x, y)


@op
class Not(_Bits):
    """¬x"""

    kinds: ClassVar[str] = "bool"
    scalar: ClassVar[str] = "not"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.logical_not(x)


@op
class BitwiseAnd(_Bits):
    """x & y"""

    kinds: ClassVar[str] = "int uint"
    scalar: ClassVar[str] = "and"

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.bitwise_and(x, y)


@op
class BitwiseOr(_Bits):
    """x | y"""

    kinds: ClassVar[str] = "int uint"
    scalar: ClassVar[str] = "or"

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.bitwise_or(x, y)


@op
class BitwiseXor(_Bits):
    """x ^ y"""

    kinds: ClassVar[str] = "int uint"
    scalar: ClassVar[str] = "xor"

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.bitwise_xor(x, y)


@op
class BitwiseNot(_Bits):
    """~x"""

    kinds: ClassVar[str] = "int uint"
    scalar: ClassVar[str] = "not"

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.bitwise_not(x)


@op
class BitShift(Elementwise):
    """x shifted by y bits, direction LEFT or RIGHT (of a signed x: its sign stays); y < 0 is as the width of the dtype or more: all are shifted out"""

    kinds: ClassVar[str] = "int uint"
    direction: str = "LEFT"

    def body(self, x: Expr, y: Expr) -> Expr:
        if self.direction not in ("LEFT", "RIGHT"):
            raise TypeMismatch(f"bit_shift: direction is LEFT or RIGHT, not {self.direction!r}")
        if self.direction == "LEFT" or x.dtype.kind == "uint":
            return call("shl" if self.direction == "LEFT" else "shr", x, y)
        last = x.dtype.bits - 1
        return call("shr", x, select((y < 0) | (y > last), last, y))

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        width = x.dtype.itemsize * 8
        inside = (y >= 0) & (y < width)
        count = np.where(inside, y, y.dtype.type(width - 1))
        shifted = (np.left_shift if self.direction == "LEFT" else np.right_shift)(x, count)
        return np.where(inside | ((x < 0) & (self.direction == "RIGHT")), shifted, x.dtype.type(0))


@op
class IsNaN(Elementwise):
    """x is NaN (bool)"""

    name = "is_nan"
    kinds: ClassVar[str] = "float"

    def body(self, x: Expr) -> Expr:
        return call("ne", x, x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.isnan(x)


@op
class IsInf(Elementwise):
    """x is an infinity of a sign that is asked for (bool)"""

    kinds: ClassVar[str] = "float"
    detect_negative: bool = True
    detect_positive: bool = True

    def body(self, x: Expr) -> Expr:
        inf = float("inf")
        if self.detect_negative and self.detect_positive:
            return call("eq", call("abs", x), inf)
        if not (self.detect_negative or self.detect_positive):
            return call("ne", x, x) & call("eq", x, x)
        return call("eq", x, -inf if self.detect_negative else inf)

    def reference(self, x: np.ndarray) -> np.ndarray:
        wanted = (x < 0) & self.detect_negative | (x > 0) & self.detect_positive
        return np.isinf(x) & wanted


@op
class Where(Op):
    """x where the condition holds, else y; all three broadcast."""

    def infer(self, condition: TensorType, x: TensorType, y: TensorType) -> TensorType:
        if condition.dtype is not BOOL or x.dtype is not y.dtype:
            raise TypeMismatch(f"where({condition}, {x}, {y}): takes a bool and two operands of one dtype")
        return TensorType(x.dtype, broadcast(condition.shape, x.shape, y.shape))

    def reference(self, condition: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(condition, x, y)

    def form(self, condition: TensorType, x: TensorType, y: TensorType) -> Map:
        return Map(select(Arg(BOOL, 0), Arg(x.dtype, 1), Arg(y.dtype, 2)))
