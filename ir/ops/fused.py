"""What fusion makes: loop programs and contractions with epilogues. Their references interpret the composed bodies."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from ..dims import DimLike, ceildiv, concrete, product
from ..dtypes import F32, F64, DType
from ..errors import InvalidGraph
from ..expr import Expr, Index, Kept, Load, const, evaluate_expr, index, minimum, select, size
from ..forms import Map
from ..loops import LoopProgram, interpret
from ..op import Op, op
from ..types import TensorType, broadcast


@op
class Loops(Op):
    """A loop program over the operands; results are the program's outputs."""

    program: LoopProgram

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        self.program.verify()
        return self.program.outputs

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        return interpret(self.program, arrays)


class ProductOp(Op):
    """Base of ops that hand an accumulator to epilogues, one for each result.

    fixed: how many operands come before those that epilogues load.
    """

    epilogues: tuple[Expr, ...]

    @property
    def fixed(self) -> int:
        raise NotImplementedError(f"{self.name}.fixed")

    def with_epilogues(self, epilogues: tuple[Expr, ...]) -> ProductOp:
        return dataclasses.replace(self, epilogues=epilogues)


@op
class Contraction(ProductOp):
    """out_e[batch..., m, n] = epilogue_e(acc), acc = Σ over products (i, j) of Σ_k a_i[batch..., m, k]·b_j[batch..., k, n].

    Operands: a_0 … a_{a_parts-1}, b_0 … b_{b_parts-1}, then what the epilogues load. A float32-grade product of bf16 parts
    lists its products smallest first. accumulate: dtype of acc. epilogues: one for each result, over `Kept(0)` (acc),
    `Load(k, ...)` (operand k of this node) and `Index` of the result's axes. row_axes, depth_axes: see the form `Contract`.
    """

    epilogues: tuple[Expr, ...] = (Kept(F32, 0),)
    products: tuple[tuple[int, int], ...] = ((0, 0),)
    a_parts: int = 1
    b_parts: int = 1
    accumulate: DType = F32
    row_axes: int = 1
    depth_axes: int = 1

    @property
    def fixed(self) -> int:
        return self.a_parts + self.b_parts

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        a, b = as_matrix(operands[0], self.row_axes, self.depth_axes), operands[self.a_parts]
        if a.rank < 2 or b.rank < 2 or a.shape[-1] != b.shape[-2]:
            raise InvalidGraph(f"contraction of {a} with {b}")
        shape = (*broadcast(a.shape[:-2], b.shape[:-2]), *self.rows(operands[0]), b.shape[-1])
        return tuple(TensorType(e.dtype, shape) for e in self.epilogues)

    def rows(self, a: TensorType) -> tuple[DimLike, ...]:
        """Extents of the axes of m."""
        return a.shape[a.rank - self.row_axes - self.depth_axes : a.rank - self.depth_axes]

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        wide = F64.numpy if self.accumulate.is_float else self.accumulate.numpy
        b = arrays[self.a_parts : self.a_parts + self.b_parts]
        a = [matrix_of(x, self.row_axes, self.depth_axes) for x in arrays[: self.a_parts]]
        acc = np.asarray(sum(np.matmul(a[i].astype(wide), b[j].astype(wide)) for i, j in self.products))
        rows = arrays[0].shape[arrays[0].ndim - self.row_axes - self.depth_axes : arrays[0].ndim - self.depth_axes]
        acc = acc.reshape(*acc.shape[:-2], *rows, acc.shape[-1]).astype(self.accumulate.numpy)
        grid = [np.arange(e).reshape([-1 if j == k else 1 for j in range(acc.ndim)]) for k, e in enumerate(acc.shape)]

        def leaf(x: Expr) -> np.ndarray:
            if isinstance(x, Kept):
                return acc
            return arrays[x.operand] if isinstance(x, Load) else grid[x.axis] if isinstance(x, Index) else acc[()]

        if acc.size == 0:
            return tuple(np.zeros(acc.shape, e.dtype.numpy) for e in self.epilogues)
        return tuple(np.broadcast_to(evaluate_expr(e, leaf, {}), acc.shape) for e in self.epilogues)


def as_matrix(a: TensorType, row_axes: int, depth_axes: int) -> TensorType:
    """[batch..., m, k] of [batch..., m..., k...]"""
    first, second = a.rank - row_axes - depth_axes, a.rank - depth_axes
    return a.with_shape((*a.shape[:first], product(a.shape[first:second]), product(a.shape[second:])))


def matrix_of(a: np.ndarray, row_axes: int, depth_axes: int) -> np.ndarray:
    """[batch..., m, k] of [batch..., m..., k...]"""
    first, second = a.ndim - row_axes - depth_axes, a.ndim - depth_axes
    return a.reshape(*a.shape[:first], math.prod(a.shape[first:second]), math.prod(a.shape[second:]))


