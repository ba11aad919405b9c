"""Elementwise operators: a result element depends on the operand elements at the same (broadcast) position."""

from __future__ import annotations

import numpy as np

from .. import expr
from ..dtypes import BOOL, DType
from ..errors import TypeMismatch
from ..expr import Arg, Expr
from ..forms import Map
from ..op import Op, op
from ..types import TensorType, broadcast


class Elementwise(Op):
    """Base: operands of one dtype broadcast; subclasses give `body` (an Expr of the operands) and `reference`."""

    kinds = "float int uint"

    def infer(self, *operands: TensorType) -> TensorType:
        dtype = operands[0].dtype
        if any(t.dtype is not dtype for t in operands):
            raise TypeMismatch(f"{self.name}: dtypes {', '.join(str(t.dtype) for t in operands)} differ")
        if dtype.kind not in self.kinds.split():
            raise TypeMismatch(f"{self.name}: takes {self.kinds}, given {dtype}")
        shape = broadcast(*(t.shape for t in operands))
        return TensorType(self.body(*(Arg(t.dtype, k) for k, t in enumerate(operands))).dtype, shape)

    def body(self, *operands: Expr) -> Expr:
        raise NotImplementedError(f"{self.name}.body")

    def form(self, *operands: TensorType) -> Map:
        return Map(self.body(*(Arg(t.dtype, k) for k, t in enumerate(operands))))


@op
class Add(Elementwise):
    """x + y"""

    def body(self, x: Expr, y: Expr) -> Expr:
        return x + y

    def reference(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.add(x, y)


@op
class Relu(Elementwise):
    """max(x, 0)"""

    def body(self, x: Expr) -> Expr:
        return expr.call("max", x, 0)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.maximum(x, np.zeros((), x.dtype))


@op
class Cast(Op):
    """x converted to `to`: float to integer truncates and saturates (NaN gives 0), anything to bool is x != 0."""

    to: DType

    def infer(self, x: TensorType) -> TensorType:
        return x.with_dtype(self.to)

    def reference(self, x: np.ndarray) -> np.ndarray:
        return expr.cast_array(x, self.to)

    def form(self, x: TensorType) -> Map:
        return Map(expr.cast(Arg(x.dtype, 0), self.to))


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
        return Map(expr.select(Arg(BOOL, 0), Arg(x.dtype, 1), Arg(y.dtype, 2)))
