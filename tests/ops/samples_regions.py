"""Samples of determinants, of pooled regions, and of rows written into a cache."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample


def _leibniz(x: np.ndarray) -> np.ndarray:
    """Σ over permutations of sign · Π x[i, σ(i)]"""
    n = x.shape[-1]
    total = np.zeros(x.shape[:-2])
    for order in itertools.permutations(range(n)):
        inversions = sum(order[i] > order[j] for i in range(n) for j in range(i + 1, n))
        terms = [x[..., i, j].astype(np.float64) for i, j in enumerate(order)]
        total = total + (-1) ** inversions * np.prod(terms, axis=0) if terms else total + 1
    return total.astype(x.dtype)


def _matrices(rng: np.random.Generator) -> Iterator[Sample]:
    for shape, dtype in itertools.product(
        [(2, 2), (3, 4, 4), (5, 1, 1), (2, 0, 0), (2, 3, 3)], [np.float32, np.float64, np.float16]
    ):
        x = rng.integers(-3, 4, shape).astype(dtype)  # some are singular
        yield Sample(OPS["det"](), (x,), _leibniz, 1e-3 if dtype is np.float16 else 1e-6, 1e-9)
        if dtype is np.float64:
            yield Sample(OPS["eliminated"](), (x,), lambda v: (_leibniz(v), OPS["eliminated"]().reference(v)[1]), 1e-9, 1e-9)


def _roi_oracle(**attributes: Any) -> Callable[..., np.ndarray]:
    def run(x: np.ndarray, rois: np.ndarray, batch: np.ndarray) -> np.ndarray:
        from onnx.reference.ops.op_roi_align import RoiAlign

        return np.asarray(RoiAlign.eval(x, rois, batch, **attributes)).astype(x.dtype)

    return run


def _regions(rng: np.random.Generator) -> Iterator[Sample]:
    x = rng.standard_normal((2, 3, 6, 9), dtype=np.float32)
    rois = np.array([[1, 1, 7, 5], [0.3, 2.2, 3.1, 2.4], [-3, -2, 12, 9], [4, 3, 2, 1], [20, 20, 30, 30]], np.float32)
    batch = np.array([0, 1, 1, 0, 1])
    for half, maximum, count in itertools.product((True, False), (True, False), (0, 2)):
        theirs = {
            "coordinate_transformation_mode": "half_pixel" if half else "output_half_pixel",
            "mode": "max" if maximum else "avg",
            "sampling_ratio": count,
        }
        ours = {"height": 2, "width": 3, "samples": count, "half_pixel": half, "maximum": maximum}
        oracle = _roi_oracle(output_height=2, output_width=3, spatial_scale=1.25, **theirs)
        yield Sample(OPS["roi_align"](scale=1.25, **ours), (x, rois, batch), oracle, 1e-4, 1e-5)
        moved = rois - np.float32(0.5 if half else 0)
        plain = _roi_oracle(output_height=2, output_width=3, spatial_scale=1.0, **theirs)
        back = np.float32(0.5 if half else 0)
        yield Sample(OPS["pool_regions"](**ours), (x, moved, batch), lambda v, r, b, f=plain, s=back: f(v, r + s, b), 1e-4, 1e-5)


def _caches(rng: np.random.Generator) -> Iterator[Sample]:
    for circular, axis, (cache, update) in itertools.product(
        (False, True), (-2, 1), [((3, 5, 2), (3, 2, 2)), ((2, 4, 4, 3), (2, 4, 4, 3)), ((2, 3, 3), (2, 0, 3))]
    ):
        if cache[:axis] != update[:axis] or (axis == 1 and len(cache) == 4):
            continue
        start = rng.integers(0, cache[axis] if circular else cache[axis] - update[axis] + 1, cache[0])
        operands = rng.standard_normal(cache, dtype=np.float32), rng.standard_normal(update, dtype=np.float32), start
        yield Sample(OPS["tensor_scatter"](axis=axis, circular=circular), operands, _scattered(axis, circular))
    outside = np.array([4, -1, 9])
    operands = rng.standard_normal((3, 5, 2)), rng.standard_normal((3, 2, 2)), outside
    yield Sample(OPS["tensor_scatter"](), operands, _outside)


def _scattered(axis: int, circular: bool) -> Callable[..., np.ndarray]:
    def run(*arrays: np.ndarray) -> np.ndarray:
        from onnx.reference.ops.op_tensor_scatter import TensorScatter

        return np.asarray(TensorScatter.eval(*arrays, mode="circular" if circular else "linear", axis=axis))

    return run


def _outside(cache: np.ndarray, update: np.ndarray, start: np.ndarray) -> np.ndarray:
    out = cache.copy()
    out[0, 4], out[1, 0] = update[0, 0], update[1, 1]
    return out


def samples() -> list[Sample]:
    rng = np.random.default_rng(53)
    return [*_matrices(rng), *_regions(rng), *_caches(rng)]
