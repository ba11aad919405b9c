"""Conversions between dtypes: elementwise."""

from __future__ import annotations

import numpy as np

from .. import expr
from ..dtypes import BF16, F32, DType
from ..errors import TypeMismatch
from ..expr import Arg, Expr, call, cast, select
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
class Bf16Part(Op):
    """The part-th bf16 term of a float32 x ≈ x_0 + x_1 + x_2: x_0 = bf16(x), x_1 = bf16(x - x_0), x_2 = bf16(x - x_0 - x_1).

    Three parts hold all 24 bits of x unless x - x_0 - x_1 is below the least bf16. Where x_0 is inf or NaN it carries the value
    alone and the later parts are 0.
    """

    part: int = 0

    def infer(self, x: TensorType) -> TensorType:
        if x.dtype is not F32 or self.part not in (0, 1, 2):
            raise TypeMismatch(f"bf16_part: takes f32 and part 0, 1 or 2; given {x} and part {self.part}")
        return x.with_dtype(BF16)

    def reference(self, x: np.ndarray) -> np.ndarray:
        rest, first = x.astype(np.float64), x.astype(BF16.numpy)
        for _ in range(self.part):
            rest = rest - rest.astype(np.float32).astype(BF16.numpy).astype(np.float64)
        if self.part:
            rest = np.where(np.isfinite(first.astype(np.float32)), rest, 0.0)
        return rest.astype(np.float32).astype(BF16.numpy)

    def form(self, x: TensorType) -> Map:
        rest: Expr = Arg(F32, 0)
        first = cast(cast(rest, BF16), F32)
        for _ in range(self.part):
            rest = rest - cast(cast(rest, BF16), F32)
        if self.part:
            rest = select(call("abs", first) < float("inf"), rest, 0.0)
        return Map(cast(rest, BF16))
