"""What each product of matrices could be done with, and what it costs by the target's cost model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tgen.ir.dtypes import BF16, F32, DType
from tgen.ir.ops.attend import Attend
from tgen.ir.ops.fused import Contraction, as_matrix
from tgen.passes.cost import ONE, Choice, Products, Shape, candidates, near
from tgen.passes.few_rows import few_rows
from tgen.passes.precision import PRODUCTS

if TYPE_CHECKING:
    from tgen.ir.graph import Graph, Node
    from tgen.targets.target import Target

Types = tuple[DType, DType, DType]  # of A, B and the accumulator
Need = tuple[Types, Shape, Products]


def choices(graph: Graph, target: Target, level: str) -> str:
    """graph: as it is before `select`. Equal products are printed once; `*` marks what is chosen, `<=` what few rows get instead.

    level: the precision asked for.
    """
    in_l2 = near(graph, target.caches)
    needs = Counter(need for node in graph.nodes for need in needs_of(node, in_l2))
    return "\n\n".join(_described(need, count, target, level) for need, count in needs.items()) or "no products of matrices"


def needs_of(node: Node, in_l2: bool) -> Iterator[Need]:
    """in_l2: where weights are."""
    op = node.op
    if isinstance(op, Contraction):
        a, b = as_matrix(node.inputs[0].type, op.row_axes, op.depth_axes), node.inputs[op.a_parts]
        yield (a.dtype, b.type.dtype, op.accumulate), Shape.of(a, b, in_l2), op.products
    if isinstance(op, Attend):
        q, v = node.inputs[0].type, node.inputs[2 * op.parts].type
        (m, d), (n, e) = q.shape[-2:], v.shape[-2:]
        for shape in (Shape(m, n, d), Shape(m, e, n)):
            yield (q.dtype, q.dtype, op.accumulate), shape, op.products


def _described(need: Need, count: int, target: Target, level: str) -> str:
    types, shape, products = need
    a, b, accumulate = types
    ways: dict[tuple[Types, Products], None] = {(types, products): None, ((accumulate,) * 3, ONE): None}
    if accumulate is F32 and {a, b} <= {F32, BF16}:
        ways[(BF16, BF16, F32), PRODUCTS[level]] = None
    found = [_best(candidates(target, way, shape, times)) for way, times in ways]
    chosen = next((f[0] for f in found if f), None)
    rivals = sorted((c for f in found for c in f), key=lambda c: c.cycles)
    title = f"{shape} of {a} and {b} in {accumulate}{f', {count} times' if count > 1 else ''}"
    few = few_rows(target, chosen, shape) if chosen else ()
    cases = [f"  <= {f.most} rows: {f.tile} block {f.block[0]}x{f.block[1]}" for f in few]
    return "\n".join([title, *(f"  {'*' if c is chosen else ' '} {c}" for c in rivals), *cases])


def _best(found: Iterator[Choice]) -> list[Choice]:
    """The best block of each instruction, the best instruction first."""
    best: dict[str, Choice] = {}
    for choice in sorted(found, key=lambda c: c.cycles):
        best.setdefault(choice.tile.name, choice)
    return list(best.values())
