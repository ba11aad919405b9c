"""What is done across the lanes of a vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ll

from .context import I32


def horizontal(b: Any, vector: Any, combine: Callable[[Any, Any], Any]) -> Any:
    """All lanes combined: halves with each other until one lane is left, so the order is the same whatever the machine does best."""
    lanes = vector.type.count if isinstance(vector.type, ll.VectorType) else 1
    while lanes > 1:
        lanes //= 2
        undefined = ll.Constant(vector.type, ll.Undefined)
        if lanes == 1:
            low, high = (b.extract_element(vector, I32(k)) for k in (0, 1))
        else:
            halves = (ll.Constant(ll.VectorType(I32, lanes), list(range(s, s + lanes))) for s in (0, lanes))
            low, high = (b.shuffle_vector(vector, undefined, mask) for mask in halves)
        vector = combine(low, high)
    return vector
