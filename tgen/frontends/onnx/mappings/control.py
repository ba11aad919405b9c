"""Control flow: branches, and bodies that are done again and again."""

from __future__ import annotations

from collections.abc import Sequence

from ....ir.dims import DimLike, symbols
from ....ir.dtypes import BOOL
from ....ir.errors import InvalidModel, Unsupported
from ....ir.forms import Map, Reshape
from ....ir.graph import Constant, Input, Node, Value, symbols_of
from ....ir.op import normalise_axis
from ....ir.ops.assume import Assume
from ....ir.ops.branch import Branch
from ....ir.ops.comparison import And
from ....ir.ops.movement import Squeeze
from ....ir.ops.scan import Scan, close_over, enclose
from ....ir.types import TensorType
from ..call import Call, feeding_inputs
from ..content import Region
from ..problems import DataDependent
from ..registry import onnx_op
from ..structured import Item, flat, rebuilt, same_structure

FEW_NODES, FEW_ELEMENTS = 8, 4096  # of a branch: computed in less time than threads need to agree on the way


@onnx_op("If")
def if_(call: Call, condition: Value) -> list[Item]:
    """A known condition takes its branch; else the run does, or computes both and selects, where they are next to nothing."""
    importer, scope = call.importer, call.scope
    content = call.build.content(condition)
    if content is not None:
        if content.size != 1:
            raise InvalidModel(f"{importer.what}: If {call.name!r} has a condition of {content.size} elements")
        return importer.items(call.required("then_branch" if content.reshape(-1)[0] else "else_branch"), scope)
    (yes, one), (no, other) = (_branch(call, name) for name in ("then_branch", "else_branch"))
    if len(yes) != len(no):
        raise InvalidModel(f"{importer.what}: If {call.name!r} has branches with {len(yes)} and {len(no)} outputs")
    if not all(map(same_structure, yes, no)):
        raise DataDependent(
            "a condition that decides how long a sequence is, or whether an optional is there", feeding_inputs(condition)
        )
    return rebuilt(yes, _either(call, condition, (flat(yes), one), (flat(no), other)))


def _either(call: Call, condition: Value, *ways: tuple[list[Value], Region]) -> list[Value]:
    """The results of one of two regions that were made."""
    (yes, one), (no, other) = ways
    if [a.type.rank for a in yes] != [b.type.rank for b in no] and all(map(_squeezed, yes)):
        return yes
    for a, b in zip(yes, no):
        if a.type != b.type:
            raise Unsupported(f"a condition known at run time only, with results {a.type} and {b.type}")
    flag = call.build.reshape(condition, shape=())
    if _is_cheap(yes, one) and _is_cheap(no, other):
        return [call.build.where(flag, a, b) for a, b in zip(yes, no)]
    return _branched(call, flag, *ways)


def _branch(call: Call, name: str) -> tuple[list[Item], Region]:
    region = call.build.region()
    try:
        return call.importer.items(call.required(name), call.scope), region
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
    count = call.required("num_scan_inputs")
    states, sequences = operands[: len(operands) - count], operands[len(operands) - count :]
    axes = call.attr("scan_input_axes") or [0] * count
    turned = call.attr("scan_input_directions") or [0] * count
    moved = [_turned(call, _moved(call, v, axis, 0), way) for v, axis, way in zip(sequences, axes, turned)]
    if not moved:
        raise Unsupported("no sequence")
    found = _scanned(call, states, moved)
    last, stacked = found[: len(states)], found[len(states) :]
    out_axes = call.attr("scan_output_axes") or [0] * len(stacked)
    out_turned = call.attr("scan_output_directions") or [0] * len(stacked)
    return [*last, *(_moved(call, _turned(call, v, way), 0, axis) for v, axis, way in zip(stacked, out_axes, out_turned))]


