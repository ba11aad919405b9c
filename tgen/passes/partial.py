"""partial: a long reduction to few results is done in two steps.

    reduce over (h, w) of x[h, w, c]   →   reduce over h of (reduce over w of x[h, w, c])
for sums, means and extrema whose lanes run along what is kept. Threads share rows of what is kept: where these are few, the first step has
as many times more, and reads a line of a picture at a time instead of going all through the picture for every few channels.
"""

from __future__ import annotations

import dataclasses

from ..ir.dims import DimLike, product
from ..ir.dtypes import F32, F64
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.ops.movement import Transpose
from ..ir.ops.reduction import ReduceMax, ReduceMean, ReduceMin, ReduceSum, Reduction
from ..ir.rewrite import make
from ..kernels.specs import VECTOR_BLOCK

MOST_UNITS = 4  # of VECTOR_BLOCK results: beyond, threads have enough to share
LEAST = 16  # elements that each of the two steps reduces


def partial(graph: Graph) -> Graph:
    """evaluate is unchanged but for the order of sums."""
    return map_graph(graph, rebuild=_in_two)


def _in_two(node: Node, inputs: tuple[Value, ...]) -> Value | None:
    op = node.op
    if not isinstance(op, (ReduceSum, ReduceMean, ReduceMax, ReduceMin)) or inputs[0].type.dtype not in (F32, F64):
        return None
    shape = inputs[0].type.shape
    axes = [a for a in op.reduced(inputs[0].type) if shape[a] != 1]
    if len(axes) < 2 or _innermost(inputs[0]) in axes or not _few(product(d for k, d in enumerate(shape) if k not in axes)):
        return None
    later = tuple(axes[1:])
    if not (_many(shape[axes[0]]) and _many(product(shape[a] for a in later))):
        return None
    first: Reduction = dataclasses.replace(op, axes=later, keepdims=True)
    return make(node, op, make(node, first, *inputs))


def _innermost(x: Value) -> int:
    """The axis whose elements are neighbours in memory, as far as transposes tell."""
    last = x.type.rank - 1
    return x.op.perm.index(last) if isinstance(x.op, Transpose) else last


def _few(kept: DimLike) -> bool:
    """A symbol, of a batch, counts as one."""
    known = kept if isinstance(kept, int) else max((abs(c) for _, c in kept.terms), default=1)
    return known <= MOST_UNITS * VECTOR_BLOCK


def _many(extent: DimLike) -> bool:
    return not isinstance(extent, int) or extent >= LEAST
