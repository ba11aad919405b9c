"""Activations: elementwise, floats (some also integers), parameters as ONNX names them.

Operands that are NaN give NaN unless the formula's comparison says otherwise; formulas are chosen so that nothing overflows
or cancels on the way to a finite result.
"""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np

from ..dtypes import BF16, F16, F32
from ..errors import TypeMismatch
from ..expr import Arg, Expr, call, cast, const, maximum, minimum, select
from ..forms import Map
from ..op import op
from ..scalars import normal_gelu
from ..types import TensorType, broadcast
from .elementwise import Elementwise, wide

_FLOATS = "float"


def _times(x: Expr, factor: float) -> Expr:
    return x if factor == 1 else x * factor


def _rounded(threshold: float, x: np.ndarray) -> float:
    """A threshold as the body compares with it: a float32, unless x is float64 or an integer."""
    return threshold if x.dtype.kind in "iu" or x.dtype == np.float64 else float(np.float32(threshold))


def _logistic(x: np.ndarray) -> np.ndarray:
    """1/(1 + e^-x) without overflow"""
    return np.where(x < 0, np.exp(np.minimum(x, 0)), 1) / (1 + np.exp(-np.abs(x)))


class Activation(Elementwise):
    """Base: f16 and bf16 are computed in float32 and rounded once."""

    kinds: ClassVar[str] = _FLOATS

    def form(self, *operands: TensorType) -> Map:
        dtype = operands[0].dtype
        if dtype not in (F16, BF16):
            return super().form(*operands)
        return Map(cast(self.body(*(cast(Arg(t.dtype, k), F32) for k, t in enumerate(operands))), dtype))


@op
class Relu(Elementwise):
    """max(x, 0)"""

    def body(self, x: Expr) -> Expr:
        return maximum(x, 0)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, np.zeros((), x.dtype))


@op
class LeakyRelu(Activation):
    """x for x ≥ 0, else alpha·x"""

    alpha: float = 0.01

    def body(self, x: Expr) -> Expr:
        return select(x < 0, x * self.alpha, x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, wide(x) * self.alpha, wide(x)).astype(x.dtype)


@op
class PRelu(Activation):
    """x for x ≥ 0, else slope·x; slope broadcasts to x, never x to slope."""

    kinds: ClassVar[str] = "float int uint"

    def infer(self, *operands: TensorType) -> TensorType:
        x, slope = operands
        if broadcast(x.shape, slope.shape) != x.shape:
            raise TypeMismatch(f"{self.name}: slope {slope} does not broadcast to {x}")
        return super().infer(x, slope)

    def body(self, x: Expr, slope: Expr) -> Expr:
        return select(x < 0, x * slope, x)

    def reference(self, x: np.ndarray, slope: np.ndarray) -> np.ndarray:
        return np.where(x < 0, wide(x) * wide(slope), wide(x)).astype(x.dtype)


@op
class ThresholdedRelu(Activation):
    """x for x > alpha, else 0 (also for NaN)"""

    alpha: float = 1.0

    def body(self, x: Expr) -> Expr:
        return select(x > self.alpha, x, 0)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.where(wide(x) > _rounded(self.alpha, x), x, np.zeros((), x.dtype))


@op
class Elu(Activation):
    """x for x ≥ 0, else alpha·(e^x - 1)"""

    alpha: float = 1.0

    def body(self, x: Expr) -> Expr:
        return select(x < 0, _times(call("expm1", x), self.alpha), x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.where(x < 0, self.alpha * np.expm1(wide(x)), wide(x)).astype(x.dtype)


@op
class Selu(Activation):
    """gamma·x for x > 0, else gamma·alpha·(e^x - 1)"""

    alpha: float = 1.67326319217681884765625
    gamma: float = 1.05070102214813232421875

    def body(self, x: Expr) -> Expr:
        return select(x > 0, x * self.gamma, call("expm1", x) * (self.alpha * self.gamma))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return (self.gamma * np.where(x > 0, wide(x), self.alpha * np.expm1(wide(x)))).astype(x.dtype)


@op
class Celu(Activation):
    """max(0, x) + min(0, alpha·(e^(x/alpha) - 1)), alpha ≠ 0"""

    alpha: float = 1.0

    def body(self, x: Expr) -> Expr:
        bent = _times(call("expm1", x if self.alpha == 1 else x / self.alpha), self.alpha)
        return maximum(x, 0) + minimum(bent, 0)

    def reference(self, x: np.ndarray) -> np.ndarray:
        value = wide(x)
        return (np.maximum(0, value) + np.minimum(0, self.alpha * np.expm1(value / self.alpha))).astype(x.dtype)


@op
class Gelu(Activation):
    """x·Φ(x) = x/2·(1 + erf(x/√2)); approximate="tanh": x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))

    In float32 within 4.1 units of the last place; with tanh(u) for u < -½ within 4 + 6·|u|, as e^2u magnifies the rounding of u.
    """

    approximate: str = "none"

    def body(self, x: Expr) -> Expr:
        if self.approximate == "none":
            return call("gelu", x)
        if self.approximate != "tanh":
            raise TypeMismatch(f"gelu: approximate is 'none' or 'tanh', not {self.approximate!r}")
        root = math.sqrt(2 / math.pi)
        # (1 + tanh u)/2 = sigmoid(2u): one exp and no cancellation where tanh u is near -1
        return x * call("sigmoid", x * call("fma", x * x, 2 * 0.044715 * root, 2 * root))

    def reference(self, x: np.ndarray) -> np.ndarray:
        v = wide(x)
        if self.approximate == "none":
            return np.array([normal_gelu(e) for e in v.reshape(-1).tolist()], np.float64).reshape(x.shape).astype(x.dtype)
        return (0.5 * v * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))).astype(x.dtype)


