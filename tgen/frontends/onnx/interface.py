"""What a model takes and gives. A sequence or an optional is as many tensors of the graph as the caller says: `x.0`, `x.1`, …"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onnx import TypeProto, ValueInfoProto

from ...ir.errors import InvalidInput, InvalidModel, Unsupported
from ...ir.graph import Graph, Value
from ...ir.types import TensorType
from .problems import DataDependent
from .structured import Item, OptionalValue, SequenceValue, kind_of, proto_kind
from .symbols import ANY, SymbolNames, declared_type
from .tensors import checked_shape, element_type
from .text import Text

MOST_ELEMENTS = 4096  # of a sequence that a model takes: each is an input of the graph
# What the caller says of an input: None or False (an absent optional), True (a tensor that is there), its shape; of a sequence
# the number of its elements, or their shapes; of a tensor its shape.
Structure = None | bool | int | Sequence[int] | Sequence[Sequence[int]]
Layout = str | list[str] | None  # of an output: the graph's output, those of a sequence's elements, nothing


@dataclass(frozen=True)
class Imported:
    """graph: None if there is nothing to compute. outputs: where each output of the model is."""

    graph: Graph | None
    outputs: Mapping[str, Layout]


@dataclass(frozen=True)
class Entry:
    """An input of a model. types: the inputs of the graph for it, by name; assemble: what it stands for, of their values."""

    types: Mapping[str, TensorType]
    assemble: Callable[[Sequence[Value | Text]], Item]


def is_structured(info: ValueInfoProto) -> bool:
    """Whether an input is a sequence or an optional."""
    return info.type.WhichOneof("value") in ("sequence_type", "optional_type")


def is_table(info: ValueInfoProto) -> bool:
    """Whether it is a sequence of maps, which is a tensor here: a row for each map, a column for each key."""
    return bool(info.type.sequence_type.elem_type.WhichOneof("value") == "map_type")


def check_named(option: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Raises InvalidInput if an option names an input that is not there, or not of its kind."""
    unknown = next((name for name in given if name not in known), None)
    if unknown is not None:
        raise InvalidInput(f"{option}: no input is named {unknown!r}; inputs: {', '.join(known) or 'none'}")


def entry_of(info: ValueInfoProto, symbols: SymbolNames, structures: Mapping[str, Structure]) -> Entry:
    """An input with its declared type and what the caller says of it.

    Raises DataDependent if it is structured and nothing is said, InvalidInput if that does not fit; as `declared_type`.
    """
    name, proto = info.name, info.type
    if not is_structured(info):
        given = structures.get(name)
        return Entry({name: declared_type(info, symbols) if given is None else _tensor(name, proto, given, symbols)}, _only)
    kind = proto_kind(proto)
    if name not in structures:
        raise DataDependent(f"input {name!r} is {kind}", structures=(name,))
    if "string" in kind:
        raise Unsupported(f"strings in input {name!r}, which is {kind}")
    given = structures[name]
    if proto.WhichOneof("value") == "sequence_type":
        return _sequence(name, proto.sequence_type.elem_type, given, symbols)
    held = proto.optional_type.elem_type
    if given is None or given is False:
        return Entry({}, lambda _: OptionalValue(None, proto_kind(held)))
    if held.WhichOneof("value") == "sequence_type":
        inner = _sequence(name, held.sequence_type.elem_type, given, symbols)
    else:
        inner = Entry({name: _tensor(name, held, None if given is True else given, symbols)}, _only)
    return Entry(inner.types, lambda values: _present(inner.assemble(values)))


def _only(values: Sequence[Value | Text]) -> Item:
    (value,) = values
    return value


def _present(item: Item) -> OptionalValue:
    assert isinstance(item, (Value, SequenceValue))
    return OptionalValue(item, kind_of(item))


def _sequence(name: str, proto: TypeProto, given: Any, symbols: SymbolNames) -> Entry:
    kind = proto_kind(proto)
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        shapes = list(given) if isinstance(given, (list, tuple)) else None
    else:
        shapes = [None] * operator.index(given) if 0 <= operator.index(given) <= MOST_ELEMENTS else None
    if shapes is None or len(shapes) > MOST_ELEMENTS:
        wanted = f"the number of its elements (0 to {MOST_ELEMENTS}), or a list of their shapes"
        raise InvalidInput(f"structures: {name!r} is seq({kind}); given {given!r}, wanted {wanted}")
    own = TypeProto()  # of each element, whose extents may be others than those of the next
    own.CopyFrom(proto)
    for dim in own.tensor_type.shape.dim if own.HasField("tensor_type") else ():
        dim.ClearField("dim_param")
    types = {f"{name}.{k}": _tensor(f"{name}.{k}", own, shape, symbols) for k, shape in enumerate(shapes)}
    return Entry(types, lambda values: SequenceValue(tuple(v for v in values if isinstance(v, Value)), kind))


def _tensor(name: str, proto: TypeProto, shape: Any, symbols: SymbolNames) -> TensorType:
    """The type of a tensor in a structure. shape: None if the declared one will do."""
    if proto.WhichOneof("value") != "tensor_type":
        raise Unsupported(f"input {name!r} is {proto_kind(proto)}")
    declared = proto.tensor_type.shape.dim
    if shape is None:
        if not proto.tensor_type.HasField("shape"):
            raise InvalidInput(f"structures: the shape of {name!r} is needed, for the model does not say how many axes it has")
        return declared_type(ValueInfoProto(name=name, type=proto), symbols)
    listed: list[Any] = list(shape) if isinstance(shape, (list, tuple)) else [None]
    if any(isinstance(d, bool) or not hasattr(d, "__index__") or d < 0 for d in listed):
        raise InvalidInput(f"structures: {name!r} is given {shape!r}, which is no shape")
    fits = len(declared) == len(listed) and all(
        d.dim_value in (ANY, e) for d, e in zip(declared, listed) if d.HasField("dim_value")
    )
    if proto.tensor_type.HasField("shape") and not fits:
        raise InvalidInput(f"structures: {name!r} is given the shape {listed}, which the model's type does not allow")
    extents = checked_shape(tuple(map(operator.index, listed)), name)
    return TensorType(element_type(proto.tensor_type.elem_type, name), extents)


def layout_of(info: ValueInfoProto, item: Item, what: str) -> tuple[Layout, dict[str, Value | Text]]:
    """Where an output is, and the outputs of the graph for it. Raises InvalidModel if it is of another kind than declared."""
    if isinstance(item, (Value, Text)) and (not is_structured(info) or is_table(info)):
        return info.name, {info.name: item}
    kind = kind_of(item)
    if info.type.WhichOneof("value") and proto_kind(info.type) not in (kind, f"optional({kind})"):
        raise InvalidModel(f"{what}: output {info.name!r} is declared as {proto_kind(info.type)}, but the graph computes {kind}")
    content = item.content if isinstance(item, OptionalValue) else item
    if content is None or isinstance(content, (Value, Text)):
        return (None, {}) if content is None else (info.name, {info.name: content})
    parts: dict[str, Value | Text] = {f"{info.name}.{k}": value for k, value in enumerate(content.elements)}
    return list(parts), parts
