"""Signals: Fourier transforms of whole axes and of windows, and the weights of mel filters."""

from __future__ import annotations

import numpy as np

from ....ir.dims import DimLike, dim_max, floordiv
from ....ir.dtypes import I64
from ....ir.errors import InvalidModel
from ....ir.graph import Value
from ....ir.op import normalise_axis
from ..call import Call
from ..registry import dtype_attribute, onnx_op


@onnx_op("DFT", since=17)
def dft_attribute(call: Call, x: Value, length: Value | None = None) -> Value:
    return _dft(call, x, length, call.attr("axis"))


@onnx_op("DFT", since=20)
def dft(call: Call, x: Value, length: Value | None = None, axis: Value | None = None) -> Value:
    return _dft(call, x, length, call.plain_ints(axis, "axis")[0] if axis is not None else -2)


def _dft(call: Call, x: Value, length: Value | None, axis: int) -> Value:
    """Without a length that of the axis; of half a spectrum (inverse and onesided), the even one."""
    inverse, onesided = bool(call.attr("inverse")), bool(call.attr("onesided"))
    have = x.type.shape[normalise_axis(axis, x.type.rank, "dft")]
    count: DimLike = (have - 1) * 2 if inverse and onesided else have
    if length is not None:
        (count,) = call.sizes(length)
    out: Value = call.build.dft(x, length=count, axis=axis, inverse=inverse, onesided=onesided)
    return out


@onnx_op("STFT")
def stft(call: Call, x: Value, step: Value, window: Value | None = None, length: Value | None = None) -> Value:
    """x [batch, samples, parts] → [batch, frames, frequencies, 2]: frames of `length` samples, `step` apart, times the window.

    Exporters leave out `parts` where it is 1, and ONNX Runtime takes that.
    """
    b = call.build
    x = b.unsqueeze(x, axes=(2,)) if x.type.rank == 2 else x
    (hop,) = call.plain_ints(step, "frame_step")
    if length is not None:
        (size,) = call.plain_ints(length, "frame_length")
    else:
        (size,) = window.type.shape if window is not None else (x.type.shape[1],)  # type: ignore[assignment]
    if hop < 1 or x.type.rank != 3 or (window is not None and window.type.shape != (size,)):
        raise InvalidModel(f"{call.importer.what}: STFT {call.name!r} of {x.type}: frames of {size} samples, {hop} apart")
    frames = dim_max(floordiv(x.type.shape[1] - size, hop) + 1, 0)
    zero = b.constant(0, I64)
    starts, within = b.range(zero, b.constant(hop, I64), size=frames), b.range(zero, b.constant(1, I64), size=size)
    taken = b.gather(x, b.add(b.unsqueeze(starts, axes=(1,)), within), axis=1)
    if window is not None:
        taken = b.mul(taken, b.unsqueeze(window, axes=(1,)))
    out: Value = b.dft(taken, length=size, axis=2, onesided=bool(call.attr("onesided")))
    return out


@onnx_op("MelWeightMatrix")
def mel_weight_matrix(call: Call, bins: Value, length: Value, rate: Value, lower: Value, upper: Value) -> Value:
    """[⌊length/2⌋ + 1, bins]: column i rises from edge i to edge i + 1 and falls to edge i + 2; edges are equally far apart in mel."""
    count, points, sampled = (int(call.array(v).item()) for v in (bins, length, rate))
    ends = np.array([float(call.array(v).item()) for v in (lower, upper)])
    if count < 1 or points < 1 or sampled < 1 or not np.isfinite(ends).all():
        raise InvalidModel(f"{call.importer.what}: MelWeightMatrix {call.name!r}: {count} bins of {points} points at {sampled} Hz")
    low, high = 2595 * np.log10(1 + ends / 700)
    mel = low + np.arange(count + 2) * (high - low) / (count + 2)
    edges = np.floor((points + 1) * 700 * (10 ** (mel / 2595) - 1) / sampled)
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    at = np.arange(points // 2 + 1)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        rising, falling = (at - left) / (centre - left), (right - at) / (right - centre)
    weights = np.where((at >= left) & (at < centre), rising, np.where((at >= centre) & (at < right), falling, 0.0))
    weights = np.where(at == centre, 1.0, weights)
    dtype = dtype_attribute(call.attr("output_datatype", 1), call)
    return call.build.constant(weights.astype(dtype.numpy))
