"""Attention as models say it; `attend` is the loop it becomes."""

from __future__ import annotations

import math

import numpy as np

from ..builder import Builder
from ..dims import DimLike
from ..dtypes import BOOL
from ..errors import TypeMismatch
from ..expr import Expr, Kept, Load, call, cast, index, select, size
from ..forms import broadcast_index
from ..graph import Value
from ..op import Op, op
from ..types import TensorType, broadcast
from .attend import Attend, accumulator


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
        """One `attend`; heads of q that share a head of k and v are more rows of it."""
        (batch, heads, length, depth), groups = q.type.shape, k.type.shape[1]
        wide = accumulator(q.type.dtype)
        body = self._masked(Kept(wide, 0) * self._factor(depth), q.type, k.type, mask)
        rows = length if heads == groups else length * (heads // groups)
        flat = b.reshape(q, shape=(batch, groups, rows, depth))
        undefined = "nan" if mask is None else "empty"
        attend = Attend(body, (cast(Kept(wide, 0), q.type.dtype),), undefined=undefined, accumulate=wide)
        operands = (flat, b.transpose(k, perm=(0, 1, 3, 2)), v, *(() if mask is None else (mask,)))
        return b.reshape(b.apply(attend, *operands), shape=(batch, heads, length, v.type.shape[3]))

    def _masked(self, scores: Expr, q: TensorType, k: TensorType, mask: Value | None) -> Expr:
        """scores over the axes (batch, group, row, column) of `attend`."""
        (_, heads, length, _), groups = q.shape, k.shape[1]
        head, row, column = index(1), index(2), index(3)
        if heads != groups:
            head, row = head * (heads // groups) + call("div", row, size(length)), call("rem", row, size(length))
        if mask is not None:
            seen = Load(mask.type.dtype, 3, broadcast_index(mask.type, 4, (index(0), head, row, column)))
            scores = select(seen, scores, -math.inf) if mask.type.dtype is BOOL else scores + cast(seen, scores.dtype)
        return select(column <= row, scores, -math.inf) if self.is_causal else scores
