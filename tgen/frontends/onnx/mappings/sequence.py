"""Sequences and optionals: what is known of them while importing decides; tensors in them are values like all others."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from ....ir.dtypes import BOOL, I64
from ....ir.errors import Unsupported
from ....ir.graph import Value
from ....ir.op import normalise_axis
from ..call import Call, feeding_inputs
from ..problems import DataDependent
from ..registry import onnx_op
from ..structured import Item, OptionalValue, SequenceValue, kind_of, proto_kind, tensor_kind

MOST_PARTS = 4096  # of a tensor that is split: a longer sequence is a mistake or an attack


@onnx_op("SequenceEmpty")
def sequence_empty(call: Call) -> SequenceValue:
    return SequenceValue((), tensor_kind(call.attr("dtype", 1)))


@onnx_op("SequenceConstruct")
def sequence_construct(call: Call, *elements: Value) -> SequenceValue:
    return _sequence(call, elements, kind_of(elements[0]))


def _sequence(call: Call, elements: Sequence[Value], kind: str) -> SequenceValue:
    other = next((e for e in elements if kind_of(e) != kind), None)
    if other is not None:
        raise call.invalid(f"puts a {kind_of(other)} in a sequence of {kind}")
    return SequenceValue(tuple(elements), kind)


@onnx_op("SequenceLength")
def sequence_length(call: Call, sequence: SequenceValue) -> Value:
    return call.build.constant(len(sequence.elements), I64)


@onnx_op("SequenceAt")
def sequence_at(call: Call, sequence: SequenceValue, position: Value) -> Value:
    return sequence.elements[_position(call, position, len(sequence.elements))]


@onnx_op("SequenceInsert")
def sequence_insert(call: Call, sequence: SequenceValue, element: Value, position: Value | None = None) -> SequenceValue:
    elements = list(sequence.elements)
    at = len(elements) if position is None else _position(call, position, len(elements), 1)
    return _sequence(call, [*elements[:at], element, *elements[at:]], sequence.kind)


@onnx_op("SequenceErase")
def sequence_erase(call: Call, sequence: SequenceValue, position: Value | None = None) -> SequenceValue:
    elements = list(sequence.elements)
    if position is None and not elements:
        raise call.invalid("takes an element of an empty sequence away")
    del elements[-1 if position is None else _position(call, position, len(elements))]
    return SequenceValue(tuple(elements), sequence.kind)


def _position(call: Call, value: Value, count: int, beyond: int = 0) -> int:
    """A position in a sequence of `count`, from its end if negative; `beyond`: how many places after the last are allowed.

    Raises DataDependent where only a run knows it.
    """
    found = call.plain_ints(value, "positions in a sequence")
    if len(found) != 1 or not -count <= found[0] < count + beyond:
        raise call.invalid(f"has position {list(found)} of a sequence of {count}")
    return found[0] + count * (found[0] < 0)


@onnx_op("SplitToSequence")
def split_to_sequence(call: Call, x: Value, sizes: Value | None = None) -> SequenceValue:
    """Parts of as many as a scalar says, the last with what is left; of sizes; else of one each, with or without the axis."""
    axis = normalise_axis(call.attr("axis", 0), x.type.rank, "SplitToSequence")
    extent = x.type.shape[axis]
    if not isinstance(extent, int):
        raise DataDependent(f"a split along an axis of {extent}, which is not known before a run", structures=feeding_inputs(x))
    build, parts = call.build, _parts(call, extent, sizes)
    if len(parts) > MOST_PARTS:
        raise Unsupported(f"a sequence of more than {MOST_PARTS} elements")
    starts = itertools.accumulate(parts, initial=0)
    made = [build.slice(x, axes=(axis,), starts=(at,), sizes=(size,), steps=(1,)) for at, size in zip(starts, parts)]
    if sizes is None and not call.attr("keepdims", 1):
        made = [build.squeeze(part, axes=(axis,)) for part in made]
    return SequenceValue(tuple(made), kind_of(x))


def _parts(call: Call, extent: int, sizes: Value | None) -> Sequence[int]:
    """Sizes of the parts of an axis."""
    if sizes is None:
        return (1,) * min(extent, MOST_PARTS + 1)
    found = call.plain_ints(sizes, "sizes of parts")
    if sizes.type.rank:
        if sum(found) != extent or min(found, default=0) < 0:
            raise call.invalid(f"splits {extent} into {list(found)}")
        return found
    (size,) = found
    if size < 1:
        raise call.invalid(f"splits into parts of {size}")
    whole = min(extent // size, MOST_PARTS + 1)
    return (size,) * whole + (extent % size,) * (extent % size > 0)


@onnx_op("ConcatFromSequence")
def concat_from_sequence(call: Call, sequence: SequenceValue) -> Value:
    parts, axis = sequence.elements, call.required("axis")
    if not parts:
        raise Unsupported("a sequence of no elements")
    if call.attr("new_axis", 0):
        at = normalise_axis(axis, parts[0].type.rank + 1, "ConcatFromSequence")
        parts = tuple(call.build.unsqueeze(part, axes=(at,)) for part in parts)
    joined: Value = call.build.concat(*parts, axis=axis)
    return joined


@onnx_op("Optional")
def optional(call: Call, content: Value | SequenceValue | None = None) -> OptionalValue:
    return OptionalValue(content, proto_kind(call.required("type")) if content is None else kind_of(content))


@onnx_op("OptionalHasElement")
def optional_has_element(call: Call, item: Item | None = None) -> Value:
    there = item.content is not None if isinstance(item, OptionalValue) else item is not None
    return call.build.constant(there, BOOL)


@onnx_op("OptionalGetElement")
def optional_get_element(call: Call, item: Item) -> Item:
    if isinstance(item, OptionalValue) and item.content is None:
        raise call.invalid("reads an optional that is empty")
    return item.content if isinstance(item, OptionalValue) and item.content is not None else item


@onnx_op("SequenceMap")
def sequence_map(call: Call, first: SequenceValue, *others: SequenceValue | Value) -> list[SequenceValue]:
    """The body for the elements of all sequences, one turn each; what is no sequence is the same in each turn."""
    body, count = call.required("body"), len(first.elements)
    lengths = {len(each.elements) for each in (first, *others) if isinstance(each, SequenceValue)}
    if len(lengths) > 1:
        raise call.invalid(f"has sequences of {sorted(lengths)} elements")
    call.importer.count_turns(count)
    turns = [
        call.importer.graph(body, call.scope, [e.elements[k] if isinstance(e, SequenceValue) else e for e in (first, *others)])
        for k in range(count)
    ]
    columns = list(zip(*turns)) if turns else [()] * len(body.output)
    kinds = [kind_of(found[0]) if found else proto_kind(info.type) for found, info in zip(columns, body.output)]
    return [_sequence(call, found, kind) for found, kind in zip(columns, kinds)]
