"""The two kinds of kernel. A spec is frozen and hashable: it is the key under which equal kernels are compiled once.

Operands are passed as pointers (already at their base offset) in the order inputs, outputs; symbols as an array of i64.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from ..ir.dims import DimLike, ceildiv, product
from ..ir.dtypes import DType
from ..ir.expr import Expr, Kept, index, shift_axes, walk
from ..ir.loops import LoopProgram, Stage
from .flat import direct_axes, flat_offset, flatten_loads, merge, merge_offset, mergeable, offsets, terms

ROW_SLACK = 64  # rows of accumulators after a block's last: a micro-kernel stores whole blocks
VECTOR_BLOCK = 512  # elements of the vectorised row axis that one unit of work covers


@dataclass(frozen=True)
class LoopKernel:
    """A loop program over flat memory. inputs, outputs: dtypes of the operands. vector: the axis that lanes run along.

    A unit of work (what threads share) is a row; when `vector` is a row axis, VECTOR_BLOCK elements of it.
    """

    extents: tuple[DimLike, ...]
    rows: int
    stages: tuple[Stage, ...]
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]
    vector: int | None

    @property
    def units(self) -> DimLike:
        if self.vector is None or self.vector >= self.rows:
            return product(self.extents[: self.rows])
        return product(self.extents[: self.rows - 1]) * ceildiv(self.extents[self.vector], VECTOR_BLOCK)

    @property
    def work(self) -> DimLike:
        """Vector element operations of the whole kernel, roughly."""
        return product(self.extents) * sum(1 + sum(1 for _ in walk(s.body)) for s in self.stages)

    @property
    def kept(self) -> tuple[int, ...]:
        """Stages whose columns are kept in scratch memory for later stages."""
        read = {x.stage for s in self.stages for x in walk(s.body) if isinstance(x, Kept)}
        return tuple(k for k, s in enumerate(self.stages) if s.kind == "each" and k in read)

    @property
    def scratch(self) -> DimLike:
        """Bytes of scratch a thread needs: a row of each kept stage, 64-byte aligned."""
        columns = product(self.extents[self.rows :])
        return sum((ceildiv(columns * self.stages[k].body.dtype.size, 64) * 64 for k in self.kept), 0)


@dataclass(frozen=True)
class Product:
    """What a micro-kernel multiplies: blocks of `block` tiles, the sum of products (i, j) of parts of A and B, both of dtype `operand`."""

    tile: str
    block: tuple[int, int]
    products: tuple[tuple[int, int], ...]
    a_parts: int
    b_parts: int
    operand: DType
    accumulate: DType


@dataclass(frozen=True)
class ContractKernel:
    """out_e[batch..., m, n] = epilogue_e(Σ products Σ_k a_i·b_j), by tiles. Axes of expressions: batch..., m, n.

    a_strides: (batch..., m, k) in elements, shared by all a parts; b_strides: (batch..., panel, k step, tile). stores: offsets of the results.
    inputs: dtypes of a parts, b parts and epilogue operands. A unit of work is one panel of columns of one batch entry, for ROW_BLOCK
    rows.
    """

    batch: tuple[DimLike, ...]
    rows: DimLike
    columns: DimLike
    depth: DimLike
    tile: str
    block: tuple[int, int]
    depth_block: int
    panel: int
    products: tuple[tuple[int, int], ...]
    a_parts: int
    b_parts: int
    a_strides: tuple[DimLike, ...]
    b_strides: tuple[DimLike, ...]
    epilogues: tuple[Expr, ...]
    stores: tuple[Expr, ...]
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]
    accumulate: DType

    ROW_BLOCK = 192

    @property
    def product(self) -> Product:
        return Product(self.tile, self.block, self.products, self.a_parts, self.b_parts, self.inputs[0], self.accumulate)

    @property
    def units(self) -> DimLike:
        return product(self.batch) * ceildiv(self.rows, self.ROW_BLOCK) * ceildiv(self.columns, self.panel)

    @property
    def work(self) -> DimLike:
        return product(self.batch) * self.rows * self.columns * self.depth * len(self.products)

    @property
    def scratch(self) -> DimLike:
        """Accumulators of a block of rows, whole blocks."""
        return (self.ROW_BLOCK + ROW_SLACK) * self.panel * self.accumulate.size


@dataclass(frozen=True)
class AttendKernel:
    """out_e[batch..., m, e] = epilogue_e(Σ_n softmax_n(scores(q·k))·v), `row_block` rows by `column_block` columns of scores at a time.

    rows, columns, depth, width: m, n, d, e. q_strides: (batch..., m, d) in elements; k_strides, v_strides: (batch..., panel, k step, tile).
    weights: what the second product takes, over Kept(0). limit: how many rows and columns of a batch entry are done (None: all). A unit of work is row_block rows of one batch entry.
    """

    batch: tuple[DimLike, ...]
    rows: DimLike
    columns: DimLike
    depth: DimLike
    width: DimLike
    row_block: int
    column_block: int
    qk: Product
    pv: Product
    depth_block: int
    q_strides: tuple[DimLike, ...]
    k_strides: tuple[DimLike, ...]
    v_strides: tuple[DimLike, ...]
    scores: Expr
    weights: tuple[Expr, ...]
    undefined: str
    epilogues: tuple[Expr, ...]
    stores: tuple[Expr, ...]
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]
    panels: tuple[int, int]
    limit: Expr | None

    @property
    def units(self) -> DimLike:
        return product(self.batch) * ceildiv(self.rows, self.row_block)

    @property
    def work(self) -> DimLike:
        scores = product(self.batch) * self.rows * self.columns
        return scores * (self.depth * len(self.qk.products) + self.width * len(self.pv.products))

    @property
    def areas(self) -> tuple[DimLike, ...]:
        """Bytes of a thread's scratch, in order: scores, parts of weights (0: the scores' place serves), results, greatest, sum a row."""
        rows, size = self.row_block + ROW_SLACK, self.qk.accumulate.size
        scores = rows * self.column_block * size
        in_place = self.pv.operand is self.pv.accumulate
        weights = 0 if in_place else len(self.weights) * rows * self.column_block * self.pv.operand.size
        return scores, weights, rows * self.result_columns * size, _aligned(rows * size), _aligned(rows * size)

    @property
    def result_columns(self) -> DimLike:
        return ceildiv(self.width, self.panels[1]) * self.panels[1]

    @property
    def scratch(self) -> DimLike:
        return sum(self.areas, 0)


Kernel = LoopKernel | ContractKernel | AttendKernel


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


def tiles_of(kernel: Kernel) -> tuple[str, ...]:
    """Names of the instructions that a kernel multiplies by."""
    if isinstance(kernel, AttendKernel):
        return (kernel.qk.tile, kernel.pv.tile)
    return (kernel.tile,) if isinstance(kernel, ContractKernel) else ()


def loop_kernel(
    program: LoopProgram,
    inputs: Sequence[DType],
    input_strides: Sequence[Sequence[DimLike]],
    output_strides: Sequence[Sequence[DimLike]],
) -> LoopKernel:
    """The kernel of a loop program over operands with these strides (in elements)."""
    strides = dict(enumerate(input_strides))
    stages = []
    for s in program.stages:
        at = (flatten_loads(flat_offset(s.index, output_strides[s.output]), strides),) if s.output is not None else ()
        stages.append(Stage(s.kind, flatten_loads(s.body, strides), s.combine, s.output, at))
    kernel = LoopKernel(program.extents, program.rows, tuple(stages), tuple(inputs), tuple(t.dtype for t in program.outputs), None)
    return _with_vector_axis(_collapsed(kernel))


def _collapsed(kernel: LoopKernel) -> LoopKernel:
    """Neighbouring row axes (or column axes) that every access steps through as one become one axis."""
    axis = 0
    while axis + 1 < len(kernel.extents):
        outer, inner = axis, axis + 1
        bodies = [s.body for s in kernel.stages] + [i for s in kernel.stages for i in s.index if direct_axes(i) and terms(i)[2]]
        stores = [i for s in kernel.stages for i in s.index]
        same = (outer < kernel.rows) == (inner < kernel.rows)
        if not same or not mergeable(outer, inner, kernel.extents[inner], bodies, stores):
            axis += 1
            continue
        rename = {k: k - 1 for k in range(inner, len(kernel.extents))}
        stages = tuple(
            Stage(s.kind, merge(s.body, outer, rename), s.combine, s.output, tuple(merge_offset(i, outer, rename) for i in s.index))
            for s in kernel.stages
        )
        extents = (*kernel.extents[:outer], kernel.extents[outer] * kernel.extents[inner], *kernel.extents[inner + 1 :])
        kernel = dataclasses.replace(kernel, extents=extents, rows=kernel.rows - (inner < kernel.rows), stages=stages)
    return kernel


def _score(kernel: LoopKernel, axis: int) -> float:
    """How well lanes along this axis meet memory: unit steps good, none neutral, others and look-ups bad."""
    bodies = [s.body for s in kernel.stages]
    score = 0.0
    for offset in [*offsets(bodies), *(i for s in kernel.stages for i in s.index)]:
        coefficients, _, opaque = terms(offset)
        step = coefficients.get(axis, 0)
        score += 1.0 if step == 1 else 0.0 if step == 0 else -2.0
        score -= 3.0 * any(axis in direct_axes(o) or _loads_along(o, axis) for o in opaque)
    extent = kernel.extents[axis]
    return score - (1.5 if isinstance(extent, int) and extent < 8 else 0.0)


def _loads_along(x: Expr, axis: int) -> bool:
    return any(axis in terms(o)[0] for o in offsets([x]))


def _with_vector_axis(kernel: LoopKernel) -> LoopKernel:
    """Lanes along the best column axis, or the best row axis, which then becomes the innermost row."""
    if not kernel.extents:
        return kernel
    columns = len(kernel.extents) > kernel.rows
    best_row = max(range(kernel.rows), key=lambda k: (_score(kernel, k), k), default=None)
    last = len(kernel.extents) - 1
    if columns and (best_row is None or kernel.kept or _score(kernel, last) >= _score(kernel, best_row)):
        return dataclasses.replace(kernel, vector=last)
    assert best_row is not None
    return _row_innermost(kernel, best_row)


def _row_innermost(kernel: LoopKernel, axis: int) -> LoopKernel:
    order = [k for k in range(kernel.rows) if k != axis] + [axis] + list(range(kernel.rows, len(kernel.extents)))
    rename = {old: new for new, old in enumerate(order)}

    def moved(x: Expr) -> Expr:
        return shift_axes(x, {old: index(new) for old, new in rename.items()})

    stages = tuple(Stage(s.kind, moved(s.body), s.combine, s.output, tuple(map(moved, s.index))) for s in kernel.stages)
    return dataclasses.replace(kernel, extents=tuple(kernel.extents[k] for k in order), stages=stages, vector=kernel.rows - 1)
