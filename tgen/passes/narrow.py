"""narrow: a conversion to fewer bits is done where the value is computed, not behind views of it.

    cast(transpose(reshape(x)))   →   transpose(reshape(cast(x)))
if every reader of x, behind whatever views, converts it in the same way. The conversion then joins the kernel that computes x, less
memory is written and read, and what reads the views can read them in place.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.dtypes import I64
from ..ir.expr import Expr, Index, Kept, Load, const, index, transform, walk
from ..ir.forms import Reshape
from ..ir.graph import Constant, Graph, Input, Node, Value, map_graph
from ..ir.loops import LoopProgram, Stage
from ..ir.ops.fused import Loops, ProductOp
from ..ir.types import TensorType
from .inline import is_view, map_body
from .lower import map_program


@dataclass
class _Cone:
    """What is between a value and its conversions. body: of the conversion, over Kept(0)."""

    views: list[Node] = field(default_factory=list)
    ends: list[Node] = field(default_factory=list)
    body: Expr | None = None


def narrow(graph: Graph) -> Graph:
    """evaluate is unchanged; runs on loops and views, before they are inlined."""
    starts: dict[Node, Expr] = {}
    views: set[Node] = set()
    ends: set[Node] = set()
    for node in graph.nodes:
        cone = _cone(graph, node)
        if cone is not None and cone.views and cone.body is not None:
            starts[node] = cone.body
            views.update(cone.views)
            ends.update(cone.ends)

    def rebuild(node: Node, inputs: tuple[Value, ...]) -> Value | None:
        if node in starts:
            return _converted(Value(Node(node.op, inputs, node.origin)), starts[node])
        if node in ends:
            return inputs[0]
        return _view(node, inputs[0]) if node in views else None

    return map_graph(graph, rebuild=rebuild) if starts else graph


def _cone(graph: Graph, node: Node) -> _Cone | None:
    """The cone of a node that computes one value; None where some reader takes it as it is, or conversions differ."""
    if isinstance(node.op, (Input, Constant)) or len(node.types) != 1 or _is_view(node):
        return None
    cone, waiting = _Cone(), [Value(node)]
    while waiting:
        value = waiting.pop()
        readers = graph.users.get(value, ())
        if value in graph.output_values or not readers:
            return None
        for reader in readers:
            body = _conversion(reader, value)
            if _is_view(reader):
                cone.views.append(reader)
                waiting.append(Value(reader))
            elif body is not None and cone.body in (None, body):
                cone.body = body
                cone.ends.append(reader)
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
    here = tuple(str(k) for k in _axes(value.type))

    def rule(x: Expr) -> Expr | None:
        return Kept(x.dtype, 0) if isinstance(x, Load) and tuple(map(str, x.index)) == here else None

    bare = transform(body, rule)
    return bare if not _places(bare) else None


def _axes(type_: TensorType) -> list[Expr]:
    return [const(0, I64) if d == 1 else index(k) for k, d in enumerate(type_.shape)]


def _places(body: Expr) -> bool:
    """Whether the body still depends on where it is computed."""
    return any(isinstance(x, (Load, Index)) for x in walk(body))


def _converted(value: Value, body: Expr) -> Value:
    """The value converted: in the epilogue, where its op has one."""
    op, node = value.op, value.node
    if isinstance(op, ProductOp):
        finished = transform(body, lambda x: op.epilogues[0] if isinstance(x, Kept) else None)
        return Value(Node(op.with_epilogues((finished,)), node.inputs, node.origin))
    loads = transform(body, lambda x: Load(x.dtype, 0, tuple(_axes(value.type))) if isinstance(x, Kept) else None)
    program = map_program(loads, value.type.with_dtype(body.dtype), [value.type])
    return Value(Node(program, (value,), node.origin))


def _view(node: Node, source: Value) -> Value:
    """The same view of elements of another dtype."""
    op = node.op
    if isinstance(op, Loops):
        program, dtype = op.program, source.type.dtype
        stage = program.stages[0]
        body = transform(stage.body, lambda x: Load(dtype, x.operand, x.index) if isinstance(x, Load) else None)
        outputs = tuple(t.with_dtype(dtype) for t in program.outputs)
        op = Loops(LoopProgram(program.extents, program.rows, (Stage(stage.kind, body, None, stage.output, stage.index),), outputs))
    return Value(Node(op, (source,), node.origin))
