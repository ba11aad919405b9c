"""divisions: numbers are divided by known ones by multiplications, which take a fraction of the time.

    x / c   →   quotient(x, c, 1/c)        the same bits; for float32, 1 ≤ |c| ≤ 2^60
After all passes that look for divisions.
"""

from __future__ import annotations

import numpy as np

from ..ir.dtypes import F32
from ..ir.graph import Constant, Graph, Node, Tensor, Value, map_graph
from ..ir.ops.elementwise import Div, Quotient
from ..ir.rewrite import make

MOST = 2.0**60


def divisions(graph: Graph) -> Graph:
    """evaluate is unchanged."""
    return map_graph(graph, rebuild=_multiplied)


def _multiplied(node: Node, inputs: tuple[Value, ...]) -> Value | None:
    match node.op, inputs:
        case Div(), (x, Value(node=Node(op=Constant(value=c)))) if x.type.dtype is F32 and x.type.elements != 1:
            sizes = np.abs(c.array)
            if not sizes.size or not np.all((sizes >= 1) & (sizes <= MOST)):
                return None
            return make(node, Quotient(), x, inputs[1], make(node, Constant(Tensor(np.float32(1) / c.array))))
    return None
