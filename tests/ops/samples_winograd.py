"""Samples of the transforms of Winograd's convolution, each tile by itself with the matrices of Lavin and Gray's paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample

DATA = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float64)
SIGNS = np.array([1, 1, -1, 1])  # the operator's third row is the paper's with the other sign
RESULTS = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float64)


def _data(sizes: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    def run(x: np.ndarray) -> np.ndarray:
        wide = np.pad(x.astype(np.float64), ((0, 0), (0, 4), (0, 4), (0, 0)), "edge")
        out = np.empty((x.shape[0], sizes[0], 4, 4, sizes[1], x.shape[3]))
        for n, p, q, c in np.ndindex(x.shape[0], *sizes, x.shape[3]):
            tile = DATA @ wide[n, 2 * p : 2 * p + 4, 2 * q : 2 * q + 4, c] @ DATA.T
            out[n, p, :, :, q, c] = tile * np.outer(SIGNS, SIGNS)
        return out.astype(x.dtype)

    return run


def _results(sizes: tuple[int, int]) -> Callable[[np.ndarray], np.ndarray]:
    def run(x: np.ndarray) -> np.ndarray:
        _, _, count, *_, width = x.shape
        out = np.empty((count, *sizes, width))
        for n, row, column, k in np.ndindex(*out.shape):
            tile = x[:, :, n, row // 2, column // 2, k].astype(np.float64)
            out[n, row, column, k] = (RESULTS @ tile @ RESULTS.T)[row % 2, column % 2]
        return out.astype(x.dtype)

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for shape, sizes, dtype in [
        ((2, 6, 8, 3), (2, 3), np.float32),
        ((1, 5, 7, 9), (2, 3), np.float32),  # the last tiles reach beyond
        ((1, 3, 3, 8), (1, 1), np.float64),
    ]:
        x = rng.standard_normal(shape).astype(dtype)
        yield Sample(OPS["winograd_data"](sizes), (x,), _data(sizes), 1e-6, 4e-6)
    for shape, sizes, dtype in [
        ((4, 4, 2, 2, 3, 5), (4, 6), np.float32),
        ((4, 4, 1, 3, 2, 9), (5, 3), np.float32),
        ((4, 4, 1, 1, 1, 8), (1, 2), np.float64),
    ]:
        x = rng.standard_normal(shape).astype(dtype)
        yield Sample(OPS["winograd_results"](sizes), (x,), _results(sizes), 1e-6, 4e-6)


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(67)))
