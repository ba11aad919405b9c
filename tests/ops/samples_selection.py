"""Samples of what is chosen by its value, against Python's own sets, sorts and loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample

DTYPES = [np.float32, np.float64, np.int8, np.int64, np.uint16, np.bool_]


def _places(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = [i for i in range(len(x)) if x[i]]
    return np.array(found + [0] * (len(x) - len(found)), np.int64), np.array(len(found))


def _keys(x: np.ndarray) -> list[tuple[tuple[bool, float], ...]]:
    """Each row as what Python compares: NaN behind all numbers."""
    return [tuple((v != v, 0.0 if v != v else v) for v in row) for row in x.tolist()]


def _order(x: np.ndarray) -> np.ndarray:
    keys = _keys(x)
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.int64)


def _distinct(ordered: bool, x: np.ndarray) -> tuple[np.ndarray, ...]:
    keys = _keys(x)
    distinct = sorted(set(keys)) if ordered else list(dict.fromkeys(keys))
    firsts, counts = ([f(key) for key in distinct] + [0] * (len(keys) - len(distinct)) for f in (keys.index, keys.count))
    inverse = [distinct.index(key) for key in keys]
    return np.array(firsts, np.int64), np.array(inverse, np.int64), np.array(counts, np.int64), np.array(len(distinct))


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for n, part in ((0, 0.5), (1, 1.0), (37, 0.4), (20, 0.0)):
        yield Sample(OPS["true_places"](), (rng.random(n) < part,), _places)
    shapes = [(37, 1), (64, 2), (1, 3), (64, 1), (0, 2), (5, 0), (60, 2), (30, 1)]
    for (n, width), dtype in zip(shapes, itertools.cycle(DTYPES)):
        x = rng.integers(0, 4, (n, width)).astype(dtype)
        if x.dtype.kind == "f" and x.size > 9:
            x.flat[[2, 7, 8]], x.flat[[3, 4]], x.flat[0] = np.nan, np.inf, -0.0
        yield Sample(OPS["row_order"](), (x,), _order)
        for ordered in (True, False):
            yield Sample(OPS["distinct_rows"](ordered=ordered), (x, _order(x)), lambda x, _, ordered=ordered: _distinct(ordered, x))


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(97)))
