"""MaxUnpool: what a pooling took, back where it was."""

from __future__ import annotations

from ....ir.dims import product
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
