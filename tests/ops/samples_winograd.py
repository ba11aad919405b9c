"""Samples of the transforms of Winograd's convolution: with matrices of published papers, and a whole convolution against its definition."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tgen.ir.op import OPS
from tgen.ir.ops.winograd import matrices

from .samples import Sample

# Lavin and Gray (2015), section 4.1, up to factors of rows (F(2, 3): points 0, 1, -1; F(4, 3) there has points 0, ±1, ±2)
DATA = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float64)
RESULTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float64)
SIGNS = np.array([-1, 1, 1, -1])


def _data(axis: int, step: int, window: int, count: int) -> Callable[[np.ndarray], list[np.ndarray]]:
    def run(x: np.ndarray) -> list[np.ndarray]:
        tile = step + window - 1
        matrix = DATA * SIGNS[:, None] if tile == 4 else matrices(step, window).data
        moved = np.moveaxis(x.astype(np.float64), axis, 0)
        wide = np.concatenate([moved, np.repeat(moved[-1:], step * count + tile, 0)])
        out = np.stack([np.tensordot(matrix, wide[step * p : step * p + tile], (1, 0)) for p in range(count)])  # [p, i, …]
        return [np.moveaxis(out[:, i], 0, axis)[None].astype(x.dtype) for i in range(tile)]

    return run


def _results(axis: int, size: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def run(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
        step = len(weights)
        shape = (*x.shape[1 : axis + 1], size, *x.shape[axis + 2 :])
        out = np.empty(shape)
        for at in np.ndindex(*shape):
            tile = x[(slice(None), *at[:axis], at[axis] // step, *at[axis + 1 :])].astype(np.float64)
            out[at] = weights[at[axis] % step].astype(np.float64) @ tile
        return out.astype(x.dtype)

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for shape, axis, step, window, count, dtype in [
        ((2, 6, 8, 3), 1, 2, 3, 2, np.float32),
        ((4, 1, 2, 9, 17), 3, 4, 3, 2, np.float32),
        ((1, 5, 1, 9), 1, 2, 5, 2, np.float32),  # the last tile reaches beyond
        ((1, 1, 13, 8), 2, 4, 5, 3, np.float32),
        ((3, 8), 0, 2, 3, 1, np.float64),
    ]:
        x = rng.standard_normal(shape).astype(dtype)
        op = OPS["winograd_data"](axis, step, window, count)
        yield Sample(op, (x,), _data(axis, step, window, count), 1e-6, 2e-5)
    for shape, axis, step, size, dtype in [
        ((4, 4, 2, 2, 3, 5), 3, 2, 6, np.float32),
        ((6, 2, 3, 17), 1, 4, 9, np.float32),
        ((6, 1, 2, 8), 0, 2, 1, np.float32),
        ((8, 2, 3), 1, 6, 14, np.float64),
    ]:
        x = rng.standard_normal(shape).astype(dtype)
        weights = (RESULTS if len(x) == 4 else matrices(step, len(x) - step + 1).results).astype(dtype)
        yield Sample(OPS["winograd_results"](axis, size), (x, weights), _results(axis, size), 1e-6, 2e-5)


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(67)))
