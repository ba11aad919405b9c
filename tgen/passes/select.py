"""select: each contraction gets the multiply-accumulate instruction, the block and the operand layouts it runs with.

The choice is a cost model over the target's numbers (`cost`). Packing of constant operands is folded at compile time; packing of others
becomes a loop program.
"""

from __future__ import annotations

from ..ir.builder import Builder
from ..ir.dtypes import DType
from ..ir.errors import Unsupported
from ..ir.expr import Arg, cast
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.ops.fused import Contraction, PackA, PackB, TiledContraction
from ..targets.target import Target
from ..targets.tile import MacTile
from .cost import Shape, choose, depth_block, near
from .few_rows import few_rows, packing_of
from .lower import map_program


def select(graph: Graph, target: Target) -> Graph:
    """evaluate is unchanged; no plain contraction is left."""
    in_l2 = near(graph, target.caches)

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> tuple[Value, ...] | None:
        return tiled(node, inputs, target, in_l2).results if isinstance(node.op, Contraction) else None

    return map_graph(graph, rebuild=rebuild)


def tiled(node: Node, inputs: tuple[Value, ...], target: Target, in_l2: bool = False) -> Node:
    """in_l2: where weights are."""
    op = node.op
    assert isinstance(op, Contraction)
    a, b = inputs[: op.a_parts], inputs[op.a_parts : op.a_parts + op.b_parts]
    shape = Shape.of(a[0], b[0], in_l2)
    choice = choose(target, (a[0].type.dtype, b[0].type.dtype, op.accumulate), shape, op.products)
    if choice is None and a[0].type.dtype is not op.accumulate:  # no such instruction: multiply in the accumulator's dtype
        a, b = (tuple(converted(x, op.accumulate) for x in parts) for parts in (a, b))
        choice = choose(target, (op.accumulate, op.accumulate, op.accumulate), shape, op.products)
    if choice is None:
        raise Unsupported(
            f"{node.origin or 'contraction'}: target {target.name} multiplies no {a[0].type.dtype} into {op.accumulate}"
        )
    tile, (mr, nr) = choice.tile, choice.block
    build = Builder()
    packing = packing_of(choice)
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
        shape.n,
        shape.k,
        tile.name,
        (mr, nr),
        depth_block(tile, nr, target.caches),
        packing,
        whole_rows(tile, mr),
        few_rows(target, choice, shape),
    )
    return Node(new, (*a, *b, *inputs[op.a_parts + op.b_parts :]), node.origin)


def converted(x: Value, dtype: DType) -> Value:
    return Value(Node(map_program(cast(Arg(x.type.dtype, 0), dtype), x.type.with_dtype(dtype), [x.type]), (x,), x.node.origin))


def whole_steps(build: Builder, a: Value, tile: MacTile) -> Value:
    """a with whole k steps of the tile: itself where it has them."""
    k = a.type.shape[-1]
    return a if isinstance(k, int) and k % tile.k == 0 else build.apply(PackA(tile.k), a)


def whole_rows(tile: MacTile, rows: int) -> int:
    """How many rows a block of so many tiles reads whether they are there or not."""
    return 0 if tile.broadcast else rows * tile.m
