"""Control flow: branches, and loops whose number of turns is known when a run begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ....ir.dims import DimLike
from ....ir.dtypes import BOOL, I64
from ....ir.errors import InvalidModel, Unsupported
from ....ir.forms import Map, Reshape
from ....ir.graph import Constant, Input, Node, Value
from ....ir.op import normalise_axis
from ....ir.ops.assume import Assume
from ....ir.ops.branch import Branch
from ....ir.ops.movement import Squeeze
from ....ir.ops.scan import Scan, close_over, enclose
from ....ir.types import TensorType
from ..call import Call, feeding_inputs
from ..content import Region
from ..registry import onnx_op

FEW_NODES, FEW_ELEMENTS = 8, 4096  # of a branch: computed in less time than threads need to agree on the way


@onnx_op("If")
def if_(call: Call, condition: Value) -> list[Value]:
    """A known condition takes its branch; else the run does, or computes both and selects, where they are next to nothing."""
    importer, scope = call.importer, call.scope
    content = call.build.content(condition)
    if content is not None:
        if content.size != 1:
            raise InvalidModel(f"{importer.what}: If {call.name!r} has a condition of {content.size} elements")
        return importer.graph(call.required("then_branch" if content.reshape(-1)[0] else "else_branch"), scope)
    (yes, one), (no, other) = (_branch(call, name) for name in ("then_branch", "else_branch"))
    if len(yes) != len(no):
        raise InvalidModel(f"{importer.what}: If {call.name!r} has branches with {len(yes)} and {len(no)} outputs")
    if [a.type.rank for a in yes] != [b.type.rank for b in no] and all(map(_squeezed, yes)):
        return yes
    for a, b in zip(yes, no):
        if a.type != b.type:
            raise Unsupported(f"a condition known at run time only, with results {a.type} and {b.type}")
    flag = call.build.reshape(condition, shape=())
    if _is_cheap(yes, one) and _is_cheap(no, other):
        return [call.build.where(flag, a, b) for a, b in zip(yes, no)]
    return _branched(call, flag, (yes, one), (no, other))


def _branch(call: Call, name: str) -> tuple[list[Value], Region]:
    region = call.build.region()
    try:
        return call.importer.graph(call.required(name), call.scope), region
    finally:
        region.close()


def _branched(call: Call, flag: Value, *ways: tuple[list[Value], Region]) -> list[Value]:
    """One of two regions. What must hold in one of them is a result that is true in the other."""
    build = call.build
    checks = [check for _, region in ways for check in region.checks]
    true = build.constant(True, BOOL)
    graphs, captured = [], list[Value]()
    for number, (results, region) in enumerate(ways):
        holds = [check.holds if check in region.checks else true for check in checks]
        graph, values = enclose(f"{call.name or 'branch'}.{number}", (), [*results, *holds], region.owns, region.extents)
        graphs.append(graph)
        captured += values
    found = build.apply(Branch(*graphs), flag, *captured)
    listed = list(found) if isinstance(found, tuple) else [found]
    count = len(listed) - len(checks)
    for holds, check in zip(listed[count:], checks):
        build.check(holds, check.message)
    return listed[:count]


def _is_cheap(results: list[Value], region: Region) -> bool:
    """Whether a region is a few maps of a few elements."""
    if region.extents or region.checks:
        return False
    seen: set[Node] = set()
    stack = [v.node for v in results]
    while stack and len(seen) <= FEW_NODES:
        node = stack.pop()
        if node not in seen and region.owns(node) and not isinstance(node.op, Constant):
            seen.add(node)
            stack += [v.node for v in node.inputs]
    small = all(isinstance(e, int) and e <= FEW_ELEMENTS for node in seen for e in (t.elements for t in node.types))
    maps = all(isinstance(node.op.form(*(v.type for v in node.inputs)), (Map, Reshape)) for node in seen)
    return len(seen) <= FEW_NODES and small and maps


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
