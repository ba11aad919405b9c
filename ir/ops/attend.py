"""Attention as one loop: what `attention` (a pass) finds and one kernel does, without a matrix of all scores in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..dims import DimLike, concrete
from ..dtypes import F32, F64, DType
from ..errors import InvalidGraph
from ..expr import Arg, Expr, Index, Kept, Load, cast, evaluate_expr, transform
from ..op import op
from ..types import TensorType, broadcast
from .conversion import Bf16Part
from .fused import Packing, ProductOp, unpacked

UNDEFINED = ("nan", "empty", "zero")


@op
class Attend(ProductOp):
    """out_e[batch..., m, e] = epilogue_e(Σ_n w[m, n]·v[n, e]),  w = softmax over n of scores(Σ_d q[m, d]·k[d, n])

    Operands: `parts` parts of q [batch..., m, d], of k [batch..., d, n], of v [batch..., n, e] (batch axes broadcast); then what scores
    and epilogues load. scores: over `Kept(0)` (the sum, of dtype accumulate), `Load`s and `Index` of (batch..., m, n); epilogues: over
    `Kept(0)`, `Load`s and `Index` of (batch..., m, e). products: of the parts, as in `Contraction`, for both sums.
    undefined: the weights of a row that sees nothing (all scores -inf) or has a NaN: "nan" – NaN; "empty" – 0 if it sees nothing;
    "zero" – 0 in both cases. limit: over `Load`s and `Index` of the batch axes, how many columns of a batch entry there are, and how many
    rows are wanted; others are 0 here and left unwritten by a kernel. None: all.
    Where scores are -inf for certain (a causal mask, a window), a kernel may leave the column out: a v there that is not finite makes NaN of
    0·v here, and may not in a kernel.
    """

    scores: Expr
    epilogues: tuple[Expr, ...] = (Kept(F32, 0),)
    products: tuple[tuple[int, int], ...] = ((0, 0),)
    parts: int = 1
    undefined: str = "nan"
    accumulate: DType = F32
    limit: Expr | None = None

    @property
    def fixed(self) -> int:
        return 3 * self.parts

    def in_parts(self, products: tuple[tuple[int, int], ...]) -> Attend:
        """The same over parts of q, k and v instead of the whole ones."""
        parts = 1 + max(max(p) for p in products)
        by = 3 * (parts - self.parts)

        def moved(body: Expr) -> Expr:
            return transform(body, lambda x: Load(x.dtype, x.operand + by, x.index) if isinstance(x, Load) else None)

        limit = None if self.limit is None else moved(self.limit)
        epilogues = tuple(map(moved, self.epilogues))
        return replace(self, scores=moved(self.scores), epilogues=epilogues, products=products, parts=parts, limit=limit)

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        q, k, v = operands[:: self.parts][:3]
        fits = min(q.rank, k.rank, v.rank) >= 2 and q.shape[-1] == k.shape[-2] and k.shape[-1] == v.shape[-2]
        if not fits or self.undefined not in UNDEFINED:
            raise InvalidGraph(f"attend of {q}, {k} and {v}")
        shape = (*broadcast(q.shape[:-2], k.shape[:-2], v.shape[:-2]), q.shape[-2], v.shape[-1])
        return tuple(TensorType(e.dtype, shape) for e in self.epilogues)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        """In float64, but for scores and epilogues, which are computed as written."""
        count = self.parts
        q, k, v = (arrays[count * side : count * (side + 1)] for side in range(3))
        wide = self.accumulate.numpy
        total = sum(np.matmul(q[i].astype(np.float64), k[j].astype(np.float64)) for i, j in self.products)
        lead = np.broadcast_shapes(np.shape(total)[:-2], v[0].shape[:-2])
        total = np.broadcast_to(total, (*lead, *np.shape(total)[-2:])).astype(wide)
        scores = _on_grid(self.scores, total, arrays).astype(np.float64)
        limit = _on_grid(self.limit, np.zeros(lead), arrays)[..., None, None] if self.limit is not None else np.inf
        scores = np.where(np.arange(scores.shape[-1]) < limit, scores, -np.inf)
        value = sum(x.astype(np.float64) for x in v)  # parts add up to the whole
        with np.errstate(all="ignore"):
            out = np.matmul(_softmax(scores, self.undefined), value).astype(wide)
        out = np.where(np.arange(out.shape[-2])[:, None] < limit, out, np.zeros((), wide))
        return tuple(_on_grid(e, out, arrays) for e in self.epilogues)


def _softmax(scores: np.ndarray, undefined: str) -> np.ndarray:
    top = scores.max(axis=-1, keepdims=True, initial=-np.inf)
    weights = np.exp(scores - np.where(np.isneginf(top), 0, top))
    total = weights.sum(axis=-1, keepdims=True)
    out = weights / total
    if undefined == "empty":
        return np.where(total == 0, 0.0, out)
    return np.where(total > 0, out, 0.0) if undefined == "zero" else out


def _on_grid(body: Expr, kept: np.ndarray, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """body with Kept(0) = kept, at every element of it."""
    grid = [np.arange(e).reshape([-1 if j == k else 1 for j in range(kept.ndim)]) for k, e in enumerate(kept.shape)]

    def leaf(x: Expr) -> np.ndarray:
        if isinstance(x, Kept):
            return kept
        return arrays[x.operand] if isinstance(x, Load) else grid[x.axis] if isinstance(x, Index) else kept[()]

    if kept.size == 0:
        return np.zeros(kept.shape, body.dtype.numpy)
    return np.broadcast_to(evaluate_expr(body, leaf, {}), kept.shape)


@dataclass(frozen=True)
class Tiling:
    """How one of the products is done: the instruction, the block (rows, columns of tiles), how much of its depth at a time, B's layout."""

    tile: str
    block: tuple[int, int]
    depth_block: int
    packing: Packing


