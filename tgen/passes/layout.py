"""layout: values of a network of convolutions stay channels-last from one operator to the next.

Convolutions and poolings compute [n, space…, c] and hand on its transpose, [n, c, space…]. Here such transposes move behind what works
element by element, behind slices, joins and resampling, where they meet the ones that the next convolution begins with, and both are gone. Nothing is
copied for those that stay until something needs the elements in order.
"""

from __future__ import annotations

import dataclasses

from ..ir.builder import Builder
from ..ir.expr import Index, Load, walk
from ..ir.forms import Join, Map
from ..ir.graph import Graph, Node, Value
from ..ir.ops.contraction import MatMul
from ..ir.ops.gather import Gather
from ..ir.ops.movement import Reshape, Slice, Transpose, channels_first, channels_last
from ..ir.ops.resize import Interpolate
from ..ir.ops.windows import Windows
from ..ir.rewrite import make, rewrite
from . import views


def layout(graph: Graph) -> Graph:
    """evaluate is unchanged."""
    rules = [*views.RULES, elementwise, joined, sliced, along_axis, shuffled, turned_rows]
    return rewrite(rewrite(graph, rules), [in_order])


def in_order(node: Node, *inputs: Value) -> Value | None:
    """windows(x) = windows(first(pad(last(x)))): neighbouring channels become neighbours in memory, once and not for each window.
    A single channel has no neighbours.
    """
    op = node.op
    if not isinstance(op, Windows) or not op.is_view or all(k == 1 for k in op.kernel) or _source(inputs[0]) is not None:
        return None
    if inputs[0].type.shape[1] == 1:
        return None
    x, fill = inputs
    build, rank = Builder(), x.type.rank
    with build.origin(node.origin):
        one = (*[0] * (rank - 2), 1, 0)  # a column more, which nothing reads: a copy
        last = build.pad(build.transpose(x, perm=channels_last(rank)), fill, before=(0,) * rank, after=one)
        return make(node, op, build.transpose(last, perm=channels_first(rank)), fill)


def turned_rows(node: Node, *inputs: Value) -> Value | None:
    """transpose(x) · w = transpose(x · w) for a matrix w and rows in another order: in their own they are the rows of one product."""
    match node.op, inputs:
        case MatMul(), (Value(node=Node(op=Transpose(perm=perm), inputs=(x,))), w) if (
            w.type.rank == 2 and perm[-1] == len(perm) - 1
        ):
            return make(node, Transpose(perm), make(node, MatMul(), x, w))
    return None


def elementwise(node: Node, *inputs: Value) -> Value | None:
    """op(first(x), y) = first(op(x, last(y))) where op works element by element and what has all elements is first(…)"""
    if len(node.types) != 1:
        return None
    result = node.types[0]
    sources = [_source(v) for v in inputs]
    whole = [source is not None for v, source in zip(inputs, sources) if v.type.shape == result.shape]
    if not whole or not all(whole):
        return None
    form = node.op.form(*(v.type for v in inputs))
    if not isinstance(form, Map) or any(isinstance(x, (Load, Index)) for x in walk(form.body)):
        return None
    build = Builder()
    with build.origin(node.origin):
        moved = [source or _moved(build, v, result.rank) for v, source in zip(inputs, sources)]
        return make(node, Transpose(channels_first(result.rank)), make(node, node.op, *moved))


def joined(node: Node, *inputs: Value) -> Value | None:
    """join(first(x), first(y)) = first(join(x, y))"""
    sources = [_source(v) for v in inputs]
    if not inputs or not all(sources) or len(node.types) != 1:
        return None
    form = node.op.form(*(v.type for v in inputs))
    if not isinstance(form, Join):
        return None
    perm = channels_first(node.types[0].rank)
    op = dataclasses.replace(node.op, axis=perm[form.axis])
    return make(node, Transpose(perm), make(node, op, *(s for s in sources if s)))


def sliced(node: Node, *inputs: Value) -> Value | None:
    """slice(first(x)) = first(slice(x))"""
    if not isinstance(node.op, Slice):
        return None
    x = _source(inputs[0])
    if x is None:
        return None
    perm = channels_first(x.type.rank)
    return make(node, Transpose(perm), make(node, dataclasses.replace(node.op, axes=tuple(perm[a] for a in node.op.axes)), x))


def along_axis(node: Node, *inputs: Value) -> Value | None:
    """op_axis(first(x), y…) = first(op_axis'(x, y…)) where op takes or mixes elements along one axis: lookups, resampling"""
    op = node.op
    if not isinstance(op, (Gather, Interpolate)) or (isinstance(op, Gather) and inputs[1].type.rank != 1):
        return None
    x = _source(inputs[0])
    if x is None:
        return None
    perm = channels_first(x.type.rank)
    return make(node, Transpose(perm), make(node, dataclasses.replace(op, axis=perm[op.axis % x.type.rank]), x, *inputs[1:]))


def shuffled(node: Node, *inputs: Value) -> Value | None:
    """reshape(swap(reshape(first(x)))) = first(reshape(swap(reshape(x)))) where channels alone are seen as a matrix, which is transposed"""
    if not isinstance(node.op, Reshape) or not isinstance(inputs[0].op, Transpose):
        return None
    (matrix,) = inputs[0].node.inputs
    x = _source(matrix.node.inputs[0]) if isinstance(matrix.op, Reshape) else None
    if x is None or matrix.type.rank != x.type.rank + 1:
        return None
    batch, *space, channels = x.type.shape
    first, rows, columns, *rest = matrix.type.shape
    swap = (0, 2, 1, *range(3, matrix.type.rank))
    seen = (first, *rest, rows * columns) == (batch, *space, channels) and inputs[0].op.perm == swap
    if not seen or node.types[0].shape != (batch, channels, *space):
        return None
    build, rank = Builder(), x.type.rank
    with build.origin(node.origin):
        split = build.reshape(x, shape=(batch, *space, rows, columns))
        turned = build.transpose(split, perm=(*range(rank - 1), rank, rank - 1))
        return make(node, Transpose(channels_first(rank)), build.reshape(turned, shape=x.type.shape))


def _source(value: Value) -> Value | None:
    """x, if value is first(x)."""
    op = value.op
    return value.node.inputs[0] if isinstance(op, Transpose) and op.perm == channels_first(value.type.rank) else None


def _moved(build: Builder, value: Value, rank: int) -> Value:
    """What is broadcast, in the other order."""
    if not value.type.rank:
        return value
    ones = (1,) * (rank - value.type.rank)
    whole = build.reshape(value, shape=(*ones, *value.type.shape)) if ones else value
    moved: Value = build.transpose(whole, perm=channels_last(rank))
    return moved
