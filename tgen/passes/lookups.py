"""lookups: rows that are 1 at one place choose a row of what they are multiplied by, and what is done to a chosen row is done to all rows
beforehand.

    (x[…, 1] = 0 … n-1 ? 1 : 0)·w   →   gather(w and a row of zeros, x where 0 ≤ x < n, else n)       w known, its elements finite
    f(gather(t, i), c)              →   gather(f(t, c), i)       elementwise f, known t of at most LARGEST bytes, known c, the same for all i
"""

from __future__ import annotations

import numpy as np

from ..ir.builder import Builder
from ..ir.dtypes import I64
from ..ir.evaluate import run_node
from ..ir.expr import Index, Load, walk
from ..ir.forms import Map
from ..ir.graph import Constant, Graph, Node, Tensor, Value
from ..ir.ops.comparison import Equal
from ..ir.ops.contraction import MatMul
from ..ir.ops.conversion import Cast
from ..ir.ops.gather import Gather
from ..ir.rewrite import make, rewrite

LARGEST = 1 << 20  # bytes of a table that is made when compiling


def lookups(graph: Graph) -> Graph:
    """evaluate is unchanged, but for the sign of zeros."""
    return rewrite(graph, [product_of_ones, done_to_all])


def product_of_ones(node: Node, *inputs: Value) -> Value | None:
    """(x = 0 … n-1)·w = gather(w, x)"""
    match node.op, inputs:
        case MatMul(), (Value(node=Node(op=Cast(), inputs=(Value(node=Node(op=Equal(), inputs=pair)),))), w):
            table, chosen = w.constant, _chosen(*pair)
        case _:
            return None
    if (
        table is None
        or chosen is None
        or table.ndim != 2
        or not w.type.dtype.is_float
        or not np.isfinite(table.astype(np.float64)).all()
    ):
        return None
    b, count = Builder(), len(table)
    with b.origin(node.origin):
        x = b.cast(b.squeeze(chosen, axes=(-1,)), to=I64)
        exists = getattr(b, "and")(b.greater_or_equal(x, b.constant(0, I64)), b.less(x, b.constant(count, I64)))
        place = b.where(exists, x, b.constant(count, I64))
        out: Value = b.gather(b.constant(np.concatenate([table, np.zeros_like(table[:1])])), place, axis=0)
    return out


def _chosen(a: Value, b: Value) -> Value | None:
    """x [..., 1] of integers, if the other one is 0 … n-1 along the last axis."""
    for x, numbers in ((a, b), (b, a)):
        known = numbers.constant
        if known is None or not x.type.rank or x.type.shape[-1] != 1 or not x.type.dtype.is_integer:
            continue
        if known.ndim <= x.type.rank and known.size == known.shape[-1:][0] and (known.ravel() == np.arange(known.size)).all():
            return x
    return None


def done_to_all(node: Node, *inputs: Value) -> Value | None:
    """f(gather(t, i), c) = gather(f(t, c), i)"""
    found = [v for v in inputs if isinstance(v.op, Gather) and v.op.axis == 0 and _small(v.node.inputs[0])]
    if not found or len(node.types) != 1:
        return None
    table, places = found[0].node.inputs
    form = node.op.form(*(v.type for v in inputs))
    if not isinstance(form, Map) or any(isinstance(x, (Load, Index)) for x in walk(form.body)):
        return None
    rank = table.type.rank - 1
    known = [_for_all_rows(v, places, rank) for v in inputs]
    if any(k is None for k in known):
        return None
    arrays = [k for k in known if k is not None]
    rows = np.broadcast_shapes(*(a.shape for a in arrays))
    if (*places.type.shape, *rows[1:]) != node.types[0].shape or np.prod(rows) * node.types[0].dtype.size > LARGEST:
        return None
    constants = tuple(Value(Node(Constant(Tensor(a)), ())) for a in arrays)
    (result,) = run_node(Node(node.op, constants, node.origin), arrays, {})
    return make(node, Gather(0), make(node, Constant(Tensor(result))), places)


def _small(table: Value) -> bool:
    """Known, and no larger than what is made here; a larger one may not even have been computed yet."""
    size = table.type.bytes
    return isinstance(table.op, Constant) and isinstance(size, int) and size <= LARGEST


def _for_all_rows(v: Value, places: Value, rank: int) -> np.ndarray | None:
    """The table of a lookup at `places`, or a constant that is the same for all of them; rank: of a row."""
    if isinstance(v.op, Gather) and v.op.axis == 0 and v.node.inputs[1] == places:
        table = v.node.inputs[0]
        return table.constant if _small(table) and table.type.rank == rank + 1 else None
    if not _small(v) or any(d != 1 for d in v.type.shape[: max(0, v.type.rank - rank)]):
        return None
    known = v.constant
    return None if known is None else known.reshape(known.shape[max(0, known.ndim - rank) :])
