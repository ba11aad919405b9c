"""Operators that read or make shapes, and constants."""

from __future__ import annotations

from typing import Any

import numpy as np

from ....ir import dims
from ....ir.dims import Dim, DimLike, nonnegative
from ....ir.dtypes import I64
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Value
from ....ir.op import normalise_axis
from ....ir.types import broadcast
from ..agreement import may_be_equal, unclamped
from ..call import Call
from ..problems import DataDependent
from ..registry import dtype_attribute, onnx_op
from ..text import Text, constant_text
from .found import found_expand, found_range, found_reshape


def extents(call: Call, values: list[DimLike]) -> Value:
    """A vector of extents."""
    return call.build.from_content(np.array(values, object), I64)


@onnx_op("Shape")
def shape(call: Call, x: Value) -> Value:
    start, end = call.attr("start", 0), call.attr("end", x.type.rank)
    return extents(call, list(x.type.shape[start:end]))


@onnx_op("Size")
def size(call: Call, x: Value) -> Value:
    return call.build.from_content(np.array(x.type.elements, object), I64)


@onnx_op("Constant")
def constant(call: Call) -> Value | Text:
    given = [name for name in call.attributes if name.startswith(("value", "sparse_value"))]
    if len(given) != 1:
        raise InvalidModel(f"{call.importer.what}: Constant {call.name!r} needs one value; it has {len(given)}")
    return _constant(call, given[0], call.attributes[given[0]])


def _constant(call: Call, name: str, value: Any) -> Value | Text:
    kinds = {"value_int": np.int64, "value_ints": np.int64, "value_float": np.float32, "value_floats": np.float32}
    if name == "value":
        return call.constant(value)
    if name in kinds:
        return call.build.constant(np.array(value, kinds[name]))
    if name in ("value_string", "value_strings"):
        return constant_text(call.build, np.array(value, object), f"Constant {call.name!r}")
    raise Unsupported("sparse tensors")


@onnx_op("ConstantOfShape")
def constant_of_shape(call: Call, wanted: Value) -> Value:
    fill = call.attributes.get("value")
    value = call.tensor(fill) if fill is not None else call.build.constant(np.zeros((), np.float32))
    return call.build.full(value, shape=extents_of(call, wanted))


def extents_of(call: Call, value: Value) -> tuple[DimLike, ...]:
    """The entries of an operand as extents. Raises InvalidModel for a negative one."""
    found = call.sizes(value)
    if any(isinstance(d, int) and d < 0 for d in found):
        raise InvalidModel(f"{call.importer.what}: {call.op_type} {call.name!r} wants the shape {list(found)}")
    return found


@onnx_op("Expand")
def expand(call: Call, x: Value, wanted: Value) -> Value:
    """Broadcasts both ways: a 1 in the wanted shape keeps the operand's extent."""
    entries = call.entries(wanted)
    if any(isinstance(e, Value) for e in entries):
        return found_expand(call, x, entries)
    shape = extents_of(call, wanted)
    (x,) = call.build.agreed((x,), shape)
    return call.build.expand(x, shape=broadcast(x.type.shape, shape))


@onnx_op("Reshape")
def reshape(call: Call, x: Value, wanted: Value) -> Value:
    """0 keeps an extent (unless allowzero), one -1 takes what is left."""
    entries = call.entries(wanted)
    if any(isinstance(e, Value) for e in entries):
        return found_reshape(call, x, entries, keeps=not call.attr("allowzero", 0))
    shape = list(call.ints(wanted))
    if not call.attr("allowzero", 0):
        for axis, d in enumerate(shape):
            if d == 0 and axis >= x.type.rank:
                raise InvalidModel(
                    f"{call.importer.what}: Reshape {call.name!r} to {shape}: entry {axis} keeps an axis that {x.type} lacks"
                )
            shape[axis] = x.type.shape[axis] if d == 0 else d
    unknown = [axis for axis, d in enumerate(shape) if d == -1]
    if len(unknown) > 1 or any(isinstance(d, int) and d < -1 for d in shape):
        raise InvalidModel(f"{call.importer.what}: Reshape {call.name!r} of {x.type} to {shape}: not a shape")
    for axis in unknown:
        shape[axis] = rest_of(x.type.shape, [d for k, d in enumerate(shape) if k != axis])
    elements = dims.product(shape)
    given = call.build.assumed(x, unclamped(x.type.shape, elements))
    if given.type.elements != elements and may_be_equal((given.type.elements, elements)):  # as n and 8·(n // 8)
        given = call.build.assumed(call.build.reshape(given, shape=(given.type.elements,)), (elements,))
    return call.build.reshape(given, shape=tuple(shape))


