"""What a contraction costs with each instruction and block, by the target's numbers; the choice is the least, not a list of cases.

cycles = the greater of computing and of reading B, and what of the lesser does not hide behind it
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..ir.dims import DimLike, evaluate_dim, product, symbols
from ..ir.dtypes import I8, DType
from ..ir.graph import Constant, Graph, Value
from ..ir.types import TensorType
from ..kernels.specs import ContractKernel, row_blocks
from ..targets.target import Caches, Target
from ..targets.tile import MacTile

TYPICAL = 128  # what a symbolic dimension is taken to be when costs are compared
PANEL_SHARE = 0.75  # of L1, for the panel of B
WEIGHTS_SHARE = 0.75  # of L2, for all weights of a model
BLOCK_OVERHEAD = 70.0  # cycles (4x3 and 6x2 measured side by side on AVX2) to start a block and hand its result to the epilogue
FAR_ROW = 0.25  # cycles a step for a row of A whose address is in memory (14x2 beside 12x2 and 8x2 on AVX-512)
LINE = 64  # bytes
EXPOSED = 0.1  # of the lesser of computing and reading: what does not hide behind the greater
EXPOSED_LOADS = 0.2  # of the lesser of multiplying and loading from L1 (6x4 beside 7x2 and 8x3 on AVX-512)

Products = tuple[tuple[int, int], ...]
ONE: Products = ((0, 0),)


@dataclass(frozen=True)
class Shape:
    """[m, k]·[k, n]. weights: B is known when compiling. near: a run finds weights in L2 (see `near`), not beyond it. small: for bytes
    of A, products of neighbours along k add up to 16 bits whatever A holds. pitch: bytes from one row of A to the next; 0: not known.
    """

    m: DimLike
    n: DimLike
    k: DimLike
    weights: bool = False
    near: bool = False
    small: bool = False
    pitch: int = 0

    @staticmethod
    def of(a: TensorType, b: Value, near: bool = False, apart: DimLike = 0) -> Shape:
        """Of matrices a and b: batch axes of a count as rows where b has none. apart: elements from one row of a to the next."""
        one = all(d == 1 for d in b.type.shape[:-2])
        batch = a.shape[:-2] if one else ()
        pitch = apart * a.dtype.size if isinstance(apart, int) else 0
        return Shape(product([*batch, a.shape[-2]]), b.type.shape[-1], a.shape[-1], is_weight(b), near, _pairs_fit(b), pitch)

    @property
    def typical(self) -> tuple[int, int, int]:
        """Sizes to compare costs at. A symbolic number of rows is TYPICAL, however symbols make it up: several of them, or the positions
        of a window that has none in a sequence so short. What suits fewer rows is found beside (`few_rows`).
        """
        m = self.m if isinstance(self.m, int) else max(TYPICAL, _with_symbols(self.m, 1))
        return m, _with_symbols(self.n, TYPICAL), _with_symbols(self.k, TYPICAL)

    def __str__(self) -> str:
        return f"[{self.m}, {self.k}]·[{self.k}, {self.n}]{' weights' if self.weights else ''}{' in L2' if self.weights and self.near else ''}"


@dataclass(frozen=True)
class Choice:
    """A tile and block (rows, columns of tiles) with the predicted cycles of the whole contraction (of all its products)."""

    tile: MacTile
    block: tuple[int, int]
    cycles: float
    products: int = 1

    def __str__(self) -> str:
        times = f"{self.products} x " if self.products > 1 else ""
        return f"{times}{self.tile.name} block {self.block[0]}x{self.block[1]}, {self.cycles:.0f} cycles predicted"


def is_weight(value: Value) -> bool:
    """A constant, or what is made of one alone."""
    while len(value.node.inputs) == 1:
        (value,) = value.node.inputs
    return isinstance(value.op, Constant)


def _pairs_fit(b: Value) -> bool:
    """Whether 255 times the magnitudes of neighbours along k add up to no more than 16 bits hold."""
    if b.type.dtype is not I8 or (known := b.constant) is None:
        return False
    sizes = np.abs(known.astype(np.int16))
    even, odd = sizes[..., ::2, :], sizes[..., 1::2, :]
    pairs = even[..., : odd.shape[-2], :] + odd
    return bool(max(pairs.max(initial=0), even.max(initial=0)) <= np.iinfo(np.int16).max // 255)


def near(graph: Graph, caches: Caches) -> bool:
    """Whether L2 holds a model's weights from one run to the next, beside all else."""
    weights = (evaluate_dim(node.types[0].bytes, {}) for node in graph.nodes if isinstance(node.op, Constant))
    return sum(weights) <= WEIGHTS_SHARE * caches.l2