def _scanned(call: Call, states: Sequence[Value], sequences: Sequence[Value]) -> list[Value]:
    """Last states and stacked results of a Scan's body for each element on the first axes of sequences."""
    inner = [body_input(f"state{k}", v.type) for k, v in enumerate(states)]
    elements = _elements(sequences)
    region = call.build.region()
    try:
        results = call.importer.graph(call.required("body"), call.scope, [*inner, *elements])
    finally:
        region.close()
    return repeated(call, region, states, inner, results, list(zip(elements, sequences)), sequences[0].type.shape[0])


def _elements(sequences: Sequence[Value]) -> list[Value]:
    """Inputs of a body for what stands on the first axes of these."""
    return [body_input(f"element{k}", v.type.with_shape(v.type.shape[1:])) for k, v in enumerate(sequences)]


def repeated(
    call: Call,
    region: Region,
    states: Sequence[Value],
    inner: Sequence[Value],
    results: Sequence[Value],
    sequences: Sequence[tuple[Value, Value]],
    count: DimLike,
    conditional: bool = False,
) -> list[Value]:
    """Last states and stacked results of a body: `inner`, which it calls the states, and elements of sequences (element, sequence) give results:
    the next states, then what is stacked. What must hold in a turn is a state that holds from then on.
    """
    b, number = call.build, len(states)
    following = [_as_before(call, region, old, new, k) for k, (old, new) in enumerate(zip(inner, results))]
    known = dict(zip(results, following))
    stacked = [known.get(value, value) for value in results[number:]]
    own = {e.symbol for e in region.extents}
    for value in stacked:
        if not own.isdisjoint(symbols_of([value.type])):
            raise Unsupported(f"stacked results {value.type}, whose size each turn finds out")
    held = [body_input(f"held{k}", TensorType(BOOL, ())) for k in range(len(region.checks))]
    holds = [b.apply(And(), old, check.holds) for old, check in zip(held, region.checks)]
    inputs = [*inner, *held, *(element for element, _ in sequences)]
    graph, captured = close_over(call.name or "body", inputs, [*following, *holds, *stacked], region.extents)
    scan = Scan(graph, len(captured), number + len(held), count, conditional)
    found = b.apply(scan, *captured, *states, *(b.constant(True, BOOL) for _ in held), *(whole for _, whole in sequences))
    listed = list(found) if isinstance(found, tuple) else [found]
    for held_at_last, check in zip(listed[number:], region.checks):
        b.check(held_at_last, check.message)
    return listed[:number] + listed[number + len(held) :]


def _as_before(call: Call, region: Region, old: Value, new: Value, number: int) -> Value:
    """A state in the type that it has at first; extents that a turn finds out are taken to be what they were."""
    own = {e.symbol for e in region.extents}
    pairs = list(zip(old.type.shape, new.type.shape))
    differ = [e for d, e in pairs if d != e]
    if (
        old.type.with_shape(new.type.shape) != new.type
        or len(pairs) != new.type.rank
        or any(own.isdisjoint(symbols(e)) for e in differ)
    ):
        raise Unsupported(f"state {number} is {old.type} in one turn and {new.type} in the next")
    return call.build.assumed(new, old.type.shape)


def body_input(name: str, type_: TensorType) -> Value:
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
def scan_of_batches(call: Call, lengths: Value | None, *operands: Value) -> list[Value]:
    """A scan over axis 1 for each entry of axis 0: two loops."""
    if lengths is not None:
        raise Unsupported("sequences of different lengths")
    count = call.required("num_scan_inputs")
    if not 0 < count <= len(operands) or min(v.type.rank for v in operands[-count:]) < 2 or not all(v.type.rank for v in operands):
        raise call.invalid(f"has no batch of {count} sequences")
    entries, region = _elements(operands), call.build.region()
    try:
        ways = call.attr("directions") or [0] * count
        moved = [_turned(call, v, way) for v, way in zip(entries[-count:], ways)]
        results = _scanned(call, entries[:-count], moved)
    finally:
        region.close()
    return repeated(call, region, [], [], results, list(zip(entries, operands)), operands[0].type.shape[0])
