"""`Deferred`: a large constant that is computed when it is wanted, not when it is known how."""

from __future__ import annotations

import weakref

import numpy as np

from .evaluate import evaluate
from .graph import Constant, Graph, Node, Tensor, Value
from .identity import same_graph
from .types import TensorType

_RESULT = "result"


class Deferred(Tensor):
    """A result of an op over constants. Its array is computed whenever it is asked for and not kept, so that a chain of them (a
    weight transposed, rounded, packed) takes memory only while the last one is written where it belongs.

    It is equal to what equal ops make of the same tensors, and to nothing else: comparing computes nothing.
    """

    __slots__ = ("_graph", "_made")

    def __init__(self, node: Node, number: int = 0) -> None:
        """node: over constants alone, of a fixed type; number: of its result."""
        inputs = tuple(map(_recipe, node.inputs))
        self._graph = Graph((), ((_RESULT, Value(Node(node.op, inputs, node.origin), number)),))
        self._digest = None
        self._made: weakref.ref[np.ndarray] | None = None

    @property
    def recipe(self) -> Value:
        """The result, over constants that are there."""
        return self._graph.outputs[0][1]

    @property
    def type(self) -> TensorType:
        return self.recipe.type

    @property
    def array(self) -> np.ndarray:
        array = self._made() if self._made is not None else None
        if array is None:
            array = evaluate(self._graph, {})[_RESULT].view()
            array.flags.writeable = False
            self._made = weakref.ref(array)
        return array

    def __eq__(self, other: object) -> bool:
        if self is other or not isinstance(other, Deferred):
            return self is other
        mine, theirs = (_constants(x._graph) for x in (self, other))
        return len(mine) == len(theirs) and all(a is b for a, b in zip(mine, theirs)) and same_graph(self._graph, other._graph)

    def __hash__(self) -> int:
        return hash(self.type)


def _recipe(value: Value) -> Value:
    constant = value.op.value if isinstance(value.op, Constant) else None
    return constant.recipe if isinstance(constant, Deferred) else value


def _constants(graph: Graph) -> list[Tensor]:
    return [node.op.value for node in graph.nodes if isinstance(node.op, Constant)]
