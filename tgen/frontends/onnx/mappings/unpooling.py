"""MaxUnpool and Col2Im: what a pooling or a window took, back where it was."""

from __future__ import annotations

from ....ir.dims import floordiv, product
from ....ir.dtypes import I64
from ....ir.errors import InvalidModel
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op


@onnx_op("MaxUnpool", since=9)
def max_unpool(call: Call, x: Value, places: Value, output_shape: Value | None = None) -> Value:
    """0, but x[i] at places[i], a position in the row-major tensor that was pooled; with output_shape: 0 behind it, too."""
    b, kernel = call.build, call.required("kernel_shape")
    count = x.type.rank - 2
    strides, pads = call.attr("strides") or [1] * count, call.attr("pads") or [0] * 2 * count
    if count < 1 or not len(kernel) == len(strides) == len(pads) // 2 == count or places.type.shape != x.type.shape:
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: attributes of {count} axes are wanted")
    space = [
        (n - 1) * step + width - before - after
        for n, step, width, before, after in zip(x.type.shape[2:], strides, kernel, pads, pads[count:])
    ]
    shape = (*x.type.shape[:2], *space)
    nothing, flat = b.constant(0, x.type.dtype), (x.type.elements,)
    base = b.full(nothing, shape=(product(shape),))
    spread = b.scatter_elements(base, b.cast(b.reshape(places, shape=flat), to=I64), b.reshape(x, shape=flat), axis=0)
    whole: Value = b.reshape(spread, shape=shape)
    if output_shape is None:
        return whole
    behind = tuple(wanted - given for wanted, given in zip(call.ints(output_shape), shape, strict=True))
    if any(isinstance(n, int) and n < 0 for n in behind):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r}: output_shape is less than {shape}")
    return b.pad(whole, nothing, before=(0,) * len(shape), after=behind)


@onnx_op("Col2Im", since=18)
def col2im(call: Call, x: Value, image_shape: Value, block_shape: Value) -> Value:
    """x [n, c·Πblock, windows] → [n, c, image…]: the sum of the windows, each where it was cut from a padded image."""
    b, image, block = call.build, call.sizes(image_shape), call.plain_ints(block_shape, "block_shape")
    ones = (1,) * len(image)
    strides, dilations = tuple(call.attr("strides") or ones), tuple(call.attr("dilations") or ones)
    pads = tuple(call.attr("pads") or (0,) * (2 * len(image)))
    fits = {len(block), len(strides), len(dilations), len(pads) // 2} == {len(image)} and x.type.rank == 3 and image
    if not fits or min((*block, *strides, *dilations)) < 1:
        raise InvalidModel(f"{call.importer.what}: Col2Im {call.name!r} of {x.type}: image {image}, blocks {block}, pads {pads}")
    reach = [(k - 1) * d + 1 for k, d in zip(block, dilations)]
    places = [
        floordiv(extent + before + after - r, step) + 1
        for extent, before, after, r, step in zip(image, pads, pads[len(image) :], reach, strides)
    ]
    n, given, count = x.type.shape
    channels, wanted = floordiv(given, product(block)), product(places)
    if given != channels * product(block) or (isinstance(wanted, int) and isinstance(count, int) and wanted != count):
        raise InvalidModel(f"{call.importer.what}: Col2Im {call.name!r} of {x.type}: {wanted} windows of {block} elements")
    whole = x if count == wanted else b.assume(x, shape=(n, given, wanted))
    windows = b.reshape(whole, shape=(n, channels, *block, *places))
    spread = b.spread(windows, sizes=image, strides=strides, dilations=dilations, pads=pads[: len(image)])
    out: Value = b.reduce_sum(spread, axes=tuple(range(2, 2 + len(image))), keepdims=False)
    return out
