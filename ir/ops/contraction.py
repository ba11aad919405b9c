"""Products of matrices."""

from __future__ import annotations

import numpy as np

from ..builder import Builder
from ..dtypes import F64, I8, I32, U8
from ..errors import TypeMismatch, Unequal
from ..forms import Contract
from ..graph import Value
from ..op import Op, op
from ..types import TensorType, broadcast
from .composite import narrowed, widened
from .fused import as_matrix, matrix_of


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
            raise Unequal(f"matmul of {a} with {b}: contracts {k_a} with {k_b}", k_a, k_b)
        rows, columns = a.shape[-2:-1], b.shape[-1:] if b.rank > 1 else ()
        return TensorType(a.dtype, (*broadcast(a.shape[:-2], b.shape[:-2]), *rows, *columns))

    def reference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        wide = F64.numpy if a.dtype.kind not in "iu" else a.dtype
        return np.matmul(a.astype(wide), b.astype(wide)).astype(a.dtype)

    def form(self, a: TensorType, b: TensorType) -> Contract:
        return Contract()


@op
class WindowProduct(Op):
    """out[batch..., m..., n] = Σ_k a[batch..., m..., k...]·b[batch..., k, n]: `matmul` of rows and depths that are several axes of a.

    b has the axes of k as one. a may be windows that overlap: it is read where it lies.
    """

    row_axes: int
    depth_axes: int

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        if min(self.row_axes, self.depth_axes) < 1 or a.rank < self.row_axes + self.depth_axes or b.rank < 2:
            raise TypeMismatch(f"window_product of {a} with {b}: {self.row_axes} axes of rows, {self.depth_axes} of depth")
        flat = MatMul().infer(as_matrix(a, self.row_axes, self.depth_axes), b)
        rows = a.shape[a.rank - self.row_axes - self.depth_axes : a.rank - self.depth_axes]
        return flat.with_shape((*flat.shape[:-2], *rows, flat.shape[-1]))

    def reference(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        rows = a.shape[a.ndim - self.row_axes - self.depth_axes : a.ndim - self.depth_axes]
        flat = MatMul().reference(matrix_of(a, self.row_axes, self.depth_axes), b)
        return flat.reshape(*flat.shape[:-2], *rows, flat.shape[-1])

    def form(self, a: TensorType, b: TensorType) -> Contract:
        return Contract(self.row_axes, self.depth_axes)


@op
class Gemm(Op):
    """alpha·a·b + beta·c of matrices; trans_a, trans_b: that operand is stored transposed. c is optional and broadcasts to the result.

    Integers take an integral alpha and beta.
    """

    alpha: float = 1.0
    beta: float = 1.0
    trans_a: bool = False
    trans_b: bool = False

    def infer(self, a: TensorType, b: TensorType, c: TensorType | None = None) -> TensorType:
        if a.rank != 2 or b.rank != 2:
            raise TypeMismatch(f"gemm of {a} with {b}: takes matrices")
        left = a.with_shape(a.shape[::-1]) if self.trans_a else a
        out = MatMul().infer(left, b.with_shape(b.shape[::-1]) if self.trans_b else b)
        if c is not None and (c.dtype is not a.dtype or broadcast(out.shape, c.shape) != out.shape):
            raise TypeMismatch(f"gemm: {c} does not broadcast to {out}")
        if not a.dtype.is_float and (self.alpha % 1 or self.beta % 1):
            raise TypeMismatch(f"gemm of {a}: alpha {self.alpha} and beta {self.beta} are not integers")
        return out

    def reference(self, a: np.ndarray, b: np.ndarray, c: np.ndarray | None = None) -> np.ndarray:
        wide = np.dtype(np.float64) if a.dtype.kind not in "iu" else a.dtype
        out = np.einsum(f"{'km' if self.trans_a else 'mk'},{'nk' if self.trans_b else 'kn'}->mn", a.astype(wide), b.astype(wide))
        out = out * wide.type(self.alpha)
        return (out if c is None else out + wide.type(self.beta) * c.astype(wide)).astype(a.dtype)

    def decompose(self, build: Builder, a: Value, b: Value, c: Value | None = None) -> Value:
        """The product in the dtype of the operands, which is what kernels take; the rest in float32 at least."""
        left = build.transpose(a, perm=(1, 0)) if self.trans_a else a
        out = widened(build, build.matmul(left, build.transpose(b, perm=(1, 0)) if self.trans_b else b))
        out = out if self.alpha == 1 else build.mul(out, build.constant(self.alpha, out.type.dtype))
        if c is not None and self.beta != 0:
            added = widened(build, c)
            out = build.add(out, added if self.beta == 1 else build.mul(added, build.constant(self.beta, out.type.dtype)))
        return narrowed(build, out, a)


@op
class MatMulInteger(Op):
    """Σ_k (a[…, m, k] - a_zero)·(b[…, k, n] - b_zero) of 8-bit integers in i32, which wraps.

    Zero points are optional, of their matrix's dtype: a scalar; of a one for each row ([m] or […, m, 1]); of b one for each
    column ([n] or […, 1, n]).
    """

    def infer(self, a: TensorType, b: TensorType, *zeros: TensorType) -> TensorType:
        if not {a.dtype, b.dtype} <= {I8, U8} or len(zeros) > 2:
            raise TypeMismatch(f"mat_mul_integer: takes 8-bit integers, given {a} and {b}")
        for matrix, zero, rows in zip((a, b), zeros, (True, False)):
            if zero.dtype is not matrix.dtype or broadcast(matrix.shape, self._column(zero, rows).shape) != matrix.shape:
                raise TypeMismatch(f"mat_mul_integer: zero point {zero} does not fit {matrix}")
        return MatMul().infer(a.with_dtype(I32), b.with_dtype(I32))

    @staticmethod
    def _column(zero: TensorType, rows: bool) -> TensorType:
        return zero.with_shape((*zero.shape, 1)) if rows and zero.rank == 1 and zero.shape != (1,) else zero

    def reference(
        self, a: np.ndarray, b: np.ndarray, a_zero: np.ndarray | None = None, b_zero: np.ndarray | None = None
    ) -> np.ndarray:
        left, right = a.astype(np.int64), b.astype(np.int64)
        if a_zero is not None:
            left = left - (a_zero[:, None] if a_zero.ndim == 1 and a_zero.size != 1 else a_zero).astype(np.int64)
        return np.matmul(left, right if b_zero is None else right - b_zero.astype(np.int64)).astype(np.int32)

    def decompose(self, build: Builder, a: Value, b: Value, *zeros: Value) -> Value:
        wide = [build.cast(v, to=I32) for v in (a, b)]
        for k, zero in enumerate(zeros):
            column = build.reshape(zero, shape=self._column(zero.type, k == 0).shape)
            wide[k] = build.sub(wide[k], build.cast(column, to=I32))
        return build.matmul(*wide)
