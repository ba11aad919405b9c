"""Samples of greatest elements of regions, against masks of fractions: which places have a part in a bin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample


def _mask(first: int, last: int, number: int, count: int, places: int) -> np.ndarray:
    """The places that bin `number` touches: those whose unit of length overlaps it."""
    size = Fraction(max(last - first + 1, 1), count)
    begin, end = first + number * size, first + (number + 1) * size
    return np.array([place + 1 > begin and place < end for place in range(places)], bool)


def _oracle(height: int, width: int) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, regions: np.ndarray) -> np.ndarray:
        out = np.zeros((len(regions), x.shape[1], height, width), x.dtype)
        for r, (entry, left, top, right, bottom) in enumerate(regions.tolist()):
            for i, j in np.ndindex(height, width):
                rows, columns = _mask(top, bottom, i, height, x.shape[2]), _mask(left, right, j, width, x.shape[3])
                inside = x[np.clip(entry, 0, len(x) - 1)][:, np.outer(rows, columns)]
                out[r, :, i, j] = inside.max(axis=1) if inside.size else 0
        return out

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for dtype, height, width in ((np.float32, 2, 3), (np.float64, 4, 1)):
        x = rng.standard_normal((2, 3, 8, 9)).astype(dtype)
        x[0, 1, 3, 3] = np.nan
        corners = rng.integers(-3, 12, (12, 4))
        regions = np.concatenate([rng.integers(-1, 3, (12, 1)), corners], axis=1)
        regions[0, 1:] = -(2**31), -(2**31), 2**31, 2**31
        yield Sample(OPS["region_max"](height=height, width=width), (x, regions), _oracle(height, width))


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(107)))