def rest_of(whole: tuple[DimLike, ...], parts: list[DimLike]) -> DimLike:
    """Π whole / Π parts, equal factors cancelled first; 0 of 0."""
    left, divisors = list(whole), []
    for part in parts:
        if part in left:
            left.remove(part)
        else:
            divisors.append(part)
    divisor = dims.product(divisors)
    return 0 if divisor == 0 else dims.floordiv(dims.product(left), divisor)


@onnx_op("Flatten")
def flatten(call: Call, x: Value) -> Value:
    axis = call.attr("axis")
    axis = axis if axis == x.type.rank else normalise_axis(axis, x.type.rank, "flatten")
    return call.build.reshape(x, shape=(dims.product(x.type.shape[:axis]), dims.product(x.type.shape[axis:])))


@onnx_op("Squeeze", since=1)
def squeeze_attribute(call: Call, x: Value) -> Value:
    return _squeeze(call, x, call.attr("axes"))


@onnx_op("Squeeze", since=13)
def squeeze(call: Call, x: Value, axes: Value | None = None) -> Value:
    return _squeeze(call, x, call.plain_ints(axes, "axes") if axes is not None else None)


def _squeeze(call: Call, x: Value, axes: Any) -> Value:
    """Extents that are removed are assumed to be 1."""
    if axes is None:
        if any(isinstance(d, Dim) for d in x.type.shape):
            raise Unsupported(f"removal of all axes of extent 1 from {x.type}: which they are is known at run time only")
        axes = [k for k, d in enumerate(x.type.shape) if d == 1]
    gone = {normalise_axis(a, x.type.rank, "squeeze") for a in axes}
    shape = tuple(1 if k in gone and isinstance(d, Dim) else d for k, d in enumerate(x.type.shape))
    return call.build.squeeze(call.build.assumed(x, shape), axes=tuple(axes)) if len(axes) else x


@onnx_op("Unsqueeze", since=1)
def unsqueeze_attribute(call: Call, x: Value) -> Value:
    return call.build.unsqueeze(x, axes=tuple(call.required("axes")))


@onnx_op("Unsqueeze", since=13)
def unsqueeze(call: Call, x: Value, axes: Value) -> Value:
    return call.build.unsqueeze(x, axes=call.plain_ints(axes, "axes"))


@onnx_op("Range")
def range_(call: Call, start: Value, limit: Value, delta: Value) -> Value:
    """start, start + delta, … below limit: max(0, ceil((limit - start) / delta)) elements."""
    return call.build.range(start, delta, size=_range_size(call, start, limit, delta))


def _range_size(call: Call, start: Value, limit: Value, delta: Value) -> DimLike:
    entries = [v if v.constant is not None else call.entries(v)[0] for v in (start, limit, delta)]
    if any(isinstance(e, Value) and e.constant is None for e in entries):
        return found_range(call, start, limit, delta)
    if start.type.dtype.is_float:
        a, b, by = (float(call.array(v)) for v in (start, limit, delta))
        if by == 0 or not np.isfinite([a, b, by]).all():
            raise InvalidModel(f"{call.importer.what}: Range {call.name!r} from {a} to {b} by {by}")
        return max(0, int(np.ceil((b - a) / by)))
    (first,), (last,), (step,) = call.ints(start), call.ints(limit), call.ints(delta)
    if isinstance(step, Dim):
        raise DataDependent("symbolic step")
    if step == 0:
        raise InvalidModel(f"{call.importer.what}: Range {call.name!r} has step 0")
    span = last - first if step > 0 else first - last
    count = dims.ceildiv(span, abs(step))
    return count if nonnegative(span) else dims.dim_max(count, 0)


@onnx_op("EyeLike")
def eye_like(call: Call, x: Value) -> Value:
    """Ones on diagonal k of a matrix of x's shape: row + k = column."""
    b = call.build
    dtype = dtype_attribute(call.attributes["dtype"], call) if "dtype" in call.attributes else x.type.dtype
    if x.type.rank != 2:
        raise InvalidModel(f"{call.importer.what}: EyeLike {call.name!r} of {x.type}: not a matrix")
    zero, one = b.constant(0, I64), b.constant(1, I64)
    rows, columns = (b.range(zero, one, size=d) for d in x.type.shape)
    k = b.constant(call.attr("k"), I64)
    return b.cast(b.equal(b.unsqueeze(b.add(rows, k), axes=(1,)), columns), to=dtype)
