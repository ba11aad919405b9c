"""Sampling at places that are data: GridSample, and the grids that AffineGrid makes."""

from __future__ import annotations

from ....ir.dtypes import F64, I64
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ....ir.ops.comparison import Or
from ....ir.ops.sorting import scalar_dtype
from ..call import Call
from ..registry import onnx_op

_EARLY_NAMES = {"bilinear": "linear", "bicubic": "cubic"}


@onnx_op("GridSample")
def grid_sample(call: Call, x: Value, grid: Value) -> Value:
    mode = call.attr("mode")
    return call.build.grid_sample(
        x,
        grid,
        mode=_EARLY_NAMES.get(mode, mode),
        padding=call.attr("padding_mode"),
        align_corners=bool(call.attr("align_corners")),
    )


@onnx_op("AffineGrid")
def affine_grid(call: Call, theta: Value, size: Value) -> Value:
    """theta [n, d, d + 1] times (…, y, x, 1) for each place of an image [n, c, space…], as [n, space…, d]."""
    b, space = call.build, call.sizes(size)[2:]
    d = len(space)
    if theta.type.rank != 3 or theta.type.shape[1:] != (d, d + 1):
        raise InvalidModel(f"{call.importer.what}: AffineGrid {call.name!r}: theta {theta.type} for {d} axes of space")
    parts = []
    for axis in reversed(range(d)):
        i = b.range(b.constant(0.0, F64), b.constant(1.0, F64), size=space[axis])
        extent = b.cast(b.reshape(b.dims_value(dims=(space[axis],)), shape=()), to=F64)
        if call.attr("align_corners"):
            place = b.sub(b.div(b.mul(i, 2.0), b.sub(extent, 1.0)), 1.0)
        else:
            place = b.sub(b.div(b.add(b.mul(i, 2.0), 1.0), extent), 1.0)
        parts.append(b.reshape(place, shape=(space[axis], *[1] * (d - 1 - axis), 1)))
    parts.append(b.constant(1.0, F64))
    columns = [b.cast(b.expand(p, shape=(*space, 1)), to=theta.type.dtype) for p in parts]
    places = b.unsqueeze(b.concat(*columns, axis=-1), axes=(d,))  # [space…, 1, d + 1]
    turned = b.reshape(theta, shape=(theta.type.shape[0], *[1] * d, d, d + 1))
    out: Value = b.reduce_sum(b.mul(turned, places), axes=(-1,), keepdims=False)
    return out


@onnx_op("RoiAlign", since=10)
def roi_align(call: Call, x: Value, rois: Value, batch: Value) -> Value:
    """Before opset 16 places are not half an element off."""
    out: Value = call.build.roi_align(
        x,
        rois,
        batch,
        height=call.attr("output_height"),
        width=call.attr("output_width"),
        samples=call.attr("sampling_ratio"),
        scale=call.attr("spatial_scale"),
        half_pixel=call.attr("coordinate_transformation_mode", "output_half_pixel") == "half_pixel",
        maximum=call.attr("mode") == "max",
    )
    return out


@onnx_op("MaxRoiPool")
def max_roi_pool(call: Call, x: Value, rois: Value) -> Value:
    """rois [n, 5] (entry, x, y, x, y), their corners scaled and rounded, halves away from 0; a run with an entry outside of x ends."""
    b, (height, width) = call.build, call.required("pooled_shape")
    if rois.type.rank != 2 or rois.type.shape[1] != 5 or x.type.rank != 4 or min(height, width) < 1:
        raise InvalidModel(f"{call.importer.what}: MaxRoiPool {call.name!r} of {x.type}, {rois.type}: {height} by {width} bins")
    entries, corners = b.split(b.cast(rois, to=F64), axis=1, sizes=(1, 4))
    scaled = b.mul(corners, call.attr("spatial_scale"))
    rounded = b.mul(b.sign(scaled), b.floor(b.add(b.abs(scaled), 0.5)))
    near = b.min(b.max(rounded, -(2.0**31)), 2.0**31)
    count = b.reshape(b.cast(b.dims_value(dims=(x.type.shape[0],)), to=F64), shape=())
    outside = b.cast(b.apply(Or(), b.less(entries, 0.0), b.greater_or_equal(entries, count)), to=I64)
    holds = b.equal(b.reduce_sum(outside, axes=(0, 1), keepdims=False), 0)
    b.check(holds, f"MaxRoiPool {call.name!r}: a region is of no entry of the batch")
    regions = b.concat(b.cast(entries, to=I64), b.cast(near, to=I64), axis=1)
    found = b.region_max(b.cast(x, to=scalar_dtype(x.type.dtype)), regions, height=height, width=width)
    out: Value = b.cast(found, to=x.type.dtype)
    return out


@onnx_op("DeformConv", since=19)
def deform_conv(call: Call, x: Value, weights: Value, offset: Value, bias: Value | None = None, mask: Value | None = None) -> Value:
    """The moved elements [n, c, places, h', w'] times the weights, group by group. Two axes of space."""
    b, group = call.build, call.attr("group")
    if x.type.rank != 4 or not all(isinstance(d, int) for d in weights.type.shape):
        raise Unsupported(f"DeformConv of {x.type} by {weights.type}: two axes of space and known weights are wanted")
    outer, inner, *kernel = weights.type.shape
    places = kernel[0] * kernel[1]
    if mask is None:
        shape = (x.type.shape[0], call.attr("offset_group") * places, *offset.type.shape[2:])
        mask = b.full(b.constant(1.0, x.type.dtype), shape=shape)
    columns = b.deform_columns(
        x,
        offset,
        mask,
        kernel=tuple(kernel),
        strides=tuple(call.attr("strides") or (1, 1)),
        dilations=tuple(call.attr("dilations") or (1, 1)),
        pads=tuple(call.attr("pads") or (0,) * 4)[:2],
        groups=call.attr("offset_group"),
    )
    n, _, _, height, width = columns.type.shape
    flat = b.reshape(columns, shape=(n, group, inner * places, height * width))
    rows = b.reshape(weights, shape=(group, outer // group, inner * places))
    out: Value = b.reshape(b.matmul(rows, flat), shape=(n, outer, height, width))
    return out if bias is None else b.add(out, b.reshape(bias, shape=(outer, 1, 1)))
