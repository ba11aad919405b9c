"""The kinds of kernel. A spec is frozen and hashable: it is the key under which equal kernels are compiled once.

Operands are passed as pointers (already at their base offset) in the order inputs, outputs; symbols as an array of i64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..ir.dims import DimLike, ceildiv, product
from ..ir.dtypes import DType
from ..ir.expr import Expr, Kept, walk
from ..ir.loops import Stage

ROW_SLACK = 64  # rows of accumulators after a block's last: a micro-kernel stores whole blocks
ACROSS_BLOCK = 16  # elements of the axis that turned results lie along
VECTOR_BLOCK = 512  # elements of the vectorised row axis that one unit of work covers
REDUCED_BLOCK = 128  # the same where each element is a long reduction: of 512 channels threads have four units to share
LONG = 64  # columns of such a one
STRIP = 4  # neighbours along the axis before it whose sums are done together
MOST_TAPS = 16  # columns of the last axis that are written out one after another


@dataclass(frozen=True)
class LoopKernel:
    """A loop program over flat memory. inputs, outputs: dtypes of the operands. vector: the axis that lanes run along.

    A unit of work (what threads share) is a row; when `vector` is a row axis, `lane_block` elements of it. across: the axis before it
    is what results lie along: blocks of both are turned in registers, and a unit covers ACROSS_BLOCK elements of it; or STRIP elements
    where the kernel is done in strips.
    """

    extents: tuple[DimLike, ...]
    rows: int
    stages: tuple[Stage, ...]
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]
    vector: int | None
    across: bool = False

    @property
    def units(self) -> DimLike:
        if self.vector is None or self.vector >= self.rows:
            return product(self.extents[: self.rows])
        if self.across or self.in_strips:
            outer = product(self.extents[: self.rows - 2])
            blocks = ceildiv(self.extents[self.rows - 2], ACROSS_BLOCK if self.across else STRIP)
            return outer * blocks * ceildiv(self.extents[self.vector], VECTOR_BLOCK)
        return product(self.extents[: self.rows - 1]) * ceildiv(self.extents[self.vector], self.lane_block)

    @property
    def lane_block(self) -> int:
        """Elements of the vectorised row axis that a unit of work covers."""
        columns = product(self.extents[self.rows :])
        long = not isinstance(columns, int) or columns >= LONG
        reduces = any(s.kind == "reduce" for s in self.stages)
        return REDUCED_BLOCK if reduces and long and not (self.across or self.in_strips) else VECTOR_BLOCK

    @property
    def in_strips(self) -> bool:
        """Whether neighbouring rows are reduced side by side: few columns, lanes along rows, as in windows of a channel. What they read
        in common is read once, and while one sum waits for its last term the others go on.
        """
        if self.vector != self.rows - 1 or self.rows < 2 or self.across or len(self.extents) == self.rows:
            return False
        taps = self.extents[-1]
        kinds = {s.kind for s in self.stages}
        return kinds == {"once", "reduce"} and isinstance(taps, int) and 1 < taps <= MOST_TAPS

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
class ReadWindows:
    """Where rows of A lie and how they go on, if no single stride says so: (extent, stride in elements) of axes, outermost first.

    rows: what m consists of; none: a stride says it. depths: what k does.
    """

    rows: tuple[tuple[DimLike, DimLike], ...]
    depths: tuple[tuple[DimLike, DimLike], ...]


@dataclass(frozen=True)
class ContractKernel:
    """out_e[batch..., m, n] = epilogue_e(Σ products Σ_k a_i·b_j), by tiles. Axes of expressions: batch..., m, n.

    a_strides: (batch..., m, k) in elements, shared by all a parts; b_strides: (batch..., panel, k step, tile). stores: offsets of the results.
    inner, panels: where B is laid out for another instruction or block, how many k steps lie side by side in a tile of that layout, and
    how many of its panels are one of this kernel.
    inputs: dtypes of a parts, b parts and epilogue operands. ahead: B lies panel after panel where the last run left it, beyond L2, and
    is fetched before it is needed. windows: A's rows and depth are several axes each. row_axes: extents of those that expressions have
    for m; none: m is one. wanted: how far along the last of these there are results; the rest is multiplied, since rows that lie in line
    are faster than those that matter only, and dropped; None: all. A unit of work is one panel of columns of one batch entry, for ROW_BLOCK rows.
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
    ahead: bool = False
    inner: int = 1
    panels: int = 1
    windows: ReadWindows | None = None
    row_axes: tuple[DimLike, ...] = ()
    wanted: DimLike | None = None

    ROW_BLOCK = 192

    @property
    def row_extents(self) -> tuple[DimLike, ...]:
        """Of the axes that expressions have for m."""
        return self.row_axes or (self.rows,)

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
        """Accumulators of a block of rows, whole blocks; where windows are read, an offset for each of its rows."""
        return self.accumulator_bytes + (8 * self.ROW_BLOCK if self.rows_apart else 0)

    @property
    def rows_apart(self) -> bool:
        """Whether each row of A has an offset of its own."""
        return self.windows is not None and bool(self.windows.rows)

    @property
    def accumulator_bytes(self) -> int:
        return (self.ROW_BLOCK + ROW_SLACK) * self.panel * self.accumulate.size


