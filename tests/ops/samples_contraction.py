"""Samples of products of matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tgen.ir.dtypes import DTYPES
from tgen.ir.op import OPS

from .samples import EPSILON, Sample
from .samples_elementwise import values

SHAPES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((1, 1), (1, 1)),
    ((7, 9), (9, 5)),
    ((16, 32), (32, 17)),
    ((33, 100), (100, 65)),
    ((6, 0), (0, 4)),
    ((0, 3), (3, 4)),
    ((2, 3, 8, 15), (15, 31)),
    ((2, 1, 8, 15), (3, 15, 9)),
    ((17,), (17,)),
    ((17,), (17, 5)),
    ((2, 5, 17), (17,)),
    ((1, 384), (384, 100)),
]


def _einsum(dtype: type) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        left, right = ("k" if a.ndim == 1 else "...mk"), ("k" if b.ndim == 1 else "...kn")
        out = ("..." if a.ndim > 1 or b.ndim > 1 else "") + ("m" if a.ndim > 1 else "") + ("n" if b.ndim > 1 else "")
        return np.einsum(f"{left},{right}->{out}", a.astype(dtype), b.astype(dtype), optimize=False).astype(a.dtype)

    return run


def samples() -> list[Sample]:
    rng = np.random.default_rng(22)
    found = []
    for name in ("f32", "f64", "f16", "bf16", "i32"):
        dtype = DTYPES[name]
        for left, right in SHAPES if name == "f32" else SHAPES[1:8:2]:
            operands = (values(rng, dtype, left, -2, 2, special=False), values(rng, dtype, right, -2, 2, special=False))
            eps = EPSILON.get(name, 0.0)
            oracle = _einsum(np.float64 if dtype.is_float else np.int64)
            found.append(Sample(OPS["matmul"](), operands, oracle, 4 * eps, 4 * eps * max(1, left[-1]) ** 0.5, eps * left[-1]))
    return [*found, *_of_windows(rng)]


def _of_windows(rng: np.random.Generator) -> Iterator[Sample]:
    """Several axes of rows and of depth, with a batch and without."""
    for left, right, rows, depth in [
        ((3, 5, 2, 4), (8, 7), 2, 2),
        ((2, 3, 2, 2, 3, 8), (2, 48, 17), 2, 3),
        ((4, 5, 6), (6, 3), 2, 1),
    ]:
        a, b = (rng.standard_normal(shape).astype(np.float32) for shape in (left, right))
        batch, wide = left[: len(left) - rows - depth], left[: len(left) - depth]
        wanted = np.matmul(a.astype(np.float64).reshape(*batch, -1, right[-2]), b).reshape(*wide, right[-1]).astype(np.float32)
        yield Sample(OPS["window_product"](row_axes=rows, depth_axes=depth), (a, b), lambda *_, out=wanted: out, 1e-6, 1e-5, 1e-5)
