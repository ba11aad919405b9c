"""narrow: conversions to fewer bits are done where a value is computed, not behind views of it.

    cast(transpose(reshape(x)))                     →   transpose(reshape(cast(x)))
    part_0(transpose(x)), part_1(transpose(x))      →   transpose(x_0), transpose(x_1);  x_0, x_1 = parts(x)
if every reader of x, behind whatever views, is a conversion. The conversions then join the kernel that computes x, less memory is
written and read, and what reads the views can read them in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.dtypes import I64
from ..ir.expr import Expr, Index, Kept, Load, const, index, transform, walk
from ..ir.forms import Join, Reshape
from ..ir.graph import Constant, Graph, Input, Node, Value, map_graph
from ..ir.loops import LoopProgram, Stage
from ..ir.ops.fused import Loops, ProductOp
from ..ir.types import TensorType
from .inline import is_view, map_body
from .lower import loop_axes


@dataclass
class _Cone:
    """What is between a value and its conversions: views, ends (with the number of the conversion), bodies over Kept(0)."""

    views: list[Node] = field(default_factory=list)
    ends: dict[Node, int] = field(default_factory=dict)
    bodies: list[Expr] = field(default_factory=list)


def narrow(graph: Graph) -> Graph:
    """evaluate is unchanged; runs on loops and views, before they are inlined."""
    starts: dict[Node, list[Expr]] = {}
    views: set[Node] = set()
    ends: dict[Node, int] = {}
    for node in graph.nodes:
        cone = _cone(graph, node)
        if cone is not None and (cone.views or len(cone.bodies) > 1):
            starts[node] = cone.bodies
            views.update(cone.views)
            ends.update(cone.ends)
    converted: dict[Value, list[Value]] = {}  # a value of a cone → it, by each of the conversions

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> Value | None:
        if node in ends:
            return converted[node.inputs[0]][ends[node]]
        if node in starts:
            found = _converted(Value(Node(node.op, inputs, node.origin)), starts[node])
        elif node in views:
            found = [_view(node, v) for v in converted[node.inputs[0]]]
        else:
            return None
        converted[Value(node)] = found
        return found[0]  # nobody but the cone reads it

    return map_graph(graph, rebuild=rebuild) if starts else graph


def _cone(graph: Graph, node: Node) -> _Cone | None:
    """The cone of a node that computes one value; None where some reader takes it as it is."""
    if isinstance(node.op, (Input, Constant)) or len(node.types) != 1 or _is_view(node):
        return None
    cone, waiting = _Cone(), [Value(node)]
    while waiting:
        value = waiting.pop()
        readers = graph.users.get(value, ())
        if value in graph.kept or not readers:
            return None
        for reader in readers:
            body = _conversion(reader, value)
            if _is_view(reader):
                cone.views.append(reader)
                waiting.append(Value(reader))
            elif body is not None:
                cone.bodies += [body] if body not in cone.bodies else []
                cone.ends[reader] = cone.bodies.index(body)
            else:
                return None
    return cone


def _is_view(node: Node) -> bool:
    one = len(node.types) == 1 and len(node.inputs) == 1
    return one and (is_view(Value(node)) or isinstance(node.op.form(node.inputs[0].type), Reshape))


def _conversion(node: Node, value: Value) -> Expr | None:
    """The body of an elementwise map of `value` alone to fewer bits, over Kept(0); None for other nodes."""
    if len(node.inputs) != 1 or len(node.types) != 1 or node.types[0].shape != value.type.shape:
        return None
    body = map_body(Value(node))
    if body is None or body.dtype.bits >= value.type.dtype.bits:
        return None
    here = _axes(value.type)
    bare = transform(body, lambda x: Kept(x.dtype, 0) if isinstance(x, Load) and x.index == here else None)
    return None if any(isinstance(x, (Load, Index)) for x in walk(bare)) else bare


def _axes(type_: TensorType) -> tuple[Expr, ...]:
    """The position of an element of the result, as bodies of maps say it."""
    return tuple(const(0, I64) if d == 1 else index(k) for k, d in enumerate(type_.shape))


def _converted(value: Value, bodies: list[Expr]) -> list[Value]:
    """The value by each conversion: in the epilogue, where its op has one; of the parts of a join; else by a map."""
    op, node = value.op, value.node
    if isinstance(op, ProductOp):
        result = op.epilogues[0]
        finished = tuple(transform(body, lambda x: result if isinstance(x, Kept) else None) for body in bodies)
        return list(Node(op.with_epilogues(finished), node.inputs, node.origin).results)
    return _by_maps(value, bodies)


def _by_maps(value: Value, bodies: list[Expr]) -> list[Value]:
    op, node = value.op, value.node
    if isinstance(op.form(*(v.type for v in node.inputs)), Join):
        parts = zip(*(_by_maps(part, bodies) for part in node.inputs))
        return [Value(Node(op, tuple(converted), node.origin)) for converted in parts]
    axes, looped = loop_axes(value.type.shape)
    at = tuple(axes)
    stages = (
        Stage("once", Load(value.type.dtype, 0, at)),
        *(Stage("once", body, output=k, index=at) for k, body in enumerate(bodies)),
    )
    types = tuple(value.type.with_dtype(b.dtype) for b in bodies)
    extents = tuple(value.type.shape[k] for k in looped)
    return list(Node(Loops(LoopProgram(extents, len(looped), stages, types)), (value,), node.origin).results)


def _view(node: Node, source: Value) -> Value:
    """The same view of elements of another dtype."""
    op = node.op
    if isinstance(op, Loops):
        program, dtype = op.program, source.type.dtype
        stages = tuple(
            Stage(
                s.kind,
                transform(s.body, lambda x: Load(dtype, x.operand, x.index) if isinstance(x, Load) else None),
                None,
                s.output,
                s.index,
            )
            for s in program.stages
        )
        op = Loops(LoopProgram(program.extents, program.rows, stages, tuple(t.with_dtype(dtype) for t in program.outputs)))
    return Value(Node(op, (source,), node.origin))
