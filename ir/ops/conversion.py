"""Conversions between dtypes: elementwise."""

from __future__ import annotations

import numpy as np

from .. import expr
from ..dtypes import BF16, F32, DType
from ..errors import TypeMismatch
from ..expr import Arg, Expr, bitcast, call, cast, select
from ..forms import Map
from ..op import Op, op
from ..types import TensorType


@op
class Cast(Op):
    """x converted to `to`: float to integer truncates and saturates (NaN gives 0), anything to bool is x != 0."""

    to: DType

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.to)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return expr.cast_array(x, self.to)

    def form(self, x: TensorType) -> Map:
        return Map(cast(Arg(x.dtype, 0), self.to))


@op
class BitCast(Op):
    """The bits of x read as `to`, a dtype as wide; a NaN of less than 32 bits becomes a quiet one"""

    to: DType

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype.bits != self.to.bits or "string" in (x.dtype.kind, self.to.kind):
            raise TypeMismatch(f"bit_cast: {x.dtype} and {self.to} are not of the same width")
        return x.with_dtype(self.to)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(x).view(self.to.numpy).reshape(x.shape)

    def form(self, x: TensorType) -> Map:
        return Map(bitcast(Arg(x.dtype, 0), self.to))


GREATEST = float.fromhex("0x1.fep127")  # of bf16


@op
class Bf16Part(Op):
    """The part-th bf16 term of a float32 x ≈ x_0 + x_1 + x_2: x_0 = bf16(x), x_1 = bf16(x - x_0), x_2 = bf16(x - x_0 - x_1).

    Three parts hold all 24 bits of x unless x - x_0 - x_1 is below the least bf16. x_0 is finite if x is (the greatest bf16 where
    rounding would leave the range); an inf or NaN is carried by x_0 alone.
    """

    part: int = 0

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype is not F32 or self.part not in (0, 1, 2):
            raise TypeMismatch(f"bf16_part: takes f32 and part 0, 1 or 2; given {x} and part {self.part}")
        return x.with_dtype(BF16)

    def reference(self, x: np.ndarray) -> np.ndarray:
        rest = x.astype(np.float64)
        for _ in range(self.part):
            rest = np.where(np.isfinite(x), rest - self._first(rest), 0.0)
        return self._first(rest).astype(BF16.numpy)

    @staticmethod
    def _first(x: np.ndarray) -> np.ndarray:
        kept = np.where(np.isfinite(x), np.clip(x, -GREATEST, GREATEST), x)
        return kept.astype(np.float32).astype(BF16.numpy).astype(np.float64)

    def form(self, x: TensorType) -> Map:
        whole = Arg(F32, 0)
        finite = call("abs", whole) < float("inf")
        rest: Expr = select(finite, call("max", call("min", whole, GREATEST), -GREATEST), whole)
        first = cast(rest, BF16)
        for k in range(self.part):
            rest = select(finite, (whole if k == 0 else rest) - cast(first, F32), 0.0)
            first = cast(rest, BF16)
        return Map(first)
