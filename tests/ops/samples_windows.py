"""Samples of windows, each taken from a padded array by NumPy's own sliding views, and of what puts them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample


def _oracle(kernel: Any, sizes: Any, strides: Any, dilations: Any, pads: Any) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, fill: np.ndarray) -> np.ndarray:
        rank = len(kernel)
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
        ends = [max((o - 1) * s + r - p - e, 0) for o, s, r, p, e in zip(sizes, strides, reach, pads, x.shape[2:])]
        padded = np.pad(x, [(0, 0), (0, 0), *zip(pads, ends)], constant_values=fill.reshape(()))
        views = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=tuple(range(2, 2 + rank)))
        steps = (*(slice(0, (o - 1) * s + 1, s) for o, s in zip(sizes, strides)), *(slice(None, None, d) for d in dilations))
        order = (0, 1, *range(2 + rank, 2 + 2 * rank), *range(2, 2 + rank))
        return np.ascontiguousarray(views[(slice(None), slice(None), *steps)].transpose(order))

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for space, kernel, sizes, strides, dilations, pads, dtype in [
        ((7,), (3,), (5,), (1,), (1,), (0,), np.float32),
        ((9,), (3,), (5,), (2,), (2,), (2,), np.int8),
        ((5, 8), (3, 2), (3, 4), (2, 2), (1, 2), (1, 0), np.float32),
        ((3, 4, 5), (2, 1, 3), (4, 2, 5), (1, 3, 1), (1, 1, 1), (1, 1, 1), np.float64),
    ]:
        x = (rng.standard_normal((2, 3, *space)) * 10).astype(dtype)
        fields = {"kernel": kernel, "sizes": sizes, "strides": strides, "dilations": dilations, "pads": pads}
        yield Sample(OPS["windows"](**fields), (x, np.array(-7, dtype)), _oracle(**fields))


def _spread_oracle(sizes: Any, strides: Any, dilations: Any, pads: Any) -> Callable[[np.ndarray], np.ndarray]:
    """By products with matrices of zeros and ones, an axis at a time: the matrix of an axis says which place goes where."""

    def run(x: np.ndarray) -> np.ndarray:
        space, out = len(sizes), x.astype(np.float64)
        for axis in range(space):
            k, o, p = np.ogrid[: x.shape[2 + axis], : x.shape[2 + space + axis], : sizes[axis]]
            hits = (p == o * strides[axis] + k * dilations[axis] - pads[axis]).astype(np.float64)
            moved = np.moveaxis(out, (2 + axis, 2 + space + axis), (0, 1))
            out = np.moveaxis(np.einsum("ko...,kop->kp...", moved, hits), (0, 1), (2 + axis, 2 + space + axis))
        return np.ascontiguousarray(out).astype(x.dtype)

    return run


def _spread_samples(rng: np.random.Generator) -> Iterator[Sample]:
    for places, sizes, strides, dilations, pads, dtype in [
        ((3, 5), (7,), (1,), (1,), (0,), np.float32),
        ((3, 5), (9,), (2,), (2,), (2,), np.int8),
        ((3, 2, 3, 4), (5, 8), (3, 2), (1, 2), (1, 0), np.float64),
        ((2, 0), (4,), (1,), (1,), (0,), np.float32),
    ]:
        x = (rng.standard_normal((2, 3, *places)) * 10).astype(dtype)
        fields = {"sizes": sizes, "strides": strides, "dilations": dilations, "pads": pads}
        yield Sample(OPS["spread"](**fields), (x,), _spread_oracle(**fields))


def samples() -> list[Sample]:
    rng = np.random.default_rng(61)
    return [*_samples(rng), *_spread_samples(rng)]