@dataclass(frozen=True)
class Packing:
    """How a tile wants B: panels of `nr` tiles of n columns; tiles of k rows, k_pack of them side by side.

    b[..., k, n] → packed[..., panel, k/k_tile, nr, k_tile/k_pack, n_tile, k_pack], zero padded.
    """

    n: int
    k: int
    k_pack: int
    nr: int

    @property
    def panel(self) -> int:
        return self.nr * self.n

    def shape(self, depth: DimLike, columns: DimLike) -> tuple[DimLike, ...]:
        return (ceildiv(columns, self.panel), ceildiv(depth, self.k), self.nr, self.k // self.k_pack, self.n, self.k_pack)


@op
class PackB(Op):
    """B rearranged for a tile; see `Packing`."""

    packing: Packing

    def infer(self, b: TensorType) -> TensorType:
        return b.with_shape((*b.shape[:-2], *self.packing.shape(b.shape[-2], b.shape[-1])))

    def reference(self, b: np.ndarray) -> np.ndarray:
        p, (k, n) = self.packing, b.shape[-2:]
        panels, steps = concrete(p.shape(k, n))[:2]
        padded = b
        if (k, n) != (steps * p.k, panels * p.panel):
            padded = np.zeros((*b.shape[:-2], steps * p.k, panels * p.panel), b.dtype)
            padded[..., :k, :n] = b
        split = padded.reshape(*b.shape[:-2], steps, p.k // p.k_pack, p.k_pack, panels, p.nr, p.n)
        lead = tuple(range(b.ndim - 2))
        return np.ascontiguousarray(split.transpose(*lead, *(len(lead) + j for j in (3, 0, 4, 1, 5, 2))))

    def form(self, b: TensorType) -> Map:
        lead, p = b.rank - 2, self.packing
        at = [index(lead + j) for j in range(6)]
        row = at[1] * p.k + at[3] * p.k_pack + at[5]
        column = at[0] * p.panel + at[2] * p.n + at[4]
        return Map(guarded(b, (*(index(j) for j in range(lead)), row, column), {lead: p.k, lead + 1: p.panel}))


@op
class PackA(Op):
    """A with columns padded with zeros to a multiple of `depth`."""

    depth: int

    def infer(self, a: TensorType) -> TensorType:
        return a.with_shape((*a.shape[:-1], ceildiv(a.shape[-1], self.depth) * self.depth))

    def reference(self, a: np.ndarray) -> np.ndarray:
        out = np.zeros((*a.shape[:-1], -(-a.shape[-1] // self.depth) * self.depth), a.dtype)
        out[..., : a.shape[-1]] = a
        return out

    def form(self, a: TensorType) -> Map:
        return Map(guarded(a, tuple(index(j) for j in range(a.rank)), {a.rank - 1: self.depth}))


def guarded(x: TensorType, at: tuple[Expr, ...], padded: dict[int, int]) -> Expr:
    """x[at], or zero where an axis of `padded` (axis → multiple it was padded to) is past its end."""
    inside, clamped = None, list(at)
    for axis, multiple in padded.items():
        extent = x.shape[axis]
        if ceildiv(extent, multiple) * multiple == extent:
            continue
        test = at[axis] < size(extent)
        clamped[axis] = minimum(at[axis], size(extent) - 1)
        inside = test if inside is None else inside & test
    load = Load(x.dtype, 0, tuple(clamped))
    return load if inside is None else select(inside, load, const(0, x.dtype))


@dataclass(frozen=True)
class FewRows:
    """How a contraction is done that has at most `most` rows: the instruction, the block, how much of k at a time.

    inner, panels: how B's packing serves it: so many steps of k lie side by side in a tile, so many panels are one of the block.
    """

    most: int
    tile: str
    block: tuple[int, int]
    depth_block: int
    inner: int
    panels: int


@op
class TiledContraction(ProductOp):
    """`Contraction` with operands laid out for a tile.

    Operands: a parts [batch..., M, K] (K padded by PackA where the tile wants that), packed b parts, epilogue operands. lead: the
    result's axes before n. depth, columns: the true k and n. tile, block: the instruction, and how many rows and columns of tiles a
    kernel holds in registers. depth_block: how much of k it does at a time. whole_rows: rows of A that are read at a time whether
    they are there or not (0: only those that are). few: ascending; what serves fewer rows better. row_axes, depth_axes: as in
    `Contraction`; with more than one of either, a is read where it lies and has all of k.
    """

    epilogues: tuple[Expr, ...]
    products: tuple[tuple[int, int], ...]
    a_parts: int
    b_parts: int
    accumulate: DType
    lead: tuple[DimLike, ...]
    columns: DimLike
    depth: DimLike
    tile: str
    block: tuple[int, int]
    depth_block: int
    packing: Packing
    whole_rows: int
    few: tuple[FewRows, ...] = ()
    row_axes: int = 1
    depth_axes: int = 1

    @property
    def fixed(self) -> int:
        return self.a_parts + self.b_parts

    @property
    def in_windows(self) -> bool:
        """Whether rows or depth are several axes of a."""
        return self.row_axes > 1 or self.depth_axes > 1

    def infer(self, *operands: TensorType) -> tuple[TensorType, ...]:
        return tuple(TensorType(e.dtype, (*self.lead, self.columns)) for e in self.epilogues)

    def reference(self, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
        k, n = concrete((self.depth, self.columns))
        a = arrays[: self.a_parts] if self.in_windows else [x[..., :k] for x in arrays[: self.a_parts]]
        b = [unpacked(x)[..., :k, :n] for x in arrays[self.a_parts : self.a_parts + self.b_parts]]
        plain = Contraction(
            self.epilogues, self.products, self.a_parts, self.b_parts, self.accumulate, self.row_axes, self.depth_axes
        )
        return plain.reference(*a, *b, *arrays[self.a_parts + self.b_parts :])


def unpacked(b: np.ndarray) -> np.ndarray:
    """What PackB packed, with its padding: [..., k, n]."""
    lead = b.ndim - 6
    back = b.transpose(*range(lead), *(lead + j for j in (1, 3, 5, 0, 2, 4)))
    steps, inner, pack, panels, nr, n = back.shape[lead:]
    return back.reshape(*b.shape[:lead], steps * inner * pack, panels * nr * n)