@dataclass(frozen=True)
class AttendKernel:
    """out_e[batch..., m, e] = epilogue_e(Σ_n softmax_n(scores(q·k))·v), `row_block` rows by `column_block` columns of scores at a time.

    rows, columns, depth, width: m, n, d, e. q_strides: (batch..., m, d) in elements; k_strides, v_strides: (batch..., panel, k step, tile).
    weights: what the second product takes, over Kept(0). limit: how many rows and columns of a batch entry are done (None: all).
    visible: (begin, end) over axes (batch..., m): columns before begin and from end on have a score of -inf (None: no bound). A unit of
    work is row_block rows of one batch entry.
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
    visible: tuple[Expr | None, Expr | None] = (None, None)

    @property
    def units(self) -> DimLike:
        return product(self.batch) * ceildiv(self.rows, self.row_block)

    @property
    def work(self) -> DimLike:
        scores = product(self.batch) * self.rows * self.columns
        return scores * (self.depth * len(self.qk.products) + self.width * len(self.pv.products))

    @property
    def areas(self) -> tuple[DimLike, ...]:
        """Bytes of a thread's scratch, in order: scores, parts of weights (0: the scores' place serves), results, greatest, sum a row,
        earlier results (0: none are kept).
        """
        rows, size = self.row_block + ROW_SLACK, self.qk.accumulate.size
        scores = rows * self.column_block * size
        in_place = self.pv.operand is self.pv.accumulate and len(self.weights) == 1
        weights = 0 if in_place else len(self.weights) * rows * self.column_block * self.pv.operand.size
        results = rows * self.result_columns * size
        earlier = 0 if len(self.pv.products) == 1 else results
        return scores, weights, results, _aligned(rows * size), _aligned(rows * size), earlier

    @property
    def result_columns(self) -> DimLike:
        return ceildiv(self.width, self.panels[1]) * self.panels[1]

    @property
    def scratch(self) -> DimLike:
        return sum(self.areas, 0)


@dataclass(frozen=True)
class RoutineKernel:
    """A `Routine` with the dtypes of its operands (inputs, then outputs), each in one piece of memory."""

    function: Callable[..., None]
    units: DimLike
    sizes: tuple[DimLike, ...]
    work: DimLike
    scratch: DimLike
    inputs: tuple[DType, ...]
    outputs: tuple[DType, ...]


Kernel = LoopKernel | ContractKernel | AttendKernel | RoutineKernel


def row_blocks(extent: int, block: int, least: int) -> tuple[int, tuple[int, ...]]:
    """How rows are cut: (how many whole blocks, rows of the blocks after them). A last one of fewer than `least` rows gets some of the
    block before it.
    """
    full, rest = divmod(extent, block)
    if full and 0 < rest < least:
        return full - 1, (block + rest - least, least)
    return full, (rest,) if rest else ()


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


def tiles_of(kernel: Kernel) -> tuple[str, ...]:
    """Names of the instructions that a kernel multiplies by."""
    if isinstance(kernel, AttendKernel):
        return (kernel.qk.tile, kernel.pv.tile)
    return (kernel.tile,) if isinstance(kernel, ContractKernel) else ()
