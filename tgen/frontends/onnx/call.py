"""`Call`: one node of the model on its way into the graph; what the mapping functions work with."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import AttributeProto, NodeProto, TensorProto, defs

from ...ir.dims import Dim, DimLike
from ...ir.dtypes import I64
from ...ir.errors import InvalidModel, TgenError, TypeMismatch, Unsupported, WrongDtype
from ...ir.evaluate import run_node
from ...ir.graph import Input, Node, Value, symbols_of
from ...ir.op import op_symbols
from ...ir.ops.movement import Concat
from .content import countable
from .problems import DataDependent
from .registry import OpMapping, attribute_defaults, decode_attribute, generic, make_op, snake
from .structured import Item, describe_type, kind_of
from .text import Text

if TYPE_CHECKING:
    from .content import ShapeBuilder
    from .importer import Importer, Scope

MAX_ENTRIES = 64  # of a shape that is found out in a run: no tensor has more axes
MAX_FOLDED = 1 << 24  # elements of a value that is computed while importing, because a shape needs it


@dataclass(frozen=True)
class Call:
    """node: as in the model. operands: its inputs' values (None: absent). label: its name, with the calls around it."""

    importer: Importer
    node: NodeProto
    domain: str
    opset: int
    given: Mapping[str, AttributeProto]
    operands: tuple[Item | None, ...]
    scope: Scope
    name: str
    schema: defs.OpSchema | None

    @property
    def build(self) -> ShapeBuilder:
        return self.importer.build

    @property
    def op_type(self) -> str:
        return self.node.op_type

    @functools.cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes by name as Python values: the node's, and ONNX's defaults for the others."""
        defaults = attribute_defaults(self.op_type, self.domain, self.opset)
        return {**defaults, **{name: decode_attribute(a) for name, a in self.given.items()}}

    @property
    def explicit(self) -> frozenset[str]:
        """Names (in snake case) of the attributes that the node itself gives."""
        return frozenset(map(snake, self.given))

    def default(self, name: str) -> Any:
        """ONNX's default of an attribute named in snake case."""
        defaults = attribute_defaults(self.op_type, self.domain, self.opset)
        return next((v for n, v in defaults.items() if snake(n) == name), None)

    def attr(self, name: str, default: Any = None) -> Any:
        """An attribute of the node, else ONNX's default, else `default`."""
        return self.attributes.get(name, default)

    def required(self, name: str) -> Any:
        """An attribute that must be there. Raises InvalidModel."""
        if name not in self.attributes:
            raise InvalidModel(f"{self.importer.what}: {self.op_type} {self.name!r} lacks attribute {name!r}")
        return self.attributes[name]

    def generic(self, *operands: Value | None) -> Any:
        """The IR op of the same name over these operands, its fields from the attributes."""
        return generic(self, *operands)

    def make(self, cls: type, *operands: Value, **_: Any) -> Any:
        """An IR op of another name over these operands, its fields from the attributes."""
        return self.build.apply(make_op(cls, self), *operands)

    def tensor(self, proto: TensorProto) -> Value:
        """A constant from a tensor attribute. Raises Unsupported for strings."""
        found = self.constant(proto)
        if isinstance(found, Text):
            raise Unsupported("strings")
        return found

    def constant(self, proto: TensorProto) -> Value | Text:
        """A constant from a tensor attribute, whether of numbers or of strings."""
        return self.importer.tensor(proto, f"{self.op_type} {self.name!r}")

    def ints(self, value: Value) -> tuple[DimLike, ...]:
        """The elements of an operand that holds extents, axes or positions, as int | Dim.

        Raises DataDependent if they are known only at run time, InvalidModel if they are no integers.
        """
        if not countable(value.type.dtype):
            raise InvalidModel(
                f"{self.importer.what}: {self.op_type} {self.name!r} is given {value.type} where integers are wanted"
            )
        content = self.build.content(value)
        if content is None:
            content = self.array(value).astype(object)
        return tuple(content.reshape(-1).tolist())

    def entries(self, value: Value) -> list[DimLike | Value]:
        """As `ints`; an entry that only a run finds out is an i64[] value.

        Raises DataDependent if their number is not known, either.
        """
        content = self.build.content(value)
        if content is not None:
            return list(content.reshape(-1).tolist())
        if not feeding_inputs(value) and not names_symbols(value):
            return list(self.ints(value))
        if isinstance(value.op, Concat):
            return [entry for part in value.node.inputs for entry in self.entries(part)]
        count = value.type.elements
        if not isinstance(count, int) or count > MAX_ENTRIES:
            raise DataDependent("a shape whose rank is known at run time only", feeding_inputs(value))
        flat = self.build.reshape(self.build.cast(value, to=I64), shape=(count,))
        return [
            self.build.reshape(self.build.slice(flat, axes=(0,), starts=(k,), sizes=(1,), steps=(1,)), shape=())
            for k in range(count)
        ]

    def sizes(self, value: Value) -> tuple[DimLike, ...]:
        """The elements of an operand that holds extents; those that are known at run time only become extents of the graph.

        A run in which one of these is negative raises InvalidInput.
        """
        return tuple(self.build.extent(e) if isinstance(e, Value) else e for e in self.entries(value))

    def plain_ints(self, value: Value, what: str) -> tuple[int, ...]:
        """As `ints`, where symbols make no sense (axes). Raises Unsupported for a symbolic entry."""
        found = self.ints(value)
        if any(isinstance(d, Dim) for d in found):
            raise Unsupported(f"symbolic {what}")
        return found  # type: ignore[return-value]

    def array(self, value: Value) -> np.ndarray:
        """The elements of an operand that is constant. Raises DataDependent otherwise."""
        inputs = feeding_inputs(value)
        if inputs or names_symbols(value) or value.type.elements > MAX_FOLDED:  # type: ignore[operator]
            raise DataDependent("data-dependent shape", inputs)
        return fold(value)

    def check_signature(self, mapping: OpMapping | None) -> None:
        """Raises InvalidModel if the number of inputs, a sequence among them, or an attribute is not what ONNX defines.

        Where it defines none (of this version, of this domain), what the mapping takes.
        """
        self._check_kinds()
        if self.schema is None:
            self._check_parameters(mapping)
            return
        low, high, count = self.schema.min_input, self.schema.max_input, len(self.operands)
        optional = [i.option == defs.OpSchema.FormalParameterOption.Optional for i in self.schema.inputs]
        absent = [k for k, v in enumerate(self.operands[:low]) if v is None and not (k < len(optional) and optional[k])]
        if not low <= count <= high or absent:
            wanted = str(low) if low == high else f"{low} to {high}"
            raise self.invalid(f"has {count - len(absent)} inputs; opset {self.opset} wants {wanted}")
        if len(self.node.output) > self.schema.max_output:
            raise self.invalid(f"has {len(self.node.output)} outputs; opset {self.opset} wants up to {self.schema.max_output}")
        for name, attribute in self.given.items():
            defined = self.schema.attributes.get(name)
            if defined is None:
                raise self.invalid(f"has attribute {name!r}, which opset {self.opset} does not define")
            wanted_type: Any = defined.type  # an Enum, which onnx's stubs don't say
            if attribute.type != wanted_type.value:
                raise self.invalid(f"attribute {name!r} is {_kind(attribute)}, not {wanted_type.name.lower()}")

    def _check_parameters(self, mapping: OpMapping | None) -> None:
        if mapping is not None:
            try:
                inspect.signature(mapping).bind(self, *self.operands)
            except TypeError as error:
                raise self.invalid(f"has {len(self.operands)} inputs: {error}") from error

    def _check_kinds(self) -> None:
        """Sequences and optionals are for operators that take them only, and tensors not for those that take nothing else.

        An optional may be given as what it holds.
        """
        formals = self.schema.inputs if self.schema else ()
        for k, item in enumerate(self.operands):
            takes = formals[min(k, len(formals) - 1)].types if formals else ()
            if item is None or (isinstance(item, (Value, Text)) and (not takes or any(t.startswith("tensor(") for t in takes))):
                continue
            if not {kind_of(item), f"optional({kind_of(item)})"}.intersection(takes):
                raise self.invalid(f"has input {k} of type {kind_of(item)}")

    def invalid(self, text: str) -> InvalidModel:
        """The error of a node that is not what ONNX says it is."""
        return InvalidModel(f"{self.importer.what}: {self.op_type} {self.name!r} {text}")

    def check_types(self) -> None:
        """Raises InvalidModel if operands are of types that ONNX does not define."""
        if self._mixed_types():
            types = ", ".join(map(describe_type, self.operands))
            raise self.invalid(f"does not take ({types})")

    def diagnose(self, error: Exception) -> TgenError:
        """InvalidModel; Unsupported where what an op refuses may be right: a dtype that ONNX allows, an operator of another domain."""
        text = str(error).removeprefix(f"{self.op_type} {self.name!r}: ")
        allowed = isinstance(error, WrongDtype) and not self._mixed_types()
        if allowed or (self.schema is None and isinstance(error, TypeMismatch)):
            return Unsupported(text)
        types = ", ".join(map(describe_type, self.operands))
        return InvalidModel(f"{self.importer.what}: {self.op_type} {self.name!r}: {text} (inputs: {types})")

    def _mixed_types(self) -> bool:
        """Whether operands that ONNX wants of one type, or of certain types, are not."""
        if self.schema is None:
            return False
        bound: dict[str, str] = {}
        for k, value in enumerate(self.operands):
            formal = self.schema.inputs[min(k, len(self.schema.inputs) - 1)]
            if value is None:
                continue
            text = kind_of(value)
            if formal.types and text not in formal.types:
                return True
            if formal.is_homogeneous and bound.setdefault(formal.type_str, text) != text:
                return True
        return False


