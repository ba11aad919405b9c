"""Determinants: elimination, a scalar algorithm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..dims import product
from ..dtypes import F64
from ..errors import TypeMismatch
from ..forms import Routine
from ..op import Op, op
from ..types import TensorType

if TYPE_CHECKING:
    from ..builder import Builder
    from ..graph import Value


@op
class Det(Op):
    """The determinant of each matrix in the last two axes; 1 of an empty one"""

    def infer(self, x: TensorType) -> TensorType:
        if x.rank < 2 or x.shape[-1] != x.shape[-2] or not x.dtype.is_float:
            raise TypeMismatch(f"{self.name}: takes square matrices of floats, given {x}")
        return x.with_shape(x.shape[:-2])

    def reference(self, x: np.ndarray) -> np.ndarray:
        return np.asarray(np.linalg.det(x.astype(np.float64))).astype(x.dtype)

    def decompose(self, b: Builder, x: Value) -> Value:
        found: Value = b.cast(b.eliminated(b.cast(x, to=F64))[0], to=x.type.dtype)
        return found


@op
class Eliminated(Op):
    """(`Det`, the triangular matrices whose diagonals it is the product of) of float64 matrices."""

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        if x.dtype is not F64:
            raise TypeMismatch(f"{self.name}: takes f64, given {x}")
        return Det().infer(x), x

    def form(self, x: TensorType) -> Routine:
        matrices, n = product(x.shape[:-2]), x.shape[-1]
        return Routine(eliminated, matrices, (n,), work=matrices * n * n * n)

    def reference(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        out, det = x.copy(), np.ones(x.shape[:-2])
        for at in np.ndindex(*x.shape[:-2]):
            a = out[at]
            for k in range(len(a)):
                best = k + int(np.argmax(np.abs(a[k:, k])))
                if best != k:
                    a[[k, best]], det[at] = a[[best, k]], -det[at]
                det[at] *= a[k, k]
                if a[k, k] != 0:
                    a[k + 1 :] -= np.outer(a[k + 1 :, k] / a[k, k], a[k])
        return det, out


def eliminated(first: int, last: int, x: Any, det: Any, a: Any, n: int, scratch: Any) -> None:
    """x[matrices, n, n] → det[matrices] and a[matrices, n, n], by rows, the greatest pivot of a column first."""
    for unit in range(first, last):
        start = unit * n * n
        for i in range(n * n):
            a[start + i] = x[start + i]
        det[unit] = 1.0
        for k in range(n):
            best = k
            for i in range(k + 1, n):
                if abs(a[start + i * n + k]) > abs(a[start + best * n + k]):
                    best = i
            if best != k:
                det[unit] = -det[unit]
                for j in range(n):
                    kept = a[start + k * n + j]
                    a[start + k * n + j] = a[start + best * n + j]
                    a[start + best * n + j] = kept
            pivot = a[start + k * n + k]
            det[unit] *= pivot
            for i in range(k + 1, n if pivot != 0.0 else 0):
                factor = a[start + i * n + k] / pivot
                for j in range(n):
                    a[start + i * n + j] -= factor * a[start + k * n + j]
