"""`verify`: what holds for every graph, checked before and after each pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from .dtypes import BOOL, I64
from .errors import InvalidGraph, TgenError
from .expr import Expr, Load, walk
from .graph import Graph, Input, Node, Value, symbols_of
from .loops import LoopProgram
from .op import OPS, Op
from .types import TensorType

Kind = tuple[Op, tuple[TensorType, ...], tuple[TensorType, ...]]  # of a node: its op, the types of its operands and of its results


def verify(graph: Graph, trusted: Collection[Node] = frozenset(), kinds: set[Kind] | None = None) -> None:
    """Raises InvalidGraph, naming the node, unless

    * the graph has outputs, with distinct names; its inputs are distinct `Input` nodes with distinct names;
    * extents are i64[] and named by symbols of their own, checks are bool[];
    * no node needs its own result; every value is a result that its node has; `Input` nodes are inputs of the graph;
    * every op is registered and hashable, and the types of a node are what its op infers from its operands;
    * loop programs are valid, and scalar bodies load what the operands are: number, dtype, rank.
    trusted: nodes that were verified before, with all below them, in a graph of the same inputs: they are not looked at again (nodes
    never change). kinds: those that were found valid before; this call adds to them. Layers of a model repeat each other.
    """
    _check_interface(graph)
    kinds = set() if kinds is None else kinds
    for node in _nodes(graph, trusted):
        try:
            _check_place(node, graph)
            kind = (node.op, tuple([v.type for v in node.inputs]), node.types)
            if not node.inputs:  # constants: to compare them would be dearer
                _check_kind(node)
            elif kind not in kinds:
                _check_kind(node)
                kinds.add(kind)
        except (TgenError, TypeError, IndexError, ValueError) as error:
            raise InvalidGraph(f"{describe(node)}: {error}") from error


def describe(node: Node) -> str:
    """A node in a message: its op, and where it comes from in the source model if that is known."""
    return f"{node.op.name} ({node.origin})" if node.origin else node.op.name


def _check_interface(graph: Graph) -> None:
    if not graph.outputs:
        raise InvalidGraph(f"graph {graph.name!r} has no outputs")
    labels = []
    for node in graph.inputs:
        if not isinstance(node.op, Input) or node.inputs:
            raise InvalidGraph(f"{describe(node)} is among the inputs of graph {graph.name!r}, but is no input")
        labels.append(node.op.label)
    symbols = [*symbols_of(n.types[0] for n in graph.inputs), *(e.symbol for e in graph.extents)]
    for what, names in (("inputs", labels), ("outputs", [name for name, _ in graph.outputs]), ("extents", symbols)):
        double = next((n for k, n in enumerate(names) if n in names[:k]), None) if len(set(names)) < len(names) else None
        if double is not None:
            raise InvalidGraph(f"two {what} of graph {graph.name!r} are named {double!r}")
    for what, value, wanted in (
        *((f"extent {e.symbol}", e.value, TensorType(I64, ())) for e in graph.extents),
        *((f"check {c.message!r}", c.holds, TensorType(BOOL, ())) for c in graph.checks),
    ):
        if value.type != wanted:
            raise InvalidGraph(f"{what} of graph {graph.name!r} is {value.type}; wanted {wanted}")


def _nodes(graph: Graph, trusted: Collection[Node]) -> Iterator[Node]:
    """Every node that is not trusted, producers first. Raises InvalidGraph for a cycle or a result that a node does not have."""
    done: set[Node] = set()
    above: set[Node] = set()
    for root in (*map(Value, graph.inputs), *graph.roots):
        stack = [(root, False)]
        while stack:
            value, finished = stack.pop()
            node = value.node
            if finished:
                above.discard(node)
                done.add(node)
                yield node
                continue
            if not 0 <= value.index < len(node.types):
                raise InvalidGraph(f"result {value.index} of {describe(node)} is used; it has {len(node.types)}")
            if node in above:
                raise InvalidGraph(f"{describe(node)} needs its own result")
            if node not in done and node not in trusted:
                above.add(node)
                stack.append((value, True))
                stack.extend((v, False) for v in node.inputs)


def _check_place(node: Node, graph: Graph) -> None:
    op = node.op
    if OPS.get(op.name) is not type(op):
        raise InvalidGraph(f"{type(op).__name__} is not the registered operator {op.name!r}")
    if isinstance(op, Input) and node not in graph.inputs:
        raise InvalidGraph(f"input {op.label!r} is used but is no input of graph {graph.name!r}")
    _check_hashable(op)


def _check_kind(node: Node) -> None:
    """What follows from the op and the types alone."""
    op = node.op
    for region in op.regions:
        verify(region)
    inferred = op.infer(*(v.type for v in node.inputs))
    types = inferred if isinstance(inferred, tuple) else (inferred,)
    if types != node.types:
        raise InvalidGraph(f"has types {', '.join(map(str, node.types))}; its op infers {', '.join(map(str, types))}")
    for part in op.bodies:
        if isinstance(part, LoopProgram):
            part.verify()
        elif isinstance(part, Expr):
            _check_loads(part, node)


def _check_hashable(op: Op) -> None:
    try:
        hash(op)
    except TypeError:
        for name in op.names:
            try:
                hash(getattr(op, name))
            except TypeError as error:
                raise InvalidGraph(f"attribute {name} is not hashable: {error}") from error
        raise


def _check_loads(body: Expr, node: Node) -> None:
    for x in walk(body):
        if not isinstance(x, Load):
            continue
        if not 0 <= x.operand < len(node.inputs):
            raise InvalidGraph(f"{x} loads operand {x.operand} of {len(node.inputs)}")
        source = node.inputs[x.operand].type
        if source.dtype is not x.dtype or source.rank != len(x.index):
            raise InvalidGraph(f"{x} loads from operand {x.operand}, which is {source}")
