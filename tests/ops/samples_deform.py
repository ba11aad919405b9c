"""Samples of moved kernel places: each element found by bilinear weights over the whole image."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample


def _oracle(kernel: tuple[int, int], strides: Any, dilations: Any, pads: Any, groups: int) -> Callable[..., np.ndarray]:
    """Tents over all rows and columns of the image: Σ_y Σ_x tent(y - row)·tent(x - column)·image."""

    def run(x: np.ndarray, offset: np.ndarray, mask: np.ndarray) -> np.ndarray:
        (n, c, *_), (_, _, height, width) = x.shape, mask.shape
        moved = offset.astype(np.float64).reshape(n, groups, *kernel, 2, height, width)
        factor = mask.astype(np.float64).reshape(n, groups, *kernel, height, width)
        grids = [
            np.arange(extent)[:, None] * s - p + np.arange(k) * d  # [out, kernel]
            for extent, k, s, d, p in zip((height, width), kernel, strides, dilations, pads)
        ]
        rows = grids[0].T[None, None, :, None, :, None] + moved[:, :, :, :, 0]
        columns = grids[1].T[None, None, None, :, None, :] + moved[:, :, :, :, 1]
        tents = [np.maximum(0, 1 - np.abs(p[..., None] - np.arange(e))) for p, e in ((rows, x.shape[2]), (columns, x.shape[3]))]
        images = x.astype(np.float64).reshape(n, groups, c // groups, *x.shape[2:])
        out = np.einsum("ngklijy,ngklijx,ngcyx,ngklij->ngcklij", *tents, images, factor)
        return out.reshape(n, c, kernel[0] * kernel[1], height, width).astype(x.dtype)

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    for kernel, strides, dilations, pads, groups, dtype in [
        ((2, 2), (1, 1), (1, 1), (0, 0), 1, np.float32),
        ((3, 2), (2, 1), (1, 2), (1, 2), 2, np.float64),
        ((1, 3), (1, 3), (2, 1), (0, 1), 4, np.float16),
    ]:
        places = kernel[0] * kernel[1]
        x = rng.standard_normal((2, 4, 5, 7)).astype(dtype)
        offset = rng.uniform(-3, 3, (2, groups * places * 2, 3, 4)).astype(dtype)
        mask = rng.standard_normal((2, groups * places, 3, 4)).astype(dtype)
        fields = {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads, "groups": groups}
        tolerance = 2e-3 if dtype is np.float16 else 1e-5
        yield Sample(OPS["deform_columns"](**fields), (x, offset, mask), _oracle(**fields), tolerance, tolerance)


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(59)))
