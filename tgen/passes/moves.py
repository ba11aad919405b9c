"""What only moves elements, or puts a constant beside them: transposes, reshapes, windows, paddings. f(moves(x)) = moves(f(x)) for an
elementwise f, where paddings hold f of their fill.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..ir.builder import Builder
from ..ir.evaluate import run_node
from ..ir.graph import Value
from ..ir.ops.generate import Pad
from ..ir.ops.movement import Reshape, Squeeze, Transpose, Unsqueeze
from ..ir.ops.windows import Windows


def source(x: Value) -> Value:
    """What x's elements are moved from; x itself if nothing moves them."""
    while _moves(x):
        x = x.node.inputs[0]
    return x


def fills(x: Value) -> list[Value]:
    """What paddings between `source(x)` and x hold."""
    found = []
    while _moves(x):
        if isinstance(x.op, Pad):
            found.append(x.node.inputs[1])
        x = x.node.inputs[0]
    return found


def moved(build: Builder, x: Value, new: Value, fill: Callable[[Value], Value]) -> Value:
    """x over `new`, of its source's shape, in place of its source; paddings hold fill(what they held)."""
    if not _moves(x):
        return new
    below, *others = x.node.inputs
    under = moved(build, below, new, fill)
    if isinstance(x.op, Windows):  # which reads none of what it is given for places outside
        others = [build.constant(0, new.type.dtype)]
    with build.origin(x.node.origin):
        out: Value = build.apply(x.op, under, *map(fill, others)) if isinstance(x.op, Pad) else build.apply(x.op, under, *others)
        return out


def value_of(x: Value) -> np.ndarray:
    """The elements of a value that constants alone give."""
    known = x.constant
    return run_node(x.node, [value_of(v) for v in x.node.inputs], {})[x.index] if known is None else known


def _moves(x: Value) -> bool:
    return isinstance(x.op, (Transpose, Reshape, Squeeze, Unsqueeze, Pad)) or (isinstance(x.op, Windows) and x.op.is_view)
