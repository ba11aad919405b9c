"""cse: the same operation over the same values is computed once, equal constants are one."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

from ..ir.deferred import Deferred
from ..ir.graph import Constant, Graph, Node, Tensor, Value, map_graph
from ..ir.identity import op_key

_SAMPLE = 64  # elements of a tensor that are compared before all of it is hashed


def cse(graph: Graph) -> Graph:
    """evaluate is unchanged; no two nodes have the same op, bit for bit, over the same values. The first of them stays.

    Two inputs are never one. Nodes that nobody reads are no part of a graph, so there is nothing else to remove.
    """
    tensors = _Tensors()
    seen: dict[Hashable, list[Value]] = {}
    shared = False

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> list[Value]:
        nonlocal shared
        key = tensors.key(node.op.value) if isinstance(node.op, Constant) else (op_key(node.op), inputs)
        if key in seen:
            shared = True
        else:
            made = node if inputs == node.inputs else Node(node.op, inputs, node.origin)
            seen[key] = [Value(made, k) for k in range(len(made.types))]
        return seen[key]

    new = map_graph(graph, rebuild=rebuild)
    return new if shared else graph


class _Tensors:
    """Keys of tensors by content, of those that are not computed yet by what they are made of.

    All of a tensor is hashed only where another one looks the same at first sight.
    """

    def __init__(self) -> None:
        self.first: dict[Hashable, Tensor] = {}

    def key(self, tensor: Tensor) -> Hashable:
        if isinstance(tensor, Deferred):
            return tensor
        array = tensor.array
        sight = (array.dtype.str, array.shape, _sample(array))
        first = self.first.setdefault(sight, tensor)
        return sight if first is tensor or first == tensor else (*sight, tensor.digest)


def _sample(array: np.ndarray) -> Hashable:
    """Some elements from all over the array, as bytes; of objects only the repr of the first few."""
    step = max(1, array.size // _SAMPLE)
    few = array.flat[::step]
    return repr(few.tolist()) if array.dtype == object else few.tobytes()
