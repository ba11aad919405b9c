"""select: each contraction gets the multiply-accumulate instruction, the block and the operand layouts it runs with.

The choice is a cost model over the target's numbers (`cost`). Packing of constant operands is folded at compile time; packing of others
becomes a loop program.
"""

from __future__ import annotations

import dataclasses

from ..ir.builder import Builder
from ..ir.dtypes import DType
from ..ir.errors import Unsupported
from ..ir.expr import Arg, cast
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.ops.fused import Contraction, PackA, PackB, TiledContraction, as_matrix
from ..targets.target import Target
from ..targets.tile import MacTile
from .cost import ONE, Shape, choose, depth_block, near
from .few_rows import few_rows, packing_of
from .lower import map_program


def select(graph: Graph, target: Target) -> Graph:
    """evaluate is unchanged; no plain contraction is left."""
    in_l2 = near(graph, target.caches)

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
        return tiled(node, inputs, target, in_l2) if isinstance(node.op, Contraction) else None

    return map_graph(graph, rebuild=rebuild)


def tiled(node: Node, inputs: tuple[Value, ...], target: Target, in_l2: bool = False) -> tuple[Value, ...]:
    """The results of a contraction by tiles. in_l2: where weights are."""
    op = node.op
    assert isinstance(op, Contraction)
    a, b = inputs[: op.a_parts], inputs[op.a_parts : op.a_parts + op.b_parts]
    shape = Shape.of(as_matrix(a[0].type, op.row_axes, op.depth_axes), b[0], in_l2, a[0].type.shape[-1])
    choice = choose(target, (a[0].type.dtype, b[0].type.dtype, op.accumulate), shape, op.products)
    if choice is None and a[0].type.dtype is not op.accumulate:  # no such instruction: multiply in the accumulator's dtype
        a, b = (tuple(converted(x, op.accumulate) for x in parts) for parts in (a, b))
        choice = choose(target, (op.accumulate, op.accumulate, op.accumulate), shape, op.products)
    if choice is None:
        raise Unsupported(
            f"{node.origin or 'contraction'}: target {target.name} multiplies no {a[0].type.dtype} into {op.accumulate}"
        )
    tile, (mr, nr) = choice.tile, choice.block
    if not _reads_windows(op, a[0], tile):
        return _written_out(node, inputs, target, in_l2)
    build = Builder()
    packing = packing_of(choice)
    lead = node.types[0].shape[:-1]
    windows = op.row_axes > 1 or op.depth_axes > 1
    a = a if windows else tuple(whole_steps(build, x, tile) for x in a)
    b = tuple(build.apply(PackB(packing), x) for x in b)
    new = TiledContraction(
        op.epilogues,
        op.products,
        op.a_parts,
        op.b_parts,
        op.accumulate,
        lead,
        shape.n,
        shape.k,
        tile.name,
        (mr, nr),
        depth_block(tile, nr, target.caches),
        packing,
        whole_rows(tile, mr),
        few_rows(target, choice, shape, windows),
        op.row_axes,
        op.depth_axes,
    )
    return Node(new, (*a, *b, *inputs[op.a_parts + op.b_parts :]), node.origin).results


def _reads_windows(op: Contraction, a: Value, tile: MacTile) -> bool:
    """Whether a tile takes A as it lies, rows one by one or in lines; else its windows are written out. k goes along A's last axis in
    whole steps.
    """
    last = a.type.shape[-1]
    plain = op.row_axes == op.depth_axes == 1
    reads_rows = not tile.broadcast or (tile.m == 1 and op.products == ONE)
    return plain or (reads_rows and isinstance(last, int) and last % tile.k == 0)


def _written_out(node: Node, inputs: tuple[Value, ...], target: Target, in_l2: bool) -> tuple[Value, ...]:
    """The same with parts of A as matrices."""
    op, build = node.op, Builder()
    assert isinstance(op, Contraction)
    a = [build.reshape(x, shape=as_matrix(x.type, op.row_axes, op.depth_axes).shape) for x in inputs[: op.a_parts]]
    plain = dataclasses.replace(op, row_axes=1, depth_axes=1)
    flat = (*a, *inputs[op.a_parts :])
    results = tiled(Node(plain, flat, node.origin), flat, target, in_l2)
    return tuple(build.reshape(x, shape=t.shape) for x, t in zip(results, node.types))


def converted(x: Value, dtype: DType) -> Value:
    return Value(Node(map_program(cast(Arg(x.type.dtype, 0), dtype), x.type.with_dtype(dtype), [x.type]), (x,), x.node.origin))


def whole_steps(build: Builder, a: Value, tile: MacTile) -> Value:
    """a with whole k steps of the tile: itself where it has them."""
    k = a.type.shape[-1]
    return a if isinstance(k, int) and k % tile.k == 0 else build.apply(PackA(tile.k), a)


def whole_rows(tile: MacTile, rows: int) -> int:
    """How many rows a block of so many tiles reads whether they are there or not."""
    return 0 if tile.broadcast else rows * tile.m
