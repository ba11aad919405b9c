"""fold: whatever depends on constants alone is computed once, when compiling: at once if it is small, else when it is wanted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from ..ir.deferred import Deferred
from ..ir.dims import Dim, evaluate_dim
from ..ir.evaluate import run_node
from ..ir.forms import Contract
from ..ir.graph import Constant, Graph, Input, Node, Tensor, Value, map_graph
from ..ir.op import op_symbols
from ..ir.ops.fused import Loops
from ..ir.types import TensorType
from .inline import is_view

GROWTH = 4  # a result this many times larger than its operands …
LARGE = 1 << 20  # … and larger than this many bytes stays an operation (a broadcast, a range)
LARGEST_FACTOR = 1 << 29  # bytes; what is multiplied by matrices is wanted in memory, as large as this
SMALL = 1 << 16  # bytes; results beyond are `Deferred`


def fold(graph: Graph) -> Graph:
    """evaluate is unchanged; no node with constant operands and a fixed type is left, but those that would only grow.
    Checks that hold are gone.

    A node whose type or attributes name a symbol is known at run time only and stays. What would grow stays even where a later
    operation would make it small again: compiling never needs more memory than GROWTH times the model and LARGE a result; but for
    factors of products.
    """
    folded = False
    factors = _factors(graph)

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        nonlocal folded
        if not _is_known(node, inputs) or _grows(node, inputs, LARGEST_FACTOR if node in factors else LARGE):
            return None
        folded = True
        return [Value(Node(Constant(t), (), node.origin)) for t in _results(node, inputs)]

    new = map_graph(graph, rebuild=rebuild)
    if not folded:
        return graph
    checks = tuple(c for c in new.checks if c.holds.constant is None or not c.holds.constant)
    return dataclasses.replace(new, checks=checks)


def _results(node: Node, inputs: tuple[Value, ...]) -> list[Tensor]:
    if _bytes(node.types) > SMALL:
        known = Node(node.op, inputs, node.origin)
        return [Deferred(known, k) for k in range(len(known.types))]
    operands = [array for v in inputs if (array := v.constant) is not None]
    return [Tensor(r) for r in run_node(node, operands, {})]


def _is_known(node: Node, inputs: tuple[Value, ...]) -> bool:
    """Whether the node's results depend on constants and integers alone."""
    if isinstance(node.op, (Input, Constant)) or not all(isinstance(v.op, Constant) for v in inputs):
        return False
    return not any(isinstance(d, Dim) for t in node.types for d in t.shape) and not op_symbols(node.op)


def _factors(graph: Graph) -> set[Node]:
    """What is known when compiling and multiplied from the right: the nodes that make it."""
    known: set[Node] = set()
    for node in graph.nodes:
        if not isinstance(node.op, Input) and all(v.node in known for v in node.inputs):
            known.add(node)
    products = (n for n in graph.nodes if n not in known and isinstance(n.op.form(*(v.type for v in n.inputs)), Contract))
    stack = [n.inputs[1].node for n in products]
    found: set[Node] = set()
    while stack:
        node = stack.pop()
        if node in known and node not in found:
            found.add(node)
            stack.extend(v.node for v in node.inputs)
    return found


def _grows(node: Node, inputs: tuple[Value, ...], large: int) -> bool:
    made = _bytes(node.types)
    if isinstance(node.op, Loops) and made > _bytes(v.type for v in inputs) and is_view(Value(node)):
        return True  # what looks at one element again and again takes no memory as it is
    return made > large and made > GROWTH * _bytes(v.type for v in inputs)


def _bytes(types: Iterable[TensorType]) -> int:
    return sum(evaluate_dim(t.bytes, {}) for t in types)