@op
class Sigmoid(Activation):
    """1/(1 + e^-x)"""

    def body(self, x: Expr) -> Expr:
        return call("sigmoid", x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return _logistic(wide(x)).astype(x.dtype)


@op
class Silu(Activation):
    """x·sigmoid(x)

    In float32 within 4 units of the last place; for x < -87, where the result is below 10^-35, off by |x|·2^-149 more.
    """

    def body(self, x: Expr) -> Expr:
        return x * call("sigmoid", x)

    def reference(self, x: np.ndarray) -> np.ndarray:
        v = wide(x)
        return (v * _logistic(v)).astype(x.dtype)


@op
class Swish(Activation):
    """x·sigmoid(alpha·x)"""

    alpha: float = 1.0

    def body(self, x: Expr) -> Expr:
        return x * call("sigmoid", _times(x, self.alpha))

    def reference(self, x: np.ndarray) -> np.ndarray:
        v = wide(x)
        return (v * _logistic(self.alpha * v)).astype(x.dtype)


@op
class HardSigmoid(Activation):
    """max(0, min(1, alpha·x + beta))"""

    alpha: float = 0.2
    beta: float = 0.5

    def body(self, x: Expr) -> Expr:
        return maximum(minimum(x * self.alpha + self.beta, 1), 0)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.clip(self.alpha * wide(x) + self.beta, 0, 1).astype(x.dtype)


@op
class HardSwish(Activation):
    """x·max(0, min(1, x/6 + 1/2))"""

    def body(self, x: Expr) -> Expr:
        return x * maximum(minimum(x * (1 / 6) + 0.5, 1), 0)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return (wide(x) * np.clip(wide(x) / 6 + 0.5, 0, 1)).astype(x.dtype)


@op
class Softplus(Activation):
    """ln(1 + e^x) = max(x, 0) + ln(1 + e^-|x|)"""

    def body(self, x: Expr) -> Expr:
        return maximum(x, 0) + call("log1p", call("exp", -call("abs", x)))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.logaddexp(0, wide(x)).astype(x.dtype)


@op
class Softsign(Activation):
    """x/(1 + |x|)"""

    def body(self, x: Expr) -> Expr:
        return x / (call("abs", x) + 1)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return (wide(x) / (1 + np.abs(wide(x)))).astype(x.dtype)


@op
class Mish(Activation):
    """x·tanh(ln(1 + e^x)) = x·n/(n + 2) where n = e^x·(e^x + 2); from x = 20 on the quotient is 1 in float64 too."""

    def body(self, x: Expr) -> Expr:
        e = call("exp", minimum(x, 20))
        n = e * (e + 2)
        return x * (n / (n + 2))

    def reference(self, x: np.ndarray) -> np.ndarray:
        return (wide(x) * np.tanh(np.logaddexp(0, wide(x)))).astype(x.dtype)


@op
class Shrink(Activation):
    """x + bias for x < -lambd, x - bias for x > lambd, else 0"""

    kinds: ClassVar[str] = "float int uint"
    lambd: float = 0.5
    bias: float = 0.0

    def body(self, x: Expr) -> Expr:
        if x.dtype.is_float:
            return select(x < -self.lambd, x + self.bias, select(x > self.lambd, x - self.bias, 0))
        bias, zero = const(self.bias, x.dtype), const(0, x.dtype)
        above = select(x > math.floor(self.lambd), x - bias, zero)
        return above if x.dtype.kind == "uint" else select(x < -math.floor(self.lambd), x + bias, above)

    def reference(self, x: np.ndarray) -> np.ndarray:
        v, limit = wide(x), _rounded(self.lambd, x)
        bias, zero = v.dtype.type(self.bias), np.zeros((), v.dtype)
        return np.where(v < -limit, v + bias, np.where(v > limit, v - bias, zero)).astype(x.dtype)
