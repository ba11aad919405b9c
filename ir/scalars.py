"""The scalar functions of the body language: one table, read by `expr`, the interpreter, the docs and code generation.

A *primitive* is emitted by code generation as a few instructions. Every other function is expanded into primitives by
`mathlib` before code is generated, so a target never needs to know `tanh`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Scalar:
    """arity: number of operands; result: "same" as operand 0 or "bool"; operands: kinds accepted (f float, i int, b bool)."""

    name: str
    arity: int
    kinds: str
    result: str
    reference: Callable[..., Any]
    primitive: bool = False


SCALARS: dict[str, Scalar] = {}


def _add(
    name: str, arity: int, kinds: str, reference: Callable[..., Any], *, primitive: bool = False, result: str = "same"
) -> None:
    SCALARS[name] = Scalar(name, arity, kinds, result, reference, primitive)


def truncated_division(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a / b; for integers towards zero, x / 0 = 0 and MIN / -1 = MIN (machine code must not trap)."""
    if np.asarray(a).dtype.kind not in "iu":
        return np.divide(a, b)
    a, b = np.broadcast_arrays(a, b)
    safe = np.where((b == 0) | (b == -1) if a.dtype.kind == "i" else b == 0, b.dtype.type(1), b)
    quotient = a // safe
    quotient = quotient + ((quotient < 0) & (quotient * safe != a)).astype(a.dtype)
    negated = (np.zeros((), a.dtype) - a) if a.dtype.kind == "i" else a
    return np.where(b == 0, a.dtype.type(0), np.where(b != safe, negated, quotient)).astype(a.dtype)


def truncated_remainder(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a - b·trunc(a / b) (the sign of a, as C's fmod and %); integer x rem 0 = x."""
    if np.asarray(a).dtype.kind not in "iu":
        return np.fmod(a, b)
    return (a - truncated_division(a, b) * b).astype(np.asarray(a).dtype)


def _in_float64(function: Callable[[float], float]) -> Callable[..., Any]:
    """A function of the C library, element by element, rounded to the operand's dtype."""

    def apply(x: np.ndarray) -> np.ndarray:
        wide = np.asarray(x, np.float64)
        return np.vectorize(function, otypes=[np.float64])(wide).astype(np.asarray(x).dtype)

    return apply


def normal_gelu(x: float) -> float:
    """x·Φ(x) = x/2·erfc(-x/√2); -0 at -inf, its limit."""
    return -0.0 if x == -math.inf else x * (0.5 * math.erfc(-x * math.sqrt(0.5)))


def _pow(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if np.asarray(a).dtype.kind in "iu":
        exponent = np.maximum(b, np.zeros((), np.asarray(b).dtype))
        parity = np.where(b % 2 == 0, a * a, a)  # 1/x^|y| truncated: ±1 for x = ±1, else 0
        return np.where(b < 0, np.where(np.abs(a) == 1, parity, 0), np.power(a, exponent)).astype(a.dtype)
    return np.power(a, b)


def _shift(function: Callable[..., Any]) -> Callable[..., Any]:
    def shifted(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        bits = np.asarray(a).dtype.itemsize * 8
        return np.where((b >= bits) | (b < 0), np.zeros((), a.dtype), function(a, np.clip(b, 0, bits - 1))).astype(a.dtype)

    return shifted


_function: Callable[..., Any]
for _name, _function in {"add": np.add, "sub": np.subtract, "mul": np.multiply}.items():
    _add(_name, 2, "fi", _function, primitive=True)
_add("div", 2, "fi", truncated_division, primitive=True)
_add("rem", 2, "fi", truncated_remainder, primitive=True)
_add("max", 2, "fi", np.maximum, primitive=True)  # a NaN operand gives NaN
_add("min", 2, "fi", np.minimum, primitive=True)
_add("neg", 1, "fi", np.negative, primitive=True)
_add("abs", 1, "fi", np.abs, primitive=True)
_add("fma", 3, "f", lambda a, b, c: (a.astype(np.float64) * b + c).astype(np.asarray(a).dtype), primitive=True)
for _name, _function in {"sqrt": np.sqrt, "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "round": np.rint}.items():
    _add(_name, 1, "f", _function, primitive=True)
_COMPARISONS = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal}
for _name, _function in _COMPARISONS.items():
    _add(_name, 2, "fib", _function, primitive=True, result="bool")
for _name, _function in {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}.items():
    _add(_name, 2, "ib", _function, primitive=True)
_add("not", 1, "ib", np.invert, primitive=True)
_add("shl", 2, "i", _shift(np.left_shift), primitive=True)  # logical for uint, arithmetic right shift for int; >= width gives 0
_add("shr", 2, "i", _shift(np.right_shift), primitive=True)
_add("select", 3, "b", np.where, primitive=True)  # select(condition, a, b): dtype of a

for _name in [
    "exp",
    "exp2",
    "log",
    "log2",
    "log1p",
    "expm1",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "tanh",
    "arcsin",
    "arccos",
    "arctan",
    "arcsinh",
    "arccosh",
    "arctanh",
]:
    _add(_name, 1, "f", getattr(np, _name))
_add("erf", 1, "f", _in_float64(math.erf))
_add("gelu", 1, "f", _in_float64(normal_gelu))
_add("sigmoid", 1, "f", lambda x: (1 / (1 + np.exp(-x.astype(np.float64)))).astype(x.dtype))
_add("pow", 2, "fi", _pow)
_add("rsqrt", 1, "f", lambda x: (1 / np.sqrt(x)).astype(x.dtype))
