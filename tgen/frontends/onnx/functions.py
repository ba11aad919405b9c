"""Operators defined by other operators: functions of the model, and the bodies ONNX gives for its own."""

from __future__ import annotations

from typing import Any

from onnx import AttributeProto, FunctionProto

from ...ir.errors import InvalidModel, Unsupported
from ...ir.graph import Value
from .call import Call
from .problems import DataDependent, Problems
from .structure import opsets
from .structured import Item
from .symbols import type_proto


def has_body(schema: Any) -> bool:
    """Whether ONNX defines an operator (an OpSchema, or None) by others."""
    return schema is not None and bool(schema.has_function or schema.has_context_dependent_function)


def call_local(call: Call, function: FunctionProto) -> list[Any]:
    """A function of the model: its body, in place. What it lacks is told node by node."""
    what = f"{call.importer.what}: function {function.name!r}"
    if function.name in call.importer.calling:
        raise InvalidModel(f"{what} calls itself: {' → '.join([*call.importer.calling, function.name])}")
    if len(call.operands) > len(function.input) or len(call.node.output) > len(function.output):
        raise InvalidModel(
            f"{what} has {len(function.input)} inputs and {len(function.output)} outputs; {call.name!r} wants others"
        )
    call.importer.calling.append(function.name)
    try:
        found = _inline(call, function, f"{call.name}/")
    finally:
        call.importer.calling.pop()
    if any(not isinstance(v, Item) for v, name in zip(found, call.node.output) if name):
        raise Unsupported("")
    return found


def expand(call: Call) -> list[Any]:
    """An operator of ONNX by its own definition. Raises Unsupported naming what the definition needs and tgen lacks."""
    if not has_body(call.schema):
        raise Unsupported("not implemented")
    importer, outer = call.importer, call.importer.problems
    importer.problems = Problems()
    try:
        found = _inline(call, standard_body(call), call.scope.path)
        inner = importer.problems
    finally:
        importer.problems = outer
    if inner:
        reason = "; ".join(f"{op_type}: {reason}" for op_type, _, _, reason in inner.nodes)
        if inner.settled:
            raise DataDependent(f"its definition by {reason}", inner.inputs)
        raise Unsupported(f"no operator of its own, and its definition needs {reason}")
    return found


def standard_body(call: Call) -> FunctionProto:
    """ONNX's definition of an operator for these attributes and operand types, at the newest version that the model's opset allows."""
    schema: Any = call.schema
    if schema.has_function:
        version = _newest(schema.function_opset_versions, call)
        return FunctionProto.FromString(schema.get_function_with_opset_version(version))
    version = _newest(schema.context_dependent_function_opset_versions, call)
    types = [type_proto(v.type).SerializeToString() if isinstance(v, Value) else b"" for v in call.operands]
    node = _plain_node(call)
    body = schema.get_context_dependent_function_with_opset_version(version, node.SerializeToString(), types)
    return FunctionProto.FromString(body)


def _plain_node(call: Call) -> Any:
    """The node with references to attributes of an enclosing function resolved."""
    node = type(call.node)()
    node.CopyFrom(call.node)
    del node.attribute[:]
    node.attribute.extend(call.given.values())
    return node


def _newest(versions: list[int], call: Call) -> int:
    fitting = [v for v in versions if v <= call.opset]
    if not fitting:
        raise Unsupported(f"no definition for opset {call.opset}")
    return max(fitting)


def _inline(call: Call, function: FunctionProto, path: str) -> list[Any]:
    """The results of a function's body that the call wants: Values, or what stands for a missing one."""
    from .importer import Scope

    importer = call.importer
    what = f"{importer.what}: function {function.name!r}"
    versions = {**call.scope.opsets, **opsets(function.opset_import, what)}
    operands = [*call.operands, *[None] * (len(function.input) - len(call.operands))]
    scope = Scope(versions, dict(zip(function.input, operands)), None, _bound(call, function), path)
    importer.nodes(function.node, scope)
    return [importer.lookup(name, scope, what) if wanted else None for name, wanted in zip(function.output, call.node.output)]


def _bound(call: Call, function: FunctionProto) -> dict[str, AttributeProto]:
    """Attributes a function's body may refer to: the node's, else defaults."""
    bound: dict[str, AttributeProto] = {}
    if call.schema is not None:
        defaults = ((n, a.default_value) for n, a in call.schema.attributes.items())
        bound.update((n, d) for n, d in defaults if d.type != AttributeProto.UNDEFINED)
    bound.update((a.name, a) for a in function.attribute_proto)
    bound.update(call.given)
    return bound
