"""How ONNX operators become ops of the IR: `@onnx_op` functions by version, and one generic rule for all that agree in name.

An operator whose IR class has ONNX's name, and whose fields are ONNX's attributes in snake case, needs nothing here.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import AttributeProto, defs, helper

from ...ir import ops as _ops  # noqa: F401  (fills OPS)
from ...ir.dtypes import DType
from ...ir.errors import InvalidModel, Unsupported
from ...ir.graph import Value
from ...ir.op import OPS, Op
from .tensors import element_type

if TYPE_CHECKING:
    from .call import Call

OpMapping = Callable[..., Any]
FIRST_WHOLE = 6  # the first opset all of whose operators are mapped
_MAPPINGS: dict[tuple[str, str, type], list[tuple[int, OpMapping]]] = {}


def onnx_op(*op_types: str, since: int = 1, domain: str = "", over: type = Value) -> Callable[[OpMapping], OpMapping]:
    """Registers `mapping(call, *operands) -> Value | tuple of Values` for operators from opset `since` on.

    Operands are Values, in ONNX's order; an optional one that is absent is None or left off. over: a mapping over `Text` is for
    nodes with an operand of that kind.
    """

    def register(mapping: OpMapping) -> OpMapping:
        for op_type in op_types:
            versions = _MAPPINGS.setdefault((domain, op_type, over), [])
            versions.append((since, mapping))
            versions.sort(key=lambda v: v[0])
        return mapping

    return register


def mapped() -> tuple[tuple[str, str], ...]:
    """(domain, operator) of all that have a mapping."""
    return tuple(dict.fromkeys((domain, op_type) for domain, op_type, _ in _MAPPINGS))


def find_mapping(op_type: str, domain: str, opset: int, over: type = Value) -> OpMapping | None:
    """The mapping of an operator at a version: the newest that is not newer; or the generic one; None if tgen has none.

    over: what kind of operands the node has, see `onnx_op`.
    """
    if not domain and opset < FIRST_WHOLE and not _unchanged(op_type, opset):
        return None
    fitting = [mapping for since, mapping in _MAPPINGS.get((domain, op_type, over), ()) if since <= opset]
    if fitting:
        return fitting[-1]
    return generic if over is Value and not domain and op_type in ir_classes() else None


def _unchanged(op_type: str, opset: int) -> bool:
    """Whether an operator of ONNX is the same in FIRST_WHOLE; earlier ones differ in what they take and call it."""
    now, then = schema_of(op_type, "", opset), schema_of(op_type, "", FIRST_WHOLE)
    return now is not None and then is not None and now.since_version == then.since_version


def ir_classes() -> Mapping[str, type[Op]]:
    """IR ops by class name, which is ONNX's name where the meaning is the same."""
    return _ir_classes(len(OPS))


@functools.lru_cache(maxsize=2)
def _ir_classes(_: int) -> Mapping[str, type[Op]]:
    return {cls.__name__: cls for cls in OPS.values()}


def generic(call: Call, *operands: Value | None) -> Any:
    """The IR op of the same name, its fields from the attributes of the same names."""
    return call.build.apply(make_op(ir_classes()[call.op_type], call), *present(operands, call))


def present(operands: tuple[Value | None, ...], call: Call) -> tuple[Value, ...]:
    """The operands without absent ones at the end. Raises Unsupported for an absent one between others."""
    listed = list(operands)
    while listed and listed[-1] is None:
        listed.pop()
    if any(v is None for v in listed):
        raise Unsupported(f"{call.op_type} without optional input {listed.index(None)}")
    return tuple(listed)  # type: ignore[arg-type]


def make_op(cls: type[Op], call: Call) -> Op:
    """An IR op from a node's attributes. Raises Unsupported if the node sets an attribute that the op does not have."""
    given = {snake(name): (name, value) for name, value in call.attributes.items()}
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        if field.name in given:
            fields[field.name] = convert(given.pop(field.name)[1], str(field.type), call)
        elif field.default is dataclasses.MISSING:
            raise Unsupported(f"{call.op_type} (opset {call.opset}) needs attribute {field.name}, which the node does not give")
    for name, value in given.values():
        if name in call.explicit and value != call.default(name):
            raise Unsupported(f"attribute {name} = {value!r}")
    return cls(**fields)


def convert(value: Any, annotation: str, call: Call) -> Any:
    """An attribute value as the type a field is declared with."""
    if "DType" in annotation and isinstance(value, int):
        return element_type(value, f"{call.op_type} {call.name!r}")
    if isinstance(value, list):
        return tuple(value)
    return bool(value) if annotation.startswith("bool") else value


def snake(name: str) -> str:
    """transA → trans_a"""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


@functools.lru_cache(maxsize=4096)
def schema_of(op_type: str, domain: str, opset: int) -> defs.OpSchema | None:
    """ONNX's own definition of an operator at a version, if it has one that is not withdrawn."""
    try:
        schema = defs.get_schema(op_type, opset, domain)
    except defs.SchemaError:
        return None
    return None if schema.deprecated else schema


@functools.lru_cache(maxsize=4096)
def attribute_defaults(op_type: str, domain: str, opset: int) -> Mapping[str, Any]:
    """Attribute defaults by name, as Python values."""
    schema = schema_of(op_type, domain, opset)
    attributes = schema.attributes if schema else {}
    return {n: decode_attribute(a.default_value) for n, a in attributes.items() if a.default_value.type != AttributeProto.UNDEFINED}


def decode_attribute(attribute: AttributeProto) -> Any:
    """The Python value: int, float, str, list of them, TensorProto or GraphProto."""
    try:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            return value.decode()
        if attribute.type == AttributeProto.STRINGS:
            return [v.decode() for v in value]
        return list(value) if isinstance(value, (list, tuple)) or hasattr(value, "append") else value
    except (ValueError, UnicodeDecodeError) as error:
        raise InvalidModel(f"attribute {attribute.name!r} cannot be read: {error}") from error


def dtype_attribute(code: int, call: Call) -> DType:
    """The DType an integer attribute such as `to` stands for."""
    return element_type(code, f"{call.op_type} {call.name!r}")


def scalar_constant(value: float, dtype: DType) -> np.ndarray:
    """A rank-0 array."""
    return np.asarray(value).astype(dtype.numpy)
