"""Samples of normalisations and composites along an axis: every float dtype, odd shapes, parameters of every kind."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tgen.ir.dtypes import DTYPES
from tgen.ir.op import OPS

from .onnx_oracle import onnx_oracle
from .samples import EPSILON, Sample
from .samples_elementwise import FLOATS, values

Shape = tuple[int, ...]
Oracle = Callable[..., Any]


def array(rng: np.random.Generator, shape: Shape, dtype: str = "f32", low: float = -3, high: float = 3) -> np.ndarray:
    return values(rng, DTYPES[dtype], shape, low, high, special=False)


def made(name: str, operands: tuple[np.ndarray, ...], oracle: Oracle | None, slack: float = 0.0, **attributes: Any) -> Sample:
    """Within a few roundings of the dtype, of results near 1."""
    eps = EPSILON[next(n for n in FLOATS if DTYPES[n].numpy == operands[0].dtype)]
    return Sample(OPS[name](**attributes), operands, oracle, 32 * eps, 32 * eps, slack)


def rows(function: Callable[..., np.ndarray], axis: int) -> Oracle:
    """`function` of one vector in float64, for each vector along the axis."""

    def run(x: np.ndarray) -> np.ndarray:
        return np.apply_along_axis(function, axis, x.astype(np.float64)).astype(x.dtype) if x.size else x.copy()

    return run


def _softmax(v: np.ndarray) -> np.ndarray:
    return 1 / np.exp(v[None, :] - v[:, None]).sum(axis=1)


def _hardmax(v: np.ndarray) -> np.ndarray:
    return np.array([float(k == v.tolist().index(max(v))) for k in range(v.size)])


def _unit(p: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda v: v / ((np.abs(v) ** p).sum() ** (1 / p) or 1)


def _along_axis(rng: np.random.Generator) -> Iterator[Sample]:
    shapes: list[tuple[Shape, int]] = [
        ((7,), 0),
        ((1,), -1),
        ((3, 1), 1),
        ((3, 33), 1),
        ((2, 17, 3), 1),
        ((2, 3, 4, 5), -3),
        ((0, 4), 0),
        ((4, 0), 1),
    ]
    for dtype, (shape, axis) in itertools.product(FLOATS, shapes):
        x = array(rng, shape, dtype, -9, 9)
        yield made("softmax", (x,), rows(_softmax, axis), axis=axis)
        yield made("log_softmax", (x,), rows(lambda v: np.log(_softmax(v)), axis), axis=axis)
        yield made("hardmax", (np.round(x.astype(np.float64)).astype(x.dtype),), rows(_hardmax, axis), axis=axis)
        for p in (1, 2):
            yield made("lp_normalization", (x,), rows(_unit(p), axis), axis=axis, p=p)
    large = np.array([[1e4, 1e4 - 1, -1e4], [-3e38, 0, 3e38], [-np.inf, 0, 1]], np.float32)
    yield made("softmax", (large,), onnx_oracle("Softmax"), 1e-6)
    yield made("log_softmax", (large[:1],), onnx_oracle("LogSoftmax"), 1e-6)
    yield made("lp_normalization", (np.zeros((2, 5), np.float32),), lambda x: x)


def _rows_norms(rng: np.random.Generator) -> Iterator[Sample]:
    cases: list[tuple[Shape, int, Shape, Shape | None]] = [
        ((4, 33), -1, (33,), (33,)),
        ((4, 33), 1, (33,), None),
        ((2, 3, 8), 1, (3, 8), (3, 8)),
        ((2, 3, 8), -2, (8,), ()),
        ((5,), 0, (5,), (1,)),
        ((2, 3, 1), -1, (1,), (1,)),
        ((2, 3, 8), 2, (2, 1, 8), (3, 1)),
        ((0, 5), -1, (5,), (5,)),
    ]
    for dtype, (shape, axis, scale, bias) in itertools.product(FLOATS, cases):
        operands = tuple(array(rng, s, dtype) for s in (shape, scale, *([] if bias is None else [bias])))
        yield made("layer_normalization", operands, _layer(axis, 1e-5), axis=axis)
        yield made("rmsnormalization", operands[:2], _rms(axis, 1e-3), axis=axis, epsilon=1e-3)
    offset = array(rng, (3, 64)) * np.float32(0.01) + np.float32(100)  # the variance must be of centred values
    yield Sample(OPS["layer_normalization"](), (offset, np.ones(64, np.float32)), _layer(-1, 1e-5), 1e-2, 1e-2)


def _layer(axis: int, epsilon: float) -> Oracle:
    def run(x: np.ndarray, scale: np.ndarray, bias: np.ndarray | None = None) -> tuple[np.ndarray, ...]:
        at = axis % x.ndim
        flat = x.astype(np.float64).reshape(int(np.prod(x.shape[:at])), int(np.prod(x.shape[at:])))
        mean, deviation = flat.mean(1), np.sqrt(flat.var(1) + epsilon)
        y = np.array([(row - m) / d for row, m, d in zip(flat, mean, deviation)]).reshape(x.shape)
        y = y * scale.astype(np.float64) + (0 if bias is None else bias.astype(np.float64))
        kept = (*x.shape[:at], *(1,) * (x.ndim - at))
        stats = np.float64 if x.dtype == np.float64 else np.float32
        return y.astype(x.dtype), mean.reshape(kept).astype(stats), (1 / deviation).reshape(kept).astype(stats)

    return run


def _rms(axis: int, epsilon: float) -> Oracle:
    def run(x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        at = axis % x.ndim
        flat = x.astype(np.float64).reshape(int(np.prod(x.shape[:at])), int(np.prod(x.shape[at:])))
        y = np.array([row / np.sqrt(np.dot(row, row) / row.size + epsilon) for row in flat]).reshape(x.shape)
        return (y * scale.astype(np.float64)).astype(x.dtype)

    return run


IMAGES: list[Shape] = [(2, 6, 5, 7), (1, 4, 9), (3, 2, 1, 1), (2, 4, 2, 3, 2), (0, 4, 3)]


def _images(rng: np.random.Generator) -> Iterator[Sample]:
    for dtype, shape in itertools.product(FLOATS, IMAGES):
        x, scale, bias, mean = (array(rng, s, dtype) for s in (shape, shape[1:2], shape[1:2], shape[1:2]))
        variance = array(rng, shape[1:2], dtype, 0.5, 2)
        yield made("instance_normalization", (x, scale, bias), _grouped(shape[1]), epsilon=1e-2)
        for groups in (1, 2, shape[1]):
            yield made("group_normalization", (x, scale, bias), _grouped(groups), num_groups=groups, epsilon=1e-2)
        yield made("batch_normalization", (x, scale, bias, mean, variance), _batch(1e-5))
        if shape[-1] > 1:  # of one element the deviation is 0
            yield made("mean_variance_normalization", (x,), _mean_variance, axes=(-1,))
        yield made("global_average_pool", (x,), _pooled(np.mean))
        yield made("global_max_pool", (x,), _pooled(np.max))
        for size in (1, 2, 3, 5):
            yield made("lrn", (x,), _lrn(size, 0.5, 0.75, 1.5), size=size, alpha=0.5, bias=1.5)
    x = array(rng, (2, 7, 3, 4))
    parameters = tuple(array(rng, (7,), "f32", 0.5, 2) for _ in range(4))
    yield made("batch_normalization", (x, *parameters), onnx_oracle("BatchNormalization"), 1e-6)
    yield made(
        "batch_normalization", (x[:, :, 0, 0], *parameters), onnx_oracle("BatchNormalization", epsilon=1e-2), 1e-6, epsilon=1e-2
    )
    mixed = (array(rng, (2, 7, 3), "f16"), *parameters)
    yield made("batch_normalization", mixed, _batch(1e-5))
    for size in (1, 3, 5):
        oracle = onnx_oracle("LRN", size=size, alpha=0.7, beta=0.6, bias=1.1)
        yield made("lrn", (x,), oracle, 1e-6, size=size, alpha=0.7, beta=0.6, bias=1.1)


def _grouped(groups: int) -> Oracle:
    """Group after group."""

    def run(x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> np.ndarray:
        out = x.astype(np.float64)
        each = x.shape[1] // groups
        for n, g in np.ndindex(x.shape[0], groups):
            part = out[n, g * each : (g + 1) * each]
            part[...] = (part - part.mean()) / np.sqrt(part.var() + 1e-2)
        for c in range(x.shape[1]):
            out[:, c] = out[:, c] * float(scale[c]) + float(bias[c])
        return out.astype(x.dtype)

    return run


def _batch(epsilon: float) -> Oracle:
    def run(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
        out = x.astype(np.float64)
        for c in range(x.shape[1]):
            out[:, c] = (out[:, c] - float(mean[c])) * (float(variance[c]) + epsilon) ** -0.5 * float(scale[c]) + float(bias[c])
        return out.astype(x.dtype)

    return run


def _mean_variance(x: np.ndarray) -> np.ndarray:
    """In extended precision: a variance is a difference."""
    exact = x.astype(np.longdouble)
    centred = exact - exact.sum(-1, keepdims=True) / x.shape[-1]
    variance = (centred * centred).sum(-1, keepdims=True) / x.shape[-1]
    return (centred / (np.sqrt(variance) + 1e-9)).astype(np.float64).astype(x.dtype)


def _pooled(function: Callable[..., Any]) -> Oracle:
    def run(x: np.ndarray) -> np.ndarray:
        out = np.array([[function(c) for c in n] for n in x.astype(np.float64)]).reshape(x.shape[:2])
        return out.reshape(*x.shape[:2], *(1,) * (x.ndim - 2)).astype(x.dtype)

    return run


def _lrn(size: int, alpha: float, beta: float, bias: float) -> Oracle:
    """By a window over channels that are padded with zeros."""

    def run(x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        padded = np.pad(wide**2, [(0, 0), ((size - 1) // 2, size - 1 - (size - 1) // 2), *[(0, 0)] * (x.ndim - 2)])
        total = np.lib.stride_tricks.sliding_window_view(padded, size, axis=1).sum(-1)
        return (wide / (bias + alpha / size * total) ** beta).astype(x.dtype)

    return run


def samples() -> list[Sample]:
    rng = np.random.default_rng(25)
    return [sample for family in (_along_axis, _rows_norms, _images) for sample in family(rng)]