@op
class TiledAttend(ProductOp):
    """`Attend` with operands laid out for tiles: q padded by PackA where the tile wants that, k and v packed by PackB.

    lead: the result's axes before e; depth, columns, width: the true d, n and e. operand: dtype of the parts. qk, pv: the products.
    rows, block: how many rows (m) and columns (n) a kernel does at a time. whole_rows: as in `TiledContraction`.
    """

    attend: Attend
    operand: DType
    lead: tuple[DimLike, ...]
    depth: DimLike
    columns: DimLike
    width: DimLike
    qk: Tiling
    pv: Tiling
    whole_rows: int
    rows: int
    block: int

    @property
    def fixed(self) -> int:
        return self.attend.fixed

    @property
    def epilogues(self) -> tuple[Expr, ...]:  # type: ignore[override]
        return self.attend.epilogues

    def with_epilogues(self, epilogues: tuple[Expr, ...]) -> TiledAttend:
        return replace(self, attend=replace(self.attend, epilogues=epilogues))

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return tuple(TensorType(e.dtype, (*self.lead, self.width)) for e in self.epilogues)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        count, (d, n, e) = self.attend.parts, concrete((self.depth, self.columns, self.width))
        q = [x[..., :d] for x in arrays[:count]]
        k = [unpacked(x)[..., :d, :n] for x in arrays[count : 2 * count]]
        v = [unpacked(x)[..., :n, :e] for x in arrays[2 * count : 3 * count]]
        return self.attend.reference(*q, *k, *v, *arrays[3 * count :])


def weight_parts(parts: int, operand: DType, accumulate: DType) -> tuple[Expr, ...]:
    """The weights as the second product takes them, over Kept(0): themselves, rounded, or in bf16 parts."""
    weight = Kept(accumulate, 0)
    if parts == 1:
        return (weight if operand is accumulate else cast(weight, operand),)
    bodies = (Bf16Part(k).form(TensorType(F32, ())).body for k in range(parts))
    return tuple(transform(b, lambda x: weight if isinstance(x, Arg) else None) for b in bodies)


def accumulator(dtype: DType) -> DType:
    return F64 if dtype is F64 else F32
