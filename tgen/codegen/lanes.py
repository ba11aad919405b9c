"""What is done across the lanes of a vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.ir as ll

from .context import I32


def horizontal(b: Any, vector: Any, combine: Callable[[Any, Any], Any], left: int = 1) -> Any:
    """Lanes combined: halves with each other until `left` lanes are left, so the order is the same whatever the machine does best."""
    lanes = vector.type.count if isinstance(vector.type, ll.VectorType) else 1
    while lanes > left:
        lanes //= 2
        undefined = ll.Constant(vector.type, ll.Undefined)
        if lanes == 1:
            low, high = (b.extract_element(vector, I32(k)) for k in (0, 1))
        else:
            halves = (ll.Constant(ll.VectorType(I32, lanes), list(range(s, s + lanes))) for s in (0, lanes))
            low, high = (b.shuffle_vector(vector, undefined, mask) for mask in halves)
        vector = combine(low, high)
    return vector


def turned(b: Any, rows: list[Any]) -> list[Any]:
    """A square of elements, a vector a row, turned into a vector a column: halves are exchanged, then quarters, …"""
    lanes, rows = len(rows), list(rows)
    distance = lanes // 2
    while distance:
        even = [k if not k & distance else lanes + (k ^ distance) for k in range(lanes)]
        odd = [k + distance if not k & distance else lanes + k for k in range(lanes)]
        for k in range(lanes):
            if not k & distance:
                x, y = rows[k], rows[k + distance]
                rows[k], rows[k + distance] = _shuffled(b, x, y, even), _shuffled(b, x, y, odd)
        distance //= 2
    return rows


def interleaved(b: Any, x: Any, y: Any) -> Any:
    """x0 y0 x1 y1 …"""
    lanes = x.type.count
    return _shuffled(b, x, y, [k // 2 + lanes * (k % 2) for k in range(2 * lanes)])


def _shuffled(b: Any, x: Any, y: Any, places: list[int]) -> Any:
    return b.shuffle_vector(x, y, ll.Constant(ll.VectorType(I32, len(places)), places))
