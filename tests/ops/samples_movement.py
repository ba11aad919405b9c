"""Samples of data movement, against NumPy and ONNX's own implementations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tgen.ir.op import OPS

from .onnx_oracle import onnx_oracle
from .samples import Sample

I64 = np.int64


def _x(rng: np.random.Generator, *shape: int, dtype: Any = np.float32) -> np.ndarray:
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    return (rng.standard_normal(shape) * 50).astype(dtype)


def samples() -> list[Sample]:
    rng = np.random.default_rng(11)
    return [*_views(rng), *_joins(rng), *_gathers(rng), *_scatters(rng), *_generators(rng)]


def _op(name: str, *operands: np.ndarray, oracle: Callable[..., Any], **attributes: Any) -> Sample:
    return Sample(OPS[name](**attributes), operands, oracle)


def _views(rng: np.random.Generator) -> list[Sample]:
    x, s = _x(rng, 3, 1, 17, 5), []
    for dtype in (np.float32, np.int8, np.bool_, np.float64, np.int64):
        y = _x(rng, 4, 33, dtype=dtype)
        s.append(_op("identity", y, oracle=np.copy))
        s.append(_op("transpose", y, oracle=lambda a: a.T, perm=(1, 0)))
    for perm in ((0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 1, 3), (2, 0, 3, 1)):
        s.append(_op("transpose", x, oracle=lambda a, p=perm: np.einsum(a, [0, 1, 2, 3], list(p)), perm=perm))
    s.append(_op("reshape", x, oracle=lambda a: a.reshape(15, 17), shape=(15, 17)))
    s.append(_op("reshape", x[:0], oracle=lambda a: a.reshape(0, 7), shape=(0, 7)))
    s.append(_op("squeeze", x, oracle=lambda a: a[:, 0], axes=(1,)))
    s.append(_op("unsqueeze", x, oracle=lambda a: a[None, ..., None], axes=(0, -1)))
    s.append(_op("expand", x, oracle=lambda a: a + np.zeros((2, 3, 4, 17, 5), a.dtype), shape=(2, 1, 4, 1, 5)))
    s.append(_op("tile", x, oracle=onnx_oracle("Tile", np.array([2, 3, 1, 2], I64)), repeats=(2, 3, 1, 2)))
    s.append(_op("tile", _x(rng, 3, 2), oracle=onnx_oracle("Tile", np.array([0, 2], I64)), repeats=(0, 2)))
    cuts = [((2,), (1,), (8,), (2,)), ((2, 3), (16, 4), (17, 5), (-1, -1)), ((0,), (2,), (0,), (1,)), ((-1,), (1,), (3,), (1,))]
    for axes, starts, sizes, steps in cuts:

        def cut(a: np.ndarray, spec: Any = (axes, starts, sizes, steps)) -> np.ndarray:
            for axis, start, size, step in zip(*spec):
                a = (
                    np.moveaxis(np.stack([np.take(a, start + k * step, axis) for k in range(size)], 0), 0, axis % a.ndim)
                    if size
                    else np.delete(a, np.s_[:], axis)
                )
            return a

        s.append(_op("slice", x, oracle=cut, axes=axes, starts=starts, sizes=sizes, steps=steps))
    depth = _x(rng, 2, 8, 3, 5)
    for mode in ("DCR", "CRD"):
        s.append(_op("depth_to_space", depth, oracle=onnx_oracle("DepthToSpace", blocksize=2, mode=mode), blocksize=2, mode=mode))
    s.append(_op("space_to_depth", _x(rng, 2, 3, 6, 4), oracle=onnx_oracle("SpaceToDepth", blocksize=2), blocksize=2))
    return s


def _joins(rng: np.random.Generator) -> list[Sample]:
    parts = [_x(rng, 2, n, 9) for n in (1, 0, 17, 4)]
    s = [_op("concat", *parts, oracle=lambda *a: np.hstack(a), axis=1), _op("concat", parts[0], oracle=np.copy, axis=-1)]
    s.append(_op("concat", parts[0], parts[0], oracle=lambda a, b: np.vstack([a, b]), axis=0))
    for sizes in ((9,), (1, 8), (0, 4, 5), (3, 3, 3)):

        def parts_of(a: np.ndarray, widths: tuple[int, ...] = sizes) -> tuple[np.ndarray, ...]:
            ends = [sum(widths[: k + 1]) for k in range(len(widths))]
            return tuple(a[..., e - w : e] for w, e in zip(widths, ends))

        s.append(_op("split", parts[2], oracle=parts_of, axis=-1, sizes=sizes))
    return s


def _gathers(rng: np.random.Generator) -> list[Sample]:
    x, s = _x(rng, 7, 9, 5), []
    for axis, shape, dtype in ((0, (3,), I64), (1, (2, 4), np.int32), (-1, (), I64), (0, (0,), I64), (1, (33,), I64)):
        i = rng.integers(-x.shape[axis], x.shape[axis], shape).astype(dtype)
        s.append(_op("gather", x, np.asarray(i), oracle=onnx_oracle("Gather", axis=axis), axis=axis))
    for axis in (0, 1, -1):
        i = rng.integers(-x.shape[axis], x.shape[axis], (4, 9, 3)).astype(I64)
        i = i if axis != 1 else i[:, :2]
        s.append(_op("gather_elements", x, i, oracle=onnx_oracle("GatherElements", axis=axis), axis=axis))
    for batch, shape in ((0, (6, 2)), (0, (2, 3, 3)), (1, (7, 4, 1))):
        limit = np.array(x.shape[batch : batch + shape[-1]])
        i = (rng.random(shape) * limit).astype(I64)
        s.append(_op("gather_nd", x, i, oracle=onnx_oracle("GatherND", batch_dims=batch), batch_dims=batch))
    lengths = np.array([1, 4, 0, 6], I64)
    seq = _x(rng, 6, 4, 3)
    for time, batch in ((0, 1), (1, 0)):
        data = seq if time == 0 else np.ascontiguousarray(seq.swapaxes(0, 1))
        s.append(_op("reverse_sequence", data, lengths, oracle=_reversed(time), time_axis=time, batch_axis=batch))
    return s


def _reversed(time: int) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def run(x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        y = np.moveaxis(x, (time, 1 - time), (0, 1))
        rows = [[y[n - 1 - t if t < n else t, b] for b, n in enumerate(lengths)] for t in range(len(y))]
        return np.moveaxis(np.array(rows, x.dtype), (0, 1), (time, 1 - time))

    return run


def _scatters(rng: np.random.Generator) -> list[Sample]:
    x, s = _x(rng, 6, 5), []
    for reduction in ("none", "add", "mul", "max", "min"):
        i = (
            rng.permutation(6)[:4].reshape(4, 1).repeat(5, 1).astype(I64)
            if reduction == "none"
            else rng.integers(-6, 6, (4, 5)).astype(I64)
        )
        s.append(
            _op(
                "scatter_elements",
                x,
                i,
                _x(rng, 4, 5),
                oracle=onnx_oracle("ScatterElements", axis=0, reduction=reduction),
                axis=0,
                reduction=reduction,
            )
        )
        j = rng.permutation(6)[:4].reshape(4, 1).astype(I64) if reduction == "none" else rng.integers(0, 6, (4, 1)).astype(I64)
        s.append(_op("scatter_nd", x, j, _x(rng, 4, 5), oracle=onnx_oracle("ScatterND", reduction=reduction), reduction=reduction))
    return s


def _generators(rng: np.random.Generator) -> list[Sample]:
    x, s = _x(rng, 5, 6), []
    value = np.array([2.5], np.float32)
    s.append(_op("full", value, oracle=lambda v: v + np.zeros((3, 17), v.dtype), shape=(3, 17)))
    s.append(_op("full", value, oracle=lambda v: np.zeros((0, 4), v.dtype), shape=(0, 4)))
    for start, delta, size in ((3, 2, 17), (5, -1, 9), (0, 1, 0)):
        a, d = np.array(start, I64), np.array(delta, I64)
        s.append(_op("range", a, d, oracle=lambda a, d, n=size: np.array([a + k * d for k in range(n)], I64), size=size))
    s.append(_op("range", np.float32(1.5), np.float32(0.25), oracle=lambda a, d: np.arange(16, dtype=np.float32) / 4 + a, size=16))
    s.append(_op("dims_value", oracle=lambda: np.array([4, 7, 1], I64), dims=(4, 7, 1)))
    fill = np.array(-7, np.float32)
    for mode in ("constant", "edge", "reflect", "wrap"):
        pads = np.array([1, 3, 2, 0], I64)
        oracle = onnx_oracle("Pad", pads, np.float32(-7), mode=mode) if mode == "constant" else onnx_oracle("Pad", pads, mode=mode)
        s.append(_op("pad", x, fill, oracle=lambda a, f, run=oracle: run(a), before=(1, 3), after=(2, 0), mode=mode))
    s.append(_op("pad", x[:0], fill, oracle=lambda a, f: np.full((2, 6), f, a.dtype), before=(1, 0), after=(1, 0), mode="constant"))
    for k in (-2, 0, 1, 7):
        for upper in (True, False):
            s.append(_op("trilu", x, oracle=onnx_oracle("Trilu", np.array(k, I64), upper=int(upper)), k=k, upper=upper))
    i = np.array([[0, 2], [-1, 3], [5, -9]], I64)
    for axis in (-1, 0, 1):
        s.append(
            _op(
                "one_hot",
                i,
                np.array([0.5, 3], np.float32),
                oracle=lambda i, v, a=axis: onnx_oracle("OneHot", axis=a)(i, np.array(4, I64), v),
                depth=4,
                axis=axis,
            )
        )
    return s