def candidates(target: Target, types: tuple[DType, DType, DType], shape: Shape, products: Products = ONE) -> Iterator[Choice]:
    """Every tile and block that multiplies these dtypes (of A, B and the accumulator)."""
    for tile in target.tiles:
        if (tile.a, tile.b, tile.accumulate) == types and (shape.small or not tile.in_pairs):
            for block in tile.blocks():
                yield Choice(tile, block, cycles(tile, block, shape, target.caches, products), len(products))


@functools.lru_cache(4096)
def choose(target: Target, types: tuple[DType, DType, DType], shape: Shape, products: Products = ONE) -> Choice | None:
    """The cheapest tile and block for the shape; None when no tile takes these dtypes."""
    return min(candidates(target, types, shape, products), key=lambda c: c.cycles, default=None)


def depth_block(tile: MacTile, columns: int, caches: Caches) -> int:
    """How much of k is multiplied at a time: as much of a panel of B as L1 holds beside A and the accumulators."""
    row = columns * tile.n * tile.b.size
    return max(tile.k, int(PANEL_SHARE * caches.l1 / row) // tile.k * tile.k)


def cycles(tile: MacTile, block: tuple[int, int], shape: Shape, caches: Caches, products: Products = ONE) -> float:
    """Of out[m, n] = Σ over products Σ_k. B is read once for each block of rows that a unit of work has; A, where L1 does not hold it
    beside a panel, once for each panel.
    """
    rows, columns, depth = shape.typical
    panels, steps = -(-columns // (block[1] * tile.n)), -(-depth // tile.k)
    full, last = row_blocks(-(-rows // tile.m), block[0], tile.least_rows(block))
    counts = {block[0]: full}
    for m in last:
        counts[m] = counts.get(m, 0) + 1
    computing = panels * sum(n * _block(tile, m, block[1], depth, shape.pitch, caches, products) for m, n in counts.items() if n)
    a_parts, b_parts = (1 + max(p[side] for p in products) for side in (0, 1))
    b_bytes = panels * block[1] * tile.n * steps * tile.k * tile.b.size * b_parts * -(-rows // ContractKernel.ROW_BLOCK)
    a_bytes = rows * depth * tile.a.size * a_parts
    a_again = panels * a_bytes if a_bytes > (1 - PANEL_SHARE) * caches.l1 else 0
    reading = (
        max((a_again + b_bytes) / caches.l2_speed, b_bytes / caches.beyond if shape.weights and not shape.near else 0.0)
        / tile.stream
    )
    return max(computing, reading) + EXPOSED * min(computing, reading)


def _block(tile: MacTile, rows: int, columns: int, depth: int, pitch: int, caches: Caches, products: Products) -> float:
    """A block: steps of k, each bound by macs, loads or the latency of a chain of macs; every block of k after the first reads and
    writes the accumulators again.
    """
    a_loads, b_loads = (_loads([p[side] for p in products]) for side in (0, 1))
    macs = rows * columns * tile.cycles * len(products)
    loads = (a_loads * rows + b_loads * columns) * tile.load_cycles
    depth_blocks = -(-depth // depth_block(tile, columns, caches))
    step = max(macs, loads, tile.latency * len(products)) + EXPOSED_LOADS * min(macs, loads)
    if tile.broadcast:
        step += a_loads * (max(0, rows - tile.addresses) * FAR_ROW + _driven_out(rows, pitch, caches) * LINE / caches.l2_speed)
    return -(-depth // tile.k) * step + depth_blocks * (BLOCK_OVERHEAD + 2 * rows * columns * tile.store_cycles)


def _driven_out(rows: int, pitch: int, caches: Caches) -> int:
    """Of so many rows, how many L1 has no place for since they lie a multiple of a way apart: their lines come from L2 in every step."""
    way = caches.l1 // caches.ways
    places = way // math.gcd(pitch, way)
    return max(0, rows - places * caches.ways) if pitch else 0


def _loads(parts: Sequence[int]) -> int:
    """How often a micro-kernel loads an operand in one step: when the part changes."""
    return 1 + sum(before != now for before, now in itertools.pairwise(parts))


def _with_symbols(dim: DimLike, value: int) -> int:
    return dim if isinstance(dim, int) else evaluate_dim(dim, dict.fromkeys(symbols(dim), value))
