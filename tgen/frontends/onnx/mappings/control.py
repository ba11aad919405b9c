"""Control flow: branches, and loops whose number of turns is known when a run begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir.dims import DimLike
from ....ir.dtypes import BOOL, I64
from ....ir.errors import InvalidModel, Unsupported
from ....ir.graph import Input, Node, Value
from ....ir.op import normalise_axis
from ....ir.ops.assume import Assume
from ....ir.ops.movement import Squeeze
from ....ir.ops.scan import Scan, close_over
from ....ir.types import TensorType
from ..call import Call, feeding_inputs
from ..registry import onnx_op


@onnx_op("If")
def if_(call: Call, condition: Value) -> list[Value]:
    """A known condition takes its branch; else both are computed and `where` selects, if their types agree."""
    importer, scope = call.importer, call.scope
    content = call.build.content(condition)
    if content is not None:
        if content.size != 1:
            raise InvalidModel(f"{importer.what}: If {call.name!r} has a condition of {content.size} elements")
        return importer.graph(call.required("then_branch" if content.reshape(-1)[0] else "else_branch"), scope)
    yes, no = (importer.graph(call.required(branch), scope) for branch in ("then_branch", "else_branch"))
    if len(yes) != len(no):
        raise InvalidModel(f"{importer.what}: If {call.name!r} has branches with {len(yes)} and {len(no)} outputs")
    if [a.type.rank for a in yes] != [b.type.rank for b in no] and all(map(_squeezed, yes)):
        return yes
    for a, b in zip(yes, no):
        if a.type != b.type:
            raise Unsupported(f"a condition known at run time only, with results {a.type} and {b.type}")
    flag = call.build.reshape(condition, shape=())
    return [call.build.where(flag, a, b) for a, b in zip(yes, no)]


def _squeezed(value: Value) -> bool:
    """Whether an axis was removed whose extent is assumed to be 1: `x.squeeze(axis)` is exported with a branch for other extents."""
    return isinstance(value.op, Squeeze) and isinstance(value.node.inputs[0].op, Assume)


@onnx_op("Scan", since=9)
def scan(call: Call, *operands: Value) -> list[Value]:
    """Sequences are read along their axes and in their directions, one element a turn."""
    body, count = call.required("body"), call.required("num_scan_inputs")
    states, sequences = operands[: len(operands) - count], operands[len(operands) - count :]
    axes = call.attr("scan_input_axes") or [0] * count
    turned = call.attr("scan_input_directions") or [0] * count
    moved = [_turned(call, _moved(call, v, axis, 0), way) for v, axis, way in zip(sequences, axes, turned)]
    if not moved:
        raise Unsupported("no sequence")
    found = _repeated(call, body, states, moved, moved[0].type.shape[0])
    last, stacked = found[: len(states)], found[len(states) :]
    out_axes = call.attr("scan_output_axes") or [0] * len(stacked)
    out_turned = call.attr("scan_output_directions") or [0] * len(stacked)
    return [*last, *(_moved(call, _turned(call, v, way), 0, axis) for v, axis, way in zip(stacked, out_axes, out_turned))]


@onnx_op("Loop")
def loop(call: Call, trips: Value | None, condition: Value | None, *states: Value) -> list[Value]:
    """A known number of turns, and a condition that is never false."""
    if trips is None:
        raise Unsupported("a loop whose number of turns is known at run time only")
    (count,) = call.ints(trips)
    if condition is not None and not call.array(condition).all():
        count = 0
    b = call.build
    numbers = b.range(b.constant(0, I64), b.constant(1, I64), size=count if not isinstance(count, int) else max(0, count))
    return _repeated(call, call.required("body"), states, [numbers], numbers.type.shape[0], counted=True)


def _repeated(
    call: Call, body: Any, states: Sequence[Value], sequences: Sequence[Value], count: DimLike, counted: bool = False
) -> list[Value]:
    """Last states and stacked results of a body of states, then elements; or, if counted, of a turn's number, a condition, then states."""
    inner = [_input(f"state{k}", v.type) for k, v in enumerate(states)]
    elements = [_input(f"element{k}", v.type.with_shape(v.type.shape[1:])) for k, v in enumerate(sequences)]
    given = [elements[0], call.build.constant(True, BOOL), *inner] if counted else [*inner, *elements]
    results = call.importer.graph(body, call.scope, given)
    if counted:
        condition, *results = results
        if feeding_inputs(condition) or not call.array(condition).all():
            raise Unsupported("a loop that ends when its body says so")
    for k, (old, new) in enumerate(zip(inner, results)):
        if old.type != new.type:
            raise Unsupported(f"state {k} is {old.type} in one turn and {new.type} in the next")
    graph, captured = close_over(call.name or "body", [*inner, *elements], results)
    found = call.build.apply(Scan(graph, len(captured), len(inner), count), *captured, *states, *sequences)
    return list(found) if isinstance(found, tuple) else [found]


def _input(name: str, type_: TensorType) -> Value:
    return Value(Node(Input(name, type_)))


def _moved(call: Call, x: Value, source: int, target: int) -> Value:
    """Axis `source` becomes axis `target`."""
    rank = x.type.rank
    source, target = normalise_axis(source, rank, "Scan"), normalise_axis(target, rank, "Scan")
    order = [k for k in range(rank) if k != source]
    order.insert(target, source)
    return x if source == target else call.build.transpose(x, perm=tuple(order))


def _turned(call: Call, x: Value, backwards: int) -> Value:
    if not backwards:
        return x
    count = x.type.shape[0]
    return call.build.slice(x, axes=(0,), starts=(count - 1,), sizes=(count,), steps=(-1,))


@onnx_op("Scan", since=8)
def scan_of_batches(call: Call, *operands: Value | None) -> list[Value]:
    raise Unsupported("Scan of opset 8, over each entry of a batch")
