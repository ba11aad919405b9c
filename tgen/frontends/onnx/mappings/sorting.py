"""Operators that put elements in order."""

from __future__ import annotations

from typing import Any

from ....ir.errors import TypeMismatch
from ....ir.graph import Value
from ....ir.op import normalise_axis
from ..call import Call
from ..registry import onnx_op


@onnx_op("TopK")
def top_k_by_attribute(call: Call, x: Value) -> Any:
    """Before opset 10: k is an attribute."""
    return call.build.top_k(x, k=call.attr("k"), axis=call.attr("axis"))


@onnx_op("TopK", since=10)
def top_k(call: Call, x: Value, k: Value) -> Any:
    """Results are always sorted, also where `sorted` allows any order."""
    entries = call.entries(k)
    if len(entries) != 1:
        raise TypeMismatch(f"k {k.type} is not one number")
    axis = normalise_axis(call.attr("axis"), x.type.rank, "top_k")
    count = call.build.extent(entries[0], most=x.type.shape[axis]) if isinstance(entries[0], Value) else entries[0]
    return call.build.top_k(x, k=count, axis=call.attr("axis"), largest=bool(call.attr("largest", 1)))
