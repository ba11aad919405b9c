"""Whether the runs of a model take subnormal numbers for zeros.

They are below 1.2e-38 (float64: 2.3e-308): nothing beside the results of a trained model. But an operation with one as operand or result
costs some CPUs 150 cycles, and weights that decayed in training are full of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .ir.graph import Graph

_BITS: dict[np.dtype[Any], type[np.unsignedinteger[Any]]] = {np.dtype(np.float32): np.uint32, np.dtype(np.float64): np.uint64}
_PIECE = 1 << 16  # elements that are looked at together, in cache


def flushes(graph: Graph, asked: str) -> bool:
    """What an option `subnormals` means for a graph as it was loaded: "auto" flushes where weights have decayed."""
    return asked == "flush" or (asked == "auto" and any(has_subnormals(array) for array in _weights(graph)))


def _weights(graph: Graph) -> Iterator[np.ndarray]:
    """Constants of float32 and float64, in regions too. One that is a single number was not trained, but written: log(mask + 1e-45)."""
    from .ir.graph import Constant

    for node in graph.nodes:
        for region in node.op.regions:
            yield from _weights(region)
        if isinstance(node.op, Constant) and node.types[0].dtype.numpy in _BITS and node.op.value.array.size > 1:
            yield node.op.value.array


def has_subnormals(array: np.ndarray) -> bool:
    """Whether for some element 0 < 2·bits < 2·(bits of the least normal number); doubling drops the sign."""
    bits = array.ravel(order="K").view(_BITS[array.dtype])
    least_normal = int(np.array(np.finfo(array.dtype).tiny).view(bits.dtype))
    room = np.empty(min(_PIECE, bits.size), bits.dtype)
    for at in range(0, bits.size, _PIECE):
        piece = bits[at : at + _PIECE]
        doubled = np.left_shift(piece, 1, out=room[: piece.size])
        doubled -= 1  # 0 becomes the greatest
        if doubled.min() < 2 * least_normal - 1:
            return True
    return False
