"""lower: every op with a form becomes what kernels are made of.

Map, Maps, Reduce → `loops`;  Contract → `contraction`;  Reshape, Join and Scatter stay as they are: they place memory.
After this pass nobody asks which operator a node was.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.builder import Builder
from ..ir.dims import DimLike
from ..ir.dtypes import F32, I64, DType
from ..ir.errors import Unsupported
from ..ir.expr import Arg, Expr, Index, Kept, Load, cast, const, index, transform
from ..ir.forms import Contract, Map, Maps, Reduce, broadcast_index
from ..ir.graph import Graph, Node, Value, map_graph
from ..ir.loops import LoopProgram, Stage
from ..ir.op import Op
from ..ir.ops.fused import Contraction, Loops
from ..ir.types import TensorType
from .inline import compact


def lower(graph: Graph) -> Graph:
    """evaluate(lower(g)) == evaluate(g); no node of the result has a Map, Maps, Reduce or Contract form."""
    return map_graph(graph, rebuild=_lower_node)


def _lower_node(node: Node, inputs: tuple[Value, ...]) -> Value | list[Value] | None:
    types = tuple(v.type for v in inputs)
    form = node.op.form(*types)
    if isinstance(form, Map):
        program, operands = compact(map_program(form.body, node.types[0], types).program, inputs)
        return Value(Node(Loops(program), operands, node.origin))
    if isinstance(form, Maps):
        program, operands = compact(maps_program(form, node.types, types).program, inputs)
        return list(Node(Loops(program), operands, node.origin).results)
    if isinstance(form, Reduce):
        return Value(Node(reduce_program(form, node.types[0], types), inputs, node.origin))
    if isinstance(form, Contract):
        return _lower_contract(node, form, inputs)
    if node.op.is_composite:
        raise Unsupported(f"{node.origin or node.op}: composite op {node.op.name} reached lowering; run `decompose` first")
    return None


def loop_axes(shape: Sequence[DimLike]) -> tuple[list[Expr], list[int]]:
    """Position on each axis of `shape` (0 where the extent is 1), and the axes that need a loop, in order."""
    looped = [k for k, d in enumerate(shape) if d != 1]
    return [const(0, I64) if d == 1 else index(looped.index(k)) for k, d in enumerate(shape)], looped


def map_program(body: Expr, result: TensorType, operands: Sequence[TensorType]) -> Loops:
    """out[i...] = body as a program without columns; axes of extent 1 have no loop."""
    return maps_program(Maps((), (body,)), [result], operands)


def maps_program(form: Maps, results: Sequence[TensorType], operands: Sequence[TensorType]) -> Loops:
    """The same for several results of one shape."""
    shape = results[0].shape
    axes, looped = loop_axes(shape)

    def place(x: Expr) -> Expr | None:
        if isinstance(x, Index):
            return axes[x.axis]
        return Load(x.dtype, x.operand, broadcast_index(operands[x.operand], len(shape), axes)) if isinstance(x, Arg) else None

    stages = [Stage("once", transform(body, place)) for body in form.shared]
    stages += [Stage("once", transform(body, place), output=k, index=tuple(axes)) for k, body in enumerate(form.bodies)]
    return Loops(LoopProgram(tuple(shape[k] for k in looped), len(looped), tuple(stages), tuple(results)))


def reduce_program(form: Reduce, result: TensorType, operands: Sequence[TensorType]) -> Loops:
    """Rows are the kept axes, columns the reduced ones; axes of extent 1 have no loop."""
    x = operands[0]
    order = [k for k in range(x.rank) if k not in form.axes and x.shape[k] != 1]
    rows = len(order)
    order += [k for k in form.axes if x.shape[k] != 1]
    at = tuple(index(order.index(k)) if k in order else const(0, I64) for k in range(x.rank))

    def load(node: Expr) -> Expr | None:
        return Load(node.dtype, node.operand, at) if isinstance(node, Arg) else None

    where = tuple(const(0, I64) if k in form.axes else at[k] for k in range(x.rank) if form.keepdims or k not in form.axes)
    body = transform(form.body, load)
    stages = (
        Stage("reduce", body, combine=form.combine) if rows < len(order) else Stage("once", body),  # of one element: itself
        Stage("once", form.finish, output=0, index=where),
    )
    return Loops(LoopProgram(tuple(x.shape[k] for k in order), rows, stages, (result,)))


def _lower_contract(node: Node, form: Contract, inputs: tuple[Value, ...]) -> Value:
    """1-d operands become matrices by views; the accumulator is float32 for floats of 32 bits and fewer."""
    build, (a, b) = Builder(), inputs
    a = a if a.type.rank > 1 else _reshaped(build, a, (1, *a.type.shape))
    b = b if b.type.rank > 1 else _reshaped(build, b, (*b.type.shape, 1))
    dtype = node.types[0].dtype
    accumulate: DType = F32 if dtype.is_float and dtype.bits < 32 else dtype
    body = cast(Kept(accumulate, 0), dtype)
    op: Op = Contraction((body,), accumulate=accumulate, row_axes=form.row_axes, depth_axes=form.depth_axes)
    result = Value(Node(op, (a, b), node.origin))
    return result if result.type.shape == node.types[0].shape else _reshaped(build, result, node.types[0].shape)


def _reshaped(build: Builder, x: Value, shape: tuple[object, ...]) -> Value:
    reshaped: Value = build.reshape(x, shape=shape)
    return reshaped
