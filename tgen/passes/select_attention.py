"""select-attention: both products of an `attend` get instruction, block and layouts; its rows and columns get the size of a kernel's block."""

from __future__ import annotations

import math

from ..ir.builder import Builder
from ..ir.dims import DimLike, ceildiv
from ..ir.dtypes import DType
from ..ir.errors import Unsupported
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.ops.attend import Attend, TiledAttend, Tiling
from ..ir.ops.fused import PackB, Packing
from ..targets.target import Target
from ..targets.tile import MacTile
from .cost import Choice, Shape, choose, depth_block
from .select import converted, whole_rows, whole_steps

ROWS = 48  # of queries a kernel does at a time: enough that keys and values are read from L1 or L2 seldom
# Of L1, for the scores of a block: L2 holds what L1 does not, and fewer blocks of columns take 5 to 10 % less time (257 columns and more, on
# AVX-512).
SCORES_SHARE = 2.0


def select_attention(graph: Graph, target: Target) -> Graph:
    """evaluate is unchanged; no plain `attend` is left."""

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
        return _tiled(node, inputs, target).results if isinstance(node.op, Attend) else None

    return map_graph(graph, rebuild=rebuild)


def _tiled(node: Node, inputs: tuple[Value, ...], target: Target) -> Node:
    op, build = node.op, Builder()
    assert isinstance(op, Attend)
    q, k, v = (list(inputs[side * op.parts : (side + 1) * op.parts]) for side in range(3))
    (m, d), (n, e) = q[0].type.shape[-2:], v[0].type.shape[-2:]
    shapes = (Shape(m, n, d), Shape(m, e, n))
    operand = q[0].type.dtype
    found = _choices(op, operand, shapes, target)
    if found is None and operand is not op.accumulate:  # no such instruction: multiply in the accumulator's dtype
        operand = op.accumulate
        q, k, v = ([converted(x, operand) for x in parts] for parts in (q, k, v))
        found = _choices(op, operand, shapes, target)
    if found is None:
        raise Unsupported(f"{node.origin or 'attention'}: target {target.name} multiplies no {operand} into {op.accumulate}")
    scores, values = found
    rows, columns = _block(scores, values, m, n, op, target)
    q = [whole_steps(build, x, scores.tile) for x in q]
    qk, pv = _tiling(scores, target), _tiling(values, target)
    k, v = ([build.apply(PackB(t.packing), x) for x in parts] for t, parts in ((qk, k), (pv, v)))
    new = TiledAttend(
        op, operand, node.types[0].shape[:-1], d, n, e, qk, pv, whole_rows(scores.tile, scores.block[0]), rows, columns
    )
    return Node(new, (*q, *k, *v, *inputs[op.fixed :]), node.origin)


def _choices(op: Attend, operand: DType, shapes: tuple[Shape, Shape], target: Target) -> tuple[Choice, Choice] | None:
    scores, values = (choose(target, (operand, operand, op.accumulate), shape, op.products) for shape in shapes)
    return None if scores is None or values is None else (scores, values)


def _tiling(choice: Choice, target: Target) -> Tiling:
    tile, (mr, nr) = choice.tile, choice.block
    return Tiling(tile.name, (mr, nr), depth_block(tile, nr, target.caches), _packing(tile, nr))


def _packing(tile: MacTile, nr: int) -> Packing:
    return Packing(tile.n, tile.k, tile.k_pack, nr)


def _block(scores: Choice, values: Choice, m: DimLike, n: DimLike, op: Attend, target: Target) -> tuple[int, int]:
    """Rows: whole blocks of the first product. Columns: whole panels of it and k steps of the second, as many as L1 holds scores of."""
    least = scores.block[0] * scores.tile.m
    rows = ceildiv(min(m, ROWS) if isinstance(m, int) and m else ROWS, least) * least
    unit = math.lcm(scores.block[1] * scores.tile.n, values.tile.k, target.lanes)
    columns = max(1, int(SCORES_SHARE * target.caches.l1) // (rows * op.accumulate.size * unit)) * unit
    if isinstance(n, int):
        columns = min(columns, ceildiv(max(n, 1), unit) * unit)
    return rows, columns
