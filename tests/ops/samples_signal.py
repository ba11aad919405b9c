"""Samples of Fourier transforms against sums written out."""

from __future__ import annotations

import cmath
import itertools
from collections.abc import Callable, Iterator

import numpy as np

from tgen.ir.op import OPS

from .samples import Sample


def _by_definition(length: int, axis: int, inverse: bool, onesided: bool) -> Callable[[np.ndarray], np.ndarray]:
    def row(values: list[complex]) -> list[complex]:
        have = length // 2 + 1 if inverse and onesided else length
        x = [*values[:have], *[0j] * (have - len(values))]
        if inverse and onesided:
            x = [x[k] if k < have else x[length - k].conjugate() for k in range(length)]
            x = [v.real + 0j if 2 * k % length == 0 else v for k, v in enumerate(x)]
        sign, factor = (2j, 1 / length) if inverse else (-2j, 1)
        count = length // 2 + 1 if onesided and not inverse else length
        return [factor * sum(v * cmath.exp(sign * cmath.pi * k * f / length) for k, v in enumerate(x)) for f in range(count)]

    def run(x: np.ndarray) -> np.ndarray:
        wide = x.astype(np.float64)
        signal = np.moveaxis(wide[..., 0] + (1j * wide[..., 1] if x.shape[-1] == 2 else 0), axis, -1)
        out = np.array([row(list(signal[at])) for at in np.ndindex(signal.shape[:-1])])
        out = np.moveaxis(out.reshape(*signal.shape[:-1], -1), -1, axis)
        parts = [out.real] if inverse and onesided else [out.real, out.imag]
        return np.stack(parts, -1).astype(x.dtype)

    return run


def _samples(rng: np.random.Generator) -> Iterator[Sample]:
    shapes = itertools.cycle([((2, 7, 1), 1), ((5, 3, 2), 0), ((2, 8, 2), 1)])
    for inverse, onesided, (length, dtype) in itertools.product(
        (False, True), (False, True), [(7, np.float32), (8, np.float64), (5, np.float32), (12, np.float16), (1, np.float32)]
    ):
        shape, axis = next(shapes)
        x = rng.standard_normal(shape).astype(dtype)
        op = OPS["dft"](length=length, axis=axis, inverse=inverse, onesided=onesided)
        tolerance = 2e-3 if dtype is np.float16 else 1e-6
        yield Sample(op, (x,), _by_definition(length, axis, inverse, onesided), tolerance, tolerance)


def samples() -> list[Sample]:
    return list(_samples(np.random.default_rng(47)))
