"""Samples of composite operators, against ONNX's own implementations or float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from tgen.ir.op import OPS

from .onnx_oracle import onnx_oracle
from .samples import Sample

# Sums of up to a hundred float32 terms and one division; ONNX Runtime rounds its own way.
TOLERANCE, ABSOLUTE = 2e-5, 2e-6


def _x(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32) * 3


def _op(name: str, *operands: np.ndarray, oracle: Any, **attributes: Any) -> Sample:
    return Sample(OPS[name](**attributes), operands, oracle, TOLERANCE, ABSOLUTE)


def _wide(x: np.ndarray) -> np.ndarray:
    return x.astype(np.float64)


def _normal(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    centred = _wide(x) - _wide(x).mean(axes, keepdims=True)
    return centred / np.sqrt((centred**2).mean(axes, keepdims=True) + epsilon)


def samples() -> list[Sample]:
    rng = np.random.default_rng(12)
    s: list[Sample] = []
    for shape in ((1, 1), (3, 7), (4, 33), (2, 3, 100), (0, 5)):
        x = _x(rng, *shape)
        for axis in (-1, 0):
            s.append(_op("softmax", x, oracle=onnx_oracle("Softmax", axis=axis) if x.size else np.copy, axis=axis))
            s.append(_op("log_softmax", x, oracle=onnx_oracle("LogSoftmax", axis=axis) if x.size else np.copy, axis=axis))
        if x.size:
            s.append(_op("hardmax", x, oracle=onnx_oracle("Hardmax", axis=-1), axis=-1))
            for p in (1, 2):
                s.append(_op("lp_normalization", x, oracle=onnx_oracle("LpNormalization", axis=-1, p=p), axis=-1, p=p))
    s += _norms(rng)
    return s


def _norms(rng: np.random.Generator) -> list[Sample]:
    x, s = _x(rng, 4, 5, 33), []
    scale, bias = _x(rng, 33), _x(rng, 33)

    def layer(x: np.ndarray, scale: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, ...]:
        mean = _wide(x).mean(-1, keepdims=True)
        inverse = 1 / np.sqrt(_wide(x).var(-1, keepdims=True) + 1e-5)
        y = _normal(x, (-1,), 1e-5) * scale + bias
        return tuple(a.astype(np.float32) for a in (y, mean, inverse))

    s.append(_op("layer_normalization", x, scale, bias, oracle=layer))
    wide = _x(rng, 5, 33)
    s.append(_op("layer_normalization", x, wide, oracle=onnx_oracle("LayerNormalization", axis=1), axis=1))
    s[-1] = Sample(s[-1].op, s[-1].operands, None, TOLERANCE, ABSOLUTE)
    s.append(
        _op(
            "rmsnormalization",
            x,
            scale,
            oracle=lambda x, w: (_wide(x) / np.sqrt((_wide(x) ** 2).mean(-1, keepdims=True) + 1e-5) * w).astype(np.float32),
        )
    )
    image, channels = _x(rng, 2, 6, 5, 7), (_x(rng, 6), _x(rng, 6))
    s.append(_op("instance_normalization", image, *channels, oracle=onnx_oracle("InstanceNormalization")))

    def group(x: np.ndarray, w: np.ndarray, b: np.ndarray) -> np.ndarray:
        y = _normal(x.reshape(2, 3, -1), (-1,), 1e-5).reshape(x.shape)
        return (y * w[:, None, None] + b[:, None, None]).astype(np.float32)

    s.append(_op("group_normalization", image, *channels, oracle=group, num_groups=3))
    s.append(_op("mean_variance_normalization", image, oracle=onnx_oracle("MeanVarianceNormalization")))
    s.append(_op("global_average_pool", image, oracle=onnx_oracle("GlobalAveragePool")))
    s.append(_op("global_max_pool", image, oracle=onnx_oracle("GlobalMaxPool")))
    return s
