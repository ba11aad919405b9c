"""Products of matrices."""

from __future__ import annotations

import numpy as np

from ..dtypes import F64
from ..errors import TypeMismatch
from ..forms import Contract
from ..op import Op, op
from ..types import TensorType, broadcast


@op
class MatMul(Op):
    """out[batch..., m, n] = Σ_k a[batch..., m, k]·b[batch..., k, n], batch axes broadcast, 1-d operands as numpy.matmul."""

    name = "matmul"

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        if a.dtype is not b.dtype:
            raise TypeMismatch(f"matmul of {a} with {b}: dtypes differ")
        if not a.rank or not b.rank:
            raise TypeMismatch(f"matmul of {a} with {b}: a scalar has no rows")
        k_a, k_b = a.shape[-1], b.shape[-2 if b.rank > 1 else 0]
        if k_a != k_b:
            raise TypeMismatch(f"matmul of {a} with {b}: contracts {k_a} with {k_b}")
        rows, columns = a.shape[-2:-1], b.shape[-1:] if b.rank > 1 else ()
        return TensorType(a.dtype, (*broadcast(a.shape[:-2], b.shape[:-2]), *rows, *columns))

    def reference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        wide = F64.numpy if a.dtype.kind not in "iu" else a.dtype
        return np.matmul(a.astype(wide), b.astype(wide)).astype(a.dtype)

    def form(self, a: TensorType, b: TensorType) -> Contract:
        return Contract()
