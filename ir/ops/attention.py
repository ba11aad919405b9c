"""Attention as models say it; `attend` is the loop it becomes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from ..builder import Builder
from ..dims import DimLike
from ..dtypes import BOOL, I64, DType
from ..errors import TypeMismatch
from ..expr import Expr, Kept, Load, call, cast, index, select, size
from ..forms import broadcast_index
from ..graph import Value
from ..op import Op, op
from ..types import TensorType, broadcast
from .attend import Attend, accumulator

FIXED = 3  # q, k and v come before masks and lengths
_Operand = TypeVar("_Operand", TensorType, np.ndarray)


@op
class ScaledDotProductAttention(Op):
    """softmax(cap(q·kᵀ·scale) + masks)·v

    Operands: q [b, h, s, d], k [b, g, t, d], v [b, g, t, e]; then masks, as many as wanted, that broadcast to [b, h, s, t]: of bool
    (True takes part) or of a float (added); last, if wanted, lengths i64 [b]: how many keys of each batch entry count.
    Result [b, h, s, e]. Where g < h, each head of k and v serves h/g neighbouring heads of q. A row that sees nothing gives 0.
    scale: None is 1/√d. softcap: cap(x) = softcap·tanh(x/softcap); 0: cap(x) = x. past: key j stands at position j, query i at
    i + past; where lengths are given, the queries are the last ones of them: i + length - s. is_causal: a query sees no later key.
    left_window, right_window: how many earlier and later keys a query sees; -1: all.
    """

    scale: float | None = None
    is_causal: bool = False
    softcap: float = 0.0
    past: DimLike = 0
    left_window: int = -1
    right_window: int = -1

    def infer(self, q: TensorType, k: TensorType, v: TensorType, *others: TensorType) -> TensorType:
        fits = q.rank == k.rank == v.rank == 4 and q.dtype is k.dtype is v.dtype and q.dtype.is_float
        if not fits or q.shape[0] != k.shape[0] or q.shape[3] != k.shape[3] or k.shape[:3] != v.shape[:3]:
            raise TypeMismatch(f"scaled_dot_product_attention of {q}, {k} and {v}")
        heads, groups = q.shape[1], k.shape[1]
        if heads != groups and not (isinstance(heads, int) and isinstance(groups, int) and groups > 0 and heads % groups == 0):
            raise TypeMismatch(f"scaled_dot_product_attention: {groups} heads of k for {heads} heads of q")
        if self.scale is None and (not isinstance(q.shape[3], int) or q.shape[3] == 0):
            raise TypeMismatch(f"scaled_dot_product_attention: extent {q.shape[3]} gives no scale")
        self._check(others, (*q.shape[:3], k.shape[2]))
        return q.with_shape((*q.shape[:3], v.shape[3]))

    def _check(self, others: Sequence[TensorType], scores: tuple[DimLike, ...]) -> None:
        masks, lengths = _split(others)
        for mask in masks:
            if not (mask.dtype is BOOL or mask.dtype.is_float) or broadcast(scores, mask.shape) != scores:
                shape = ", ".join(map(str, scores))
                raise TypeMismatch(f"scaled_dot_product_attention: mask {mask} does not fit scores [{shape}]")
        if lengths is not None and (lengths.shape != scores[:1] or self.past != 0):
            raise TypeMismatch(f"scaled_dot_product_attention: lengths {lengths} of {scores[0]} entries, past {self.past}")

    def _factor(self, depth: DimLike) -> float:
        return 1 / math.sqrt(depth) if self.scale is None else self.scale  # type: ignore[arg-type]

    @property
    def _later(self) -> int:
        """How many later keys a query sees; -1: all."""
        return 0 if self.is_causal else self.right_window

    def reference(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, *others: np.ndarray) -> np.ndarray:
        masks, lengths = _split(others)
        each = q.shape[1] // k.shape[1] if k.shape[1] else 1
        key, value = (np.repeat(x.astype(np.float64), each, axis=1) for x in (k, v))
        scores = np.einsum("bhsd,bhtd->bhst", q.astype(np.float64), key) * self._factor(q.shape[3])
        if self.softcap:
            scores = self.softcap * np.tanh(scores / self.softcap)
        for mask in masks:
            scores = np.where(mask, scores, -np.inf) if mask.dtype == np.bool_ else scores + mask.astype(np.float64)
        scores = np.where(self._within(scores.shape, lengths), scores, -np.inf)
        top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
        weights = np.exp(scores - np.where(np.isneginf(top), 0, top))
        total = weights.sum(axis=-1, keepdims=True)
        return np.einsum("bhst,bhte->bhse", weights / np.where(total == 0, 1, total), value).astype(q.dtype)

    def _within(self, shape: Sequence[int], lengths: np.ndarray | None) -> np.ndarray:
        """Which of the scores [b, h, s, t] lengths, windows and causality let through; broadcasts to them."""
        count = np.asarray(shape[3]) if lengths is None else lengths.reshape(-1, 1, 1, 1)
        first = np.asarray(self.past) if lengths is None else count - shape[2]
        later = np.arange(shape[3]) - np.arange(shape[2])[:, None] - first
        seen = np.arange(shape[3]) < count
        if self.left_window >= 0:
            seen = seen & (-later <= self.left_window)
        return seen & (later <= self._later) if self._later >= 0 else seen

    def decompose(self, b: Builder, q: Value, k: Value, v: Value, *others: Value) -> Value:
        """One `attend`; heads of q that share a head of k and v are more rows of it."""
        (batch, heads, length, depth), groups = q.type.shape, k.type.shape[1]
        wide = accumulator(q.type.dtype)
        body = self._scores(q.type, k.type, [x.type for x in others], wide)
        rows = length if heads == groups else length * (heads // groups)
        flat = b.reshape(q, shape=(batch, groups, rows, depth))
        attend = Attend(body, (cast(Kept(wide, 0), q.type.dtype),), undefined="empty", accumulate=wide)
        made = b.apply(attend, flat, b.transpose(k, perm=(0, 1, 3, 2)), v, *others)
        return b.reshape(made, shape=(batch, heads, length, v.type.shape[3]))

    def _scores(self, q: TensorType, k: TensorType, others: Sequence[TensorType], wide: DType) -> Expr:
        """The scores as `attend` wants them: over its axes (batch, group, row, column)."""
        (_, heads, length, depth), groups = q.shape, k.shape[1]
        head, row, column = index(1), index(2), index(3)
        if heads != groups:
            head, row = head * size(heads // groups) + call("div", row, size(length)), call("rem", row, size(length))
        scores = Kept(wide, 0) * self._factor(depth)
        if self.softcap:
            scores = call("tanh", scores / self.softcap) * self.softcap
        first = size(self.past)
        for number, other in enumerate(others, FIXED):
            seen = Load(other.dtype, number, broadcast_index(other, 4, (index(0), head, row, column)))
            if other.dtype is BOOL:
                scores = select(seen, scores, -math.inf)
            elif other.dtype.is_float:
                scores = scores + cast(seen, wide)
            else:
                count = Load(I64, number, (index(0),))
                scores, first = select(column < count, scores, -math.inf), count - size(length)
        if self._later >= 0:
            scores = select(column <= row + first + self._later, scores, -math.inf)
        return select(column >= row + first - self.left_window, scores, -math.inf) if self.left_window >= 0 else scores


def _split(others: Sequence[_Operand]) -> tuple[Sequence[_Operand], _Operand | None]:
    """(masks, lengths): lengths are integers, and come last."""
    if others and others[-1].dtype in (I64, I64.numpy):
        return others[:-1], others[-1]
    return others, None
