"""fold: whatever depends on constants alone is computed once, when compiling."""

from __future__ import annotations

from ..ir.dims import Dim
from ..ir.evaluate import run_node
from ..ir.graph import Constant, Graph, Input, Node, Tensor, Value, map_graph

GROWTH = 4  # a result this many times larger than its operands …
LARGE = 1 << 20  # … and larger than this many bytes stays an operation (a broadcast, a range)


def fold(graph: Graph) -> Graph:
    """evaluate is unchanged; no node with constant operands and a fixed type is left, but those that would only grow."""
    return map_graph(graph, rebuild=_fold_node)


def _fold_node(node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
    if isinstance(node.op, (Input, Constant)) or any(v.constant is None for v in inputs):
        return None
    if any(isinstance(d, Dim) for t in node.types for d in t.shape) or _has_symbols(node):
        return None
    produced = sum(int(t.bytes) for t in node.types)  # type: ignore[call-overload]
    if produced > LARGE and produced > GROWTH * sum(v.constant.nbytes for v in inputs if v.constant is not None):
        return None
    results = run_node(node, [v.constant for v in inputs], {})  # type: ignore[misc]
    return [Value(Node(Constant(Tensor(r)), (), node.origin)) for r in results]


def _has_symbols(node: Node) -> bool:
    """Whether the op's fields name symbols (a dimension as data): then it is known at run time only."""
    probe: dict[str, int] = {}

    class Seen(dict):  # type: ignore[type-arg]
        def get(self, key: str, default: object = None) -> object:
            probe[key] = 1
            return default

    node.op.bind(Seen())
    return bool(probe)