def _kind(attribute: AttributeProto) -> str:
    names = AttributeProto.AttributeType
    return names.Name(attribute.type).lower() if attribute.type in names.values() else f"of kind {attribute.type}"


def feeding_inputs(value: Value) -> tuple[str, ...]:
    """Labels of the graph inputs that a value depends on."""
    return tuple(node.op.label for node in _nodes_behind(value) if isinstance(node.op, Input))


def _nodes_behind(value: Value) -> Iterator[Node]:
    """The nodes that a value is made by, each once, its own first."""
    seen, stack = set(), [value.node]
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            yield node
            stack.extend(v.node for v in node.inputs)


def names_symbols(value: Value) -> bool:
    """Whether what a value is made of, its shape included, depends on symbols."""
    return any(op_symbols(node.op) or symbols_of(node.types) for node in _nodes_behind(value))


def fold(value: Value) -> np.ndarray:
    """The array of a value that depends on no input, by the ops' references."""
    results: dict[Node, list[np.ndarray]] = {}
    stack = [value.node]
    while stack:
        node = stack[-1]
        waiting = [v.node for v in node.inputs if v.node not in results]
        if node in results or waiting:
            stack.extend(waiting) if waiting else stack.pop()
            continue
        results[node] = run_node(node, [results[v.node][v.index] for v in node.inputs], {})
    return results[value.node][value.index]
