"""Loops: a number of turns, an end that the body tells, or both."""

from __future__ import annotations

from collections.abc import Sequence

from onnx import GraphProto

from ....ir.dims import DimLike, dim_min
from ....ir.dtypes import BOOL, I64
from ....ir.errors import Unsupported
from ....ir.graph import Value
from ....ir.types import TensorType
from ..call import Call
from ..content import Region
from ..registry import onnx_op
from ..structured import Item
from .control import body_input, repeated
from .turns import Turns
from .unrolling import meets_structures, unrolled

UNBOUNDED = 1 << 40  # turns


@onnx_op("Loop")
def loop(call: Call, trips: Value | None, condition: Value | None, *states: Value) -> Sequence[Item]:
    """Turns up to a number, or while the body says so, or both."""
    if meets_structures(call):
        return unrolled(call, trips, condition, *states)
    count, body = _turns(call, trips), call.required("body")
    start = condition if condition is not None else call.build.constant(True, BOOL)
    kept, number = _kept(body), body_input("turn", TensorType(I64, ()))
    inner = [v if k in kept else body_input(f"state{k}", v.type) for k, v in enumerate(states)]
    region = call.build.region()
    try:  # in a turn that is done the condition held
        goes_on, *results = call.importer.graph(body, call.scope, [number, call.build.constant(True, BOOL), *inner])
    finally:
        region.close()
    moving = [k for k in range(len(states)) if k not in kept]
    before, within = [states[k] for k in moving], [inner[k] for k in moving]
    after = [results[k] for k in moving] + results[len(states) :]
    found = _turned_over(call, region, (count, start, goes_on), number, before, within, after)
    last = dict(zip(moving, found))
    return [*(last.get(k, v) for k, v in enumerate(states)), *found[len(moving) :]]


def _kept(body: GraphProto) -> set[int]:
    """Which states of a loop are in every turn what they were before it: weights, and lengths that end it."""
    same = {node.output[0]: node.input[0] for node in body.node if node.op_type == "Identity"}
    found: set[int] = set()
    for k, (given, result) in enumerate(zip(body.input[2:], body.output[1:])):
        name, seen = result.name, set[str]()
        while name in same and name not in seen:
            seen.add(name)
            name = same[name]
        found |= {k} if name == given.name else set()
    return found


def _turned_over(
    call: Call,
    region: Region,
    ends: tuple[DimLike, Value, Value],
    number: Value,
    states: Sequence[Value],
    inner: Sequence[Value],
    results: Sequence[Value],
) -> list[Value]:
    """Last states and stacked results of a Loop's body. ends: turns at most; whether it begins; whether it goes on after a turn."""
    count, start, goes_on = ends
    known = call.build.content(start)
    if known is not None and not known.all():
        count = 0
    goes_on = call.build.reshape(goes_on, shape=())
    told = call.build.content(goes_on)
    if known is not None and told is not None and told.all():
        turns: DimLike | None = count
    else:
        turns = Turns(call.build, number, dict(zip(inner, zip(states, results)))).count(start, goes_on)
    if turns is not None:
        count = dim_min(count, turns)
        return repeated(call, region, states, inner, results, [(number, _numbers(call, count))], count)
    stacked = len(results) - len(states)
    if stacked and isinstance(count, int) and count >= UNBOUNDED:
        raise Unsupported("stacked results of a loop without a limit to its turns")
    following = call.build.add(number, call.build.constant(1, I64))
    flag = body_input("goes_on", TensorType(BOOL, ()))
    given = [call.build.reshape(start, shape=()), call.build.constant(0, I64), *states]
    found = repeated(call, region, given, [flag, number, *inner], [goes_on, following, *results], [], count, conditional=True)
    _, reached, *found = found
    done = call.build.extent(reached, most=count) if stacked else 0
    return [*found[: len(states)], *(_first(call, v, done) for v in found[len(states) :])]


def _turns(call: Call, trips: Value | None) -> DimLike:
    """The number of turns, at most."""
    if trips is None:
        return UNBOUNDED
    (count,) = call.entries(trips)
    if isinstance(count, Value):
        zero, most = call.build.constant(0, I64), call.build.constant(UNBOUNDED, I64)
        return call.build.extent(call.build.min(call.build.max(count, zero), most))
    return min(max(0, count), UNBOUNDED) if isinstance(count, int) else count


def _numbers(call: Call, count: DimLike) -> Value:
    numbers: Value = call.build.range(call.build.constant(0, I64), call.build.constant(1, I64), size=count)
    return numbers


def _first(call: Call, x: Value, count: DimLike) -> Value:
    out: Value = call.build.slice(x, axes=(0,), starts=(0,), sizes=(count,), steps=(1,))
    return out
