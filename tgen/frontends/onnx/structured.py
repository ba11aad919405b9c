"""Sequences and optionals: structures of values that are known while a model is imported. Nothing of them reaches the graph."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto, TypeProto

from ...ir.dtypes import DType
from ...ir.errors import Unsupported
from ...ir.graph import Value
from .symbols import type_proto
from .text import Text


@dataclass(frozen=True)
class SequenceValue:
    """Tensors one after another, each with a shape of its own; kind: the type of all as ONNX writes it, `tensor(float)`."""

    elements: tuple[Value, ...]
    kind: str


@dataclass(frozen=True)
class OptionalValue:
    """What may be there. kind: the type of what it would hold."""

    content: Value | SequenceValue | None
    kind: str


Structured = SequenceValue | OptionalValue
Item = Value | Text | SequenceValue | OptionalValue


def kind_of(item: Item) -> str:
    """The type as ONNX writes it: `seq(tensor(float))`."""
    if isinstance(item, SequenceValue):
        return f"seq({item.kind})"
    if isinstance(item, OptionalValue):
        return f"optional({item.kind})"
    if isinstance(item, Text):
        return "tensor(string)"
    return tensor_kind(type_proto(item.type).tensor_type.elem_type)


def tensor_kind(code: int) -> str:
    """An ONNX element type as the type of a tensor: `tensor(float)`."""
    return f"tensor({TensorProto.DataType.Name(code).lower()})"


def dtype_kind(dtype: DType) -> str:
    """A DType as the type of a tensor."""
    return tensor_kind(onnx.helper.np_dtype_to_tensor_dtype(dtype.numpy))


def proto_kind(proto: TypeProto) -> str:
    """A declared type as text. Raises Unsupported for maps and sparse tensors."""
    which = proto.WhichOneof("value")
    if which == "tensor_type" and proto.tensor_type.elem_type in TensorProto.DataType.values():
        return tensor_kind(proto.tensor_type.elem_type)
    if which == "sequence_type":
        return f"seq({proto_kind(proto.sequence_type.elem_type)})"
    if which == "optional_type":
        return f"optional({proto_kind(proto.optional_type.elem_type)})"
    raise Unsupported(f"the type {(which or 'without a kind').removesuffix('_type')}")


def describe_type(item: Item | None) -> str:
    """The type of an operand for messages; "-" if it is absent."""
    if item is None:
        return "-"
    return str(item.type) if isinstance(item, (Value, Text)) else kind_of(item)


def flat(items: Iterable[Item]) -> list[Value]:
    """The tensors of structures, in order; none of them are strings."""
    found: list[Value] = []
    for item in items:
        if isinstance(item, SequenceValue):
            found += item.elements
        elif isinstance(item, OptionalValue):
            found += flat([] if item.content is None else [item.content])
        elif isinstance(item, Value):
            found.append(item)
    return found


def rebuilt(like: Sequence[Item], values: Iterable[Value]) -> list[Item]:
    """Structures as those of `like`, with other tensors: `rebuilt(items, flat(items)) == items`."""
    left = iter(values)
    return [_taken(item, left) for item in like]


def _taken(like: Item, left: Iterator[Value]) -> Item:
    if isinstance(like, SequenceValue):
        return SequenceValue(tuple(next(left) for _ in like.elements), like.kind)
    if isinstance(like, OptionalValue):
        content = None if like.content is None else _taken(like.content, left)
        assert not isinstance(content, (OptionalValue, Text))
        return OptionalValue(content, like.kind)
    return next(left)


def same_structure(a: Item, b: Item) -> bool:
    """Whether two items are tensors, or sequences of as many, or optionals that are both there or both not."""
    if isinstance(a, SequenceValue) and isinstance(b, SequenceValue):
        return len(a.elements) == len(b.elements) and a.kind == b.kind
    if isinstance(a, OptionalValue) and isinstance(b, OptionalValue):
        if a.content is None or b.content is None:
            return a.content is b.content
        return same_structure(a.content, b.content)
    return isinstance(a, Value) and isinstance(b, Value)
