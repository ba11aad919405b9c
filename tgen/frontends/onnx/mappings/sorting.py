"""Operators that put elements in order."""

from __future__ import annotations

from typing import Any

from ....ir.errors import TypeMismatch
from ....ir.graph import Value
from ..call import Call
from ..registry import onnx_op


@onnx_op("TopK")
def top_k_by_attribute(call: Call, x: Value) -> Any:
    """Before opset 10: k is an attribute."""
    return call.build.top_k(x, k=call.attr("k"), axis=call.attr("axis"))


@onnx_op("TopK", since=10)
def top_k(call: Call, x: Value, k: Value) -> Any:
    """Results are always sorted, also where `sorted` allows any order."""
    count = call.plain_ints(k, "k")
    if len(count) != 1:
        raise TypeMismatch(f"k {k.type} is not one number")
    return call.build.top_k(x, k=count[0], axis=call.attr("axis"), largest=bool(call.attr("largest", 1)))
