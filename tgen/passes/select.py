"""select: each contraction gets the multiply-accumulate instruction, the block and the operand layouts it runs with.

The choice is a cost model over the target's numbers, not a list of cases: cycles = blocks · k steps · max(macs, loads), with what
padding wastes counted. Packing of constant operands is folded at compile time; packing of others becomes a loop program.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.builder import Builder
from ..ir.dims import DimLike, evaluate_dim, symbols
from ..ir.dtypes import DType
from ..ir.errors import Unsupported
from ..ir.expr import Arg, cast
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.ops.fused import Contraction, PackA, PackB, Packing, TiledContraction
from ..targets.target import Caches, Target
from ..targets.tile import MacTile
from .lower import map_program

TYPICAL = 128  # what a symbolic dimension is taken to be when costs are compared
LOADS_PER_CYCLE = 2.0
PANEL_SHARE = 0.8  # of L1, for the panel of B
BLOCK_OVERHEAD = 30.0  # cycles to start a block and hand its result to the epilogue


@dataclass(frozen=True)
class Choice:
    """A tile and block (rows, columns of tiles) with the predicted cycles of the whole contraction."""

    tile: MacTile
    block: tuple[int, int]
    cycles: float

    def __str__(self) -> str:
        return f"{self.tile.name} block {self.block[0]}x{self.block[1]}, {self.cycles:.0f} cycles predicted"


def select(graph: Graph, target: Target) -> Graph:
    """evaluate is unchanged; no plain contraction is left."""

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
        return tiled(node, inputs, target).results if isinstance(node.op, Contraction) else None

    return map_graph(graph, rebuild=rebuild)


def tiled(node: Node, inputs: tuple[Value, ...], target: Target) -> Node:
    op = node.op
    assert isinstance(op, Contraction)
    a, b = inputs[: op.a_parts], inputs[op.a_parts : op.a_parts + op.b_parts]
    m, k = a[0].type.shape[-2:]
    n = b[0].type.shape[-1]
    choice = choose(target, a[0].type.dtype, b[0].type.dtype, op.accumulate, m, n, k, len(op.products))
    if choice is None and a[0].type.dtype is not op.accumulate:  # no such instruction: multiply in the accumulator's dtype
        a, b = (tuple(converted(x, op.accumulate) for x in parts) for parts in (a, b))
        choice = choose(target, op.accumulate, op.accumulate, op.accumulate, m, n, k, len(op.products))
    if choice is None:
        raise Unsupported(
            f"{node.origin or 'contraction'}: target {target.name} multiplies no {a[0].type.dtype} into {op.accumulate}"
        )
    tile, (mr, nr) = choice.tile, choice.block
    build = Builder()
    packing = Packing(tile.n, tile.k, tile.k_pack, nr)
    lead = node.types[0].shape[:-1]
    a = tuple(whole_steps(build, x, tile) for x in a)
    b = tuple(build.apply(PackB(packing), x) for x in b)
    new = TiledContraction(
        op.epilogues,
        op.products,
        op.a_parts,
        op.b_parts,
        op.accumulate,
        lead,
        n,
        k,
        tile.name,
        (mr, nr),
        depth_block(tile, nr, target.caches),
        packing,
        whole_rows(tile, mr),
    )
    return Node(new, (*a, *b, *inputs[op.a_parts + op.b_parts :]), node.origin)


def converted(x: Value, dtype: DType) -> Value:
    return Value(Node(map_program(cast(Arg(x.type.dtype, 0), dtype), x.type.with_dtype(dtype), [x.type]), (x,), x.node.origin))


def whole_steps(build: Builder, a: Value, tile: MacTile) -> Value:
    """a with whole k steps of the tile: itself where it has them."""
    k = a.type.shape[-1]
    return a if isinstance(k, int) and k % tile.k == 0 else build.apply(PackA(tile.k), a)  # type: ignore[no-any-return]


def whole_rows(tile: MacTile, rows: int) -> int:
    """How many rows a block of so many tiles reads whether they are there or not."""
    return 0 if tile.broadcast else rows * tile.m


def choose(
    target: Target, a: DType, b: DType, accumulate: DType, m: DimLike, n: DimLike, k: DimLike, products: int
) -> Choice | None:
    """The cheapest tile and block for the shape; None when no tile takes these dtypes."""
    choices = [
        Choice(tile, block, cycles(tile, block, m, n, k, target.caches) * products)
        for tile in target.tiles
        if tile.a is a and tile.b is b and tile.accumulate is accumulate
        for block in tile.blocks()
    ]
    return min(choices, key=lambda c: c.cycles, default=None)


def depth_block(tile: MacTile, columns: int, caches: Caches) -> int:
    """How much of k is multiplied at a time: as much of a panel of B as L1 holds beside A and the accumulators."""
    row = columns * tile.n * tile.b.size
    return max(tile.k, int(PANEL_SHARE * caches.l1 / row) // tile.k * tile.k)


def cycles(tile: MacTile, block: tuple[int, int], m: DimLike, n: DimLike, k: DimLike, caches: Caches) -> float:
    """Cycles of out[m, n] = Σ_k: blocks · (k steps · max(macs, loads) + overhead for each block of k).

    A block needs rows+columns loads for rows·columns macs; a column tail costs a whole panel, a row tail its own rows; every block of
    k after the first reads and writes the accumulators again.
    """
    rows, columns, depth = (_typical(d) for d in (m, n, k))
    (mr, nr), panel = block, block[1] * tile.n
    panels = -(-columns // panel)
    steps = -(-depth // tile.k)
    full, rest = divmod(rows, mr * tile.m)
    depth_blocks = -(-depth // depth_block(tile, nr, caches))
    latency = 4.0 / (mr * nr)  # a chain of dependent macs: 4 cycles each; other accumulators fill the gaps

    def one(count: int) -> float:
        load = (count + nr) / LOADS_PER_CYCLE if tile.broadcast else (count + nr) * 8.0
        multiply = steps * max(count * nr * tile.cycles, load, latency * count * nr)
        return multiply + depth_blocks * (BLOCK_OVERHEAD + 2 * count * nr * (1.0 if tile.broadcast else 16.0))

    tail = one(-(-rest // tile.m)) if rest else 0.0
    return panels * (full * one(mr) + tail)


def _typical(dim: DimLike) -> int:
    return dim if isinstance(dim, int) else evaluate_dim(dim, dict.fromkeys(symbols(dim), TYPICAL))
