"""Resize and Upsample: one resampling for each axis whose extent changes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ....ir import dims
from ....ir.dims import DimLike
from ....ir.dtypes import F32, F64
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ....ir.op import normalise_axis
from ..call import Call
from ..registry import onnx_op

_EARLY = {"transform": "asymmetric", "nearest": "floor"}  # what Upsample and the first Resize always do


@dataclass(frozen=True)
class _Target:
    """What an axis becomes. scale: None is size / extent."""

    axis: int
    size: DimLike
    scale: float | None


@onnx_op("Upsample", since=7)
def upsample_attribute(call: Call, x: Value) -> Value:
    return _upsample(call, x, list(call.required("scales")))


@onnx_op("Upsample", since=9)
@onnx_op("Resize", since=10)
def upsample(call: Call, x: Value, scales: Value) -> Value:
    return _upsample(call, x, call.array(scales).tolist())


def _upsample(call: Call, x: Value, scales: list[float]) -> Value:
    for target in _by_scales(call, x, range(x.type.rank), scales):
        if target.scale != 1.0:
            x = call.build.resize_axis(x, size=target.size, axis=target.axis, scale=target.scale, mode=call.attr("mode"), **_EARLY)
    return x


@onnx_op("Resize", since=11)
def resize(call: Call, x: Value, roi: Value | None = None, scales: Value | None = None, sizes: Value | None = None) -> Value:
    """An empty tensor of scales counts as none; so does one of sizes."""
    rank = x.type.rank
    axes = [normalise_axis(a, rank, "resize") for a in call.attr("axes") or range(rank)]
    given = call.array(scales).reshape(-1).tolist() if scales is not None and scales.type.elements != 0 else None
    if (given is None) == (sizes is None or sizes.type.elements == 0):
        raise InvalidModel(f"{call.importer.what}: Resize {call.name!r} needs scales or sizes, and not both")
    targets = _by_scales(call, x, axes, given) if given is not None else _by_sizes(call, x, axes, call.sizes(sizes))  # type: ignore[arg-type]
    transform = call.attr("coordinate_transformation_mode")
    part = call.array(roi).reshape(-1).tolist() if transform == "tf_crop_and_resize" and roi is not None else []
    if transform == "tf_crop_and_resize" and len(part) != 2 * len(axes):
        raise InvalidModel(f"{call.importer.what}: Resize {call.name!r} has a roi of {len(part)} numbers for {len(axes)} axes")
    dtype = x.type.dtype
    if call.attr("mode") != "nearest":  # rounded once, not once for each axis
        x = call.build.cast(x, to=F64 if not dtype.is_float else F32 if dtype.bits < 32 else dtype)
    for number, target in enumerate(targets):
        wanted = (float(part[number]), float(part[number + len(axes)])) if part else (0.0, 1.0)
        x = _resampled(call, x, target, wanted)
    return call.build.cast(x, to=dtype)


def _resampled(call: Call, x: Value, target: _Target, roi: tuple[float, float]) -> Value:
    transform = call.attr("coordinate_transformation_mode")
    same = target.size == x.type.shape[target.axis] and target.scale in (None, 1.0)
    if same and (transform != "tf_crop_and_resize" or roi == (0.0, 1.0)):
        return x
    out: Value = call.build.resize_axis(
        x,
        size=target.size,
        axis=target.axis,
        scale=target.scale,
        mode=call.attr("mode"),
        transform=transform,
        nearest=call.attr("nearest_mode"),
        cubic=call.attr("cubic_coeff_a"),
        exclude_outside=bool(call.attr("exclude_outside")),
        antialias=bool(call.attr("antialias", 0)) and call.attr("mode") != "nearest",
        roi=roi,
        extrapolation=call.attr("extrapolation_value"),
    )
    return out


def _by_scales(call: Call, x: Value, axes: Sequence[int], scales: Sequence[float]) -> list[_Target]:
    if len(scales) != len(axes) or not all(math.isfinite(s) and s > 0 for s in scales):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} has the scales {list(scales)} for {len(axes)} axes")
    return [_Target(a, scaled(x.type.shape[a], s), s) for a, s in zip(axes, scales)]


def scaled(extent: DimLike, scale: float) -> DimLike:
    """⌊extent·scale⌋ in float32; a symbolic extent times the simple fraction that the scale is nearest to."""
    if isinstance(extent, int):
        return int(np.floor(np.float32(extent) * np.float32(scale)))
    near = Fraction(scale).limit_denominator(1024)
    if np.float32(near) != np.float32(scale):
        raise Unsupported(f"scale {scale} of the symbolic extent {extent}")
    return dims.floordiv(extent * near.numerator, near.denominator)


def _by_sizes(call: Call, x: Value, axes: Sequence[int], sizes: Sequence[DimLike]) -> list[_Target]:
    """With a policy the least (or greatest) of the scales is that of all axes, and extents are rounded, halves up."""
    policy, shape = call.attr("keep_aspect_ratio_policy", "stretch"), x.type.shape
    if len(sizes) != len(axes):
        raise InvalidModel(f"{call.importer.what}: Resize {call.name!r} has {len(sizes)} sizes for {len(axes)} axes")
    if policy == "stretch":
        return [_Target(a, s, None) for a, s in zip(axes, sizes)]
    pairs = [(s, shape[a]) for a, s in zip(axes, sizes)]
    if not all(isinstance(s, int) and isinstance(d, int) and d > 0 for s, d in pairs):
        raise Unsupported(f"keep_aspect_ratio_policy {policy!r} of symbolic extents")
    choose = min if policy == "not_larger" else max
    scale = choose(s / d for s, d in pairs)  # type: ignore[operator]
    return [_Target(a, math.floor(scale * d + 0.5), scale) for a, (_, d) in zip(axes, pairs)]  # type: ignore[operator]
