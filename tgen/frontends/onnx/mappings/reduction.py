"""Reductions: axes were an attribute and became an input."""

from __future__ import annotations

from typing import Any

from ....ir.dims import product
from ....ir.errors import TypeMismatch
from ....ir.graph import Value
from ....ir.op import OPS, normalise_axis
from ..call import Call
from ..registry import onnx_op, snake

_SINCE_18 = [
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
]


@onnx_op(*_SINCE_18, "ReduceSum", since=1)
def reduce_attribute(call: Call, x: Value) -> Value:
    axes = call.attributes.get("axes")
    return _reduce(call, x, tuple(axes) if axes else None)


@onnx_op(*_SINCE_18, since=18)
@onnx_op("ReduceSum", since=13)
def reduce(call: Call, x: Value, axes: Value | None = None) -> Value:
    """No axes: all of them, or with noop_with_empty_axes none (the reduction of single elements)."""
    listed = call.plain_ints(axes, "axes") if axes is not None else ()
    return _reduce(call, x, listed or (() if call.attr("noop_with_empty_axes", 0) else None))


def _reduce(call: Call, x: Value, axes: tuple[int, ...] | None) -> Value:
    name = snake(call.op_type)
    if name not in OPS:
        return NotImplemented
    return getattr(call.build, name)(x, axes=axes, keepdims=bool(call.attr("keepdims")))


@onnx_op("Softmax", "LogSoftmax", "Hardmax", since=1)
def softmax_flattened(call: Call, x: Value) -> Value:
    """Before opset 13: over all axes from `axis` on, taken as one."""
    b, rank = call.build, x.type.rank
    axis = call.attr("axis")
    axis = axis if axis == rank else normalise_axis(axis, rank, call.op_type.lower())
    rows = b.reshape(x, shape=(product(x.type.shape[:axis]), product(x.type.shape[axis:])))
    return b.reshape(getattr(b, snake(call.op_type))(rows, axis=1), shape=x.type.shape)


@onnx_op("Softmax", "LogSoftmax", "Hardmax", since=13)
def softmax(call: Call, x: Value) -> Any:
    return call.generic(x) if snake(call.op_type) in OPS else NotImplemented


@onnx_op("CumSum", "CumProd")
def running(call: Call, x: Value, axis: Value) -> Value:
    """The axis is an input, a scalar or a vector of one."""
    along = call.plain_ints(axis, "axis")
    if len(along) != 1:
        raise TypeMismatch(f"axis {axis.type} is not one number")
    options = {name: bool(call.attr(name)) for name in ("exclusive", "reverse")}
    return getattr(call.build, snake(call.op_type))(x, axis=along[0], **options)
