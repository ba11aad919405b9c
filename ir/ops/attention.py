"""Attention as a composite: two products and a softmax between them."""

from __future__ import annotations

import math

import numpy as np

from ..builder import Builder
from ..dims import DimLike
from ..dtypes import BF16, BOOL, F16
from ..errors import TypeMismatch
from ..graph import Value
from ..op import Op, op
from ..types import TensorType, broadcast
from .composite import narrowed, widened


@op
class ScaledDotProductAttention(Op):
    """softmax(q·kᵀ·scale + mask)·v

    Operands: q [b, h, s, d], k [b, g, t, d], v [b, g, t, e] and optionally a mask that broadcasts to [b, h, s, t]: of bool (True takes
    part) or of q's dtype (added). Result [b, h, s, e]. Where g < h, each head of k and v serves h/g neighbouring heads of q.
    scale: None is 1/√d. is_causal: position i sees positions j ≤ i only. A row that sees nothing gives 0.
    """

    scale: float | None = None
    is_causal: bool = False

    def infer(self, q: TensorType, k: TensorType, v: TensorType, mask: TensorType | None = None) -> TensorType:
        fits = q.rank == k.rank == v.rank == 4 and q.dtype is k.dtype is v.dtype and q.dtype.is_float
        if not fits or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3] or k.shape[:3] != v.shape[:3]:
            raise TypeMismatch(f"scaled_dot_product_attention of {q}, {k} and {v}")
        heads, groups = q.shape[1], k.shape[1]
        if heads != groups and not (isinstance(heads, int) and isinstance(groups, int) and groups > 0 and heads % groups == 0):
            raise TypeMismatch(f"scaled_dot_product_attention: {groups} heads of k for {heads} heads of q")
        if self.scale is None and (not isinstance(q.shape[3], int) or q.shape[3] == 0):
            raise TypeMismatch(f"scaled_dot_product_attention: extent {q.shape[3]} gives no scale")
        scores = (*q.shape[:3], k.shape[2])
        if mask is not None and (mask.dtype not in (BOOL, q.dtype) or broadcast(scores, mask.shape) != scores):
            raise TypeMismatch(f"scaled_dot_product_attention: mask {mask} does not fit scores [{', '.join(map(str, scores))}]")
        return q.with_shape((*q.shape[:3], v.shape[3]))

    def _factor(self, depth: DimLike) -> float:
        return 1 / math.sqrt(depth) if self.scale is None else self.scale  # type: ignore[arg-type]

    def reference(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
        each = q.shape[1] // k.shape[1] if k.shape[1] else 1
        key, value = (np.repeat(x.astype(np.float64), each, axis=1) for x in (k, v))
        scores = np.einsum("bhsd,bhtd->bhst", q.astype(np.float64), key) * self._factor(q.shape[3])
        if mask is not None:
            scores = np.where(mask, scores, -np.inf) if mask.dtype == np.bool_ else scores + mask.astype(np.float64)
        if self.is_causal:
            scores = np.where(np.tri(*scores.shape[-2:]) > 0, scores, -np.inf)
        top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
        weights = np.exp(scores - np.where(np.isneginf(top), 0, top))
        total = weights.sum(axis=-1, keepdims=True)
        return np.einsum("bhst,bhte->bhse", weights / np.where(total == 0, 1, total), value).astype(q.dtype)

    def decompose(self, b: Builder, q: Value, k: Value, v: Value, mask: Value | None = None) -> Value:
        """Products in the dtype of the operands, the softmax in float32 at least. Shared heads are more rows of one product."""
        (batch, heads, length, depth), groups = q.type.shape, k.type.shape[1]
        factor, narrow = self._factor(depth), q.type.dtype in (F16, BF16)
        rows = length if heads == groups else length * (heads // groups)
        scaled = narrowed(b, b.mul(widened(b, q), factor), q) if narrow else q  # before the product, which could overflow float16
        flat = b.reshape(scaled, shape=(batch, groups, rows, depth))
        product = widened(b, b.matmul(flat, b.transpose(k, perm=(0, 1, 3, 2))))
        scores = b.reshape(product if narrow else b.mul(product, factor), shape=(batch, heads, length, k.type.shape[2]))
        weights = narrowed(b, self._softmax(b, self._masked(b, scores, mask), mask is not None), q)
        out = b.matmul(b.reshape(weights, shape=(batch, groups, rows, k.type.shape[2])), v)
        return b.reshape(out, shape=(batch, heads, length, v.type.shape[3]))

    def _masked(self, b: Builder, scores: Value, mask: Value | None) -> Value:
        if mask is not None and mask.type.dtype is BOOL:
            scores = b.where(mask, scores, -math.inf)
        elif mask is not None:
            scores = b.add(scores, widened(b, mask))
        if self.is_causal:
            seen = b.less_or_equal(b.axis_index(scores, axis=-1), b.axis_index(scores, axis=-2))
            scores = b.where(seen, scores, -math.inf)
        return scores

    @staticmethod
    def _softmax(b: Builder, scores: Value, maskable: bool) -> Value:
        """Along the last axis; rows of -inf, which only a mask makes, give 0."""
        if not maskable:
            return b.softmax(scores, axis=-1)
        top = b.reduce_max(scores, axes=(-1,))
        e = b.exp(b.sub(scores, b.where(b.equal(top, -math.inf), b.constant(0.0, scores.type.dtype), top)))
        total = b.reduce_sum(e, axes=(-1,))
        return b.div(e, b.where(b.equal(total, 0.0), b.constant(1.0, scores.type.dtype), total))
