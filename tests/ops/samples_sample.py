"""Samples of sampling: every mode and padding, in one to three axes of space, against ONNX's reference."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample


def _oracle(**attributes: Any) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, grid: np.ndarray) -> np.ndarray:
        from onnx.reference.ops.op_grid_sample import GridSample

        return np.asarray(GridSample.eval(x, grid, **attributes)).astype(x.dtype)

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    shapes = itertools.cycle([((2, 3, 4, 5), (2, 3, 2, 2)), ((1, 2, 7), (1, 5, 1)), ((1, 2, 3, 4, 3), (1, 2, 1, 2, 3))])
    choices = itertools.product(("nearest", "linear", "cubic"), ("zeros", "border", "reflection"), (False, True))
    for (mode, padding, corners), (shape, grid_shape) in zip(choices, shapes):
        x = rng.standard_normal(shape, dtype=np.float32)
        grid = rng.uniform(-1.9, 1.9, grid_shape).astype(np.float32)
        op = OPS["grid_sample"](mode=mode, padding=padding, align_corners=corners)
        yield Sample(op, (x, grid), _oracle(mode=mode, padding_mode=padding, align_corners=int(corners)), 1e-4, 2e-5)


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(43)))
