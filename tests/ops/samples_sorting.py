"""Samples of operators that put elements in order."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from tgen.ir.dtypes import dtype_of
from tgen.ir.op import OPS
from tgen.ir.ops.sorting import scalar_dtype

from .samples import Sample

DTYPES = [np.float32, np.float64, np.float16, np.int8, np.int32, np.int64, np.uint8, np.uint64]
SHAPES = [((33,), 0, 5), ((4, 50), -1, 50), ((3, 7, 2), 1, 1), ((2, 9), -1, 0), ((0, 4), 1, 2), ((5, 1), 1, 1), ((2, 257), 1, 20)]


def _best(k: int, axis: int, largest: bool) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """By Python's own sort of (rank of the value, index)."""

    def row(x: np.ndarray) -> list[int]:
        def key(i: int) -> tuple[bool, object, int]:
            value = x[i].item()
            is_nan = value != value
            return (is_nan != largest, 0 if is_nan else (-value if largest else value), i)

        return sorted(range(len(x)), key=key)[:k]

    def run(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = np.moveaxis(x, axis, -1)
        places = np.array([row(rows[at]) for at in np.ndindex(rows.shape[:-1])], np.int64)
        places = np.moveaxis(places.reshape(*rows.shape[:-1], k), -1, axis)
        return np.take_along_axis(x, places, axis), places

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for dtype, ((shape, axis, k), largest) in itertools.product(DTYPES, zip(SHAPES, itertools.cycle((True, False)))):
        x = rng.integers(0 if np.dtype(dtype).kind == "u" else -20, 20, shape).astype(dtype)  # so that some are equal
        if x.dtype.kind == "f" and x.size > 8:
            x.flat[[1, 3, 5]] = np.nan, np.inf, -np.inf
        yield Sample(OPS["top_k"](k=k, axis=axis, largest=largest), (x,), _best(k, axis, largest))
        if axis % x.ndim == x.ndim - 1 and scalar_dtype(dtype_of(x.dtype)) is dtype_of(x.dtype):
            yield Sample(OPS["row_top_k"](k=k, largest=largest), (x,), _best(k, -1, largest))


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(31)))
