"""Samples of windows: each taken from a padded array by NumPy's own sliding views."""

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


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(61)))
