"""frames: what is padded writes its own part of the padded picture, and what lies around it is written apart.

    pad(x, fill)   →   concat(fill, concat(fill, x, fill), fill)        an axis within another, the innermost first
for known widths before the last axis, as convolutions pad pictures whose channels are last, where x is computed. A join's parts are written
where they belong, so whatever computes x leaves it there, and no element is asked whether it lies inside. Along the last axis a frame is a
few elements of every row, and an input must be copied anyway: such a padding stays one map.
"""

from __future__ import annotations

from ..ir.builder import Builder
from ..ir.dims import DimLike
from ..ir.graph import Constant, Graph, Input, Node, Value, map_graph
from ..ir.ops.generate import Pad
from .moves import source


def frames(graph: Graph) -> Graph:
    """evaluate is unchanged."""
    return map_graph(graph, rebuild=_framed)


def _framed(node: Node, inputs: tuple[Value, ...]) -> Value | None:
    op = node.op
    if not isinstance(op, Pad) or op.mode != "constant" or op.before[-1:] != (0,) or op.after[-1:] != (0,):
        return None
    widths = [(b, a) for b, a in zip(op.before, op.after)]
    if isinstance(source(inputs[0]).op, (Input, Constant)):
        return None
    if not all(isinstance(w, int) and w >= 0 for pair in widths for w in pair) or not any(map(any, widths)):
        return None
    whole, fill = inputs
    build = Builder()
    with build.origin(node.origin):
        fill = build.reshape(fill, shape=())
        for axis in reversed(range(len(widths))):
            before, after = (_sides(build, whole, fill, axis, width) for width in widths[axis])
            if before or after:
                whole = build.concat(*before, whole, *after, axis=axis)
    return whole


def _sides(build: Builder, whole: Value, fill: Value, axis: int, width: DimLike) -> list[Value]:
    """So many rows of fill beside an axis, if there are any."""
    shape = tuple(width if k == axis else d for k, d in enumerate(whole.type.shape))
    return [build.expand(fill, shape=shape)] if width != 0 else []
