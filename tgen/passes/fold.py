"""fold: whatever depends on constants alone is computed once, when compiling."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..ir.dims import Dim, DimLike, evaluate_dim
from ..ir.evaluate import run_node
from ..ir.graph import Constant, Graph, Input, Node, Tensor, Value, map_graph
from ..ir.op import Op

GROWTH = 4  # a result this many times larger than its operands …
LARGE = 1 << 20  # … and larger than this many bytes stays an operation (a broadcast, a range)


def fold(graph: Graph) -> Graph:
    """evaluate is unchanged; no node with constant operands and a fixed type is left, but those that would only grow.

    A node whose type or attributes name a symbol is known at run time only and stays. What would grow stays even where a later
    operation would make it small again: compiling never needs more memory than GROWTH times the model and LARGE a result.
    """
    folded = False

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> list[Value] | None:
        nonlocal folded
        if not _is_known(node, inputs) or _grows(node, inputs):
            return None
        folded = True
        results = run_node(node, [v.constant for v in inputs if v.constant is not None], {})
        return [Value(Node(Constant(Tensor(r)), (), node.origin)) for r in results]

    new = map_graph(graph, rebuild=rebuild)
    return new if folded else graph


def _is_known(node: Node, inputs: tuple[Value, ...]) -> bool:
    """Whether the node's results depend on constants and integers alone."""
    if isinstance(node.op, (Input, Constant)) or any(v.constant is None for v in inputs):
        return False
    return not any(isinstance(d, Dim) for t in node.types for d in t.shape) and not _has_symbols(node.op)


def _grows(node: Node, inputs: tuple[Value, ...]) -> bool:
    made = sum(evaluate_dim(t.bytes, {}) for t in node.types)
    read = sum(v.constant.nbytes for v in inputs if v.constant is not None)
    return made > LARGE and made > GROWTH * read


class _Asked(Mapping[str, DimLike]):
    """Values of symbols that has none, and remembers whether it was asked for one."""

    def __init__(self) -> None:
        self.asked = False

    def __getitem__(self, symbol: str) -> DimLike:
        self.asked = True
        raise KeyError(symbol)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _has_symbols(op: Op) -> bool:
    """Whether attributes name symbols: a dimension as data."""
    values = _Asked()
    op.bind(values)
    return values.asked
